"""`StepUpAuth`: step-up as an `httpx.Auth`, for sync and async clients."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator

import anyio
import httpx

from bridge.client.flow import Answer, Next, RequestFlow
from bridge.client.keyring import Keyring
from bridge.client.login import AsyncLogin, Login
from bridge.client.origin import origin_of
from bridge.client.wallet import Held


class StepUpAuth(httpx.Auth):
    """Sends the token, and steps up where the API asks for more.

    A request that meets a challenge uses another token at hand or runs the login callback, and is
    sent again. Requests that meet the same challenge at once share one login, also its failure.
    One object serves sync clients in any threads, or async clients of one event loop.

    Args:
        login: Logs the user in as a `LoginRequest` says and gives a `Token`; raises a `LoginError`
            where it cannot. A plain function that an async client calls runs in a thread.
        keyring: The tokens; None: a new, empty one.
        buffer_bodies: Read a streamed body into memory first, so that it can be sent twice.

    Raises (from the client's request):
        StepUpError: The challenge cannot be followed, the login failed, the new token met the same
            challenge again, or the body was a stream.
    """

    def __init__(
        self,
        login: Login | AsyncLogin,
        *,
        keyring: Keyring | None = None,
        buffer_bodies: bool = False,
    ) -> None:
        self.keyring = Keyring() if keyring is None else keyring
        self._login = login
        self._buffer_bodies = buffer_bodies
        self._thread_locks: dict[str, threading.Lock] = {}
        self._task_locks: dict[str, anyio.Lock] = {}

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request of a sync client until it is done."""
        if self._buffer_bodies:
            request.read()
        flow = self._begin(request)
        held = self.keyring.first(flow)
        while True:
            self._sign(request, held)
            response = yield request
            following = self._answered(flow, request, response)
            if following is Next.DONE:
                return
            response.read()  # the connection is free while the user logs in
            if following is Next.STEP_UP:
                lock = self._thread_locks.setdefault(origin_of(str(request.url)), threading.Lock())
                with lock:
                    held = self.keyring.step_up(flow, self._login)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send a request of an async client until it is done."""
        if self._buffer_bodies:
            await request.aread()
        flow = self._begin(request)
        held = self.keyring.first(flow)
        while True:
            self._sign(request, held)
            response = yield request
            following = self._answered(flow, request, response)
            if following is Next.DONE:
                return
            await response.aread()
            if following is Next.STEP_UP:
                lock = self._task_locks.setdefault(origin_of(str(request.url)), anyio.Lock())
                async with lock:
                    held = await self.keyring.step_up_async(flow, self._login)

    def _begin(self, request: httpx.Request) -> RequestFlow:
        # Only bytes are the same when sent again: a file would go on where it ended.
        replayable = isinstance(request.stream, httpx.ByteStream)
        return self.keyring.begin(request.method, str(request.url), replayable=replayable)

    def _sign(self, request: httpx.Request, held: Held | None) -> None:
        request.headers.update(self.keyring.credentials(held, request.method, str(request.url)))

    def _answered(
        self, flow: RequestFlow, request: httpx.Request, response: httpx.Response
    ) -> Next:
        url = str(request.url)
        # A redirect may have led elsewhere; whoever answers there has no say in where to log in.
        of_origin = origin_of(str(response.request.url)) == origin_of(url)
        lines = [
            value.decode("latin-1")
            for name, value in response.headers.raw
            if name.lower() == b"www-authenticate"
        ]
        nonce = response.headers.get("dpop-nonce")
        answer = Answer(response.status_code, lines, nonce, of_origin)
        return self.keyring.answered(flow, url, answer)
