"""Clients that keep asking while something happens to the bridge."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from e2e.harness.addresses import Address
from e2e.harness.http1 import Connection, Reply

NO_REPLY = 0


class Load:
    """What clients saw so far: replies by status and challenge; status 0 is no reply at all."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[int, str]] = Counter()
        self._guard = threading.Lock()
        self.stopping = threading.Event()

    def record(self, reply: Reply | None) -> None:
        challenge = "" if reply is None else ", ".join(reply.values("www-authenticate"))
        with self._guard:
            self._seen[(NO_REPLY if reply is None else reply.status, challenge)] += 1

    @property
    def statuses(self) -> set[int]:
        with self._guard:
            return {status for status, _ in self._seen}

    @property
    def challenges(self) -> set[str]:
        with self._guard:
            return {challenge for _, challenge in self._seen}

    def count(self, status: int | None = None) -> int:
        """Count replies with a status, or all."""
        with self._guard:
            return sum(n for (seen, _), n in self._seen.items() if status in (None, seen))


@contextmanager
def load(address: Address, raw: bytes, *, clients: int = 4) -> Iterator[Load]:
    """Send a request over and over from several connections until the block ends."""
    seen = Load()
    threads = [
        threading.Thread(target=_ask, args=(address, raw, seen), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        seen.stopping.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"


def _ask(address: Address, raw: bytes, seen: Load) -> None:
    while not seen.stopping.is_set():
        with suppress(OSError), Connection(address) as connection:
            while not seen.stopping.is_set():
                reply = connection.exchange(raw)
                seen.record(reply)
                if reply is None or "close" in reply.values("connection"):
                    break
