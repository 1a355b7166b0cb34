"""A request as a person writes it: a method, a URL, some headers, a token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bridge.gateways.check_request import CheckRequest, check_request

# scheme "://" authority target; the target stays byte for byte what was written
_URL = re.compile(r"https?://(?P<host>[^/?#]*)(?P<target>.*)", re.IGNORECASE | re.DOTALL)


class QuestionSyntaxError(ValueError):
    """A URL or header is not written as one; the text says what is wrong."""


class _Headers:
    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in lines:
            self._values.setdefault(name.lower(), []).append(value)

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
        return self._values.get(key, default)


def ask(method: str, url: str, headers: Iterable[tuple[str, str]] = ()) -> CheckRequest:
    """Write a request as a gateway would ask about it.

    Args:
        url: Absolute; nothing in it is decoded or normalised. An empty path is `/`.
        headers: Names and values, `Authorization` among them; `Host` takes the place of the URL's.

    Raises:
        QuestionSyntaxError: No absolute http or https URL.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise QuestionSyntaxError("the URL must be absolute, such as https://api.example.com/path")
    target = match["target"]
    if not target.startswith("/"):
        target = "/" + target
    read = _Headers(headers)
    hosts = read.getall("host", (match["host"],))
    return check_request("rehearsal", method, hosts, target, read)


def read_header(line: str) -> tuple[str, str]:
    """Read `Name: value`.

    Raises:
        QuestionSyntaxError: There is no colon, or no name.
    """
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
        raise QuestionSyntaxError("a header must be written as 'Name: value'")
    return name, value.strip(" \t")


def host_of(request: CheckRequest) -> str:
    """Give the host for display, without anything that could be a password."""
    return request.hosts[0].rpartition("@")[2]
