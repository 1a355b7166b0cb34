"""A Unix socket's place: never a living one's, and only ours is removed (spec §2)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridge.config.settings import UnixAddress
from bridge.service.sockets import ListenError, listening_socket


@pytest.fixture
def place(tmp_path: Path) -> UnixAddress:
    return UnixAddress(tmp_path / "authz.sock")


def test_successor_keeps_its_socket(place: UnixAddress) -> None:
    """A bridge that drains accepts no more, so that another one may take its place."""
    with listening_socket(place) as ours:
        ours.shutdown(socket.SHUT_RDWR)
        with listening_socket(place):
            pass
        assert not place.path.exists()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(place.path))
            successor.listen()
            before = place.path.stat()
            with pytest.raises(ListenError), listening_socket(place):
                pass
    assert place.path.stat() == before


@pytest.mark.parametrize(
    ("kind", "backlog", "reason"),
    [
        pytest.param(socket.SOCK_STREAM, 8, "in use", id="accepts"),
        pytest.param(socket.SOCK_STREAM, 0, "in use", id="backlog-is-full"),
        pytest.param(socket.SOCK_DGRAM, None, "protocol wrong type for socket", id="datagrams"),
    ],
)
def test_living_socket_is_left_alone(
    place: UnixAddress, kind: socket.SocketKind, backlog: int | None, reason: str
) -> None:
    with socket.socket(socket.AF_UNIX, kind) as living, socket.socket(socket.AF_UNIX) as waiting:
        living.bind(str(place.path))
        if backlog is not None:
            living.listen(backlog)
            waiting.connect(str(place.path))
        with pytest.raises(ListenError) as refused, listening_socket(place):
            pass
        assert str(refused.value) == f"cannot listen on {place}: {reason}"
        assert place.path.is_socket()
