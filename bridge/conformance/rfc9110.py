"""HTTP's own rules for challenges, and what goes with them. Pure."""

from __future__ import annotations

import re

from bridge.conformance.exchange import Evidence, Exchange, NotApplicableError
from bridge.conformance.requirement import EVERY, Requirement
from bridge.decision.challenge_parser import (
    ChallengeSyntaxError,
    RepeatedParameterError,
    parse_challenges,
)

_UNAUTHORIZED = 401
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_REALM_AS_TOKEN = re.compile(r"(?:^|[ \t,])realm[ \t]*=[ \t]*(?!\")", re.IGNORECASE)


def _lines(exchange: Exchange) -> list[str]:
    lines = exchange.response.values("www-authenticate")
    if not lines:
        raise NotApplicableError("no WWW-Authenticate")
    return lines


def _has_challenge(exchange: Exchange, _: Evidence) -> str | None:
    if exchange.response.status != _UNAUTHORIZED:
        raise NotApplicableError("no 401")
    if exchange.response.values("www-authenticate"):
        return None
    return "401 without WWW-Authenticate"


def _grammar(exchange: Exchange, _: Evidence) -> str | None:
    try:
        challenges = parse_challenges(_lines(exchange))
    except RepeatedParameterError:
        return None  # a requirement of its own
    except ChallengeSyntaxError as error:
        return str(error)
    return None if challenges else "a WWW-Authenticate without a challenge"


def _once(exchange: Exchange, _: Evidence) -> str | None:
    try:
        parse_challenges(_lines(exchange))
    except RepeatedParameterError:
        return "a parameter stands twice"
    return None


def _realm_quoted(exchange: Exchange, _: Evidence) -> str | None:
    for line in _lines(exchange):
        if _REALM_AS_TOKEN.search(_QUOTED.sub('""', line)):
            return "realm is no quoted-string"
    return None


def _case(exchange: Exchange, evidence: Evidence) -> str | None:
    if not evidence.other("good").accepted:
        raise NotApplicableError("the good token is not accepted in any case")
    return None if exchange.accepted else f"bEARER is answered with {exchange.response.status}"


def _head(exchange: Exchange, evidence: Evidence) -> str | None:
    get, head = evidence.other("none").response, exchange.response
    if head.status != get.status:
        return f"HEAD is answered with {head.status}, GET with {get.status}"
    if head.values("www-authenticate") != get.values("www-authenticate"):
        return "HEAD is answered with another challenge than GET"
    return None


def _no_store(exchange: Exchange, _: Evidence) -> str | None:
    directives = ",".join(exchange.denial.values("cache-control")).lower()
    if "no-store" in {directive.strip() for directive in directives.split(",")}:
        return None
    return "a denial without Cache-Control: no-store"


def _exposed(exchange: Exchange, _: Evidence) -> str | None:
    names = ",".join(exchange.denial.values("access-control-expose-headers")).lower()
    if {"www-authenticate", "*"} & {name.strip() for name in names.split(",")}:
        return None
    return "Access-Control-Expose-Headers does not name WWW-Authenticate"


REQUIREMENTS = (
    Requirement(
        "RFC9110-15.5.2-1", "MUST", "A 401 has at least one challenge.", EVERY, _has_challenge
    ),
    Requirement(
        "RFC9110-11.6.1-1",
        "MUST",
        "`WWW-Authenticate` is a list of challenges, written by its grammar.",
        EVERY,
        _grammar,
    ),
    Requirement(
        "RFC9110-11.2-1", "MUST", "No parameter stands twice in a challenge.", EVERY, _once
    ),
    Requirement("RFC9110-11.5-1", "MUST", "`realm` is a quoted-string.", EVERY, _realm_quoted),
    Requirement(
        "RFC9110-11.1-1",
        "MUST",
        "The scheme `Bearer` is understood in any case.",
        ("scheme-in-other-case",),
        _case,
    ),
    Requirement(
        "RFC9110-9.3.2-1",
        "SHOULD",
        "`HEAD` without credentials is answered as `GET` is: same status, same challenge.",
        ("none-head",),
        _head,
    ),
    Requirement(
        "RFC9111-5.2.2.5-1",
        "SHOULD",
        "A denial is kept by no cache: `Cache-Control: no-store`.",
        ("none", "none-sensitive", "garbage", "expired", "insufficient-scope", "weak", "stale"),
        _no_store,
        ours=True,
    ),
    Requirement(
        "RFC9449-7.1-1",
        "INFO",
        "A page of another origin may read the challenge: `Access-Control-Expose-Headers`.",
        ("none-origin",),
        _exposed,
        ours=True,
    ),
)
