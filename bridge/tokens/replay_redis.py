"""Which DPoP proofs were used before, for all workers and replicas: in Redis.

A proof is claimed by one `SET … NX`, which only the first of all who ask can win.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.errors import ReplayStoreError
from bridge.tokens.redis_connection import RedisConnection, RedisDownError

_KEY_PREFIX = "stepup-bridge:dpop:"


class ReplayRedis(RedisConnection):
    """A Redis that remembers used proofs; while it does not answer, claims are refused at once."""

    def __init__(
        self, url: str, timeout_seconds: float, on_change: Callable[[str | None], None]
    ) -> None:
        super().__init__(url, timeout_seconds, _KEY_PREFIX, on_change)

    async def claim(self, key: bytes, lifetime: int) -> bool:
        """Use a proof; tell whether it was not used before.

        Args:
            key: As of `tokens.replay.replay_key`.
            lifetime: How long to remember it, seconds.

        Raises:
            ReplayStoreError: It cannot be told.
        """
        try:
            claimed = await self.call(
                lambda redis, name: redis.set(name, b"", nx=True, ex=lifetime), key.hex()
            )
        except RedisDownError:
            raise ReplayStoreError("replay_store_unavailable") from None
        return claimed is not None
