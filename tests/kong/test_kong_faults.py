"""No proper answer: nothing passes, and one line in the log says why."""

from __future__ import annotations

import re
import threading
import time

import pytest

from . import fake_bridge as fake
from .bench import (
    ANSWER_SECRET,
    QUERY_SECRET,
    QUICK_TIMEOUT_SECONDS,
    SLACK_SECONDS,
    TIMEOUT_SECONDS,
    TOKEN_SECRET,
    UNAVAILABLE,
    Bench,
)
from .fake_bridge import ALLOW_JSON, Script, answers, says
from .wire import Reply


def _allow(set_: object, remove: object) -> Script:
    return answers({"allow": True, "upstream": {"set": set_, "remove": remove}})


def _deny(status: object, headers: object, body: object) -> Script:
    return answers(
        {"allow": False, "response": {"status": status, "headers": headers, "body": body}}
    )


def _chunks(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


NONSENSE = [
    # The connection
    pytest.param(says(b""), "closed", id="closes-at-once"),
    pytest.param(says(b"HTTP/1.1 200"), "closed", id="closes-in-status-line"),
    pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed", id="closes-in-head"),
    pytest.param(
        says(fake.http_response(ALLOW_JSON)[:-1]), "closed", id="closes-before-the-last-byte"
    ),
    pytest.param(says(_chunks(ALLOW_JSON)), "closed", id="closes-before-the-last-chunk"),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\n\r\n" + ALLOW_JSON[:-1]),
        "JSON",
        id="half-of-the-json-to-the-end",
    ),
    # HTTP
    pytest.param(says(b"allow\r\n\r\n"), "not HTTP", id="no-http"),
    pytest.param(says(b"HTTP/2 200\r\n\r\n"), "not HTTP", id="other-http"),
    pytest.param(
        says(fake.http_response(ALLOW_JSON, "500 Internal Server Error")), "status 500", id="500"
    ),
    pytest.param(says(fake.http_response(ALLOW_JSON, "400 Bad Request")), "status 400", id="400"),
    pytest.param(says(fake.http_response(ALLOW_JSON, "201 Created")), "status 201", id="201"),
    pytest.param(says(fake.http_response(b"", "204 No Content")), "status 204", id="204"),
    pytest.param(
        says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"), "status 302", id="302"
    ),
    pytest.param(says(b"HTTP/1.1 100 Continue\r\n\r\n"), "status 100", id="100"),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        "length is unclear",
        id="length-negative",
    ),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
        "length is unclear",
        id="coding",
    ),
    pytest.param(
        says(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        "length is unclear",
        id="length-and-chunks",
    ),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n"),
        "length is unclear",
        id="chunk-longer-than-told",
    ),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"z" * 600),
        "length is unclear",
        id="chunk-without-size",
    ),
    # Size
    pytest.param(
        says(fake.http_response(b"x" * 10_000_000)), "over 262144 bytes", id="10-mb-with-length"
    ),
    pytest.param(fake.never_ends, "over 262144 bytes", id="endless"),
    pytest.param(
        says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000_000), "over 262144 bytes", id="endless-head"
    ),
    pytest.param(
        says(_chunks(*[b"x" * 1000] * 1000)), "over 262144 bytes", id="chunks-over-the-limit"
    ),
    # JSON
    pytest.param(
        says(fake.http_response(b"<html>welcome</html>", "200 OK", "text/html")), "JSON", id="html"
    ),
    pytest.param(says(fake.http_response(b"")), "JSON", id="empty"),
    pytest.param(says(fake.http_response(ALLOW_JSON[:-1])), "JSON", id="half-of-the-json"),
    pytest.param(says(fake.http_response(ALLOW_JSON + b"x")), "JSON", id="json-and-more"),
    pytest.param(says(fake.http_response(b"[" * 100_000)), "JSON", id="deep-json"),
    pytest.param(answers("allow"), "JSON", id="string"),
    pytest.param(answers(None), "JSON", id="null"),
    pytest.param(answers(True), "JSON", id="true"),
    # Types
    pytest.param(answers({}), "allow", id="no-allow"),
    pytest.param(answers([True]), "allow", id="list"),
    pytest.param(answers({"allow": "true"}), "allow", id="allow-string"),
    pytest.param(answers({"allow": 1}), "allow", id="allow-number"),
    pytest.param(answers({"allow": None}), "allow", id="allow-null"),
    pytest.param(answers({"allow": True}), "upstream", id="allow-without-upstream"),
    pytest.param(answers({"allow": True, "upstream": None}), "upstream", id="upstream-null"),
    pytest.param(_allow("x", []), "upstream", id="set-string"),
    pytest.param(_allow(None, []), "upstream", id="set-null"),
    pytest.param(_allow({}, None), "upstream", id="remove-null"),
    pytest.param(_allow({}, {"a": "b"}), "upstream", id="remove-object"),
    pytest.param(_allow({}, [1]), "header", id="remove-number"),
    pytest.param(_allow({}, ["a b"]), "header", id="remove-no-name"),
    pytest.param(_allow(["a"], []), "header", id="set-list"),
    pytest.param(_allow({"a": 1}, []), "header", id="set-value-number"),
    pytest.param(_allow({"a": None}, []), "header", id="set-value-null"),
    pytest.param(_allow({"a": ["b"]}, []), "header", id="set-value-list"),
    pytest.param(_allow({"a": "b\r\nX-Evil: 1"}, []), "header", id="set-value-crlf"),
    pytest.param(_allow({"a": "b\x00"}, []), "header", id="set-value-nul"),
    pytest.param(_allow({"a:b": "c"}, []), "header", id="set-name-colon"),
    pytest.param(_allow({"": "c"}, []), "header", id="set-name-empty"),
    pytest.param(_allow({"a\n": "c"}, []), "header", id="set-name-lf"),
    pytest.param(_allow({"connection": "close"}, []), "header", id="set-connection"),
    pytest.param(answers({"allow": False}), "response", id="deny-without-response"),
    pytest.param(answers({"allow": False, "response": []}), "response", id="response-list"),
    pytest.param(_deny(401, [], None), "response", id="body-null"),
    pytest.param(_deny(401, [], {"a": 1}), "response", id="body-object"),
    pytest.param(_deny(401, None, ""), "response", id="headers-null"),
    pytest.param(_deny(401, {"a": "b"}, ""), "response", id="headers-object"),
    pytest.param(_deny(401, ["a"], ""), "header", id="header-no-pair"),
    pytest.param(_deny(401, [["a"]], ""), "header", id="header-without-value"),
    pytest.param(_deny(401, [["a", "b", "c"]], ""), "header", id="header-of-three"),
    pytest.param(_deny(401, [["a", 1]], ""), "header", id="header-value-number"),
    pytest.param(_deny(401, [["a", ["b"]]], ""), "header", id="header-value-list"),
    pytest.param(_deny(401, [["a", "b\nc"]], ""), "header", id="header-value-lf"),
    pytest.param(_deny(401, [["a\r", "b"]], ""), "header", id="header-name-cr"),
    pytest.param(_deny(401, [["Content-Length", "5"]], ""), "header", id="header-content-length"),
    pytest.param(_deny(401, [["transfer-encoding", "x"]], ""), "header", id="header-coding"),
    pytest.param(_deny("401", [], ""), "status", id="status-string"),
    pytest.param(_deny(None, [], ""), "status", id="status-null"),
    pytest.param(_deny(True, [], ""), "status", id="status-boolean"),
    pytest.param(_deny(401.5, [], ""), "status", id="status-fraction"),
    pytest.param(_deny(200, [], ""), "status", id="status-200"),
    pytest.param(_deny(302, [], ""), "status", id="status-302"),
    pytest.param(_deny(399, [], ""), "status", id="status-399"),
    pytest.param(_deny(600, [], ""), "status", id="status-600"),
    pytest.param(_deny(-1, [], ""), "status", id="status-negative"),
    pytest.param(_deny(408, [], ""), "status", id="status-408"),
    pytest.param(_deny(444, [], ""), "status", id="status-444"),
    pytest.param(_deny(499, [], ""), "status", id="status-499"),
]


