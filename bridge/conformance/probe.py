"""The requests on their way: httpx, no redirects, bounded in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from bridge.client.origin import origin_of
from bridge.conformance.exchange import Exchange, Received, Sent
from bridge.conformance.plan import GARBAGE, TOKEN_PLACE, Probe

_MAX_SECONDS = 20.0  # of an exchange, however the target spreads its bytes
_MAX_BYTES = 1024 * 1024
_PIECE = 12  # characters of a token; fewer may be in any text


class Prober:
    """Sends requests to one target, and gives back what may be shown.

    Args:
        url: Where the target is; operations' paths follow it.
        host: How the target is called; None: as the URL says.
        tokens: By name.
        seconds: How long an exchange may take.
    """

    def __init__(
        self,
        url: str,
        host: str | None,
        tokens: Mapping[str, str],
        seconds: float = _MAX_SECONDS,
    ) -> None:
        self._base = url.rstrip("/")
        self._host = host
        self._tokens = {**tokens, GARBAGE: GARBAGE}
        self._pieces = {
            token[at : at + _PIECE].lower(): name
            for name, token in tokens.items()
            for at in range(len(token) - _PIECE + 1)
        }
        # A connection for each request: none suffers from what the last one did to it.
        self._seconds = seconds
        self._http = httpx.AsyncClient(
            timeout=seconds,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Prober:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def send(self, probe: Probe) -> Exchange:
        """Send a request of the plan."""
        operation = probe.operation
        method = probe.method or operation.method
        lines = [("authorization", value) for value in probe.authorization]
        lines += probe.headers
        content = None
        if operation.body is not None and method != "HEAD":
            content = operation.body.encode()
            lines.append(("content-type", operation.content_type))
        path = operation.path
        if probe.query:
            path += f"{'&' if '?' in path else '?'}access_token={TOKEN_PLACE}"
        return await self._exchange(
            probe.name,
            method,
            self._base + path,
            lines,
            content,
            token=probe.token,
            accepted=operation.accepted,
        )

    async def fetch(self, name: str, url: str) -> Exchange | None:
        """Fetch a document of the target; None where the URL is not the target's own."""
        origin = self._own(url)
        if origin is None:
            return None
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return await self._exchange(
            name, "GET", origin + target, [("accept", "application/json")], None
        )

    def _own(self, url: str) -> str | None:
        """Give the origin to connect to; nothing is asked of anybody else."""
        parts = urlsplit(self._base)
        base = f"{parts.scheme}://{parts.netloc}"
        try:
            if origin_of(url) == origin_of(self._base):
                return base
        except ValueError:
            return None
        called = (self._host or "").lower()
        return base if called and urlsplit(url).netloc.lower() == called else None

    async def _exchange(
        self,
        name: str,
        method: str,
        url: str,
        lines: list[tuple[str, str]],
        content: bytes | None,
        *,
        token: str | None = None,
        accepted: list[int] | None = None,
    ) -> Exchange:
        if self._host is not None:
            lines = [("host", self._host), *lines]
        shown = "" if token is None else f"<{token}>"
        sent = Sent(
            method,
            url.replace(TOKEN_PLACE, shown),
            tuple((key, value.replace(TOKEN_PLACE, shown)) for key, value in lines),
        )
        used = "" if token is None else self._tokens[token]
        headers = [(key, value.replace(TOKEN_PLACE, used)) for key, value in lines]
        try:
            async with asyncio.timeout(self._seconds):
                received = await self._receive(
                    method, url.replace(TOKEN_PLACE, used), headers, content
                )
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return Exchange(name, sent, None, type(error).__name__, accepted or ())
        return Exchange(name, sent, received, "", accepted or ())

    async def _receive(
        self, method: str, url: str, headers: list[tuple[str, str]], content: bytes | None
    ) -> Received:
        # Nothing that could expand to more than it is.
        headers = [*headers, ("accept-encoding", "identity")]
        async with self._http.stream(method, url, headers=headers, content=content) as response:
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    body = b""  # the head is what counts
                    break
            lines = tuple(
                (key.decode("latin-1").lower(), value.decode("latin-1"))
                for key, value in response.headers.raw
            )
            shown = tuple((key, self._redact(value)) for key, value in lines)
            return Received(response.status_code, lines, shown, body)

    def _redact(self, text: str) -> str:
        """Put a token's name where the target sends it back, whole or in part, in any case."""
        for name, token in self._tokens.items():
            if len(token) < _PIECE and name != GARBAGE:
                text = text.replace(token, f"<{name}>")
        lower = text.lower()
        shown: list[str] = []
        hidden_to = 0
        for at, character in enumerate(text):
            owner = self._pieces.get(lower[at : at + _PIECE])
            if owner is not None:
                if at >= hidden_to:
                    shown.append(f"<{owner}>")
                hidden_to = at + _PIECE
            elif at >= hidden_to:
                shown.append(character)
        return "".join(shown)
