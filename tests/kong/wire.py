"""Both ends of the wire: a client that sends exactly the given bytes, and the API behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
UPSTREAM_BODY = b"from upstream"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Reply:
    """A response; header names in lower case, one entry for each line."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)


def head(method: str, target: str, *lines: str, host: str = "api.test") -> bytes:
    """Write the head of a request; nothing is checked or repaired."""
    first = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


def send(raw: bytes, port: int, context: ssl.SSLContext | None = None) -> Reply:
    """Send a request on a connection of its own and read the response."""
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((LOOPBACK, port), 15))
        connection = plain
        if context is not None:
            connection = stack.enter_context(context.wrap_socket(plain, server_hostname="api.test"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)  # it may have answered before all was sent
        response = http.client.HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
        stack.callback(response.close)
        response.begin()
        body = response.read()
    lines = tuple((name.lower(), value) for name, value in response.msg.items())
    return Reply(response.status, lines, body)


def read_message(connection: socket.socket, buffer: bytearray) -> tuple[bytes, bytes] | None:
    """Read a head and its body by `Content-Length`; None at the end of the stream."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not _receive(connection, buffer):
            return None
    message_head = bytes(buffer[: end + 4])
    del buffer[: end + 4]
    length = 0
    for line in message_head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(buffer) < length:
        if not _receive(connection, buffer):
            return None
    body = bytes(buffer[:length])
    del buffer[:length]
    return message_head, body


def _receive(connection: socket.socket, buffer: bytearray) -> bool:
    received = connection.recv(65_536)
    buffer += received
    return bool(received)


class Listener:
    """A server on loopback with a thread for each connection."""

    def __init__(
        self,
        serve: Callable[[socket.socket], None],
        *,
        path: str | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._serve = serve
        self._context = context
        self._listening = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._listening.bind((LOOPBACK, 0) if path is None else path)
        self._listening.listen(128)
        self.port: int = 0 if path is not None else self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.hang_up()

    def hang_up(self, seconds: float = 3) -> None:
        """Say goodbye on every open connection, and wait until the other side has closed too."""
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + seconds
        while self._open and time.monotonic() < deadline:
            time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
            with self._guard:
                self._open.add(connection)
            try:
                self._serve(connection)
            finally:
                with self._guard:
                    self._open.discard(connection)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the API received it: raw target, lines in order and in the case of the wire."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def leniently(self, prefix: str) -> list[tuple[str, str]]:
        """Give the headers whose name begins so, sorted, as the most lenient server reads them."""
        return sorted(
            (name.lower().replace("_", "-"), value)
            for name, value in self.headers
            if name.lower().replace("_", "-").startswith(prefix)
        )


class Upstream:
    """The API behind the gateway: answers everything, also WebSockets, and remembers it."""

    def __init__(self) -> None:
        self._received: list[Received] = []
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    def take(self) -> list[Received]:
        """Give what was received since the last time, and forget it."""
        taken, self._received = self._received, []
        return taken

    def _serve(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while (message := read_message(connection, buffer)) is not None:
            request_head, body = message
            first, *lines = request_head.decode("latin-1").rstrip("\r\n").split("\r\n")
            method, target, _ = first.split(" ")
            pairs = (line.partition(":") for line in lines)
            headers = tuple((name, value.strip()) for name, _, value in pairs)
            received = Received(method, target, headers, body)
            self._received.append(received)
            if received.leniently("upgrade"):
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                connection.sendall(connection.recv(65_536))  # what it says is echoed once
                return
            content = b"" if method == "HEAD" else UPSTREAM_BODY
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                % (len(UPSTREAM_BODY), content)
            )
