"""A little threaded TCP server: the base of the upstream, the issuer and the tap."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod

from e2e.harness.addresses import LOOPBACK, Tcp, free_port


class Server(ABC):
    """Accepts connections on loopback, a thread each. Can be stopped and started on its port."""

    def __init__(self) -> None:
        self.address = Tcp(free_port())
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    @abstractmethod
    def serve(self, connection: socket.socket) -> None:
        """Speak with one client until it goes. An `OSError` ends the conversation."""

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, self.address.port))
        listener.listen(256)
        self._listener = listener
        self._spawn(self._accept, listener)

    def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), f"{type(self).__name__}: a thread does not end"
        self._threads.clear()

    @property
    def running(self) -> bool:
        return self._listener is not None

    def _spawn(self, target: object, argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(argument,), daemon=True)  # type: ignore[arg-type]
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            if self._listener is None:  # stopped between accept and here
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                self.serve(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()
