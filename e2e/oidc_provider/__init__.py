"""The bridge and a real oidc-provider (npm): opaque tokens, and tokens bound to a key by DPoP."""
