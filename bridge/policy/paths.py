"""The raw request target, read once and only one way (docs/decisions.md, row 1).

A path that the gateway, this bridge and the upstream could read differently is refused, not
repaired: every published by-pass of this class of software began with a repair.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_to_bytes

from bridge.errors import RequestError
from bridge.policy.operations import STRICT_PATH_RULES, PathRules

MAX_PATH_BYTES = 8192

# What no two parsers read differently, and needs no decoding: nearly every path there is.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")
# C0, space, DEL: no part of any target (RFC 3986 §3.3); `\` and `#` are read differently.
_NEVER_RAW = re.compile(r"[\x00-\x20\x7f\\#]")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# %2f is judged apart, an API may allow it.
_NEVER_ENCODED = re.compile(r"%(?:5c|23|3f|7f|[01][0-9a-f])", re.IGNORECASE)
_ENCODED_SLASH = re.compile(r"%2f", re.IGNORECASE)
_SEMICOLON = re.compile(r";|%3b", re.IGNORECASE)
_STILL_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_C1_CONTROL = re.compile(r"[\x80-\x9f]")
_PARAMETERS = re.compile(r";[^/]*")
_SLASHES = re.compile(r"/{2,}")


def split_target(target: str) -> str:
    """Cut the query off a raw request target. Spec: RFC 9112 §3.2.1 (origin-form)."""
    return target.partition("?")[0]


def read_segments(path: str, rules: PathRules) -> tuple[str, ...]:
    """Decode a raw path once and split it into segments.

    Args:
        path: Raw path without the query, exactly as it came.
        rules: What the API that the path belongs to tolerates.

    Returns:
        The decoded segments; one trailing `/` is ignored, so `/` gives none. A slash that came
        encoded (`allow_encoded_slash`) is part of its segment, not a separator.

    Raises:
        RequestError: The path could be read in two ways, or is none.
    """
    if len(path) > MAX_PATH_BYTES:
        raise RequestError("path_too_long", "The request path is too long")
    if _PLAIN.fullmatch(path):
        return tuple(path.strip("/").split("/"))
    if not path.startswith("/"):
        raise ambiguous("path_without_leading_slash")
    if not path.isascii():
        raise ambiguous("path_not_ascii")
    if _NEVER_RAW.search(path):
        raise ambiguous("path_forbidden_character")
    if not rules.allow_semicolon and _SEMICOLON.search(path):
        raise ambiguous("path_semicolon")
    decoded = _decode(path, rules) if "%" in path else path
    if not rules.allow_double_slash and "//" in path:
        raise ambiguous("path_double_slash")
    if "/." in decoded:
        _refuse_dot_segments(decoded)
    segments = path[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    if decoded is path:
        return tuple(segments)
    return tuple(unquote_to_bytes(segment).decode() for segment in segments)


def _decode(path: str, rules: PathRules) -> str:
    if _BROKEN_PERCENT.search(path):
        raise ambiguous("path_broken_percent_encoding")
    if _NEVER_ENCODED.search(path):
        raise ambiguous("path_forbidden_character")
    if not rules.allow_encoded_slash and _ENCODED_SLASH.search(path):
        raise ambiguous("path_encoded_slash")
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise ambiguous("path_not_utf8") from None
    if _C1_CONTROL.search(decoded):
        raise ambiguous("path_forbidden_character")
    if not rules.allow_double_encoding and _STILL_ENCODED.search(decoded):
        raise ambiguous("path_double_encoding")
    return decoded


def _refuse_dot_segments(decoded: str) -> None:
    """Refuse `.` and `..`, also with parameters: `/..;p/` is `/../` to some (CVE-2026-73551)."""
    for segment in decoded.split("/"):
        if segment.partition(";")[0] in (".", ".."):
            raise ambiguous("path_dot_segment")


def other_spellings(path: str, rules: PathRules) -> set[str]:
    """Give what a raw path could be to servers that decode it, or repair what the rules let in."""
    decoded = unquote(path)
    if rules == STRICT_PATH_RULES:
        return {decoded}
    spellings = {path, decoded}
    for repair in (_cut_parameters, unquote, unquote, _cut_parameters, _merge_slashes):
        spellings |= {repair(spelling) for spelling in spellings}
    return spellings - {path}


def _cut_parameters(path: str) -> str:
    return _PARAMETERS.sub("", path)


def _merge_slashes(path: str) -> str:
    return _SLASHES.sub("/", path)


def ambiguous(reason: str) -> RequestError:
    """Make the error of a path that can be read in two ways."""
    return RequestError(reason, "The request path is ambiguous")
