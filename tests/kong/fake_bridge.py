"""A bridge that does what a test tells it to, at the level of bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .wire import Listener, read_message

Script = Callable[["Question"], bool]
"""Answers a question on its connection, and tells whether the connection stays open."""

ALLOW_JSON = json.dumps({"allow": True, "upstream": {"set": {}, "remove": []}}).encode()


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it arrived.

    Attributes:
        connection: Number of the connection since the last `reset`, from 1.
        turn: Number of the question on its connection, from 1.
    """

    connection: int
    turn: int
    socket: socket.socket
    head: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class FakeBridge:
    """Keeps the questions; answers by `script`."""

    def __init__(self, *, path: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self._path = path
        self.script: Script = allows()
        self.questions: list[Question] = []
        self._connections = 0
        self._listener = Listener(self._serve, path=path, context=context)
        self._scheme = "http" if context is None else "https"

    @property
    def url(self) -> str:
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{self._scheme}://127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        self._listener.close()

    def reset(self) -> None:
        """Forget everything and close what is open, as between two tests."""
        self._listener.hang_up()
        self.script = allows()
        self.questions = []
        self._connections = 0

    def _serve(self, connection: socket.socket) -> None:
        self._connections += 1
        number = self._connections
        buffer = bytearray()
        turn = 0
        while (message := read_message(connection, buffer)) is not None:
            turn += 1
            question = Question(number, turn, connection, message[0].decode("latin-1"), message[1])
            self.questions.append(question)
            if not self.script(question):
                return


def http_response(
    body: bytes, status: str = "200 OK", content_type: str = "application/json", *lines: str
) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


def answers(document: object) -> Script:
    """Answer as a bridge does."""
    return says(http_response(json.dumps(document).encode()), keep=True)


def allows(set_: dict[str, str] | None = None, remove: Iterable[str] = ()) -> Script:
    upstream = {"set": set_ or {}, "remove": list(remove)}
    return answers({"allow": True, "operation": "a.b", "upstream": upstream})


def denies(status: int, headers: Iterable[tuple[str, str]], body: str) -> Script:
    response = {"status": status, "headers": list(headers), "body": body}
    return answers({"allow": False, "operation": None, "response": response})


def says(raw: bytes, *, keep: bool = False) -> Script:
    def script(question: Question) -> bool:
        with contextlib.suppress(OSError):
            question.socket.sendall(raw)
        return keep

    return script


def drips(raw: bytes, seconds_per_byte: float) -> Script:
    """Answer so slowly that no single read ever times out."""

    def script(question: Question) -> bool:
        with contextlib.suppress(OSError):
            for byte in raw:
                question.socket.sendall(bytes([byte]))
                time.sleep(seconds_per_byte)
        return False

    return script


def is_silent(question: Question) -> bool:
    """Never answer; ends when the plugin hangs up."""
    with contextlib.suppress(OSError):
        question.socket.recv(1)
    return False


def never_ends(question: Question) -> bool:
    """Answer for as long as somebody reads, without a length."""
    with contextlib.suppress(OSError):
        question.socket.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"allow":true,"x":"')
        for _ in range(1000):
            question.socket.sendall(b"x" * 65_536)
    return False


def by_turn(*scripts: Script) -> Script:
    """Take one script for each question since the last reset, the last one for all further."""
    left = list(scripts)

    def script(question: Question) -> bool:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        return chosen(question)

    return script
