"""Step-up: what a token of too weak or too old an authentication is told. Pure."""

from __future__ import annotations

import re

from bridge.conformance.exchange import Evidence, Exchange, NotApplicableError
from bridge.conformance.requirement import EVERY, Requirement
from bridge.decision.challenge_parser import Challenge, parse_challenges

_UNAUTHORIZED = 401
ERROR = "insufficient_user_authentication"
_STEPPED = ("weak", "stale")

# A list with single spaces; its members are NQCHAR, as in a scope (RFC 6749 §3.3), and a comma at
# the end of one is the mark of a list that was joined with commas.
_ACR_VALUES = re.compile(r"[!#-\[\]-~]*[!#-+\--\[\]-~](?: [!#-\[\]-~]*[!#-+\--\[\]-~])*")
_MAX_AGE = re.compile(r"[0-9]+")


def _refused(exchange: Exchange, _: Evidence) -> str | None:
    return f"accepted with {exchange.response.status}" if exchange.accepted else None


def _error(exchange: Exchange, _: Evidence) -> str | None:
    error = exchange.bearer.error
    if error == ERROR:
        return None
    return "error is missing" if error is None else "error is another one"


def _status(exchange: Exchange, _: Evidence) -> str | None:
    status = exchange.denial.status
    return None if status == _UNAUTHORIZED else f"answered with {status}"


def _challenge(exchange: Exchange) -> Challenge:
    """Give the step-up challenge; another error is another requirement's business."""
    challenge = exchange.bearer
    if challenge.error != ERROR:
        raise NotApplicableError("no step-up challenge")
    return challenge


def _says_what(exchange: Exchange, _: Evidence) -> str | None:
    if {"acr_values", "max_age"} & set(_challenge(exchange).params):
        return None
    return "neither acr_values nor max_age"


def _telling(exchange: Exchange) -> Challenge:
    """Give a step-up challenge that says something, and so that it can be read."""
    challenge = _challenge(exchange)
    acr_values = challenge.params.get("acr_values")
    if acr_values is None and "max_age" not in challenge.params:
        raise NotApplicableError("neither acr_values nor max_age")
    if acr_values is not None and not _ACR_VALUES.fullmatch(acr_values):
        raise NotApplicableError("acr_values cannot be read")
    return challenge


def _with(name: str, exchange: Exchange) -> list[str]:
    """Give the values of a parameter in any challenge of a response."""
    challenges = parse_challenges(exchange.response.values("www-authenticate"))
    found = [challenge.params[name] for challenge in challenges if name in challenge.params]
    if not found:
        raise NotApplicableError(f"no challenge has {name}")
    return found


def _acr_values_written(exchange: Exchange, _: Evidence) -> str | None:
    if all(_ACR_VALUES.fullmatch(value) for value in _with("acr_values", exchange)):
        return None
    return "acr_values is no list of values with single spaces"


def _max_age_written(exchange: Exchange, _: Evidence) -> str | None:
    if all(_MAX_AGE.fullmatch(value) for value in _with("max_age", exchange)):
        return None
    return "max_age is no non-negative integer"


def _lacks_acr(exchange: Exchange, evidence: Evidence) -> str | None:
    named, demanded = _telling(exchange).acr_values, evidence.facts.acr_values
    if not named:
        return "a token of too weak an authentication is not told acr_values"
    if demanded and set(named) != set(demanded):
        return "acr_values are not those that the operation demands"
    return None


def _lacks_max_age(exchange: Exchange, evidence: Evidence) -> str | None:
    named, demanded = _telling(exchange).params.get("max_age"), evidence.facts.max_age
    if named is None:
        return "a token of too old an authentication is not told max_age"
    if demanded is not None and named.isdecimal() and int(named) != demanded:
        return "max_age is not that which the operation demands"
    return None


def _all(exchange: Exchange, evidence: Evidence) -> str | None:
    facts, params = evidence.facts, _telling(exchange).params
    if not facts.acr_values or facts.max_age is None:
        raise NotApplicableError("the profile does not say that both are demanded")
    lacking = [name for name in ("acr_values", "max_age") if name not in params]
    return f"{lacking[0]} is demanded, and the challenge does not say so" if lacking else None


def _same(exchange: Exchange, evidence: Evidence) -> str | None:
    first = evidence.other(exchange.name.removesuffix("-again"))
    one, two = _challenge(first), exchange.bearer
    for name in ("error", "acr_values", "max_age", "scope"):
        if one.params.get(name) != two.params.get(name):
            return f"the same request again is told another {name}"
    return None


def _passes(exchange: Exchange, _: Evidence) -> str | None:
    return None if exchange.accepted else f"answered with {exchange.response.status}"


def _tells_nothing(exchange: Exchange, _: Evidence) -> str | None:
    told = {"acr_values", "max_age"} & set(exchange.bearer.params)
    return f"the challenge has {min(told)}" if told else None


REQUIREMENTS = (
    Requirement(
        "RFC9470-3-1",
        "MUST",
        "A token whose authentication does not meet the requirements is not accepted.",
        (*_STEPPED, "weak-again", "stale-again"),
        _refused,
    ),
    Requirement(
        "RFC9470-3-2",
        "MUST",
        f"The error of such a token is `{ERROR}`, in that spelling.",
        _STEPPED,
        _error,
    ),
    Requirement(
        "RFC9470-3-3", "MUST", "Such a token is answered with 401.", _STEPPED, _status, ours=True
    ),
    Requirement(
        "RFC9470-3-4",
        "MUST",
        "Its challenge says which authentication would do: `acr_values`, `max_age` or both.",
        _STEPPED,
        _says_what,
        ours=True,
    ),
    Requirement(
        "RFC9470-3-5",
        "MUST",
        "`acr_values` is a list with single spaces, not with commas.",
        EVERY,
        _acr_values_written,
    ),
    Requirement(
        "RFC9470-3-6", "MUST", "`max_age` is a non-negative integer.", EVERY, _max_age_written
    ),
    Requirement(
        "RFC9470-3-7",
        "MUST",
        "A token of too weak an authentication is told the `acr_values` that are demanded.",
        ("weak",),
        _lacks_acr,
        ours=True,
    ),
    Requirement(
        "RFC9470-3-8",
        "MUST",
        "A token of too old an authentication is told the `max_age` that is demanded.",
        ("stale",),
        _lacks_max_age,
        ours=True,
    ),
    Requirement(
        "RFC9470-3-9",
        "SHOULD",
        "Where both are demanded both are said, whichever the token lacks: one login then does.",
        _STEPPED,
        _all,
        ours=True,
    ),
    Requirement(
        "RFC9470-3-10",
        "SHOULD",
        "The same request with the same token is told the same again.",
        ("weak-again", "stale-again"),
        _same,
        ours=True,
    ),
    Requirement(
        "RFC9470-3-11",
        "MUST",
        "A token that meets the requirements is accepted, the second time too: no loop.",
        ("strong", "strong-again"),
        _passes,
    ),
    Requirement(
        "RFC9470-9-1",
        "SHOULD",
        "A token is verified first: an invalid one learns nothing of `acr_values` and `max_age`.",
        ("garbage-sensitive", "expired-sensitive"),
        _tells_nothing,
        ours=True,
    ),
    Requirement(
        "RFC9470-9-2",
        "INFO",
        "Without a token nothing is told of `acr_values` and `max_age`.",
        ("none-sensitive",),
        _tells_nothing,
        ours=True,
    ),
)
