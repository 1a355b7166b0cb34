"""Which DPoP proofs were used before, for all workers and replicas: in Redis.

A proof is claimed by one `SET … NX`, which only the first of all who ask can win.
"""

from __future__ import annotations

from bridge.errors import ReplayStoreError
from bridge.tokens.redis_connection import RedisConnection, RedisDownError

_KEY_PREFIX = "stepup-bridge:dpop:"


class ReplayRedis(RedisConnection):
    """A Redis that remembers used proofs; while it does not answer, claims are refused at once."""

    async def claim(self, key: bytes, lifetime: int) -> bool:
        """Use a proof; tell whether it was not used before.

        Args:
            key: As of `tokens.replay.replay_key`.
            lifetime: How long to remember it, seconds.

        Raises:
            ReplayStoreError: It cannot be told.
        """
        name = _KEY_PREFIX + key.hex()
        try:
            return (
                await self.call(lambda redis: redis.set(name, b"", nx=True, ex=lifetime))
                is not None
            )
        except RedisDownError:
            raise ReplayStoreError("replay_store_unavailable") from None
