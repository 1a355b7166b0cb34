"""Waits on loopback for the browser to come back (RFC 8252 §7.3)."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from bridge.client.errors import LoginError, LoginTimeoutError

HOST = "127.0.0.1"
_POLL_SECONDS = 0.1
_SOCKET_TIMEOUT_SECONDS = 5.0
_HEADERS = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "connection": "close",
}


class RedirectListener:
    """The listener, from `with` to its end.

    Args:
        port: 0 for a free one.
        path: Of the redirect URI.

    Raises:
        LoginError: The port is taken.
    """

    def __init__(self, port: int = 0, path: str = "/callback") -> None:
        self._path = path
        self._answers: queue.Queue[Mapping[str, str] | LoginError] = queue.Queue()
        self._strangers = 0
        try:
            self._server = _Server((HOST, port), _handler(self))
        except OSError as error:
            raise LoginError(
                f"port {port} of {HOST}, where the browser is to come back, cannot be had: "
                f"{error.strerror}"
            ) from None
        self.redirect_uri = f"http://{HOST}:{self._server.server_address[1]}{path}"
        self._state = ""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expect(self, state: str) -> None:
        """Take answers from now on, with this state alone: anybody can send others."""
        self._state = state

    def wait(self, timeout_seconds: float, cancelled: threading.Event) -> Mapping[str, str]:
        """Wait for the answer and give its parameters.

        Raises:
            LoginTimeoutError: It does not come.
            LoginError: Cancelled, or given up.
        """
        deadline = time.monotonic() + timeout_seconds
        while not cancelled.is_set():
            left = deadline - time.monotonic()
            try:
                answer = self._answers.get(timeout=max(0.0, min(left, _POLL_SECONDS)))
            except queue.Empty:
                if left <= 0:
                    strangers = (
                        f" ({self._strangers} answers without the state of this login came)"
                        if self._strangers
                        else ""
                    )
                    raise LoginTimeoutError(
                        f"the browser did not come back within {timeout_seconds:g} s{strangers}"
                    ) from None
                continue
            if isinstance(answer, LoginError):
                raise answer
            return answer
        raise LoginError("the login was cancelled: nobody waits for it any more")

    def give_up(self, error: LoginError) -> None:
        """Let the wait end with an error."""
        self._answers.put(error)

    def take(self, target: str) -> tuple[HTTPStatus, str]:
        """Take one request of a browser; give status and text."""
        parts = urlsplit(target)
        if parts.path != self._path:
            return HTTPStatus.NOT_FOUND, "Nothing is here."
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        times = Counter(name for name, _ in pairs)
        params = dict(pairs)
        if not self._state or params.get("state") != self._state or max(times.values()) > 1:
            self._strangers += 1
            return HTTPStatus.BAD_REQUEST, "This is no answer to a login that is under way."
        self._state = ""  # one answer is enough
        self._answers.put(params)
        if "code" in params:
            return HTTPStatus.OK, "Done. You may close this window and go back to the program."
        return HTTPStatus.OK, "The login did not succeed. Go back to the program, it says more."


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a connection that somebody keeps open must not keep us

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever sends nonsense here is not the browser."""


def _handler(listener: RedirectListener) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SOCKET_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            status, text = listener.take(self.path)
            body = text.encode()
            self.send_response(status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: the request line holds the code."""

    return Handler
