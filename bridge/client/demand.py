"""Challenges in, a demand out: what the API wants before it lets the request pass. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from bridge.client.errors import ChallengeError
from bridge.decision.challenge_parser import Challenge, ChallengeSyntaxError, parse_challenges

USE_DPOP_NONCE = "use_dpop_nonce"
INSUFFICIENT_USER_AUTHENTICATION = "insufficient_user_authentication"
INVALID_TOKEN = "invalid_token"

STATUSES = frozenset({401, 403})
"""Where a challenge asks for something: 403 for `insufficient_scope` (RFC 6750 §3.1)."""

# Microsoft Entra's word for it; the bridge says it beside RFC 9470's parameters.
_INSUFFICIENT_CLAIMS = "insufficient_claims"

_MAX_SHOWN = 300

# What another token, or another proof, can help against; None: the request had no token.
_ANSWERABLE = frozenset(
    {None, INVALID_TOKEN, "insufficient_scope", INSUFFICIENT_USER_AUTHENTICATION, USE_DPOP_NONCE}
)

# scope-token = 1*( %x21 / %x23-5B / %x5D-7E )  (RFC 6749 §3.3); acr values likewise
_MEMBER = re.compile(r"[!#-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a challenge asks for. Equal ones ask for the same.

    Attributes:
        scheme: `Bearer` or `DPoP`.
        error: Error code (RFC 6750 §3.1, RFC 9470 §3); None: the request had no token.
        acr_values: One of them is required, the preferred first.
        max_age: Oldest acceptable authentication, seconds.
        scopes: All of them are required.
        resource_metadata: Where the API describes itself (RFC 9728 §5.1).
    """

    scheme: str = "Bearer"
    error: str | None = None
    acr_values: tuple[str, ...] = ()
    max_age: int | None = None
    scopes: tuple[str, ...] = ()
    resource_metadata: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        parts = [self.error or "a token"]
        if self.acr_values:
            parts.append(f"acr_values {' '.join(self.acr_values)}")
        if self.max_age is not None:
            parts.append(f"max_age {self.max_age}")
        if self.scopes:
            parts.append(f"scope {' '.join(self.scopes)}")
        text = ", ".join(parts)
        return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."

    def merged(self, earlier: Demand) -> Demand:
        """Add what an earlier challenge to the same request asked for, where this one is silent."""
        return replace(
            self,
            acr_values=self.acr_values or earlier.acr_values,
            max_age=earlier.max_age if self.max_age is None else self.max_age,
            scopes=unite(earlier.scopes, self.scopes),
            resource_metadata=self.resource_metadata or earlier.resource_metadata,
        )


def unite(*scopes: Iterable[str]) -> tuple[str, ...]:
    """Unite lists of scopes: each once, in the order they came."""
    return tuple(dict.fromkeys(scope for some in scopes for scope in some))


def read_demand(lines: Iterable[str], *, dpop: bool = False) -> Demand | None:
    """Read what the `WWW-Authenticate` lines of a 401 or 403 demand.

    Args:
        lines: One string for each header line, decoded as ISO-8859-1.
        dpop: The client has a DPoP key; then it prefers a DPoP challenge.

    Returns:
        None where no challenge is for a Bearer or DPoP client, or another token cannot help.

    Raises:
        ChallengeError: The lines cannot be read, two challenges disagree, or one cannot be
            followed; the text says which and where.

    Spec: RFC 9110 §11.6.1, RFC 6750 §3, RFC 9470 §3, RFC 9449 §7.1.
    """
    try:
        challenges = parse_challenges(lines)
    except ChallengeSyntaxError as error:
        raise ChallengeError(f"the API's WWW-Authenticate cannot be read: {error}") from None
    by_scheme: dict[str, list[Challenge]] = {"bearer": [], "dpop": []}
    for challenge in challenges:
        by_scheme.get(challenge.scheme.lower(), []).append(challenge)
    if by_scheme["dpop"] and not by_scheme["bearer"] and not dpop:
        raise ChallengeError("the API takes DPoP tokens only, and this client has no DPoP key")
    chosen = by_scheme["dpop"] if dpop and by_scheme["dpop"] else by_scheme["bearer"]
    demands = [demand_of(challenge) for challenge in chosen]
    for demand in demands[1:]:
        if demand != demands[0]:
            members = ", ".join(_differing(demands[0], demand))
            raise ChallengeError(f"two {demand.scheme} challenges of the API disagree: {members}")
    if not demands or demands[0].error not in _ANSWERABLE:
        return None
    return demands[0]


def demand_of(challenge: Challenge) -> Demand:
    """Read one Bearer or DPoP challenge.

    Raises:
        ChallengeError: A parameter cannot be what it must be.
    """
    scheme = "DPoP" if challenge.scheme.lower() == "dpop" else "Bearer"
    try:
        max_age = challenge.max_age
    except ChallengeSyntaxError as error:
        raise ChallengeError(f"the API's {scheme} challenge: {error.reason}") from None
    code = challenge.error
    if code == _INSUFFICIENT_CLAIMS and (challenge.acr_values or max_age is not None):
        code = INSUFFICIENT_USER_AUTHENTICATION
    demand = Demand(
        scheme=scheme,
        error=code,
        acr_values=challenge.acr_values,
        max_age=max_age,
        scopes=challenge.scope,
        resource_metadata=challenge.params.get("resource_metadata"),
    )
    for name, members in (("acr_values", demand.acr_values), ("scope", demand.scopes)):
        if not all(_MEMBER.fullmatch(member) for member in members):
            raise ChallengeError(
                f"the API's {scheme} challenge: {name} holds a character that it cannot"
            )
    if (
        demand.error == INSUFFICIENT_USER_AUTHENTICATION
        and not demand.acr_values
        and demand.max_age is None
    ):
        raise ChallengeError(
            f"the API's {scheme} challenge: {INSUFFICIENT_USER_AUTHENTICATION} with neither "
            "acr_values nor max_age: nothing says which login would do"
        )
    return demand


def _differing(one: Demand, other: Demand) -> list[str]:
    names = ("error", "acr_values", "max_age", "scopes")
    return [name for name in names if getattr(one, name) != getattr(other, name)]
