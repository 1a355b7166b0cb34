"""A wire tap between gateway and bridge: tells what the bridge was asked, byte for byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace

from e2e.harness.addresses import Address
from e2e.harness.http1 import read_exactly, read_head
from e2e.harness.server import Server
from e2e.harness.upstream import Received, parse_head


class Tap(Server):
    """Passes checks on to the bridge and keeps them."""

    def __init__(self, bridge: Address) -> None:
        super().__init__()
        self._bridge = bridge
        self._asked: list[Received] = []
        self._guard = threading.Lock()

    def take(self) -> list[Received]:
        """Give what was asked since the last time, and forget it."""
        with self._guard:
            taken, self._asked = self._asked, []
        return taken

    def serve(self, connection: socket.socket) -> None:
        with self._bridge.connect(10) as onward:
            onward.settimeout(None)
            answers = threading.Thread(target=_pump, args=(onward, connection), daemon=True)
            answers.start()
            buffer = bytearray()
            try:
                while (head := read_head(connection, buffer)) is not None:
                    check = parse_head(head)
                    length = int((*check.values("content-length"), "0")[0])
                    body = read_exactly(connection, buffer, length)
                    with self._guard:
                        self._asked.append(replace(check, body=body))
                    onward.sendall(head + body)
            finally:
                with contextlib.suppress(OSError):
                    onward.shutdown(socket.SHUT_RDWR)
                answers.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while received := source.recv(65_536):
            sink.sendall(received)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
