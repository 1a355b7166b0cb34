"""An authorization server that signs tokens, publishes keys, and misbehaves on demand."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Literal

from e2e.harness.http1 import read_head
from e2e.harness.server import Server
from e2e.harness.tokens import SigningKey, TokenSpec, mint
from e2e.harness.upstream import parse_head

Behaviour = Literal[
    "ok",
    "late",  # well, but a third of a second late
    "error",  # 500
    "slow",  # a byte now and then, for longer than anybody waits
    "silent",  # takes the request and never answers
    "endless",  # a body without an end
    "huge",  # announces 100 MB, and sends them
    "not-json",
    "not-a-key-set",
    "no-keys",
    "redirect",
    "reset",  # closes without an answer
]
MISBEHAVIOURS: tuple[Behaviour, ...] = (
    "error",
    "slow",
    "silent",
    "endless",
    "huge",
    "not-json",
    "not-a-key-set",
    "no-keys",
    "redirect",
    "reset",
)

_HUGE_BYTES = 100 * 1024 * 1024
_PATH = "/realms/test"


class Issuer(Server):
    """One issuer. `behaviour` may change at any time; `stop` and `start` take it down and up."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviour: Behaviour = "ok"
        self.keys = [SigningKey.generate()]
        self._previous = self.keys[0]
        self._stranger = SigningKey.generate()
        self.fetches: list[str] = []
        self.minted: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.address}{_PATH}"

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/keys"

    def metadata(self) -> dict[str, str]:
        """Give the document of RFC 8414."""
        return {"issuer": self.url, "jwks_uri": self.jwks_uri}

    def rotate(self, *, keep: bool) -> None:
        """Sign with a new key from now on; publish the old one too, or withdraw it."""
        self._previous = self.keys[-1]
        self.keys = [*(self.keys if keep else []), SigningKey.generate()]

    def mint(self, spec: TokenSpec | None = None) -> str:
        spec = spec or TokenSpec()
        keys = {"newest": self.keys[-1], "previous": self._previous, "stranger": self._stranger}
        token = mint(spec, self.url, keys[spec.signed_by])
        self.minted.append(token)
        return token

    def serve(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while (head := read_head(connection, buffer)) is not None:
            target = parse_head(head).target
            self.fetches.append(target)
            if not self.answer(connection, self.behaviour, self._document(target)):
                return

    def answer(self, connection: socket.socket, behaviour: Behaviour, document: bytes) -> bool:
        """Answer one request as the behaviour says; tell whether the connection goes on."""
        match behaviour:
            case "ok":
                send(connection, 200, document)
                return True
            case "late":
                time.sleep(0.3)  # the lateness itself
                send(connection, 200, document)
                return True
            case "error":
                send(connection, 500, b'{"error":"server_error"}')
            case "not-json":
                send(connection, 200, b"<html>Sign in to the network</html>")
            case "not-a-key-set":
                send(connection, 200, b'["keys"]')
            case "no-keys":
                send(connection, 200, b'{"keys":[]}')
            case "redirect":
                send(connection, 302, b"", f"Location: {self.url}/elsewhere\r\n")
            case "slow":
                self._drip(connection, document)
            case "silent":
                connection.recv(1)
            case "endless":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                self._pour(connection, None)
            case "huge":
                length = f"Content-Length: {_HUGE_BYTES}\r\n\r\n"
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + length.encode() + b'{"keys":[')
                self._pour(connection, _HUGE_BYTES)
            case "reset":
                pass
        return False

    def _document(self, target: str) -> bytes:
        if target == f"/.well-known/oauth-authorization-server{_PATH}":
            return json.dumps(self.metadata()).encode()
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()

    def _drip(self, connection: socket.socket, body: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for byte in body:
            if not self.running:
                return
            connection.sendall(bytes([byte]))
            time.sleep(0.2)  # the slowness itself, nobody waits for it

    def _pour(self, connection: socket.socket, size: int | None) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while self.running and (size is None or sent < size):
                connection.sendall(b" " * 65_536)
                sent += 65_536


def send(connection: socket.socket, status: int, body: bytes, extra: str = "") -> None:
    """Send a response with JSON in it.

    Args:
        extra: Further header lines, each with its end.
    """
    head = (
        f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{extra}\r\n"
    )
    connection.sendall(head.encode() + body)
