"""`WWW-Authenticate` lines in, challenges out: what a client reads, as strictly as it may.

The grammar line stands above each regex. Every quantifier is possessive: nothing is read twice, so
the work grows with the input and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MAX_CHALLENGE_BYTES = 64 * 1024
MAX_AGE_DIGITS = 10
"""Digits of a `max_age`: three hundred years."""

# tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#       / DIGIT / ALPHA  (RFC 9110 §5.6.2)
# token = 1*tchar; auth-scheme = token  (RFC 9110 §5.6.2, §11.1)
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")

# token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="  (RFC 9110 §11.2)
# It ends its list element; else `a=` of `a=b` would be one.
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]++=*+(?=[ \t]*+(?:,|\Z))")

# quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE  (RFC 9110 §5.6.4)
# qdtext        = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text
# quoted-pair   = "\" ( HTAB / SP / VCHAR / obs-text )
# Without the closing DQUOTE, so that the caller can say where one is missing.
_QUOTED = re.compile(r'"((?:[\t !#-\[\]-~\x80-\xff]++|\\[\t -~\x80-\xff])*+)')
_QUOTED_PAIR = re.compile(r"\\(.)")

# challenge = auth-scheme [ 1*SP ( token68 / #auth-param ) ]  (RFC 9110 §11.3)
_SPACES = re.compile(r" ++")

# auth-param = token BWS "=" BWS ( token / quoted-string ); BWS = OWS  (RFC 9110 §11.2, §5.6.3)
_EQUALS = re.compile(r"[ \t]*+=[ \t]*+")

# #element = [ element ] *( OWS "," OWS [ element ] ); OWS = *( SP / HTAB )  (RFC 9110 §5.6.1.2)
_EMPTY_ELEMENTS = re.compile(r"[ \t,]*+")
_END_OF_ELEMENT = re.compile(r"[ \t]*+(?:,[ \t,]*+|\Z)")
_NO_ELEMENT = ("", ",", "\t")

# field-vchar = VCHAR / obs-text, and SP and HTAB between them: what is none of them  (§5.5)
_NEVER = re.compile(r"[^\t -~\x80-\xff]")

# max_age = 1*DIGIT, "a non-negative integer"  (RFC 9470 §3), bounded
_MAX_AGE = re.compile(rf"[0-9]{{1,{MAX_AGE_DIGITS}}}")

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


class ChallengeSyntaxError(ValueError):
    """The lines are no list of challenges.

    Attributes:
        reason: What is wrong. Holds no value of a parameter.
        line: Index of the line, from 0; None where the parameter's place is no longer known.
        offset: Index in that line of the character that is wrong, from 0; None like `line`.
    """

    def __init__(self, reason: str, line: int | None = None, offset: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}, offset {offset}: {reason}")
        self.reason = reason
        self.line = line
        self.offset = offset


class RepeatedParameterError(ChallengeSyntaxError):
    """A parameter stands twice in one challenge (RFC 9110 §11.2)."""


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """One challenge. Equal ones have the same parameters, in any order (RFC 9110 §11.2).

    Attributes:
        scheme: As written; equal in any case (RFC 9110 §11.1).
        params: Unescaped values by lower-case name, in the order they came.
        token68: Never together with `params`.
    """

    scheme: str
    params: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMS)
    token68: str | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Challenge):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, frozenset[tuple[str, str]], str | None]:
        return self.scheme.lower(), frozenset(self.params.items()), self.token68

    @property
    def error(self) -> str | None:
        """The error code (RFC 6750 §3); None where the client sent no credentials."""
        return self.params.get("error")

    @property
    def acr_values(self) -> tuple[str, ...]:
        """The acr values of which one is required, the preferred first (RFC 9470 §3)."""
        return _members(self.params.get("acr_values", ""))

    @property
    def max_age(self) -> int | None:
        """The oldest acceptable authentication, seconds (RFC 9470 §3).

        Raises:
            ChallengeSyntaxError: It is no number, or one of more than 10 digits.
        """
        value = self.params.get("max_age")
        if value is None:
            return None
        if not _MAX_AGE.fullmatch(value):
            raise ChallengeSyntaxError(f"max_age must be 1 to {MAX_AGE_DIGITS} digits")
        return int(value)

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that are required, all of them (RFC 6750 §3)."""
        return _members(self.params.get("scope", ""))


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse the `WWW-Authenticate` values of one response.

    Args:
        values: One string for each header line, decoded as ISO-8859-1.

    Returns:
        The challenges in order; none for no lines and for empty ones.

    Raises:
        ChallengeSyntaxError: Anything that RFC 9110 does not allow, or over 64 KiB in all.

    Does not check: what a scheme demands of its parameters, e.g. that `realm` is quoted.
    Spec: RFC 9110 §11.6.1, §11.3, §11.2, §5.6.1.2.
    """
    challenges: list[Challenge] = []
    size = -2
    for number, text in enumerate(values):
        size += 2 + len(text)  # as joined with ", ": endless empty lines end too
        if size > MAX_CHALLENGE_BYTES:
            raise ChallengeSyntaxError(f"over {MAX_CHALLENGE_BYTES} bytes in all", number, 0)
        challenges.extend(_Line(text, number).read_challenges())
    return challenges


@dataclass(frozen=True, slots=True)
class _Line:
    """One header line. Each `read_*` takes the offset to start at and gives the one to go on at."""

    text: str
    number: int

    def read_challenges(self) -> Iterator[Challenge]:
        if (never := _NEVER.search(self.text)) is not None:
            raise self.fault("a character that no header may hold", never.start())
        empty = _EMPTY_ELEMENTS.match(self.text)
        at = 0 if empty is None else empty.end()
        while at < len(self.text):
            challenge, at = self.read_challenge(at)
            yield challenge

    def read_challenge(self, at: int) -> tuple[Challenge, int]:
        scheme, end = self.read_token(at, "an authentication scheme")
        if _EQUALS.match(self.text, end):
            raise self.fault("a parameter where a scheme is due", at)
        spaces = _SPACES.match(self.text, end)
        if spaces is None:  # no list of parameters to go on with: `Basic,a=b` is junk
            return Challenge(scheme), self.read_end(end)
        at = spaces.end()
        token68 = _TOKEN68.match(self.text, at)
        if token68 is not None:
            return Challenge(scheme, token68=token68[0]), self.read_end(token68.end())
        params: dict[str, str] = {}
        # The list may start with empty elements, or there may be none: `Basic , a=b`, `Basic `.
        if self.text[at : at + 1] not in _NO_ELEMENT:
            at = self.read_param(at, params)
        at = self.read_end(at)
        while self.is_param(at):
            at = self.read_end(self.read_param(at, params))
        return Challenge(scheme, MappingProxyType(params)), at

    def is_param(self, at: int) -> bool:
        name = TOKEN.match(self.text, at)
        return name is not None and _EQUALS.match(self.text, name.end()) is not None

    def read_param(self, at: int, params: dict[str, str]) -> int:
        written, end = self.read_token(at, "a parameter")
        name = written.lower()
        if name in params:
            raise RepeatedParameterError(f"parameter {name} given twice", self.number, at)
        equals = _EQUALS.match(self.text, end)
        if equals is None:
            raise self.fault("no = after a parameter's name", end)
        start = equals.end()
        if self.text.startswith('"', start):
            params[name], end = self.read_quoted(start)
        else:
            params[name], end = self.read_token(start, "a parameter's value")
        return end

    def read_quoted(self, at: int) -> tuple[str, int]:
        body = _QUOTED.match(self.text, at)
        end = at if body is None else body.end()
        if body is None or not self.text.startswith('"', end):
            raise self.fault("quoted-string not closed", at)
        return _QUOTED_PAIR.sub(r"\1", body[1]), end + 1

    def read_token(self, at: int, what: str) -> tuple[str, int]:
        token = TOKEN.match(self.text, at)
        if token is None:
            raise self.fault(f"no token where {what} is due", at)
        return token[0], token.end()

    def read_end(self, at: int) -> int:
        end = _END_OF_ELEMENT.match(self.text, at)
        if end is None:
            raise self.fault("neither a comma nor the end", at)
        return end.end()

    def fault(self, reason: str, offset: int) -> ChallengeSyntaxError:
        return ChallengeSyntaxError(reason, self.number, offset)


def _members(value: str) -> tuple[str, ...]:
    """Split a space-separated list; other white space is no separator (RFC 6749 §3.3)."""
    return tuple(member for member in value.split(" ") if member)
