"""A scenario as data: one request, one token, and everything that must come of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from e2e.harness.http1 import Request
from e2e.harness.tokens import TokenSpec


@dataclass(frozen=True, slots=True)
class Allowed:
    """The upstream gets the request, and of `x-stepup-*` exactly these; `ISSUER` is the URL."""

    identity: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The client gets exactly this, and the upstream nothing.

    Attributes:
        challenge: The one `WWW-Authenticate` line; None: none at all.
        body: The exact text.
        headers: Further header lines, each the only one of its name.
    """

    status: int
    challenge: str | None
    body: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Faulted:
    """The bridge says 503 or nothing; what of it the client sees is the gateway's affair."""


Expectation = Allowed | Denied | Faulted


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of a table.

    Attributes:
        token: Sent as `Authorization: Bearer`; None: no such header.
    """

    id: str
    request: Request
    expect: Expectation
    token: TokenSpec | None = None


def problem(error: str, description: str, **members: Any) -> str:
    """Write a denial's body."""
    document = {"error": error, "error_description": description, **members}
    return json.dumps(document, separators=(",", ":"))
