"""The policy that most scenarios are about, as the configuration file says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e2e.harness.issuer import Issuer
from e2e.harness.tokens import AUDIENCE

PWD, MFA, PHR = "urn:example:pwd", "urn:example:mfa", "urn:example:phr"

_OPERATIONS: list[dict[str, Any]] = [
    {"name": "health", "methods": ["GET"], "paths": ["/health"], "public": True},
    {"name": "profile", "methods": ["GET"], "paths": ["/profile"]},
    {
        "name": "read-accounts",
        "methods": ["GET"],
        "paths": ["/accounts", "/accounts/{id}"],
        "require": {"scopes": ["accounts:read"]},
    },
    {
        "name": "create-transfer",
        "methods": ["POST"],
        "paths": ["/transfers"],
        "require": {"scopes": ["payments:write"], "acr_values": [MFA, PHR], "max_age": "5m"},
    },
    {
        "name": "change-limits",
        "methods": ["PUT", "PATCH"],
        "paths": ["/accounts/{id}/limits/**"],
        "require": {"min_acr": PHR, "max_age": 60},
    },
]


def issuer_entry(issuer: Issuer, **settings: Any) -> dict[str, Any]:
    """Describe an issuer; its keys are found by its metadata unless `settings` say otherwise."""
    return {"issuer": issuer.url, "audiences": [AUDIENCE], "timeout": 1, **settings}


def configuration(
    issuer: Issuer, others: Sequence[Issuer] = (), **top_level: Any
) -> dict[str, Any]:
    """Write a bridge configuration, without `listen`.

    Args:
        issuer: Of all APIs but those of `others`.
        others: Each gets an API at `/other<position>` with one operation, `/profile`.
        top_level: Further keys, or others instead.
    """
    urls = [issuer.url]

    def api(name: str, **settings: Any) -> dict[str, Any]:
        base = {"hosts": ["api.test"], "base_path": f"/{name}", "issuers": urls}
        return {"name": name, **base, "operations": _OPERATIONS, **settings}

    return {
        "version": 1,
        "issuers": [
            issuer_entry(issuer),
            *(issuer_entry(other, jwks_uri=other.jwks_uri) for other in others),
        ],
        "assurance_levels": [PWD, MFA, PHR],
        "apis": [
            api("payments", resource="https://api.test/payments"),
            api("plain", realm='a "plain" realm'),
            api("hinted", hint_requirements=True),
            api("monitored", mode="monitor"),
            api("checked", cors_preflight="check"),
            api("any-token", unmatched="require_token"),
            api("open", unmatched="allow"),
            api("elsewhere", hosts=["*.wild.test", "exact.wild.test"]),
            *(
                api(f"other{position}", issuers=[other.url])
                for position, other in enumerate(others)
            ),
            *_path_apis(urls),
        ],
        "doors": ["forward_auth", "nginx"],
        "log": {"level": "debug"},
        **top_level,
    }


def _path_apis(urls: list[str]) -> list[dict[str, Any]]:
    """A public tree beside a protected one: what by-passes are made for."""
    trees = [
        {"name": "public", "paths": ["/public/**"], "public": True},
        {"name": "protected", "paths": ["/protected/**"]},
    ]
    base = {"base_path": "/", "issuers": urls, "operations": trees}
    relaxed = {
        "allow_semicolon": True,
        "allow_encoded_slash": True,
        "allow_double_slash": True,
        "allow_double_encoding": True,
    }
    return [
        {"name": "paths", "hosts": ["paths.test"], **base},
        {"name": "relaxed", "hosts": ["relaxed.test"], "path": relaxed, **base},
    ]
