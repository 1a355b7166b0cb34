"""The bridge and a real Keycloak: levels, a second factor, changing keys, outages."""
