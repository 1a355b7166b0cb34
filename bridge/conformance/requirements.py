"""The table: every requirement that the kit knows, by its number. Pure."""

from __future__ import annotations

from bridge.conformance import rfc6750, rfc9110, rfc9470, rfc9728

REQUIREMENTS = (
    *rfc9470.REQUIREMENTS,
    *rfc6750.REQUIREMENTS,
    *rfc9728.REQUIREMENTS,
    *rfc9110.REQUIREMENTS,
)
