"""Bearer tokens: where they are taken from, and how they are refused. Pure."""

from __future__ import annotations

import re

from bridge.conformance.exchange import Evidence, Exchange, NotApplicableError
from bridge.conformance.requirement import EVERY, Check, Requirement
from bridge.decision.challenge_parser import Challenge, ChallengeSyntaxError, parse_challenges

_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN = 400, 401, 403

# scope-token *( SP scope-token ); scope-token = 1*( %x21 / %x23-5B / %x5D-7E )  (RFC 6750 §3)
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
# error, error_description = %x20-21 / %x23-5B / %x5D-7E; error_uri without SP  (RFC 6750 §3)
_ERROR_TEXT = re.compile(r"[ !#-\[\]-~]+")
_ERROR_URI = re.compile(r"[!#-\[\]-~]+")

_ERROR_PARAMS = frozenset({"error", "error_description", "error_uri"})

_JUDGED = ("garbage", "expired", "wrong-audience", "bad-signature")
_MALFORMED = ("no-token", "two-lines", "comma", "two-tokens")
_DENIED = (
    "none", "none-sensitive", "none-head", "basic", *_JUDGED, "garbage-sensitive",
    "expired-sensitive", "insufficient-scope", "weak", "stale",
)  # fmt: skip


def _accepted(exchange: Exchange, _: Evidence) -> str | None:
    return None if exchange.accepted else f"answered with {exchange.response.status}"


def _refused(exchange: Exchange, _: Evidence) -> str | None:
    return f"accepted with {exchange.response.status}" if exchange.accepted else None


def _refused_where_good_passes(exchange: Exchange, evidence: Evidence) -> str | None:
    """Check what says something only where the same token passes when it is sent rightly."""
    if not evidence.other("good").accepted:
        raise NotApplicableError("the good token is not accepted either")
    return _refused(exchange, evidence)


def _names_bearer(exchange: Exchange, _: Evidence) -> str | None:
    lines = exchange.denial.values("www-authenticate")
    if not lines:
        return f"{exchange.response.status} without WWW-Authenticate"
    if any(challenge.scheme.lower() == "bearer" for challenge in parse_challenges(lines)):
        return None
    return "no challenge of the scheme Bearer"


def _bearers(exchange: Exchange) -> list[Challenge]:
    """Give the Bearer challenges of any response."""
    challenges = parse_challenges(exchange.response.values("www-authenticate"))
    found = [challenge for challenge in challenges if challenge.scheme.lower() == "bearer"]
    if not found:
        raise NotApplicableError("no Bearer challenge")
    return found


def _has_parameter(exchange: Exchange, _: Evidence) -> str | None:
    if all(challenge.params for challenge in _bearers(exchange)):
        return None
    return "Bearer without a parameter"


def _written(names: tuple[str, ...], pattern: re.Pattern[str]) -> Check:
    def check(exchange: Exchange, _: Evidence) -> str | None:
        found = [
            (name, challenge.params[name])
            for challenge in _bearers(exchange)
            for name in names
            if name in challenge.params
        ]
        if not found:
            raise NotApplicableError(f"no challenge has {' or '.join(names)}")
        wrong = [name for name, value in found if not pattern.fullmatch(value)]
        return f"{wrong[0]} holds a character that it cannot" if wrong else None

    return check


def _no_error(exchange: Exchange, _: Evidence) -> str | None:
    said = _ERROR_PARAMS & set(exchange.bearer.params)
    return f"the challenge has {min(said)}" if said else None


def _status(wanted: int) -> Check:
    def check(exchange: Exchange, _: Evidence) -> str | None:
        status = exchange.denial.status
        return None if status == wanted else f"answered with {status}"

    return check


def _error(wanted: str) -> Check:
    def check(exchange: Exchange, _: Evidence) -> str | None:
        error = exchange.bearer.error
        return None if error == wanted else _wrong(error)

    return check


def _wrong(error: str | None) -> str:
    """Say what is wrong; not what came instead, which the exchange shows without tokens."""
    return "error is missing" if error is None else "error is another one"


def _invalid_request(exchange: Exchange, _: Evidence) -> str | None:
    status = exchange.denial.status
    if status != _BAD_REQUEST:
        return f"answered with {status}"
    try:
        error = exchange.bearer.error
    except (NotApplicableError, ChallengeSyntaxError):
        return None  # refused by the HTTP server itself, before anybody looked for a token
    return None if error == "invalid_request" else _wrong(error)


