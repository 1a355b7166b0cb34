"""How the plugin keeps its connections to the bridge."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from . import fake_bridge as fake
from .bench import IDENTITY, Bench
from .fake_bridge import ALLOW_JSON, FakeBridge, Script, allows, by_turn, says


def _asked(bridge: FakeBridge) -> list[tuple[int, int]]:
    return [(question.connection, question.turn) for question in bridge.questions]


def _resets(question: fake.Question) -> bool:
    question.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def test_connection_is_kept_for_the_next_check(bench: Bench) -> None:
    statuses = [bench.send(host="kept.test").status for _ in range(3)]
    assert (statuses, _asked(bench.bridge)) == ([200] * 3, [(1, 1), (1, 2), (1, 3)])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            fake.http_response(ALLOW_JSON, "200 OK", "application/json", "Connection: close"),
            id="connection-close",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ALLOW_JSON) + ALLOW_JSON,
            id="http-1.0",
        ),
        pytest.param(fake.http_response(ALLOW_JSON) + b"HTTP/1.1 200 OK", id="more-than-asked"),
    ],
)
def test_connection_that_must_end_is_not_kept(bench: Bench, raw: bytes) -> None:
    bench.bridge.script = says(raw, keep=True)
    statuses = [bench.send(host="kept.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200] * 2, [(1, 1), (2, 1)])


def test_keepalive_0_keeps_no_connection(bench: Bench) -> None:
    statuses = [bench.send(host="api.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200] * 2, [(1, 1), (2, 1)])


@pytest.mark.parametrize(
    "closes", [pytest.param(says(b""), id="closed"), pytest.param(_resets, id="reset")]
)
def test_stale_connection_is_retried_once(bench: Bench, closes: Script) -> None:
    bench.bridge.script = by_turn(allows(), closes, allows(IDENTITY))
    statuses = [bench.send(host="kept.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200] * 2, [(1, 1), (1, 2), (2, 1)])
    assert bench.api.take()[1].leniently("x-stepup-") == sorted(IDENTITY.items())
    _, second, third = bench.bridge.questions
    assert (second.head, second.body) == (third.head, third.body)


def test_retry_never_takes_another_pooled_connection(bench: Bench) -> None:
    """After a restart of the bridge all pooled connections can be stale."""

    def waits_for_another(question: fake.Question) -> bool:
        while len(bench.bridge.questions) < 2:
            time.sleep(0.01)
        return allows()(question)

    bench.bridge.script = waits_for_another
    pair = [threading.Thread(target=bench.send, kwargs={"host": "kept.test"}) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    bench.bridge.script = by_turn(says(b""), allows())
    assert bench.send(host="kept.test").status == 200
    assert bench.bridge.questions[-1].connection == 3


def test_stale_connection_is_not_retried_twice(bench: Bench) -> None:
    bench.bridge.script = by_turn(allows(), says(b""))
    statuses = [bench.send(host="kept.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200, 503], [(1, 1), (1, 2), (2, 1)])


@pytest.mark.parametrize("raw", [b"H", fake.http_response(ALLOW_JSON)[:-1]])
def test_answer_that_had_begun_is_not_asked_for_again(bench: Bench, raw: bytes) -> None:
    bench.bridge.script = by_turn(allows(), says(raw), allows())
    statuses = [bench.send(host="kept.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200, 503], [(1, 1), (1, 2)])


def test_fresh_connection_is_not_retried(bench: Bench) -> None:
    bench.bridge.script = by_turn(says(b""), allows())
    assert bench.send(host="kept.test").status == 503
    assert _asked(bench.bridge) == [(1, 1)]


def test_timeout_on_a_kept_connection_is_not_retried(bench: Bench) -> None:
    bench.bridge.script = by_turn(allows(), fake.is_silent, allows())
    statuses = [bench.send(host="quick-kept.test").status for _ in range(2)]
    assert (statuses, _asked(bench.bridge)) == ([200, 503], [(1, 1), (1, 2)])


def test_restart_of_the_bridge_between_checks_goes_unnoticed(bench: Bench) -> None:
    assert bench.send(host="kept.test").status == 200
    bench.bridge.reset()
    assert bench.send(host="kept.test").status == 200
    assert _asked(bench.bridge) == [(1, 1)]


def test_unix_socket_is_asked(bench: Bench) -> None:
    bridge = bench.bridges["unix"]
    bridge.script = allows(IDENTITY)
    statuses = [bench.send(host="unix.test").status for _ in range(2)]
    assert (statuses, _asked(bridge)) == ([200] * 2, [(1, 1), (1, 2)])
    assert "host: localhost\r\n" in bridge.questions[0].head.lower()


@pytest.mark.parametrize(("host", "name"), [("tls.test", "tls"), ("unverified.test", "untrusted")])
def test_tls_connection_is_asked_and_kept(bench: Bench, host: str, name: str) -> None:
    bridge = bench.bridges[name]
    statuses = [bench.send(host=host).status for _ in range(2)]
    assert (statuses, _asked(bridge)) == ([200] * 2, [(1, 1), (1, 2)])


def test_unverified_connection_is_never_used_where_it_must_be_verified(bench: Bench) -> None:
    assert bench.send(host="unverified.test").status == 200
    assert bench.send(host="untrusted.test").status == 503
    assert _asked(bench.bridges["untrusted"]) == [(1, 1)]


def test_concurrent_requests_keep_their_own_answers(bench: Bench) -> None:
    def script(question: fake.Question) -> bool:
        (token,) = question.json()["headers"]["authorization"]
        return allows({"x-stepup-subject": token.removeprefix("Bearer ")})(question)

    bench.bridge.script = script

    def client(number: int) -> None:
        for turn in range(20):
            name = f"user-{number}-{turn}"
            bench.send(f"/{name}", f"Authorization: Bearer {name}", host="kept.test")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    received = bench.api.take()
    assert len(received) == 160
    for request in received:
        assert request.leniently("x-stepup-") == [("x-stepup-subject", request.target[1:])]
