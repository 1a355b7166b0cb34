"""The same attacks over HTTP/2, whose header fields can say what no HTTP/1.1 message can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.harness import http2
from e2e.harness.readings import reaches
from e2e.harness.stack import IDENTITY_PREFIX, Stack
from e2e.harness.tokens import TokenSpec
from e2e.harness.upstream import Received
from e2e.test_paths import CORPUS


@pytest.fixture(autouse=True)
def _speaks_http2(stack: Stack) -> None:
    if (reason := stack.gateway.capabilities.without_http2) is not None:
        pytest.skip(reason)


def _send(
    stack: Stack, fields: http2.Fields, trailers: http2.Fields | None = None
) -> tuple[int, list[Received]]:
    stack.upstream.take()
    status = http2.exchange(stack.gateway.http2_address, fields, trailers)
    return status, stack.upstream.take()


def _send_all(stack: Stack, requests: list[http2.Fields]) -> tuple[list[int], list[Received]]:
    """Send many at once: Envoy takes a second to close after a malformed one."""
    stack.upstream.take()
    with ThreadPoolExecutor(32) as pool:
        statuses = list(
            pool.map(lambda fields: http2.exchange(stack.gateway.http2_address, fields), requests)
        )
    return statuses, stack.upstream.take()


def _get(path: str, *more: tuple[str, str], host: str = "api.test") -> http2.Fields:
    return http2.request_fields("GET", path, host, *more)


MALFORMED = {
    "other": _get("/payments/health", host="other.test"),
    "empty": _get("/payments/health", host=""),
    "userinfo": _get("/payments/health", host="other.test@api.test"),
    "two-authorities": _get("/payments/health", (":authority", "other.test")),
    "connection": _get("/payments/health", ("connection", "close")),
    "underscore": _get("/payments/health", ("x_a", "1")),
    "upper-case": _get("/payments/health", ("X-Stepup-Subject", "admin")),
    "crlf": _get("/payments/health", ("a", "1\r\nx-stepup-subject: admin")),
    "crlf-name": _get("/payments/health", ("a: 1\r\nx-stepup-subject", "x")),
    "nul": _get("/payments/health", ("a", "1\0")),
    "two-paths": _get("/payments/health", (":path", "/payments/health")),
    "unknown-pseudo-field": _get("/payments/health", (":x", "1")),
    "two-methods": _get("/payments/profile", (":method", "OPTIONS")),
    "method-in-lower-case": http2.request_fields("get", "/payments/profile", "api.test"),
    "method-with-a-space": http2.request_fields(
        "GET /payments/health", "/payments/profile", "api.test"
    ),
}


def test_decision_is_the_same(stack: Stack) -> None:
    token = ("authorization", f"Bearer {stack.issuer.mint(TokenSpec())}")

    assert _send(stack, _get("/payments/health"))[0] == 200
    assert _send(stack, _get("/payments/profile")) == (401, [])
    assert _send(stack, _get("/payments/nothing")) == (403, [])
    assert _send(stack, _get("/payments/a;b")) == (400, [])
    status, received = _send(stack, _get("/payments/profile", token))
    assert status == 200
    assert received[0].values("x-stepup-subject") == ["alice"]


def test_no_path_reaches_the_protected_tree_without_a_token(stack: Stack) -> None:
    paths = [*CORPUS, "", "x", "protected/x", "/protected /x", "/public/ HTTP/1.1"]

    statuses, received = _send_all(stack, [_get(path, host="paths.test") for path in paths])

    assert 200 in statuses
    assert len(received) == statuses.count(200)
    assert [each.target for each in received if reaches(each.target, "/protected")] == []


def test_malformed_requests_are_refused(stack: Stack) -> None:
    tolerated = stack.gateway.capabilities.http2_tolerated
    refused = {name: fields for name, fields in MALFORMED.items() if name not in tolerated}

    statuses, received = _send_all(stack, list(refused.values()))

    seen = dict(zip(refused, statuses, strict=True))
    accepted = {http2.NO_STATUS, 400, 401, 403, 404}
    assert {name: status for name, status in seen.items() if status not in accepted} == {}
    assert received == []


def test_tolerated_fields_change_nothing(stack: Stack) -> None:
    for name in stack.gateway.capabilities.http2_tolerated:
        statuses, received = _send_all(
            stack, [[*MALFORMED[name], ("x-stepup-subject", "admin")], _get("/payments/profile")]
        )

        assert statuses == [200, 401]
        assert received[0].with_prefix(IDENTITY_PREFIX) == []


def test_host_field_beside_the_authority_decides_nothing(stack: Stack) -> None:
    for host, authority in (("other.test", "api.test"), ("api.test", "other.test")):
        status, received = _send(stack, _get("/payments/health", ("host", host), host=authority))

        assert len(received) == (1 if status == 200 else 0)
        for request in received:
            assert authority == "api.test"
            assert request.values("host") == ["api.test"]


@pytest.mark.parametrize("path", ["/payments/health", "/payments/profile", "/monitored/profile"])
def test_forged_identity_never_arrives(stack: Stack, path: str) -> None:
    forged = [(IDENTITY_PREFIX + "subject", "admin"), (IDENTITY_PREFIX + "subject", "root")]

    _, plain = _send(stack, _get(path, *forged))
    _, in_trailers = _send(stack, _get(path), forged)

    for request in (*plain, *in_trailers):
        assert request.values("x-stepup-subject") == []


def test_two_authorization_fields_are_malformed(stack: Stack) -> None:
    token = stack.issuer.mint(TokenSpec())
    fields = _get(
        "/payments/profile", ("authorization", f"Bearer {token}"), ("authorization", "Bearer x")
    )

    assert _send(stack, fields) == (400, [])
