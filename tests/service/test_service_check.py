"""`POST /v1/check` and the authz listener's other answers, on the wire (spec §8)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from running_bridge import HOST, ISSUER, MFA, PHR, Service, bearer, question

from e2e.harness.http1 import Reply, Request
from e2e.harness.tokens import SigningKey, TokenSpec

LIMIT_BYTES = 256 * 1024
RESOURCE_METADATA = f"https://{HOST}/.well-known/oauth-protected-resource/payments"
REMOVED_FOR_NOBODY = [
    *(f"x-stepup-{name}" for name in ("subject", "client-id", "issuer", "acr")),
    *("x-stepup-auth-time", "x-stepup-scope", "x-stepup-would-deny"),
    *(f"x_stepup_{name}" for name in ("subject", "client_id", "issuer", "acr")),
    *("x_stepup_auth_time", "x_stepup_scope", "x_stepup_would_deny"),
]


def encoded(**changes: Any) -> bytes:
    return json.dumps({**question(), **changes}).encode()


def test_allow_tells_what_to_set_and_what_to_remove(
    service: Service, signing_key: SigningKey
) -> None:
    authorization = bearer(signing_key, TokenSpec(acr=None, auth_age=None))
    answer = service.ask(question(authorization=authorization))
    assert answer == {
        "allow": True,
        "operation": "payments.profile",
        "upstream": {
            "set": {
                "x-stepup-subject": "alice",
                "x-stepup-client-id": "app",
                "x-stepup-issuer": ISSUER,
                "x-stepup-scope": "accounts:read payments:write",
            },
            "remove": [
                "x-stepup-acr",
                "x-stepup-auth-time",
                *(name for name in REMOVED_FOR_NOBODY if "would" in name or "_" in name),
            ],
        },
    }


def test_public_operation_removes_every_identity_header(
    service: Service, signing_key: SigningKey
) -> None:
    asked = question(path="/payments/health", authorization=bearer(signing_key))
    answer = service.ask(asked)
    assert answer["operation"] == "payments.health"
    assert answer["upstream"]["set"] == {}
    assert sorted(answer["upstream"]["remove"]) == sorted(REMOVED_FOR_NOBODY)


def test_denial_is_the_clients_response_whole(service: Service, signing_key: SigningKey) -> None:
    authorization = bearer(signing_key, TokenSpec(auth_age=400))
    asked = question("POST", "/payments/transfers?dry=1", authorization=authorization)
    assert service.ask(asked) == {
        "allow": False,
        "operation": "payments.create-transfer",
        "response": {
            "status": 401,
            "headers": [
                [
                    "www-authenticate",
                    'Bearer realm="payments", error="insufficient_user_authentication", '
                    'error_description="A different authentication level and more recent '
                    f'authentication are required", acr_values="{MFA} {PHR}", max_age="300", '
                    f'resource_metadata="{RESOURCE_METADATA}"',
                ],
                ["cache-control", "no-store"],
                ["content-type", "application/json"],
            ],
            "body": '{"error":"insufficient_user_authentication","error_description":'
            '"A different authentication level and more recent authentication are required",'
            f'"acr_values":"{MFA} {PHR}","max_age":300}}',
        },
    }


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_denied_head_has_no_body(service: Service, method: str) -> None:
    response = service.ask(question(method))["response"]
    assert response["status"] == 401
    assert (response["body"] == "") is (method == "HEAD")


@pytest.mark.parametrize(
    ("asked", "status", "operation"),
    [
        pytest.param(question(path="/payments/../x"), 400, None, id="ambiguous-path"),
        pytest.param(question(path=""), 400, None, id="no-path"),
        pytest.param(question(path="*"), 400, None, id="no-origin-form"),
        pytest.param(question(host=""), 400, None, id="no-host"),
        pytest.param(question(host="u@api.test"), 400, None, id="userinfo"),
        pytest.param(question("G T"), 400, None, id="no-method"),
        pytest.param(question(host="other.test"), 403, None, id="no-api"),
        pytest.param(question(path="/payments/else"), 403, None, id="no-operation"),
        pytest.param(question("get"), 403, None, id="method-in-lower-case"),
        pytest.param(question(), 401, "payments.profile", id="no-credentials"),
        pytest.param(
            question(authorization="Bearer a,b"), 400, "payments.profile", id="malformed-token"
        ),
        pytest.param(
            question(x_http_method_override="DELETE"), 400, None, id="another-method-asked-for"
        ),
    ],
)
def test_clients_fault_is_a_well_formed_question(
    service: Service, asked: dict[str, Any], status: int, operation: str | None
) -> None:
    answer = service.ask(asked)
    assert (answer["allow"], answer["operation"]) == (False, operation)
    assert answer["response"]["status"] == status


def test_one_header_in_two_spellings_is_two_values(
    service: Service, signing_key: SigningKey
) -> None:
    value = bearer(signing_key)
    asked = {**question(), "headers": {"Authorization": [value], "authorization": [value]}}
    assert service.ask(asked)["response"]["status"] == 400


def test_header_names_may_have_any_case(service: Service, signing_key: SigningKey) -> None:
    asked = {**question(), "headers": {"AUTHORIZATION": [bearer(signing_key)]}}
    assert service.ask(asked)["allow"] is True


MALFORMED = [
    pytest.param(b"", "", id="empty"),
    pytest.param(b"\xff\x00", "", id="binary"),
    pytest.param(b"[]", "", id="list"),
    pytest.param(encoded()[:-1], "", id="cut-off"),
    pytest.param(encoded()[:-1] + b',"path":"/payments/health"}', "/path", id="duplicate-member"),
    pytest.param(encoded(extra=1), "/extra", id="unknown-member"),
    pytest.param(encoded(method=None), "/method", id="method-null"),
    pytest.param(encoded(path=["/"]), "/path", id="path-list"),
    pytest.param(encoded(host=7), "/host", id="host-number"),
    pytest.param(encoded(scheme=True), "/scheme", id="scheme-boolean"),
    pytest.param(encoded(headers=[]), "/headers", id="headers-list"),
    pytest.param(encoded(headers={"a": "b"}), "/headers", id="header-string"),
    pytest.param(encoded(headers={"a": [None]}), "/headers", id="header-null"),
    pytest.param(
        encoded(client_certificate_sha256="00"), "/client_certificate_sha256", id="short-digest"
    ),
    pytest.param(b'{"path": NaN}', "", id="nan"),
    pytest.param(b"[" * 100_000, "", id="deep"),
    pytest.param(encoded(path="/\ud800"), "", id="lone-surrogate"),
]


def assert_problem(reply: Reply, pointer: str) -> dict[str, Any]:
    assert (reply.status, reply.values("content-type")) == (400, ["application/problem+json"])
    document: dict[str, Any] = json.loads(reply.body)
    assert document.keys() == {"type", "title", "status", "detail", "pointer"}
    assert (document["status"], document["pointer"]) == (400, pointer)
    return document


@pytest.mark.parametrize(("body", "pointer"), MALFORMED)
def test_malformed_question_is_told_where(service: Service, body: bytes, pointer: str) -> None:
    assert_problem(service.post(body), pointer)


@pytest.mark.parametrize("member", ["method", "scheme", "host", "path", "headers"])
def test_missing_member_is_named(service: Service, member: str) -> None:
    asked = question()
    del asked[member]
    document = assert_problem(service.post(json.dumps(asked).encode()), "")
    assert document["detail"] == f"must have the member {member}"


def padded(size: int) -> bytes:
    body = encoded()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(LIMIT_BYTES, 200, id="at-the-limit"),
        pytest.param(LIMIT_BYTES + 1, 400, id="one-byte-more"),
        pytest.param(4 * LIMIT_BYTES, 400, id="far-more"),
    ],
)
def test_question_is_bounded(service: Service, size: int, status: int) -> None:
    reply = service.post(padded(size))
    assert reply.status == status
    if status == 400:
        assert assert_problem(reply, "")["detail"] == "must not be larger than 256 KiB"


def test_chunked_question_is_read_and_bounded(service: Service) -> None:
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    def chunked(body: bytes) -> bytes:
        return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    assert service.send(chunked(encoded())).status == 200
    assert_problem(service.send(chunked(padded(LIMIT_BYTES + 1))), "")


@pytest.mark.parametrize(
    "line", [b"Content-Encoding: gzip", b"Content-Type: text/plain", b"Expect: 100-continue"]
)
def test_question_is_read_as_it_is_whatever_its_headers_say(service: Service, line: bytes) -> None:
    body = encoded()
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\n%b\r\nContent-Length: %d\r\n\r\n"
    reply = service.send(head % (line, len(body)) + body)
    assert reply.status == 200


def test_body_that_does_not_arrive_is_not_waited_for(service: Service) -> None:
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{"
    started = time.monotonic()
    document = assert_problem(service.send(head), "")
    assert document["detail"] == "must arrive within 5 seconds"
    assert 4 < time.monotonic() - started < 20


def test_body_that_breaks_off_harms_nobody(service: Service) -> None:
    with service.authz.connect(5) as connection:
        connection.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{")
        connection.shutdown(socket.SHUT_RDWR)
    assert service.ask(question())["allow"] is False


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_on_v1_check_are_405(service: Service, method: str) -> None:
    reply = service.send(Request(method, "/v1/check"))
    assert (reply.status, reply.values("allow"), reply.body) == (405, ["POST"], b"")


NOT_FOUND = [
    *("/", "/v1", "/v1/", "/v1/check/", "/v1/checks", "//v1/check", "/v1/%63heck", "/V1/check"),
    *("/envoy", "/Envoy/payments/health", "//envoy/payments/health", "/%65nvoy/payments/health"),
    *("/x/../envoy/payments/health", "/healthz", "/readyz", "/metrics", "/payments/health"),
    "http://api.test/envoy/payments/health",
]


@pytest.mark.parametrize("target", NOT_FOUND)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_paths_are_404(service: Service, target: str, method: str) -> None:
    body = encoded() if method == "POST" else b""
    reply = service.send(Request(method, target, body=body))
    assert (reply.status, reply.body) == (404, b"")


def test_v1_check_with_a_query_is_v1_check(service: Service) -> None:
    assert service.send(Request("POST", "/v1/check?a=b", body=encoded())).status == 200


def test_envoy_answers_the_same_as_the_native_check(
    service: Service, signing_key: SigningKey
) -> None:
    value = bearer(signing_key)
    for method, path in (("GET", "/payments/profile"), ("POST", "/payments/transfers")):
        native = service.ask(question(method, path, authorization=value))
        headers = (("Authorization", value),)
        reply = service.send(Request(method, f"/envoy{path}", HOST, headers))
        if native["allow"]:
            assert reply.status == 200
            removed = ", ".join(native["upstream"]["remove"])
            assert reply.values("x-envoy-auth-headers-to-remove") == [removed]
            for name, told in native["upstream"]["set"].items():
                assert reply.values(name) == [told]
        else:
            assert reply.status == native["response"]["status"]
            assert reply.body.decode() == native["response"]["body"]
            for name, told in native["response"]["headers"]:
                assert reply.values(name) == [told]


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(16 * 1024, 401, id="largest-token"),
        pytest.param(16 * 1024 + 1, 400, id="one-byte-more"),
        pytest.param(100_000, 400, id="far-more"),
    ],
)
def test_long_token_reaches_the_rules(service: Service, size: int, status: int) -> None:
    headers = (("Authorization", "Bearer " + "a" * size),)
    reply = service.send(Request("GET", "/envoy/payments/profile", HOST, headers))
    assert reply.status == status
    assert len(reply.values("www-authenticate")) == 1


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b"GET /envoy/payments/health HTTP/1.1\r\nHost: api.test\r\nX-Long: %b\r\n\r\n"
            % (b"a" * 200_000),
            id="header",
        ),
        pytest.param(
            b"GET /envoy/payments/health?%b HTTP/1.1\r\nHost: api.test\r\n\r\n" % (b"a" * 200_000),
            id="target",
        ),
        pytest.param(b"GET /envoy/payments/health\r\n\r\n", id="no-version"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: api.test\r\n\r\n", id="asterisk"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="tls"),
        pytest.param(
            b"GET /envoy/payments/health HTTP/1.1\r\nHost: api.test\r\nA\x00: b\r\n\r\n", id="nul"
        ),
    ],
)
def test_what_the_parser_refuses_is_400(service: Service, raw: bytes) -> None:
    assert service.send(raw).status == 400
    assert service.ask(question(path="/payments/health"))["allow"] is True


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET /envoy/payments/health?marked-secret\xff HTTP/1.1", id="target"),
        pytest.param(b"marked-secret", id="no-http"),
        pytest.param(
            b"GET /envoy/payments/health HTTP/1.1\r\nHost: x\r\nAuthorization: marked-secret\x01",
            id="header",
        ),
    ],
)
def test_what_the_parser_refuses_is_not_quoted(service: Service, line: bytes) -> None:
    reply = service.send(line + b"\r\n\r\n")
    assert (reply.status, reply.body, reply.values("server")) == (400, b"", ["stepup-bridge"])
    assert "marked-secret" not in repr(reply) + service.stdout() + service.stderr()


def test_long_query_reaches_the_rules(service: Service) -> None:
    target = "/envoy/payments/health?" + "a" * 100_000
    assert service.send(Request("GET", target, HOST)).status == 200


METADATA = {
    "resource": f"https://{HOST}/payments",
    "authorization_servers": [ISSUER],
    "scopes_supported": ["payments:write"],
    "bearer_methods_supported": ["header"],
}


@pytest.mark.parametrize("host", [HOST, f"{HOST.upper()}:443", "bridge.internal"])
def test_metadata_is_found_by_host_and_path_or_by_path_alone(service: Service, host: str) -> None:
    target = "/.well-known/oauth-protected-resource/payments"
    reply = service.send(Request("GET", target, host))
    assert reply.status == 200
    assert reply.values("content-type") == ["application/json"]
    assert json.loads(reply.body) == METADATA


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        pytest.param("GET", "", HOST, 404, id="no-path"),
        pytest.param("GET", "/monitored", HOST, 404, id="no-resource"),
        pytest.param("GET", "/payments/x", HOST, 404, id="below"),
        pytest.param("GET", "payments", HOST, 404, id="no-slash"),
        pytest.param("POST", "-x", HOST, 404, id="another-path"),
        pytest.param("GET", "/payments", "", 400, id="no-host"),
        pytest.param("GET", "/payments", "u@api.test", 400, id="userinfo"),
        pytest.param("POST", "/payments", HOST, 405, id="post"),
        pytest.param("DELETE", "/payments", HOST, 405, id="delete"),
    ],
)
def test_metadata_that_is_not_there(
    service: Service, method: str, path: str, host: str, status: int
) -> None:
    target = f"/.well-known/oauth-protected-resource{path}"
    reply = service.send(Request(method, target, host))
    assert (reply.status, reply.body) == (status, b"")
    assert reply.values("allow") == (["GET, HEAD"] if status == 405 else [])


def test_head_of_metadata_has_no_body(service: Service) -> None:
    target = "/.well-known/oauth-protected-resource/payments"
    reply = service.send(Request("HEAD", target, HOST))
    assert (reply.status, reply.body) == (200, b"")
