"""`StepUpMiddleware`: step-up as a client middleware of aiohttp."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.payload import BytesPayload

from bridge.client.flow import Answer, Next
from bridge.client.keyring import Keyring
from bridge.client.login import AsyncLogin, Login
from bridge.client.origin import origin_of


class StepUpMiddleware:
    """Does for aiohttp what `StepUpAuth` does for httpx; arguments and errors as there.

    Args:
        api: Any URL of the API. Requests to other origins pass untouched: a middleware cannot tell
            the caller's request from a redirect, which may lead anywhere.
    """

    def __init__(
        self, api: str, login: Login | AsyncLogin, *, keyring: Keyring | None = None
    ) -> None:
        self.keyring = Keyring() if keyring is None else keyring
        self._origin = origin_of(api)
        self._login = login
        self._lock = asyncio.Lock()

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request until it is done."""
        url = str(request.url)
        if origin_of(url) != self._origin:
            return await handler(request)
        replayable = isinstance(request.body, bytes | BytesPayload)
        flow = self.keyring.begin(request.method, url, replayable=replayable)
        held = self.keyring.first(flow)
        while True:
            request.headers.update(self.keyring.credentials(held, request.method, url))
            response = await handler(request)
            lines = response.headers.getall("www-authenticate", [])
            lines = [line.encode("utf-8", "surrogateescape").decode("latin-1") for line in lines]
            nonce = response.headers.get("dpop-nonce")
            try:
                following = self.keyring.answered(flow, url, Answer(response.status, lines, nonce))
                if following is Next.DONE:
                    return response
                await response.read()
            except BaseException:
                response.close()
                raise
            if following is Next.STEP_UP:
                async with self._lock:
                    held = await self.keyring.step_up_async(flow, self._login)
