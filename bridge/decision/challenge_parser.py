"""`WWW-Authenticate` values, read strictly: several schemes and lines, token68, quoted-pair."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MAX_INPUT_CHARACTERS = 64 * 1024

# OWS = *( SP / HTAB )  (RFC 9110 §5.6.3); BWS is the same
_OWS = re.compile(r"[ \t]*")
# empty elements of a list: *( "," OWS )  (RFC 9110 §5.6.1.2)
_EMPTY_ELEMENTS = re.compile(r"[ \t,]*")
# token = 1*tchar  (RFC 9110 §5.6.2)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="  (RFC 9110 §11.2),
# and then the end of the challenge: otherwise it was the name of an auth-param
_TOKEN68 = re.compile(r"([A-Za-z0-9\-._~+/]+=*)[ \t]*(?=,|$)")
# auth-param = token BWS "=" BWS ( token / quoted-string )  (RFC 9110 §11.2)
_PARAM_NAME = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*")
# quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE  (RFC 9110 §5.6.4)
# qdtext = HTAB / SP / %x21 / %x23-5B / %x5D-7E / obs-text; quoted-pair = "\" ( HTAB / SP / VCHAR )
_QUOTED = re.compile(r'"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
# max_age: "a non-negative integer"  (RFC 9470 §3); more digits no clock needs
_MAX_AGE = re.compile(r"[0-9]{1,12}")


class ChallengeSyntaxError(ValueError):
    """A `WWW-Authenticate` value is not written as RFC 9110 says.

    Attributes:
        line: Which of the values, from 0.
        offset: Where in it, in characters from 0.
    """

    def __init__(self, message: str, line: int = 0, offset: int = 0) -> None:
        super().__init__(f"{message} (value {line}, offset {offset})")
        self.line = line
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge.

    Attributes:
        scheme: As sent; schemes are compared without regard to case.
        params: Values by lower-case name, unquoted, in the order sent.
        token68: Instead of parameters; None where there is none.
    """

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)
    token68: str | None = None

    @property
    def error(self) -> str | None:
        """The error code (RFC 6750 §3.1, RFC 9470 §3); None where there is none."""
        return self.params.get("error")

    @property
    def acr_values(self) -> tuple[str, ...]:
        """Any of them will do, the first is preferred (RFC 9470 §3)."""
        return self._members("acr_values")

    @property
    def max_age(self) -> int | None:
        """Oldest acceptable authentication, seconds (RFC 9470 §3); None where there is none.

        Raises:
            ChallengeSyntaxError: Not a non-negative integer.
        """
        text = self.params.get("max_age")
        if text is None:
            return None
        if not _MAX_AGE.fullmatch(text):
            raise ChallengeSyntaxError("max_age is not a non-negative integer")
        return int(text)

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that are needed (RFC 6750 §3)."""
        return self._members("scope")

    def _members(self, name: str) -> tuple[str, ...]:
        return tuple(member for member in self.params.get(name, "").split(" ") if member)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse the values of `WWW-Authenticate`, one string for each header line.

    Raises:
        ChallengeSyntaxError: Says what is wrong and where. Nothing is guessed: a client that cannot
            read a challenge must not act on half of it.
    """
    challenges: list[Challenge] = []
    total = 0
    for line, value in enumerate(values):
        total += len(value)
        if total > MAX_INPUT_CHARACTERS:
            raise ChallengeSyntaxError("longer than 64 KiB", line)
        challenges += _Parser(value, line).challenges()
    return challenges


class _Parser:
    """Reads one value from left to right; `at` is where."""

    def __init__(self, text: str, line: int) -> None:
        self.text = text
        self.line = line
        self.at = 0

    def challenges(self) -> list[Challenge]:
        found = []
        self._skip(_EMPTY_ELEMENTS)
        while self.at < len(self.text):
            found.append(self._challenge())
        return found

    def _challenge(self) -> Challenge:
        scheme = self._take(_TOKEN, "a scheme is expected here")
        if self._at_separator():
            self._next_element()
            return Challenge(scheme)
        if self.text[self.at] != " ":
            raise self._error("a space is expected after the scheme")
        self._skip(_OWS)
        if self._at_separator():
            self._next_element()
            return Challenge(scheme)
        token68 = _TOKEN68.match(self.text, self.at)
        if token68 is not None:
            self.at = token68.end()
            self._next_element()
            return Challenge(scheme, token68=token68[1])
        return Challenge(scheme, self._params())

    def _params(self) -> dict[str, str]:
        params: dict[str, str] = {}
        while True:
            start = self.at
            name = self._take(_PARAM_NAME, "a parameter, name=value, is expected here").lower()
            if name in params:
                self.at = start
                raise self._error("a parameter stands twice")
            params[name] = self._value()
            self._skip(_OWS)
            if not self._at_separator():
                raise self._error("a comma is expected here")
            self._next_element()
            if _PARAM_NAME.match(self.text, self.at) is None:
                return params  # the end, or the scheme of the next challenge

    def _value(self) -> str:
        if not self.text.startswith('"', self.at):
            return self._take(_TOKEN, "a value is expected here")
        quoted = self._take(_QUOTED, "a quoted string is broken or holds a control character")
        return _QUOTED_PAIR.sub(r"\1", quoted)

    def _take(self, pattern: re.Pattern[str], message: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self._error(message)
        self.at = match.end()
        return match[match.lastindex or 0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _at_separator(self) -> bool:
        return self.at == len(self.text) or self.text[self.at] == ","

    def _next_element(self) -> None:
        self._skip(_EMPTY_ELEMENTS)

    def _error(self, message: str) -> ChallengeSyntaxError:
        return ChallengeSyntaxError(message, self.line, self.at)
