"""The authz listener's connections: most checks are answered as they arrive, without a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import aiohttp
from aiohttp import EMPTY_PAYLOAD, HttpVersion11, StreamReader, web
from aiohttp.http import HttpRequestParser, RawRequestMessage

Begun = TypeVar("Begun")
"""What has begun of an answer."""

Answer = Callable[[web.BaseRequest, Begun | None], Awaitable[web.StreamResponse]]
AnswerAtOnce = Callable[[RawRequestMessage, bytes], bytes | Begun | None]
Fail = Callable[[int, BaseException | None], web.StreamResponse]

# What is private to aiohttp, and relied on here. Where it is not there every request takes a task.
_PRIVATE = {
    web.RequestHandler: (
        *("_waiter", "_messages", "_parser", "_upgraded", "_paused", "_reading_paused"),
        *("_next_keepalive_close_time", "_keepalive_timeout", "_loop", "transport"),
    ),
    HttpRequestParser: ("message_consumed",),
    StreamReader: ("_buffer",),
}
KNOWS_AIOHTTP = aiohttp.__version__.startswith("3.14.") and all(
    hasattr(kind, name) for kind, names in _PRIVATE.items() for name in names
)


class AuthzServer(web.Server, Generic[Begun]):
    """Makes a connection for each gateway that connects.

    Args:
        answer: Answers a request; is given what `answer_at_once` has begun of it.
        answer_at_once: Gives the whole answer to a request with its body, or what it has begun;
            None: nothing.
        fail: Answers what the HTTP parser refused (400), or where `answer` itself raised (500).
        options: As of `web.Server`.
    """

    def __init__(
        self,
        answer: Answer[Begun],
        answer_at_once: AnswerAtOnce[Begun],
        fail: Fail,
        **options: Any,
    ) -> None:
        super().__init__(self._answer, **options)
        self._finish = answer
        self._answer_at_once = answer_at_once
        self._fail = fail

    def __call__(self) -> web.RequestHandler:
        """Make one."""
        return _Connection(self, self._answer_at_once, self._fail, loop=self._loop, **self._kwargs)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        begun = connection.take_begun() if isinstance(connection, _Connection) else None
        return await self._finish(request, begun)


class _Connection(web.RequestHandler):
    def __init__(
        self, server: web.Server, answer_at_once: AnswerAtOnce[Any], fail: Fail, **options: Any
    ) -> None:
        super().__init__(server, **options)
        self._answer_at_once = answer_at_once
        self._fail = fail
        self._begun: Any = None  # of the request that a task is woken for

    def take_begun(self) -> Any:
        """Give what has begun of the answer, once."""
        begun, self._begun = self._begun, None
        return begun

    def data_received(self, data: bytes) -> None:
        """Take what has arrived. One whole request is answered here if it can be.

        aiohttp's own way wakes a task, which starts another one for the request and waits for it.
        That is the way of everything else: of requests that follow each other without waiting for
        answers, whose answers nobody fetches, or whose bodies are still arriving.
        """
        waiter = self._waiter
        if waiter is None or waiter.done() or not KNOWS_AIOHTTP:
            super().data_received(data)
            return
        self._waiter = None  # so that nobody is woken yet
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if not self._messages or self._answer_first():
            return
        waiter.set_result(None)

    def _answer_first(self) -> bool:
        if len(self._messages) > 1 or self._upgraded or self._paused or self._reading_paused:
            return False
        message, payload = self._messages[0]
        if (
            not isinstance(message, RawRequestMessage)  # what the parser refused
            or message.version != HttpVersion11
            or message.should_close
            or not payload.is_eof()
        ):
            return False
        parser, transport = self._parser, self.transport
        if parser is None or transport is None:
            return False
        answer = self._answer_at_once(message, _body(payload))
        if not isinstance(answer, bytes):
            self._begun = answer
            return False
        self._messages.popleft()
        parser.message_consumed()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        transport.write(answer)
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer without `message`: it quotes what was refused, a token perhaps."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way")
        response = self._fail(status, exc)
        response.force_close()
        return response


def _body(payload: StreamReader) -> bytes:
    """Look at a body that has arrived, and leave it where it is."""
    return b"" if payload is EMPTY_PAYLOAD else b"".join(payload._buffer)