def _assert_refused(bench: Bench, reply: Reply, log_before: int, reason: str) -> None:
    assert (reply.status, reply.json()) == (503, UNAVAILABLE)
    assert reply.values("content-type") == ["application/json"]
    assert reply.values("cache-control") == ["no-store"]
    assert reply.values("retry-after") == ["1"]
    assert reply.values("www-authenticate") == []
    assert bench.api.take() == []
    assert reason in _log_line(bench, reply)
    for line in bench.gateway.log()[log_before:].splitlines():
        assert TOKEN_SECRET not in line
        assert ANSWER_SECRET not in line
        # nginx says it itself when a Unix socket is not there, and adds the request line.
        assert QUERY_SECRET not in line or "connect() to unix:" in line


def _log_line(bench: Bench, reply: Reply, seconds: float = 3) -> str:
    """Wait for the plugin's one line about a request, which comes a moment after the response."""
    (request_id,) = reply.values("x-kong-request-id")
    deadline = time.monotonic() + seconds
    while True:
        lines = [
            line
            for line in bench.gateway.log().splitlines()
            if request_id in line and "stepup-bridge" in line
        ]
        if lines or time.monotonic() > deadline:
            (line,) = lines
            return line
        time.sleep(0.01)


def _send_secrets(bench: Bench, host: str = "api.test") -> Reply:
    return bench.send(
        f"/payments/x?q={QUERY_SECRET}", f"Authorization: Bearer {TOKEN_SECRET}", host=host
    )


