"""Which DPoP proofs were used before, within one process. Bounded in number and in time. Pure.

`tokens.replay_redis` keeps the same for several processes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Claimed = Literal["fresh", "replayed", "forgotten", "full"]
"""What became of a proof: never seen; seen; older than what is remembered; nothing can be told."""

_BUCKETS = 8


def replay_key(jkt: str, jti: str) -> bytes:
    """Name a proof: its key and its `jti`, of which a client uses each once (RFC 9449 §4.2).

    Never the proof itself: an ECDSA signature can be written in two ways.
    """
    return sha256(f"{jkt} {jti}".encode()).digest()[:16]


@dataclass(slots=True)
class _Bucket:
    """Proofs that were used from one second to another, both included."""

    first: int
    last: int
    used: set[bytes]


class ReplayMemory:
    """Remembers proofs for as long as they could be accepted again.

    Args:
        max_entries: Most proofs remembered, >= 1. Beyond it none is accepted: to forget one would
            be to accept it twice.
        lifetime: How long each is remembered at least, seconds.
        since: When remembering began, epoch seconds. A proof that was issued before may have been
            used before.
    """

    def __init__(self, max_entries: int, lifetime: int, since: int) -> None:
        self._since = since
        self._buckets: deque[_Bucket] = deque()  # the oldest first
        self._count = 0
        self.limit(max_entries, lifetime)

    def __len__(self) -> int:
        return self._count

    def limit(self, max_entries: int, lifetime: int) -> None:
        """Take other limits; what is remembered stays."""
        self._max_entries = max_entries
        self._lifetime = lifetime
        self._bucket_seconds = max(1, lifetime // _BUCKETS)

    def begin_anew(self, since: int) -> None:
        """Take no proof that was issued before an instant: where it was used is not known here."""
        self._since = max(self._since, since)

    def holds(self, key: bytes, now: int) -> bool:
        """Tell whether a proof is remembered, without using it."""
        self._forget(now)
        return self._holds(key)

    def claim(self, key: bytes, iat: float, now: int) -> Claimed:
        """Use a proof, if it was not used before.

        Args:
            key: As of `replay_key`.
            iat: When it was issued, epoch seconds.
            now: Current time, epoch seconds; `lifetime` later `iat` would not be accepted.
        """
        self._forget(now)
        if iat < self._since:
            return "forgotten"
        if self._holds(key):
            return "replayed"
        if self._count >= self._max_entries:
            return "full"
        if not self._buckets or now >= self._buckets[-1].first + self._bucket_seconds:
            self._buckets.append(_Bucket(now, now, set()))
        newest = self._buckets[-1]
        newest.used.add(key)
        newest.last = max(newest.last, now)
        self._count += 1
        return "fresh"

    def _holds(self, key: bytes) -> bool:
        return any(key in bucket.used for bucket in self._buckets)

    def _forget(self, now: int) -> None:
        """Drop what has lived its time; what was issued until then cannot be told any more."""
        while self._buckets and self._buckets[0].last + self._lifetime < now:
            oldest = self._buckets.popleft()
            self._count -= len(oldest.used)
            self._since = max(self._since, oldest.last + 1)
