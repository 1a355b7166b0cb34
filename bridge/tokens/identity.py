"""The identity headers that the upstream gets from a verified token, and nobody else can send.

Every configured name is set or removed on every allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

WOULD_DENY_HEADER = "x-stepup-would-deny"
_MAX_VALUE_BYTES = 4096
_MAX_EXACT_FLOAT = 2**53
# Printable ASCII but `%`; the space is apart, it is encoded where it would be ambiguous.
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%")


class UpstreamHeaders(NamedTuple):
    """What to do to the request that goes to the upstream.

    Attributes:
        set: Lower-case names and values, each value one line of printable ASCII.
        remove: Names that the upstream must not see, also in the all-underscore spelling, which
            CGI-like servers read as the same header.
    """

    set: tuple[tuple[str, str], ...]
    remove: tuple[str, ...]

    def with_would_deny(self, error: str) -> UpstreamHeaders:
        """Add the monitor mode's note."""
        return self._replace(
            set=(*self.set, (WOULD_DENY_HEADER, error)),
            remove=tuple(name for name in self.remove if name != WOULD_DENY_HEADER),
        )


class IdentityHeaders:
    """The configured `upstream_headers`, prepared.

    Args:
        names: Lower-case header name and claim name, in order.
    """

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self._names = tuple(names)
        underscored = tuple(
            name.replace("-", "_")
            for name in (*(header for header, _ in self._names), WOULD_DENY_HEADER)
            if "-" in name
        )
        # Tokens of one kind lack the same: held once.
        self._removed = lru_cache(maxsize=256)(
            lambda *absent: (*absent, WOULD_DENY_HEADER, *underscored)
        )
        self.nobody = self.of({})

    def of(
        self, claims: Mapping[str, Any], shown: Mapping[str, Any] = MappingProxyType({})
    ) -> UpstreamHeaders:
        """Compute the headers of a token.

        Args:
            claims: Verified claims.
            shown: What to show instead of the claims of these names, or of none: the values after
                the issuer's `claims` and `acr_map` settings.
        """
        present = []
        absent = []
        for header, name in self._names:
            claim = shown[name] if name in shown else claims.get(name)
            pair = _text_pair(header, claim) if type(claim) is str else _pair(header, claim)
            if pair is None:
                absent.append(header)
            else:
                present.append(pair)
        return UpstreamHeaders(tuple(present), self._removed(*absent))


def _pair(header: str, claim: Any) -> tuple[str, str] | None:
    value = header_value(claim)
    return None if value is None else (header, value)


# Most tokens differ in little but `sub` and times: what they share is written and held once.
@lru_cache(maxsize=1024)
def _text_pair(header: str, text: str) -> tuple[str, str] | None:
    value = _encode_string(text)
    return (header, value) if 0 < len(value) <= _MAX_VALUE_BYTES else None


def header_value(claim: Any) -> str | None:
    """Write a claim as one header value, or None where it cannot be one.

    Strings, integers, and lists of strings joined with a space. Control characters, non-ASCII and
    `%` are percent-encoded as UTF-8, and so is a space that would be lost or would join: at the
    ends, and inside a list's member. Over 4 KiB, empty, or of another type: None.
    """
    match claim:
        case str():
            value = _encode_string(claim)
        case bool():
            return None
        case int():
            value = str(claim)
        case float() if claim.is_integer() and abs(claim) <= _MAX_EXACT_FLOAT:
            value = str(int(claim))
        case list() if all(isinstance(member, str) for member in claim):
            value = " ".join(quote(member, safe=_SAFE) for member in claim if member)
        case _:
            return None
    return value if 0 < len(value) <= _MAX_VALUE_BYTES else None


def _encode_string(text: str) -> str:
    if text.isascii() and text.isprintable() and "%" not in text and text == text.strip(" "):
        return text
    inner = text.strip(" ")
    start = len(text) - len(text.lstrip(" "))
    end = len(text) - start - len(inner)
    return "%20" * start + quote(inner, safe=_SAFE + " ") + "%20" * end
