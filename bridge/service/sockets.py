"""Opening the sockets to listen on, without ever sharing one that somebody else holds."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

from bridge.config.settings import TcpAddress, UnixAddress
from bridge.errors import BridgeError

_BACKLOG = 1024


class ListenError(BridgeError):
    """An address cannot be listened on. The command line exits with 1."""


@contextlib.contextmanager
def listening_socket(address: TcpAddress | UnixAddress) -> Iterator[socket.socket]:
    """Bind and listen; at the end close, and remove a Unix socket's file.

    No `SO_REUSEPORT`: a second bridge on the same port must fail, not share it silently.

    Raises:
        ListenError: Says which address and why.
    """
    try:
        if isinstance(address, UnixAddress):
            listener = _open_unix(str(address.path))
        else:
            listener = _open_tcp(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ListenError(f"cannot listen on {address}: {reason}") from None
    ours = _identity(address)
    try:
        yield listener
    finally:
        listener.close()
        # While we drained, a successor may have taken the place.
        if isinstance(address, UnixAddress) and ours is not None and _identity(address) == ours:
            with contextlib.suppress(OSError):
                os.unlink(address.path)


def _identity(address: TcpAddress | UnixAddress) -> tuple[int, int, int] | None:
    """Tell a Unix socket's file from another one in its place; None: there is none."""
    if not isinstance(address, UnixAddress):
        return None
    try:
        status = os.stat(address.path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns  # an inode is soon used again


def _open_tcp(address: TcpAddress) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, place = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _open_unix(path: str) -> socket.socket:
    """Take the place of a socket that a dead process left behind, never of a living one."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)  # else a full backlog would be waited for
                answer = probe.connect_ex(path)
            if answer in (0, errno.EAGAIN):
                raise OSError(errno.EADDRINUSE, "in use")
            if answer != errno.ECONNREFUSED:
                raise OSError(answer, os.strerror(answer))
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
