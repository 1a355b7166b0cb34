"""Which requests are sent: every one has a name, by which requirements look at it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bridge.conformance.profile import OperationSection, ProfileSection

TOKEN_PLACE = "{token}"
GARBAGE = "garbage"
_BEARER = (f"Bearer {TOKEN_PLACE}",)

METADATA, LINKED_METADATA = "metadata", "metadata-linked"


@dataclass(frozen=True, slots=True)
class Probe:
    """A request to send.

    Attributes:
        token: Name of the one that takes the place of `{token}`; None: there is none.
        authorization: Lines of that header.
        query: The token goes into the query, where it must not be.
        method: Instead of the operation's.
        headers: Further lines.
    """

    name: str
    operation: OperationSection
    token: str | None = None
    authorization: tuple[str, ...] = ()
    query: bool = False
    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def plan(profile: ProfileSection) -> Iterator[Probe]:
    """Give the requests in the order in which they are sent: those that must fail come first."""
    ordinary, sensitive = profile.ordinary, profile.sensitive
    yield Probe("none", ordinary)
    yield Probe("none-sensitive", sensitive)
    yield Probe("none-head", ordinary, method="HEAD")
    yield Probe("none-origin", ordinary, headers=(("Origin", "https://conformance.invalid"),))
    yield Probe("basic", ordinary, authorization=("Basic Y29uZm9ybWFuY2U6a2l0",))
    yield Probe("no-token", ordinary, authorization=("Bearer",))
    yield Probe("garbage", ordinary, GARBAGE, _BEARER)
    yield Probe("garbage-sensitive", sensitive, GARBAGE, _BEARER)
    for token in ("expired", "wrong_audience", "bad_signature", "insufficient_scope"):
        yield Probe(token.replace("_", "-"), ordinary, token, _BEARER)
    yield Probe("expired-sensitive", sensitive, "expired", _BEARER)
    yield Probe("query", ordinary, "good", query=True)
    yield Probe("two-lines", ordinary, "good", _BEARER * 2)
    yield Probe("comma", ordinary, "good", (f"Bearer {TOKEN_PLACE}, Bearer {TOKEN_PLACE}",))
    yield Probe("two-tokens", ordinary, "good", (f"Bearer {TOKEN_PLACE} {TOKEN_PLACE}",))
    for name in ("weak", "weak-again"):
        yield Probe(name, sensitive, "weak", _BEARER)
    for name in ("stale", "stale-again"):
        yield Probe(name, sensitive, "stale", _BEARER)
    yield Probe("good", ordinary, "good", _BEARER)
    yield Probe("scheme-in-other-case", ordinary, "good", (f"bEARER {TOKEN_PLACE}",))
    for name in ("strong", "strong-again"):
        yield Probe(name, sensitive, "strong", _BEARER)


def why_not(probe: Probe, tokens: Collection[str]) -> str | None:
    """Say why a request cannot be sent; None where it can."""
    if probe.token not in (None, GARBAGE, *tokens):
        return f"the profile has no token {probe.token}"
    if probe.method == "HEAD" and probe.operation.method != "GET":
        return "the ordinary operation is no GET"
    return None
