"""The API behind the gateway: it remembers what it received, byte for byte."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

from e2e.harness.http1 import Lines, read_exactly, read_head, receive
from e2e.harness.server import Server

BODY = b"from upstream"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived: raw target, header lines in order, with the case of the wire."""

    method: str
    target: str
    headers: Lines
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        """Give the values of a header, its name read as the most lenient server reads it."""
        wanted = _lenient(name)
        return [value for key, value in self.headers if _lenient(key) == wanted]

    def with_prefix(self, prefix: str) -> list[tuple[str, str]]:
        """Give the headers whose name begins so, sorted; names read leniently."""
        return sorted(
            (_lenient(key), value)
            for key, value in self.headers
            if _lenient(key).startswith(_lenient(prefix))
        )


def parse_head(head: bytes) -> Received:
    """Take a request's head apart without interpreting anything."""
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = request_line.partition(" ")
    target = rest.rpartition(" ")[0]
    pairs = (line.partition(":") for line in lines)
    return Received(method, target, tuple((name, value.strip(" \t")) for name, _, value in pairs))


class RecordingUpstream(Server):
    """Answers everything with 200 and keeps what it got."""

    def __init__(self) -> None:
        super().__init__()
        self._received: list[Received] = []
        self._guard = threading.Lock()

    def take(self) -> list[Received]:
        """Give what was received since the last time, and forget it."""
        with self._guard:
            taken, self._received = self._received, []
        return taken

    def serve(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while (head := read_head(connection, buffer)) is not None:
            request = parse_head(head)
            trailers = _read_body(connection, buffer, request)
            request = Received(request.method, request.target, (*request.headers, *trailers))
            with self._guard:
                self._received.append(request)
            body = b"" if request.method == "HEAD" else BODY
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                % (len(BODY), body)
            )


def _lenient(name: str) -> str:
    return name.lower().replace("_", "-").strip()


def _read_body(connection: socket.socket, buffer: bytearray, request: Received) -> Lines:
    """Swallow the body; give its trailers, which a lenient server adds to the headers."""
    lengths = request.values("content-length")
    if lengths:
        read_exactly(connection, buffer, int(lengths[0]))
        return ()
    if not request.values("transfer-encoding"):
        return ()
    while size := int(_read_line(connection, buffer).split(b";")[0], 16):
        read_exactly(connection, buffer, size + 2)
    trailers: list[tuple[str, str]] = []
    while line := _read_line(connection, buffer).decode("latin-1"):
        name, _, value = line.partition(":")
        trailers.append((name, value.strip()))
    return tuple(trailers)


def _read_line(connection: socket.socket, buffer: bytearray) -> bytes:
    while b"\r\n" not in buffer:
        receive(connection, buffer)
    line, _, rest = bytes(buffer).partition(b"\r\n")
    buffer[:] = rest
    return line
