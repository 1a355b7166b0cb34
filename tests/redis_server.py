"""A Redis of the tests' own: on loopback, without a disk; it can be stopped and started again."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from e2e.harness.addresses import free_port
from e2e.harness.process import Process
from e2e.harness.waiting import wait_until

PASSWORD = "redis-password-of-the-tests"


class RedisServer:
    """One server; from `start` until `stop`."""

    def __init__(self, directory: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("there is no redis-server on this machine (apt-get install redis-server)")
        self.port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        arguments = f"--port {self.port} --bind 127.0.0.1 --requirepass {PASSWORD}"
        self.process = Process(
            "redis", [binary, *arguments.split(), "--save", "", "--dir", str(directory)], directory
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    def start(self) -> None:
        self.process.start()
        wait_until(self._answers, seconds=15, what="redis answers")

    def _answers(self) -> bool:
        try:
            return self.ask(b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False

    def ask(self, command: bytes) -> bytes:
        """Send one inline command, and give the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(f"AUTH {PASSWORD}\r\n".encode())
            connection.recv(64)
            connection.sendall(command)
            return connection.recv(65536)
