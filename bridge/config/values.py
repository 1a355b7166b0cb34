"""Single values as the operator writes them, read and checked. Each error follows "path: "."""

from __future__ import annotations

import re

from bridge.tokens.settings import ClaimPath

NAME_PATTERN = r"[A-Za-z0-9_-]{1,64}"
# scope-token (RFC 6749 §3.3): %x21 / %x23-5B / %x5D-7E. The same for acr: both stand in a quoted,
# space-separated parameter of the challenge (RFC 9470 §3).
SCOPE_TOKEN_PATTERN = r"[!#-\[\]-~]+"
METHOD_PATTERN = r"[!#$%&'+.^_`|~0-9A-Z-]{1,32}"  # token (RFC 9110 §5.6.2) without lower case, *
VARIABLE_PATTERN = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
DURATION_PATTERN = r"[0-9]{1,9}[smh]"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^`|~0-9a-z-]+")

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}

NO_METHOD = frozenset(("ANY", "ALL", "*"))

_HOP_BY_HOP = frozenset(
    (
        "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
_NEVER_IDENTITY = frozenset(("authorization", "cookie", "expect", "host"))
# What stands in the bridge's answers, where a gateway would read the one for the other.
_OF_ANSWERS = frozenset(
    (
        "access-control-expose-headers", "cache-control", "date", "dpop-nonce", "retry-after",
        "server", "set-cookie", "www-authenticate", "x-stepup-body", "x-stepup-status",
        "x-stepup-would-deny",
    )
)  # fmt: skip


def duration(value: object) -> int:
    """Read whole seconds, or `10s`, `5m`, `1h`.

    Returns:
        Seconds, >= 0.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        return int(value[:-1]) * _UNIT_SECONDS[value[-1]]
    raise ValueError("must be a whole number of seconds or a duration such as 5m")


def duration_text(seconds: int) -> str:
    """Write a duration the short way."""
    for unit in "hm":
        if seconds and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}s"


def name(text: str) -> str:
    """Check the name of an API or operation; it becomes a metric label."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise ValueError("must be 1 to 64 letters, digits, - or _ (it names metrics and log lines)")
    return text


def scope_token(text: str) -> str:
    """Check a scope or acr value. Spec: RFC 6749 §3.3, RFC 9470 §3."""
    if not re.fullmatch(SCOPE_TOKEN_PATTERN, text):
        raise ValueError(
            "must be printable ASCII without space, quote or backslash"
            " (anything else cannot stand in a challenge)"
        )
    return text


def plain_text(text: str) -> str:
    """Check a value that is compared exactly, such as an audience or a claim's name."""
    if not text:
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must not contain control or invisible characters")
    return text


def variable_name(text: str) -> str:
    """Check the name of an environment variable; a secret that was put there is not repeated."""
    if not re.fullmatch(VARIABLE_PATTERN, text):
        raise ValueError("must be the name of an environment variable, such as CLIENT_SECRET")
    return text


def realm(text: str) -> str:
    """Check a realm. Spec: RFC 9110 §11.5 (quoted-string), where only ASCII is safe."""
    if not plain_text(text).isascii():
        raise ValueError("must be ASCII (anything else cannot stand in a challenge)")
    return text


def method(text: str) -> str:
    """Check a method. Spec: RFC 9110 §9.1 (case-sensitive)."""
    if text.upper() in NO_METHOD:
        raise ValueError("must be a method such as GET; leave out methods for any method")
    if text != text.upper() and re.fullmatch(METHOD_PATTERN, text.upper()):
        raise ValueError("must be upper case: methods are case-sensitive")
    if not re.fullmatch(METHOD_PATTERN, text):
        raise ValueError("must be a method such as GET")
    return text


def header_name(text: str) -> str:
    """Check the name of an identity header.

    Returns:
        Lower case.
    """
    given = text.lower()
    if given.startswith(":"):
        raise ValueError("must not be a pseudo header")
    if "_" in given:
        raise ValueError("must not contain _ (upstreams that read - and _ alike could be fooled)")
    if not _HEADER_NAME.fullmatch(given):
        raise ValueError("must be a header name such as x-user")
    if given in _HOP_BY_HOP:
        raise ValueError("must not be a hop-by-hop header")
    if given in _NEVER_IDENTITY or given.startswith("content-"):
        raise ValueError("must not be a header that the request itself depends on")
    if given in _OF_ANSWERS or given.startswith(("x-envoy-", "x-accel-")):
        raise ValueError("must not be a header that the bridge or a gateway uses for itself")
    return given


_CLAIM_EXPECTED = "must be a claim's name, or a list of alternatives: names, or lists of names"


def claim_paths(value: object) -> tuple[ClaimPath, ...]:
    """Read where a claim is: a name, or a list of alternatives, each a name or a path of names."""
    if isinstance(value, str):
        return ((plain_text(value),),)
    if not isinstance(value, list):
        raise ValueError(_CLAIM_EXPECTED)
    if not value:
        raise ValueError("must not be empty")
    return tuple(_claim_path(alternative) for alternative in value)


def _claim_path(value: object) -> ClaimPath:
    names: list[object] = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(each, str) for each in names):
        raise ValueError(_CLAIM_EXPECTED)
    return tuple(plain_text(str(each)) for each in names)
