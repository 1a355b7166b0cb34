"""Listening on loopback; elsewhere only where a container says so."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

from aiohttp import web

HOST = "127.0.0.1"


def listening_socket(port: int, host: str = HOST) -> socket.socket:
    """Listen on a port, or on a free one where it is taken or 0."""
    try:
        return _listen(port, host)
    except OSError:
        return _listen(0, host)


def port_of(listener: socket.socket) -> int:
    """Tell a socket's port."""
    port: int = listener.getsockname()[1]
    return port


def usable_port(port: int) -> int:
    """Give the port if a child could listen on it now, else 0: let the child choose."""
    try:
        _listen(port, HOST).close()
    except OSError:
        return 0
    return port


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve an application on a socket, and close both at the end."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
        listener.close()


def _listen(port: int, host: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Right after another run its connections are still in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
