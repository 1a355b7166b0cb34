"""A client that sends exactly the bytes it is given, and the request as a value.

No client library: each would repair, refuse or reorder what an attack needs.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass, replace
from types import TracebackType

from e2e.harness.addresses import Address

Lines = tuple[tuple[str, str], ...]
"""Header lines in order, as on the wire."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `raw` writes it down without looking at it."""

    method: str = "GET"
    target: str = "/"
    host: str = "api.test"
    headers: Lines = ()
    body: bytes = b""

    def with_headers(self, *lines: tuple[str, str]) -> Request:
        return replace(self, headers=(*self.headers, *lines))

    def raw(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Header names in lower case, one entry for each line."""

    status: int
    headers: Lines
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Connection:
    """One client connection, for as many exchanges as the server allows."""

    def __init__(self, address: Address, timeout_seconds: float = 10) -> None:
        self._socket = address.connect(timeout_seconds)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def exchange(self, raw: bytes) -> Reply | None:
        """Send bytes and read one response; None where the server closed without one."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(raw)  # it may have answered before it closed
        method = raw.split(b" ", 1)[0].decode("latin-1")
        response = http.client.HTTPResponse(self._socket, method=method)
        try:
            response.begin()
            body = response.read()
        except (http.client.BadStatusLine, http.client.IncompleteRead, ConnectionResetError):
            return None
        finally:
            response.close()
        lines = tuple((name.lower(), value) for name, value in response.msg.items())
        return Reply(response.status, lines, body)


def exchange(address: Address, raw: bytes, timeout_seconds: float = 10) -> Reply | None:
    """Send bytes on a connection of their own and read the response, as `Connection.exchange`."""
    with Connection(address, timeout_seconds) as connection:
        return connection.exchange(raw)


def get(address: Address, target: str, timeout_seconds: float = 10) -> Reply:
    """Fetch a page of a well-behaved server.

    Raises:
        OSError: It is not there, or closed without a response.
    """
    reply = exchange(address, Request(target=target, host="localhost").raw(), timeout_seconds)
    if reply is None:
        raise ConnectionAbortedError("closed without a response")
    return reply


def read_head(connection: socket.socket, buffer: bytearray) -> bytes | None:
    """Read a message's head, with the empty line; None at the end of the stream.

    Args:
        buffer: What came before and after; stays with the connection.
    """
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        received = connection.recv(65_536)
        if not received:
            return None
        buffer += received
    head = bytes(buffer[: end + 4])
    del buffer[: end + 4]
    return head


def read_exactly(connection: socket.socket, buffer: bytearray, size: int) -> bytes:
    """Read so many bytes; `buffer` as of `read_head`.

    Raises:
        ConnectionResetError: The stream ended before.
    """
    while len(buffer) < size:
        receive(connection, buffer)
    read = bytes(buffer[:size])
    del buffer[:size]
    return read


def receive(connection: socket.socket, buffer: bytearray) -> None:
    """Read what comes next into the buffer.

    Raises:
        ConnectionResetError: Nothing will come.
    """
    received = connection.recv(65_536)
    if not received:
        raise ConnectionResetError("closed in the middle of a message")
    buffer += received
