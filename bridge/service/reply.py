"""A response to a gateway, written in one piece."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from bridge.decision.response import Response

_KNOWN_STATUSES = frozenset(HTTPStatus)


class Reply(web.StreamResponse):
    """A response that is known whole before it begins.

    `web.Response` puts its head together anew, header by header, at a third of what a check costs.

    Args:
        answer: Header names and values without line breaks, as `decision.response` promises.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__(status=answer.status)
        self._answer = answer
        self._request: web.BaseRequest

    @property
    def keep_alive(self) -> bool | None:
        """Tell whether the connection stays open; not after `force_close`."""
        return self._request.keep_alive if self._keep_alive is None else self._keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Take the request; nothing is sent before `write_eof`."""
        self._request = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it.

        Raises:
            ConnectionResetError: The gateway has gone.
        """
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError
        head = self._request.method == "HEAD"
        transport.write(in_bytes(self._answer, self._connection(), head=head))
        await self._request.writer.drain()  # waits only where nobody fetches the answers

    def _connection(self) -> str:
        """Say what becomes of the connection where its version does not say so (RFC 9112 §9.3)."""
        if not self.keep_alive:
            return "connection: close\r\n"
        return "" if self._request.version >= HttpVersion11 else "connection: keep-alive\r\n"


def in_bytes(answer: Response, connection: str = "", *, head: bool = False) -> bytes:
    """Write a whole response.

    Args:
        answer: Header names and values without line breaks, as `decision.response` promises.
        connection: The line that says what becomes of the connection, where that must be said.
        head: `HEAD` was asked: the gateway expects no body (RFC 9110 §9.3.2), whatever the client
            asked it.
    """
    lines = [f"{name}: {value}\r\n" for name, value in answer.headers]
    fields = "".join(lines)
    if fields.count("\n") != len(lines) or fields.count("\r") != len(lines):
        raise ValueError("a header holds a line break")
    body = answer.body.encode()
    written = (
        f"{_status_line(answer.status)}{fields}content-length: {len(body)}\r\n"
        f"date: {_http_date(int(time.time()))}\r\nserver: stepup-bridge\r\n{connection}\r\n"
    )
    return written.encode("ascii") if head else written.encode("ascii") + body


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    phrase = HTTPStatus(status).phrase if status in _KNOWN_STATUSES else ""
    return f"HTTP/1.1 {status} {phrase}\r\n"


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