@pytest.mark.parametrize(("script", "reason"), NONSENSE)
def test_nonsense_is_refused_with_one_line_in_the_log(
    bench: Bench, script: Script, reason: str
) -> None:
    bench.bridge.script = script
    before = len(bench.gateway.log())
    _assert_refused(bench, _send_secrets(bench), before, reason)
    assert len(bench.bridge.questions) == 1


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        pytest.param("down.test", "refused", id="port-closed"),
        pytest.param("no-socket.test", "no connection", id="no-socket"),
        pytest.param("no-name.test", "", id="no-such-name"),
        # No word of the certificate where nginx's Lua finds it wrong at the first try: it reports
        # success there, on a connection that it has closed.
        pytest.param("untrusted.test", "no decision", id="certificate-unknown"),
    ],
)
def test_bridge_that_cannot_be_reached_is_refused(bench: Bench, host: str, reason: str) -> None:
    before = len(bench.gateway.log())
    _assert_refused(bench, _send_secrets(bench, host), before, reason)


def test_refusal_of_head_has_no_body(bench: Bench) -> None:
    reply = bench.send(method="HEAD", host="down.test")
    assert (reply.status, reply.body) == (503, b"")
    assert reply.values("retry-after") == ["1"]


def test_log_line_names_the_bridge_and_the_request(bench: Bench) -> None:
    bench.bridge.script = says(fake.http_response(ANSWER_SECRET.encode()))
    line = _log_line(bench, _send_secrets(bench))
    assert f"no decision from {bench.bridge.url}: the answer is not a JSON object" in line
    assert re.search(r"request_id: [0-9a-f]{32}\)", line)
    assert ANSWER_SECRET not in line


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(fake.is_silent, id="silent"),
        pytest.param(fake.drips(fake.http_response(ALLOW_JSON), 0.1), id="drips-body"),
        pytest.param(fake.drips(b"HTTP/1.1 200 OK\r\n" + b"x" * 100, 0.1), id="drips-head"),
    ],
)
def test_slow_bridge_holds_a_request_no_longer_than_the_timeout(
    bench: Bench, script: Script
) -> None:
    bench.bridge.script = script
    before = len(bench.gateway.log())
    start = time.monotonic()
    reply = _send_secrets(bench, "quick.test")
    took = time.monotonic() - start
    _assert_refused(bench, reply, before, "timeout")
    assert QUICK_TIMEOUT_SECONDS * 0.9 <= took < QUICK_TIMEOUT_SECONDS + SLACK_SECONDS


def test_slow_bridge_does_not_hold_the_worker(bench: Bench) -> None:
    bench.bridge.script = fake.is_silent
    waiting = threading.Thread(target=bench.send)
    waiting.start()
    while not bench.bridge.questions:
        time.sleep(0.01)
    start = time.monotonic()
    assert bench.send(host="unix.test").status == 200
    assert time.monotonic() - start < TIMEOUT_SECONDS / 2
    waiting.join()


# Good answers in other forms


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(_chunks(ALLOW_JSON) + b"0\r\n\r\n", id="chunk"),
        pytest.param(_chunks(*(bytes([b]) for b in ALLOW_JSON)) + b"0\r\n\r\n", id="tiny-chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + ALLOW_JSON, id="until-the-end"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + ALLOW_JSON, id="http-1.0"),
        pytest.param(
            b"HTTP/1.1 200 \r\ncontent-length:%d \r\n\r\n" % len(ALLOW_JSON) + ALLOW_JSON,
            id="no-reason-odd-spaces",
        ),
        pytest.param(fake.http_response(ALLOW_JSON + b" " * 250_000), id="250-kb"),
    ],
)
def test_good_answer_in_any_framing_is_taken(bench: Bench, raw: bytes) -> None:
    bench.bridge.script = says(raw)
    assert bench.send().status == 200
    bench.bridge.script = fake.drips(raw[:300], 0.001) if len(raw) < 300 else says(raw)
    assert bench.send().status == 200


def test_unknown_members_of_an_answer_are_ignored(bench: Bench) -> None:
    upstream = {"set": {}, "remove": [], "new": 1}
    bench.bridge.script = answers({"allow": True, "upstream": upstream, "new": [1]})
    assert bench.send().status == 200
