"""One bounded HTTP request to an issuer: in time, in size, without redirects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from bridge.tokens.transport import is_insecure

MAX_ANSWER_BYTES = 1024 * 1024


class FetchError(Exception):
    """A document could not be had. `str()` says why: stable code, nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it came.

    Attributes:
        body: At most `MAX_ANSWER_BYTES`.
        cache_control: Value of `Cache-Control`, all its lines as one; empty where absent.
        date: Value of `Date`; empty where absent. When a document came makes it no other.
        age: Value of `Age`, which a cache on the way sets; empty where absent.
    """

    body: bytes
    cache_control: str
    date: str = field(default="", compare=False)
    age: str = field(default="", compare=False)


class Fetcher:
    """An HTTP client for issuers' documents and answers, closed at its end.

    Args:
        connections: Most connections to one host.
        keep_alive: Use a connection for several requests, and repeat one that found it closed.
            Without it each is sent once, on a connection of its own.
    """

    def __init__(self, connections: int = 4, *, keep_alive: bool = False) -> None:
        # Compressed answers are refused rather than inflated: 1 MiB must stay 1 MiB.
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"accept": "application/json", "accept-encoding": "identity"},
            connector=aiohttp.TCPConnector(limit_per_host=connections, force_close=not keep_alive),
        )
        self._session._retry_connection = keep_alive  # it would repeat on new connections too

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, url: str, *, timeout_seconds: float, allow_insecure_http: bool) -> Document:
        """Fetch a document.

        Raises:
            FetchError: Not had within the time, not 200, too large, compressed, redirected, or
                `http://` to another machine.
        """
        _check_url(url, allow_insecure_http=allow_insecure_http)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        request = self._session.get(url, timeout=timeout, allow_redirects=False)
        return await _fetch(request)

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        allow_insecure_http: bool,
    ) -> bytes:
        """Post a form that changes nothing at the server, and give the answer's body.

        Raises:
            FetchError: As of `get`.
        """
        _check_url(url, allow_insecure_http=allow_insecure_http)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)

        def request() -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
            return self._session.post(
                url, data=form, headers=headers, timeout=timeout, allow_redirects=False
            )

        try:
            return (await _fetch(request())).body
        except _ConnectionLostError:  # aiohttp itself repeats a GET, and no POST
            return (await _fetch(request())).body


class _ConnectionLostError(FetchError):
    """The connection was closed before the answer: often it was kept alive for too long."""


def _check_url(url: str, *, allow_insecure_http: bool) -> None:
    try:
        insecure = is_insecure(urlsplit(url))
    except ValueError:
        raise FetchError("bad_answer") from None
    if insecure and not allow_insecure_http:
        raise FetchError("insecure_url")


async def _fetch(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Document:
    try:
        async with request as response:
            if response.status != 200:  # noqa: PLR2004
                raise FetchError(f"status_{response.status}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchError("compressed")
            body = await _read_bounded(response)
            headers = response.headers
            cache_control = ", ".join(headers.getall("cache-control", ()))
            return Document(body, cache_control, headers.get("date", ""), headers.get("age", ""))
    except TimeoutError:
        raise FetchError("timeout") from None
    except aiohttp.ClientConnectorError:
        raise FetchError("connection_failed") from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        raise _ConnectionLostError("bad_answer") from None
    except (aiohttp.ClientError, ValueError, OSError):
        raise FetchError("bad_answer") from None


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise FetchError("too_large")
        chunks.append(chunk)
    return b"".join(chunks)
