"""Where a running service remembers the DPoP proofs that were used, through reloads."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from bridge.config.settings import Config
from bridge.errors import ProofError, ReplayStoreError
from bridge.tokens.dpop import UsedProof
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.replay import ReplayMemory, replay_key
from bridge.tokens.replay_redis import ReplayRedis


def takes_dpop(config: Config) -> bool:
    """Tell whether any API takes DPoP proofs."""
    return any(api.dpop_algorithms for api in config.policy.apis)


class ProofMemory:
    """Remembers used proofs: in Redis where the configuration has one, else in this process.

    Args:
        since: When this process began, epoch seconds.
        log: Where it is said that Redis does not answer.

    Attributes:
        outcomes: How many claims ended how, for the metrics.
    """

    def __init__(self, since: int, log: Any) -> None:
        self._log = log
        self._memory = ReplayMemory(1, 1, since)
        self._redis: ReplayRedis | None = None
        self._redis_settings: tuple[str | None, int] = (None, 0)
        self._leeway = 0
        self.on_error = "refuse"
        self.outcomes: Counter[str] = Counter()

    @property
    def error(self) -> str | None:
        """What is wrong with Redis; None: nothing, or there is none."""
        return None if self._redis is None else self._redis.error

    def __len__(self) -> int:
        return len(self._memory)

    async def prepare(self, config: Config, prepared: AsyncExitStack) -> ReplayRedis | None:
        """Open the Redis of another configuration, or give the one in force where it is the same.

        Args:
            prepared: Closes it.
        """
        url, timeout = wanted = _redis_settings(config)
        if wanted == self._redis_settings:
            return self._redis
        if url is None:
            return None
        return await prepared.enter_async_context(ReplayRedis(url, timeout, self._tell))

    def take_over(self, config: Config, redis: ReplayRedis | None, now: int) -> ReplayRedis | None:
        """Go on by another configuration; nothing is forgotten, unless the Redis is another one.

        What Redis knows, this process does not: without it, no proof is taken that may have been
        used before, which is one that was issued by now, on a clock that may be ahead.

        Args:
            redis: What `prepare` gave.
            now: Current time, epoch seconds.

        Returns:
            The Redis that is to be closed; None: there is none.
        """
        settings = config.dpop
        self._memory.limit(settings.max_entries, settings.lifetime)
        self.on_error = settings.on_error
        self._redis_settings = _redis_settings(config)
        retired, self._redis = self._redis, redis
        if retired is not None and redis is None:
            self._memory.begin_anew(now + self._leeway + 1)
        self._leeway = settings.leeway
        return None if retired is redis else retired

    async def stop(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.__aexit__(None, None, None)

    async def claim(self, proof: UsedProof, settings: DpopSettings, now: int) -> None:
        """Use a proof.

        Raises:
            ProofError: It was used before, or so long ago that it cannot be told.
            ReplayStoreError: Redis does not answer, or the memory is full.
        """
        key = replay_key(proof.jkt, proof.jti)
        if self._redis is None:
            self._settle(self._memory.claim(key, proof.iat, now))
            return
        if self._memory.holds(key, now):  # from before there was a Redis, or while it was down
            self._settle("replayed")
        try:
            fresh = await self._redis.claim(key, settings.shared_lifetime)
        except ReplayStoreError:
            self.outcomes["error"] += 1
            if settings.on_error == "refuse":
                raise
            # The operator prefers to let it pass; what this process itself has seen still counts.
            if self._memory.claim(key, proof.iat, now) == "replayed":
                self._settle("replayed")
            return
        self._settle("fresh" if fresh else "replayed")

    def _settle(self, outcome: str) -> None:
        self.outcomes[outcome] += 1
        match outcome:
            case "fresh":
                return
            case "replayed":
                raise ProofError("replay", "dpop_proof_replayed")
            case "forgotten":
                raise ProofError("replay", "dpop_proof_older_than_memory")
            case _:
                raise ReplayStoreError("replay_memory_full")

    def _tell(self, error: str | None) -> None:
        if error is None:
            self._log.info("replay_store_recovered")
        else:
            self._log.error("replay_store_failed", reason=error, on_error=self.on_error)


def _redis_settings(config: Config) -> tuple[str | None, int]:
    """Tell which Redis a configuration wants, and how long to wait for it."""
    return config.dpop.redis_url if takes_dpop(config) else None, config.dpop.timeout
