"""What the plugin asks the bridge, and what it leaves alone."""

from __future__ import annotations

import ssl

import pytest

from .bench import Bench
from .certificates import Certificates
from .fake_bridge import denies
from .wire import head, send


def test_question_has_exactly_the_members_of_the_contract(bench: Bench) -> None:
    bench.send(
        "/payments/transfers?dry=1",
        "Authorization: Bearer abc",
        "Origin: https://app.test",
        "Cookie: session=1",
        "X-Request-Id: r-1",
        method="POST",
    )
    assert bench.question() == {
        "method": "POST",
        "scheme": "http",
        "host": "api.test",
        "path": "/payments/transfers?dry=1",
        "headers": {
            "authorization": ["Bearer abc"],
            "origin": ["https://app.test"],
            "x-request-id": ["r-1"],
        },
    }
    (question,) = bench.bridge.questions
    lines = question.head.lower().split("\r\n")
    assert lines[0] == "post /v1/check http/1.1"
    assert f"host: {bench.bridge.url.removeprefix('http://')}" in lines
    assert "content-type: application/json" in lines


def test_question_without_wanted_headers_has_an_empty_object(bench: Bench) -> None:
    bench.send("/")
    assert bench.question()["headers"] == {}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param("/a%20b//c/../d;v=1", "/a%20b//c/../d;v=1", id="not-normalised"),
        pytest.param("/a%2Fb/%2e%2e/c", "/a%2Fb/%2e%2e/c", id="not-decoded"),
        pytest.param("/a?b=/../c%2F&d=?", "/a?b=/../c%2F&d=?", id="query"),
        pytest.param("/a#b", "/a#b", id="fragment"),
        pytest.param("/\xe9/\xff", "/\xe9/\xff", id="bytes-over-0x7f-one-code-point-each"),
        pytest.param("/%C3%A9", "/%C3%A9", id="encoded-utf-8"),
        pytest.param('/a"b\\c', '/a"b\\c', id="quote-and-backslash"),
        pytest.param("http://api.test/a?b", "/a?b", id="absolute-form"),
        pytest.param("http://api.test", "/", id="absolute-form-without-path"),
        pytest.param("HTTP://API.test:80//a", "//a", id="absolute-form-in-capitals"),
    ],
)
def test_path_is_the_target_as_on_the_wire(bench: Bench, target: str, path: str) -> None:
    bench.send(target)
    assert bench.question()["path"] == path


def test_host_is_the_header_as_sent(bench: Bench) -> None:
    bench.send(host="api.test:8443")
    assert bench.question()["host"] == "api.test:8443"


@pytest.mark.parametrize("host", ["API.test", "api.test.", "api.test:x", "a@api.test", ""])
def test_odd_host_is_sent_as_it_is_or_not_routed(bench: Bench, host: str) -> None:
    reply = bench.send(host=host)
    hosts = [question.json()["host"] for question in bench.bridge.questions]
    assert (reply.status, hosts) in [(404, []), (400, []), (200, [host])]


def test_target_in_absolute_form_for_another_host_names_both(bench: Bench) -> None:
    bench.send("http://other.test/a")
    assert bench.question()["host"] == "api.test, other.test"


def test_two_host_lines_never_pass_as_one(bench: Bench) -> None:
    reply = bench.send("/", "Host: other.test")
    hosts = [question.json()["host"] for question in bench.bridge.questions]
    assert reply.status == 400 or hosts == ["api.test, other.test"]


def test_two_authorization_lines_never_pass_as_one(bench: Bench) -> None:
    reply = bench.send("/", "Authorization: Bearer a", "Authorization: Bearer b")
    values = [question.json()["headers"]["authorization"] for question in bench.bridge.questions]
    assert (reply.status, values) in [(400, []), (200, [["Bearer a", "Bearer b"]])]


def test_all_values_of_a_doubled_header_are_sent_in_order(bench: Bench) -> None:
    bench.send("/", "DPoP: first", "Origin: https://a.test", "dpop: second")
    assert bench.question()["headers"] == {
        "dpop": ["first", "second"],
        "origin": ["https://a.test"],
    }


def test_underscored_spelling_of_a_header_counts_as_the_header(bench: Bench) -> None:
    bench.send("/", "X_HTTP_Method-Override: DELETE", "X-Http-Method_Override: PUT")
    values = bench.question()["headers"]["x-http-method-override"]
    assert sorted(values) == ["DELETE", "PUT"]


def test_headers_behind_the_first_hundred_are_sent(bench: Bench) -> None:
    filler = [f"X-Filler-{number}: 1" for number in range(150)]
    bench.send("/", *filler, "Authorization: Bearer late", "X-Method-Override: DELETE")
    assert bench.question()["headers"] == {
        "authorization": ["Bearer late"],
        "x-method-override": ["DELETE"],
    }


def test_empty_header_and_odd_bytes_are_sent(bench: Bench) -> None:
    bench.send("/", "Authorization:", 'Origin: "\\\xe9')
    assert bench.question()["headers"] == {"authorization": [""], "origin": ['"\\\xe9']}


def test_forwarded_headers_change_nothing(bench: Bench) -> None:
    bench.send(
        "/a",
        "X-Forwarded-Host: other.test",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Method: DELETE",
        "X-Forwarded-Path: /b",
        "X-Forwarded-Uri: /b",
        "X-Original-URL: /b",
    )
    assert bench.question() == {
        "method": "GET",
        "scheme": "http",
        "host": "api.test",
        "path": "/a",
        "headers": {},
    }


def test_forward_headers_replaces_the_list(bench: Bench) -> None:
    bench.send("/", "Authorization: Bearer a", "x-custom: 1", host="custom.test")
    assert bench.question()["headers"] == {"x-custom": ["1"]}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "PROPFIND"])
def test_method_is_the_client_s(bench: Bench, method: str) -> None:
    assert bench.send(method=method).status == 200
    assert bench.question()["method"] == method


def test_client_certificate_is_sent_as_its_sha256(bench: Bench, certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=certificates.authority)
    context.check_hostname = False
    context.load_cert_chain(certificates.client, certificates.client_key)
    send(head("GET", "/", "Connection: close"), bench.gateway.tls_port, context)
    assert bench.question() == {
        "method": "GET",
        "scheme": "https",
        "host": "api.test",
        "path": "/",
        "headers": {},
        "client_certificate_sha256": certificates.client_sha256,
    }


def test_tls_without_client_certificate_sends_none(
    bench: Bench, certificates: Certificates
) -> None:
    context = ssl.create_default_context(cafile=certificates.authority)
    context.check_hostname = False
    send(head("GET", "/", "Connection: close"), bench.gateway.tls_port, context)
    assert "client_certificate_sha256" not in bench.question()
    assert bench.question()["scheme"] == "https"


def test_body_is_not_read_and_reaches_the_upstream(bench: Bench) -> None:
    body = b"x" * 300_000
    raw = head("PUT", "/", f"Content-Length: {len(body)}", "Connection: close")
    assert send(raw + body, bench.gateway.port).status == 200
    (received,) = bench.api.take()
    assert received.body == body
    assert len(bench.bridge.questions[0].body) < 1000


def test_denial_does_not_wait_for_the_body(bench: Bench) -> None:
    bench.bridge.script = denies(401, [], "")
    # The body never comes.
    reply = send(head("PUT", "/", "Content-Length: 300000"), bench.gateway.port)
    assert reply.status == 401
