"""Codes in, words out: what is wrong, and what to do about it."""

from __future__ import annotations

from bridge.tokens.introspection_answer import INTROSPECTION

_FAULTS = {
    "timeout": "no answer within the issuer's `timeout`: look at the network, or raise it",
    "connection_failed": "no connection, or its certificate is not trusted",
    "too_large": "over 1 MiB",
    "compressed": "compressed, although that was not asked for",
    "bad_answer": "no proper HTTP answer",
    "insecure_url": "http:// to another machine: use https, or set `allow_insecure_http`",
    "not_json": "not JSON",
    "not_an_object": "no JSON object",
    "of_another_issuer": "metadata of another issuer",
    "no_usable_key_set": "no JWK set with a key that can verify a token (RSA under 2048 bits and"
    " keys for encryption cannot)",
    "client_refused": "the bridge is not known by this client_id and secret (401 or 403)",
    "active_not_boolean": "no introspection response: `active` is neither true nor false",
    "time_not_a_number": "no introspection response: a time in it is not a number",
    "without_introspection_endpoint": "no `introspection_endpoint`: set `introspection.endpoint`",
    "introspection_over_http": "an endpoint over http, of an https issuer",
    "file_unreadable": "`jwks_file` is missing or may not be read",
}

_REMEDIES = {
    "authorization_repeated": "holds a comma, so it is no access token",
    "bearer_token_malformed": "no token that a Bearer header can carry, or over 16 KiB",
    "token_malformed": "looks like a JWT, but is not well formed",
    "token_opaque": "opaque: no issuer takes such tokens, see `tokens` and `introspection`",
    "token_inactive": "the issuer says that it is not active: expired, revoked, or not its own",
    "token_is_not_an_access_token": "the issuer says that it is no access token",
    "token_jwt_not_accepted": "a JWT, and the issuer's `tokens` has no jwt",
    "token_issuer_not_accepted": "`iss` is not exactly an issuer of the API",
    "token_crit_not_understood": "its header has `crit`: have it issued without",
    "token_alg_not_accepted": "its `alg` is not among the issuer's `algorithms`",
    "token_typ_not_accepted": "its `typ` is not accepted: an access token has at+jwt, with"
    " `token_type: any` also JWT or none",
    "token_kid_unknown": "signed with a key that the issuer does not publish",
    "token_signature_invalid": "the signature is of no published key of the issuer",
    "token_expired": "expired: give a fresh one",
    "token_exp_malformed": "has no `exp` that is a number",
    "token_nbf_malformed": "`nbf` is not a number",
    "token_iat_malformed": "`iat` is not a number",
    "token_not_yet_valid": "`nbf` is in the future: set both clocks by NTP, or raise `leeway`",
    "token_issued_in_the_future": "`iat` is in the future: set both clocks by NTP, or raise"
    " `leeway`",
    "token_is_an_id_token": "looks like an ID token: send the access token, or set"
    " `id_token_claims: ignore` if this is one",
    "token_lacks_required_claims": "lacks claims that `token_type: strict` demands (RFC 9068 §2.2)",
    "token_binding_not_supported": "bound (`cnf`) to what the API does not take: set its"
    " `sender_constraint`",
    "token_binding_malformed": "its `cnf` is malformed",
    "token_binding_ambiguous": "its `cnf` is not the one that introspection says",
    "token_not_bound": "not bound, and `sender_constraint` demands that it be",
    "token_not_bound_to_key": "not bound to a key, and `sender_constraint` demands DPoP",
    "token_bound_to_key_sent_as_bearer": "bound to a key, and `sender_constraint` takes no DPoP",
    "token_audience_not_accepted": "`aud` has none of the accepted audiences: mend `audiences`, or"
    " have the issuer add one",
    "keys_unavailable": "the issuer's keys are not to be had: see the issuer's checks",
}


def describe_fault(code: str) -> str:
    """Say in words what the code of a `FetchError` means."""
    if code.startswith("metadata_"):
        return f"metadata: {describe_fault(code.removeprefix('metadata_'))}"
    if code.startswith("status_"):
        return f"answered with status {code.removeprefix('status_')} instead of 200"
    return _FAULTS.get(code, code)


def remedy(reason: str) -> str:
    """Say what the reason of a denial means, and what to do."""
    if reason.startswith(f"{INTROSPECTION}_"):
        return "the issuer, asked about it, gives no proper answer: see the issuer's checks"
    return _REMEDIES.get(reason, reason)
