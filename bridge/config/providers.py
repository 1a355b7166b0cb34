"""What well-known authorization servers do differently: defaults of an issuer's settings.

The reasons are in docs/configuration.md, `issuers[].provider`; docs/issuers.md says what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Provider = Literal["keycloak", "pingone", "okta", "entra", "auth0"]

PRESETS: Mapping[Provider, Mapping[str, Any]] = {
    # Only service accounts have a client_id; user tokens name the client in azp.
    "keycloak": {"claims": {"client_id": ["client_id", "azp"]}},
    "pingone": {"algorithms": ["RS256"]},
    "okta": {"algorithms": ["RS256"], "claims": {"scope": ["scp"], "client_id": ["cid"]}},
    # acr "0" and "1" of v1.0 tokens are no levels; acrs holds p1 and c1 to c99.
    "entra": {
        "algorithms": ["RS256"],
        "claims": {"acr": ["acrs"], "scope": ["scp", "roles"], "client_id": ["azp", "appid"]},
    },
    # An Action must add acr and auth_time, as namespaced claims: their names are the tenant's.
    "auth0": {"algorithms": ["RS256"], "claims": {"client_id": ["client_id", "azp"]}},
}
"""Keys of an issuer, and of its `claims`, that differ from the usual defaults."""
