"""What the plugin does with a good answer."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from .bench import IDENTITY, REMOVED, Bench
from .fake_bridge import allows, denies
from .wire import LOOPBACK, UPSTREAM_BODY, Reply, head, send


def test_allow_sets_the_identity_headers_and_passes_the_rest(bench: Bench) -> None:
    bench.bridge.script = allows(IDENTITY, REMOVED)
    reply = bench.send("/payments/x?y=1", "Authorization: Bearer a", "X-Other: 1")
    assert (reply.status, reply.body) == (200, UPSTREAM_BODY)
    (received,) = bench.api.take()
    assert received.target == "/payments/x?y=1"
    assert received.leniently("x-stepup-") == sorted(IDENTITY.items())
    assert received.leniently("authorization") == [("authorization", "Bearer a")]
    assert received.leniently("x-other") == [("x-other", "1")]


@pytest.mark.parametrize(
    "spelling",
    [
        "x-stepup-subject",
        "X-Stepup-Subject",
        "x_stepup_subject",
        "X_StepUp-Subject",
        "x-stepup_subject",
        "x-stepup-scope",
        "X_STEPUP_SCOPE",
        "x_stepup-scope",
    ],
)
@pytest.mark.parametrize("position", [0, 120, 980, 1100], ids="behind-{}-others".format)
def test_client_cannot_forge_an_identity_header(bench: Bench, spelling: str, position: int) -> None:
    bench.bridge.script = allows(IDENTITY, REMOVED)
    filler = [f"F{number}: 1" for number in range(position)]
    reply = bench.send("/", *filler, f"{spelling}: admin", "X-After: 1", f"{spelling}: root")
    if position > 1000 and reply.status in {400, 494}:
        assert bench.api.take() == []  # this nginx takes no more than 1000
        return
    assert reply.status == 200
    (received,) = bench.api.take()
    assert received.leniently("x-stepup-") == sorted(IDENTITY.items())
    assert received.leniently("x-after") == [("x-after", "1")]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Connection: x-stepup-subject"], id="alone"),
        pytest.param(["Connection: close, X-Stepup-Subject"], id="with-close"),
        pytest.param(["Connection: keep-alive,x-stepup-acr , X-STEPUP-SUBJECT"], id="both"),
        pytest.param(["Connection: X_Stepup_Subject"], id="underscores"),
        pytest.param(["Connection: close", "Connection: x-stepup-subject"], id="second-line"),
        pytest.param(["Connection: x-stepup-acr", "Connection: x-stepup-subject"], id="two-lines"),
    ],
)
def test_connection_header_cannot_drop_an_identity_header(bench: Bench, lines: list[str]) -> None:
    bench.bridge.script = allows(IDENTITY, REMOVED)
    # A connection that must be closed by this side, if the header says keep-alive.
    raw = head("GET", "/", *lines)
    assert send(raw, bench.gateway.port).status == 200
    (received,) = bench.api.take()
    assert received.leniently("x-stepup-") == sorted(IDENTITY.items())


def test_other_options_of_connection_still_count(bench: Bench) -> None:
    bench.bridge.script = allows(IDENTITY)
    raw = head("GET", "/", "Connection: x-hop, x-stepup-acr", "X-Hop: 1", "X-Kept: 1")
    assert send(raw, bench.gateway.port).status == 200
    (received,) = bench.api.take()
    assert received.leniently("x-hop") == []
    assert received.leniently("x-kept") == [("x-kept", "1")]


def test_web_socket_is_upgraded_after_an_allow(bench: Bench) -> None:
    bench.bridge.script = allows(IDENTITY)
    raw = head("GET", "/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: a")
    with socket.create_connection((LOOPBACK, bench.gateway.port), 5) as connection:
        connection.sendall(raw)
        reply = connection.recv(65_536)
        assert reply.startswith(b"HTTP/1.1 101 ")
        connection.sendall(b"ping")
        assert connection.recv(65_536) == b"ping"
    (received,) = bench.api.take()
    assert received.leniently("x-stepup-") == sorted(IDENTITY.items())
    assert bench.question()["path"] == "/ws"


def test_web_socket_is_refused_after_a_denial(bench: Bench) -> None:
    bench.bridge.script = denies(401, [("www-authenticate", 'Bearer realm="a"')], "{}")
    raw = head("GET", "/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: a")
    reply = send(raw, bench.gateway.port)
    assert (reply.status, reply.values("www-authenticate")) == (401, ['Bearer realm="a"'])
    assert bench.api.take() == []


# What a denial does

CHALLENGE = (
    'Bearer realm="payments", error="insufficient_user_authentication", '
    'error_description="The user\'s authentication is too old", '
    'acr_values="urn:example:mfa urn:example:phr", max_age="300"'
)
BODY = '{"error":"insufficient_user_authentication","max_age":300}'
DENIAL = [
    ("www-authenticate", CHALLENGE),
    ("cache-control", "no-store"),
    ("content-type", "application/json"),
    ("access-control-expose-headers", "WWW-Authenticate"),
]


def test_denial_is_passed_on_as_given(bench: Bench) -> None:
    bench.bridge.script = denies(401, DENIAL, BODY)
    reply = bench.send(method="POST")
    assert (reply.status, reply.body.decode()) == (401, BODY)
    for name, value in DENIAL:
        assert reply.values(name) == [value]
    assert reply.values("content-length") == [str(len(BODY))]
    assert bench.api.take() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 451, 500, 502, 503, 504, 599])
def test_status_of_a_denial_is_passed_on(bench: Bench, status: int) -> None:
    bench.bridge.script = denies(status, [("content-type", "text/plain")], "no")
    reply = bench.send()
    assert (reply.status, reply.body) == (status, b"no")


def test_denial_of_head_has_no_body(bench: Bench) -> None:
    bench.bridge.script = denies(401, DENIAL, "")
    reply = bench.send(method="HEAD")
    assert (reply.status, reply.body) == (401, b"")
    assert reply.values("www-authenticate") == [CHALLENGE]
    assert reply.values("content-length") == ["0"]


def test_empty_body_stays_empty(bench: Bench) -> None:
    bench.bridge.script = denies(403, [], "")
    reply = bench.send()
    assert (reply.body, reply.values("content-length")) == (b"", ["0"])
    assert reply.values("content-type") == []


def test_several_challenges_come_in_one_line(bench: Bench) -> None:
    pairs = [("WWW-Authenticate", 'Bearer realm="a"'), ("www-authenticate", 'DPoP algs="ES256"')]
    bench.bridge.script = denies(401, pairs, "{}")
    assert bench.send().values("www-authenticate") == ['Bearer realm="a", DPoP algs="ES256"']


def test_another_header_given_twice_stays_two_lines(bench: Bench) -> None:
    pairs = [("X-Note", "a"), ("x-note", "b"), ("vary", "Origin")]
    bench.bridge.script = denies(403, pairs, "{}")
    reply = bench.send()
    assert (reply.values("x-note"), reply.values("vary")) == (["a", "b"], ["Origin"])


# HTTP/2

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl speaks HTTP/2 here")


def _curl(bench: Bench, *arguments: str) -> Reply:
    done = subprocess.run(
        [
            "curl", "-sS", "-i", "-m", "10", "--noproxy", "*", "--http2-prior-knowledge",
            "-H", "Host: api.test", *arguments,
            f"http://127.0.0.1:{bench.gateway.http2_port}/payments/x?y=1",
        ],
        capture_output=True,
        check=True,
    )  # fmt: skip
    reply_head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = reply_head.decode().split("\r\n")
    assert first.startswith("HTTP/2 "), first
    pairs = (line.partition(": ") for line in lines)
    headers = tuple((name.lower(), value) for name, _, value in pairs)
    return Reply(int(first.split(" ")[1]), headers, body)


@needs_curl
def test_http2_client_is_allowed(bench: Bench) -> None:
    bench.bridge.script = allows(IDENTITY, REMOVED)
    reply = _curl(
        bench, "-H", "authorization: Bearer a", "-H", "x_stepup_subject: admin", "-d", "x"
    )
    assert (reply.status, reply.body) == (200, UPSTREAM_BODY)
    assert bench.question() == {
        "method": "POST",
        "scheme": "http",
        "host": "api.test",
        "path": "/payments/x?y=1",
        "headers": {"authorization": ["Bearer a"]},
    }
    (received,) = bench.api.take()
    assert received.leniently("x-stepup-") == sorted(IDENTITY.items())


@needs_curl
def test_http2_client_is_denied(bench: Bench) -> None:
    bench.bridge.script = denies(401, DENIAL, BODY)
    reply = _curl(bench)
    assert (reply.status, reply.body.decode()) == (401, BODY)
    assert reply.values("www-authenticate") == [CHALLENGE]


@needs_curl
def test_http2_head_is_denied_without_a_body(bench: Bench) -> None:
    bench.bridge.script = denies(401, DENIAL, "")
    reply = _curl(bench, "--head")
    assert (reply.status, reply.body) == (401, b"")
    assert bench.question()["method"] == "HEAD"
