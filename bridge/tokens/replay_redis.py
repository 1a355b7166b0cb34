"""Which DPoP proofs were used before, for all workers and replicas: in Redis.

A proof is claimed by one `SET … NX`, which only the first of all who ask can win.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bridge.errors import ReplayStoreError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_KEY_PREFIX = "stepup-bridge:dpop:"
_PING_SECONDS = 5.0
_PING_AGAIN_SECONDS = 1.0
_MAX_CONNECTIONS = 64


class ReplayRedis:
    """A Redis that remembers used proofs, from `__aenter__` to `__aexit__`.

    While it does not answer, claims are refused at once, and it is asked again in the background.

    Args:
        url: `redis://`, `rediss://` or `unix://`; may hold a password, so it is never shown.
        timeout_seconds: Bound of each call.
        on_change: Is told what is wrong when it stops answering, and None when it answers again.
    """

    def __init__(
        self, url: str, timeout_seconds: float, on_change: Callable[[str | None], None]
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._on_change = on_change
        self._client: Redis
        self._pinging: asyncio.Task[None] | None = None
        self._failed = asyncio.Event()
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
            # Never twice: the second try would find the proof that the first one claimed.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)
        self._pinging = asyncio.create_task(self._ping())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])
        with contextlib.suppress(Exception):
            await self._client.aclose()

    async def claim(self, key: bytes, lifetime: int) -> bool:
        """Use a proof; tell whether it was not used before.

        Args:
            key: As of `tokens.replay.replay_key`.
            lifetime: How long to remember it, seconds.

        Raises:
            ReplayStoreError: It cannot be told.
        """
        if self.error is None:
            name = _KEY_PREFIX + key.hex()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    return await self._client.set(name, b"", nx=True, ex=lifetime) is not None
            except Exception as fault:
                self._change(_name(fault))
        raise ReplayStoreError("replay_store_unavailable")

    async def _ping(self) -> None:
        """Ask every few seconds, so that a failure is seen before a client meets it."""
        while True:
            try:
                if self.error is not None:  # those that were open may all be dead
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                async with asyncio.timeout(self._timeout_seconds):
                    await self._client.ping()
            except Exception as fault:
                self._change(_name(fault))
            else:
                self._change(None)
            pause = _PING_SECONDS if self.error is None else _PING_AGAIN_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._failed.wait(), pause)
                await asyncio.sleep(_PING_AGAIN_SECONDS)
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
