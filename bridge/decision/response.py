"""A denial as the client sees it: status, headers, body. The same for every gateway."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass

from bridge.decision.challenge import build_challenge
from bridge.decision.decide import Decision, Row
from bridge.decision.resource_metadata import metadata_url
from bridge.policy.operations import Api
from bridge.policy.requirement import NO_REQUIREMENT, Requirement
from bridge.tokens.credentials import Scheme
from bridge.tokens.identity import UpstreamHeaders

_CHALLENGED = frozenset(
    {Row.NO_CREDENTIALS, Row.MALFORMED_CREDENTIALS, Row.INVALID_TOKEN, Row.STEP_UP, Row.SCOPE}
)
_UNAUTHORIZED = 401
_VERIFIED = frozenset({Row.STEP_UP, Row.SCOPE})

# By what an API's tokens may be presented; mTLS-bound ones are bearer tokens (RFC 8705 §3).
_OFFERED: dict[str, tuple[Scheme, ...]] = {
    "none": ("bearer",),
    "mtls": ("bearer",),
    "dpop": ("dpop",),
    "any": ("bearer", "dpop"),
    "required": ("bearer", "dpop"),
}


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response: header names in lower case, each once but `www-authenticate`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


def denial_response(decision: Decision, *, head: bool, cross_origin: bool) -> Response:
    """Write a denial as an HTTP response (docs/decisions.md).

    Args:
        decision: A denial.
        head: The request was a `HEAD`: no body.
        cross_origin: The request had an `Origin`: a browser must be let see the challenge.
    """
    headers = [("cache-control", "no-store"), ("content-type", "application/json")]
    headers[:0] = [("www-authenticate", challenge) for challenge in challenges_of(decision)]
    if decision.nonce is not None:
        headers.append(("dpop-nonce", decision.nonce))
    if decision.retry_after_seconds is not None:
        headers.append(("retry-after", str(decision.retry_after_seconds)))
    if cross_origin:
        exposed = "WWW-Authenticate" if decision.nonce is None else "WWW-Authenticate, DPoP-Nonce"
        headers.append(("access-control-expose-headers", exposed))
    return Response(decision.status, tuple(headers), "" if head else _body(decision))


def upstream_headers(decision: Decision, nobody: UpstreamHeaders) -> UpstreamHeaders:
    """Give what an allow does to the request on its way to the upstream: `upstream_headers`.

    Args:
        decision: An allow.
        nobody: The headers where no token was looked at, or none was good: all removed.
    """
    upstream = nobody if decision.token is None else decision.token.upstream
    if decision.would_deny and decision.error is not None:
        return upstream.with_would_deny(decision.error)
    return upstream


def challenges_of(decision: Decision) -> tuple[str, ...]:
    """Build the challenges of a denial, one for each scheme; rows without one give none.

    The scheme that was presented comes first, since some gateways relay only one, and it alone has
    the error. What else would do is offered beside it, until a token was found good: such a client
    knows how to present it.

    Spec: RFC 9449 §7.1, §7.2.
    """
    api = decision.api
    if api is None or decision.row not in _CHALLENGED:
        return ()
    if decision.row is Row.STEP_UP and decision.status != _UNAUTHORIZED:
        return ()  # a machine's token: nobody can answer the challenge
    offered = _OFFERED[api.sender_constraint]
    presented = decision.scheme
    if presented is None:  # nothing was, or it cannot be told: the same for all
        return tuple(_challenge(scheme, decision, api, judged=True) for scheme in offered)
    if presented == "dpop" and not api.dpop_algorithms:
        presented = "bearer"  # to this API a scheme like any other that it does not know
    first = _challenge(presented, decision, api, judged=True)
    if decision.row in _VERIFIED:
        return (first,)
    others = (scheme for scheme in offered if scheme != presented)
    return (first, *(_challenge(scheme, decision, api, judged=False) for scheme in others))


def _challenge(scheme: Scheme, decision: Decision, api: Api, *, judged: bool) -> str:
    """Build the challenge of a scheme; not `judged`: without what became of the credentials."""
    shown = told(decision) if judged else NO_REQUIREMENT
    dialect = _insufficient_claims(decision, shown.acr_values)
    # RFC 6750 §3.1: without credentials no error code and no other error information.
    bare = not judged or decision.row is Row.NO_CREDENTIALS
    return build_challenge(
        "DPoP" if scheme == "dpop" else "Bearer",
        realm=api.realm,
        error=None if bare else "insufficient_claims" if dialect else decision.error,
        error_description=None if bare else decision.description,
        acr_values=shown.acr_values,
        max_age=shown.max_age,
        scope=shown.scopes,
        resource_metadata=None if api.resource is None else metadata_url(api.resource),
        algs=api.dpop_algorithms if scheme == "dpop" else (),
        claims=dialect,
    )


def _insufficient_claims(decision: Decision, acr_values: tuple[str, ...]) -> str | None:
    """Write Microsoft's claims challenge, where the token's issuer wants it and it can say it.

    It demands one `acrs` value, and knows nothing of `max_age`.
    Source: Microsoft identity platform, "Claims challenges, claims requests, and client
    capabilities".
    """
    token = decision.token
    if decision.row is not Row.STEP_UP or token is None or not token.insufficient_claims:
        return None
    if not acr_values:
        return None
    wanted = {"access_token": {"acrs": {"essential": True, "value": acr_values[0]}}}
    return b64encode(json.dumps(wanted, separators=(",", ":")).encode()).decode()


def told(decision: Decision) -> Requirement:
    """Give what a denial tells of the requirement: all that must be brought, not only what failed.

    Spec: RFC 9470 §9: before the token is verified nothing of acr and max_age, unless the API asks
    for it.
    """
    hinted = (
        decision.row is Row.NO_CREDENTIALS
        and decision.api is not None
        and decision.api.hint_requirements
    )
    tells_step_up = decision.row is Row.STEP_UP or hinted
    tells_scopes = decision.row is Row.NO_CREDENTIALS or bool(decision.unmet.scopes)
    return Requirement(
        scopes=decision.requirement.scopes if tells_scopes else (),
        acr_values=_names(decision) if tells_step_up else (),
        max_age=decision.requirement.max_age if tells_step_up else None,
    )


def _names(decision: Decision) -> tuple[str, ...]:
    """Give the demanded acr values as the token's issuer calls them, where it is known."""
    demanded = decision.requirement.acr_values
    return demanded if decision.token is None else decision.token.acr_names.to_issuer(demanded)


def _body(decision: Decision) -> str:
    shown = told(decision)
    members: dict[str, str | int | None] = {
        "error": decision.error,
        "error_description": decision.description,
    }
    if shown.acr_values:
        members["acr_values"] = " ".join(shown.acr_values)
    if shown.max_age is not None:
        members["max_age"] = shown.max_age
    if shown.scopes:
        members["scope"] = " ".join(shown.scopes)
    return json.dumps(members, separators=(",", ":"))
