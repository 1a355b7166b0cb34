"""The authz listener's connections: what becomes of a request that could not be handled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Fail = Callable[[int, BaseException | None], web.StreamResponse]


class AuthzServer(web.Server):
    """Makes a connection for each gateway that connects.

    Args:
        answer: Answers a request.
        fail: Answers what the HTTP parser refused (400), or where `answer` itself raised (500).
        options: As of `web.Server`.
    """

    def __init__(self, answer: Answer, fail: Fail, **options: Any) -> None:
        super().__init__(answer, **options)
        self._fail = fail

    def __call__(self) -> web.RequestHandler:
        """Make one."""
        return _Connection(self, self._fail, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    def __init__(self, server: web.Server, fail: Fail, **options: Any) -> None:
        super().__init__(server, **options)
        self._fail = fail

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
