"""What an operation demands of the access token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """The demands of one operation; the empty requirement is "any valid token".

    Attributes:
        scopes: All of them must be granted (RFC 6750 §3, `scope`).
        acr_values: Any one satisfies, in order of preference (RFC 9470 §3); empty: no demand.
        max_age: Oldest acceptable authentication, seconds, >= 0; None: no demand. 0 is a demand.
    """

    scopes: tuple[str, ...] = ()
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None


NO_REQUIREMENT = Requirement()
