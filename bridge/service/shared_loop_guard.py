"""The loop guard of a service: its counts in a Redis that workers and replicas share, or here."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from bridge.config.settings import LoopGuardSettings
from bridge.decision.decide import Decision
from bridge.service.loop_guard import Asked, Challenges, Known, LoopGuard, watched_user
from bridge.service.report import IgnoredStepUp
from bridge.tokens.redis_connection import RedisConnection, RedisDownError

_KEY_PREFIX = "stepup-bridge:loop:"


class SharedLoopGuard:
    """Judges step-up denials, from `__aenter__` to `__aexit__`.

    While Redis does not answer, this process counts alone: the guard helps people, it protects
    nothing, so nobody is denied for its sake. Two answers at one moment may count as one.

    Args:
        log: Where it is said that Redis does not answer.
    """

    def __init__(self, settings: LoopGuardSettings, log: Any) -> None:
        self.settings = settings
        self._guard = LoopGuard(settings)
        self._log = log
        self._redis: RedisConnection | None = None
        if settings.redis_url is not None:
            self._redis = RedisConnection(
                settings.redis_url, settings.redis_timeout, _KEY_PREFIX, self._tell
            )

    async def __aenter__(self) -> Self:
        if self._redis is not None:
            await self._redis.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._redis is not None:
            await self._redis.__aexit__(kind, error, traceback)

    async def judge(self, denial: Decision, now: int) -> tuple[Decision, IgnoredStepUp | None]:
        """Look at a denial before it is given; see `LoopGuard.judge`."""
        user = watched_user(denial)
        if user is None or self._redis is None:
            return self._guard.judge(denial, now)
        try:
            held = await self._redis.call(lambda redis, name: redis.get(name), user.hex())
            judged, known = self._guard.look(read_known(held), denial, now)
            value, seconds = write_known(known), self.settings.window
            await self._redis.call(
                lambda redis, name: redis.set(name, value, ex=seconds), user.hex()
            )
        except RedisDownError:
            return self._guard.judge(denial, now)
        return judged

    def judge_at_once(
        self, denial: Decision, now: int
    ) -> tuple[Decision, IgnoredStepUp | None] | None:
        """Do the same without Redis; None: it must be asked."""
        return self._guard.judge(denial, now) if self._redis is None else None

    def _tell(self, error: str | None) -> None:
        if error is None:
            self._log.info("loop_guard_store_recovered")
        else:
            self._log.warning("loop_guard_store_failed", reason=error)


def write_known(known: Known) -> bytes:
    """Write what is known of a user of a client."""
    rows = [
        [*asked, was.last, was.auth_time, was.ignored, was.undated] for asked, was in known.items()
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def read_known(value: bytes | None) -> Known:
    """Read what `write_known` of any process wrote; what cannot be read is not known."""
    try:
        return {
            Asked(api, operation, tuple(acr_values), max_age): Challenges(
                int(last), float(auth_time), tuple(map(int, ignored)), tuple(map(int, undated))
            )
            for api, operation, acr_values, max_age, last, auth_time, ignored, undated in (
                json.loads(value or b"[]")
            )
        }
    except (ValueError, TypeError, OverflowError, RecursionError):
        return {}