def _names_scope(exchange: Exchange, _: Evidence) -> str | None:
    if exchange.bearer.error != "insufficient_scope":
        raise NotApplicableError("the error is another one")
    return None if exchange.bearer.scope else "the challenge has no scope"


REQUIREMENTS = (
    Requirement(
        "RFC6750-2.1-1",
        "MUST",
        "A good token in the `Authorization` header is accepted.",
        ("good",),
        _accepted,
    ),
    Requirement(
        "RFC6750-2.3-1",
        "MUST",
        "A token in the query is not accepted (RFC 9700 §4.3.2, FAPI 2.0).",
        ("query",),
        _refused_where_good_passes,
        ours=True,
    ),
    Requirement(
        "RFC6750-3-1",
        "MUST",
        "A request without credentials is refused, with `HEAD` too.",
        ("none", "none-sensitive", "none-head", "none-origin", "basic"),
        _refused,
    ),
    Requirement(
        "RFC6750-3-2",
        "MUST",
        "Who has no token that gives access is told of the scheme `Bearer` by `WWW-Authenticate`.",
        _DENIED,
        _names_bearer,
    ),
    Requirement(
        "RFC6750-3-3",
        "MUST",
        "The scheme `Bearer` is followed by at least one parameter.",
        EVERY,
        _has_parameter,
    ),
    Requirement(
        "RFC6750-3-4",
        "MUST",
        '`scope` is a list of scopes with single spaces, without `"` and `\\`.',
        EVERY,
        _written(("scope",), _SCOPE),
    ),
    Requirement(
        "RFC6750-3-5",
        "MUST",
        '`error` and `error_description` are printable ASCII without `"` and `\\`.',
        EVERY,
        _written(("error", "error_description"), _ERROR_TEXT),
    ),
    Requirement(
        "RFC6750-3-6",
        "MUST",
        "`error_uri` holds characters of a URI only.",
        EVERY,
        _written(("error_uri",), _ERROR_URI),
    ),
    Requirement(
        "RFC6750-3.1-1",
        "SHOULD",
        "Without credentials, or with those of another scheme, the challenge has no error.",
        ("none", "none-sensitive", "basic"),
        _no_error,
    ),
    Requirement(
        "RFC6750-3.1-2",
        "SHOULD",
        "A malformed `Authorization` is answered with 400 `invalid_request`.",
        _MALFORMED,
        _invalid_request,
    ),
    Requirement(
        "RFC6750-3.1-3",
        "MUST",
        "A malformed `Authorization` (two lines, a comma, two tokens, none) is never accepted, "
        "though a good token is in it.",
        _MALFORMED,
        _refused_where_good_passes,
        ours=True,
    ),
    Requirement(
        "RFC6750-3.1-4",
        "SHOULD",
        "A token that is expired, forged or for another audience is answered with 401.",
        _JUDGED,
        _status(_UNAUTHORIZED),
    ),
    Requirement(
        "RFC6750-3.1-5",
        "MUST",
        "What is no token at all is not accepted.",
        ("garbage", "garbage-sensitive"),
        _refused,
    ),
    Requirement(
        "RFC6750-3.1-6",
        "MUST",
        "A token without the scope that is needed is not accepted.",
        ("insufficient-scope",),
        _refused,
    ),
    Requirement(
        "RFC6750-3.1-7",
        "SHOULD",
        "A token without the scope that is needed is answered with 403.",
        ("insufficient-scope",),
        _status(_FORBIDDEN),
    ),
    Requirement(
        "RFC6750-3.1-8",
        "SHOULD",
        "The error of a token without the scope that is needed is `insufficient_scope`.",
        ("insufficient-scope",),
        _error("insufficient_scope"),
    ),
    Requirement(
        "RFC6750-3.1-9",
        "SHOULD",
        "A challenge with `insufficient_scope` names the scopes that are needed.",
        ("insufficient-scope",),
        _names_scope,
        ours=True,
    ),
    Requirement(
        "RFC9068-4-1",
        "MUST",
        "An expired token is not accepted.",
        ("expired", "expired-sensitive"),
        _refused,
    ),
    Requirement(
        "RFC9068-4-2",
        "MUST",
        "A token for another audience is not accepted.",
        ("wrong-audience",),
        _refused,
    ),
    Requirement(
        "RFC9068-4-3",
        "MUST",
        "A token signed by a stranger is not accepted.",
        ("bad-signature",),
        _refused,
    ),
    Requirement(
        "RFC9068-4-4",
        "MUST",
        "The error of a token that is expired, forged or for another audience is `invalid_token`.",
        _JUDGED,
        _error("invalid_token"),
    ),
)
