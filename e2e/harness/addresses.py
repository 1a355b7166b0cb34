"""Where something listens, and free ports on loopback."""

from __future__ import annotations

import itertools
import random
import socket
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the range that the system hands out to outgoing connections (from 32768 on Linux): a bridge
# that is killed and started again must find its port free.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
_candidates = itertools.cycle(
    random.sample(range(_FIRST_PORT, _LAST_PORT), _LAST_PORT - _FIRST_PORT)
)


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP address."""

    port: int
    host: str = LOOPBACK

    def connect(self, timeout_seconds: float) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout_seconds)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket."""

    path: Path

    def connect(self, timeout_seconds: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(self.path))
        except BaseException:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = Tcp | Unix


def free_port() -> int:
    """Find a port that nobody listens on; never the same one twice."""
    for port in itertools.islice(_candidates, _LAST_PORT - _FIRST_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port on loopback")
