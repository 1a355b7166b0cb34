"""The bridge's configuration in the demo, and what clients must know of it."""

from __future__ import annotations

from pathlib import Path
from string import Template

from bridge.demo.oauth import Client

AUDIENCE = "https://bank.example.com"
REALM = "bank"
READ_SCOPE = "accounts:read"
WRITE_SCOPE = "payments:write"

_SCOPES = (READ_SCOPE, WRITE_SCOPE, "openid")
STORY_CLIENT = Client("demo-story", ("http://127.0.0.1/story",), _SCOPES)
"""The client that the story plays."""
CALL_CLIENT = Client("demo-call", ("http://127.0.0.1/callback",), _SCOPES)
"""The client for `stepup-bridge call`; it comes back to any port (RFC 8252 §7.3)."""

_TEMPLATE = Path(__file__).with_name("bridge.yaml")


def page_client(origin: str) -> Client:
    """Register the browser page; its `redirect_uri` is its origin and a slash."""
    return Client("demo-page", (f"{origin}/",), _SCOPES)


def bridge_yaml(*, authz_port: int, admin_port: int, issuer: str, max_age_seconds: int) -> str:
    """Fill in the configuration.

    Args:
        authz_port: 0 lets the bridge choose; `admin_port` likewise.
        max_age_seconds: Of the operation `create-transfer`.
    """
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        authz_port=authz_port,
        admin_port=admin_port,
        issuer=issuer,
        audience=AUDIENCE,
        max_age=max_age_seconds,
    )
