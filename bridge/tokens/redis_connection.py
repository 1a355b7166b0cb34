"""A Redis that several processes share; known to be down before anybody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PROBE_SECONDS = 5.0
_PROBE_AGAIN_SECONDS = 1.0
_CANCEL_AGAIN_SECONDS = 0.05
_PROBE_LIFETIME_SECONDS = 10
_MAX_CONNECTIONS = 64


class RedisDownError(Exception):
    """It does not answer, or takes no write; whoever asked knows what that means."""


class RedisConnection:
    """Connections to one Redis, from `__aenter__` to `__aexit__`.

    While it does not answer, commands fail at once, and it is asked again in the background: to
    write, since a replica, or one that is full, answers and is of no use.

    Args:
        url: `redis://`, `rediss://` or `unix://`; may hold a password, so it is never shown.
        timeout_seconds: Bound of each call.
        prefix: Of all keys that are written.
        on_change: Is told what is wrong when it stops answering, and None when it answers again.

    Attributes:
        error: What is wrong; None: nothing.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        prefix: str,
        on_change: Callable[[str | None], None],
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._prefix = prefix
        self._on_change = on_change
        self._client: Redis
        self._probing: asyncio.Task[None] | None = None
        self._failed = asyncio.Event()
        self._in_hand = 0
        self._idle = asyncio.Event()
        self.error: str | None = None

    async def __aenter__(self) -> Self:
        from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415

        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_MAX_CONNECTIONS,
            timeout=self._timeout_seconds,
            socket_timeout=self._timeout_seconds,
            socket_connect_timeout=self._timeout_seconds,
            # Never twice: the second try would find what the first one has set.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)
        self._probing = asyncio.create_task(self._probe())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._probing is not None and not self._probing.done():
            self._probing.cancel()  # redis-py may swallow one, while it connects
            await asyncio.wait([self._probing], timeout=_CANCEL_AGAIN_SECONDS)
        while self._in_hand:  # bounded by the time-out of each
            self._idle.clear()
            await self._idle.wait()
        with contextlib.suppress(Exception):
            await self._client.aclose()

    async def call(self, command: Callable[[Redis, str], Awaitable[Any]], name: str) -> Any:
        """Give what a command about a key answers.

        Args:
            command: Is given the whole key, too.
            name: Of the key, without the prefix.

        Raises:
            RedisDownError: Nothing, or an error.
        """
        if self.error is None:
            self._in_hand += 1
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await command(self._client, self._prefix + name)
            except Exception as fault:
                self._change(_name(fault))
            finally:
                self._in_hand -= 1
                self._idle.set()
        raise RedisDownError

    async def _probe(self) -> None:
        """Ask every few seconds, so that a failure is seen before a client meets it."""
        while True:
            try:
                if self.error is not None:  # those that were open may all be dead
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                async with asyncio.timeout(self._timeout_seconds):
                    await self._client.set(f"{self._prefix}probe", b"", ex=_PROBE_LIFETIME_SECONDS)
            except Exception as fault:
                self._change(_name(fault))
            else:
                self._change(None)
            pause = _PROBE_SECONDS if self.error is None else _PROBE_AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._failed.wait()
                await asyncio.sleep(_PROBE_AGAIN_SECONDS)
            self._failed.clear()

    def _change(self, error: str | None) -> None:
        if error is not None and self.error is None:
            self._failed.set()
        changed = error != self.error
        self.error = error
        if changed:
            self._on_change(error)


def _name(fault: Exception) -> str:
    """Name a fault; its text may hold an address or more."""
    return type(fault).__name__
