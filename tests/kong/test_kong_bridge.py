"""The plugin with the real bridge: the decision table and the identity headers, end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from .bench import Bench
from .real_bridge import DOWN_ISSUER, HOST, ISSUER, MFA, PHR, RealBridge
from .wire import UPSTREAM_BODY, Reply

_REALM = 'Bearer realm="payments"'
_INSUFFICIENT = "insufficient_user_authentication"
_DEMANDS = f', acr_values="{MFA} {PHR}", max_age="300"'
_SCOPE = ', scope="payments:write"'


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, real_bridge_port: int) -> Iterator[RealBridge]:
    running = RealBridge(tmp_path_factory.mktemp("bridge"), real_bridge_port)
    yield running
    running.stop()


def _ask(bench: Bench, method: str, target: str, *lines: str) -> Reply:
    return bench.send(target, *lines, method=method, host=HOST)


def _identity(bench: Bench) -> list[tuple[str, str]]:
    (received,) = bench.api.take()
    return received.leniently("x-stepup-")


@pytest.mark.parametrize(
    ("method", "target", "lines", "status", "error"),
    [
        pytest.param("GET", "/payments//health", [], 400, "invalid_request", id="1-path"),
        pytest.param("GET", "/payments/a/../health", [], 400, "invalid_request", id="1-dots"),
        pytest.param("GET", "/payments/%2e%2e/x", [], 400, "invalid_request", id="1-encoded"),
        pytest.param("GET", "/payments/\xe9", [], 400, "invalid_request", id="1-raw-byte"),
        pytest.param("GET", "/payments/a#b", [], 400, "invalid_request", id="1-fragment"),
        pytest.param(
            "GET",
            "/payments/health",
            ["X-HTTP-Method-Override: DELETE"],
            400,
            "invalid_request",
            id="1-method-override",
        ),
        pytest.param(
            "GET",
            "/payments/health",
            ["x_http_method_override: DELETE"],
            400,
            "invalid_request",
            id="1-method-override-underscored",
        ),
        pytest.param(
            "GET", "http://other.test/payments/health", [], 400, "invalid_request", id="1-host"
        ),
        pytest.param("GET", "/elsewhere", [], 403, "no_such_operation", id="2-no-api"),
        pytest.param("GET", "/payments/x", [], 403, "no_such_operation", id="4-no-operation"),
    ],
)
def test_request_is_denied_without_a_challenge(
    bench: Bench,
    bridge: RealBridge,
    method: str,
    target: str,
    lines: list[str],
    status: int,
    error: str,
) -> None:
    reply = _ask(bench, method, target, *lines)
    assert (reply.status, reply.json()["error"]) == (status, error)
    assert reply.values("www-authenticate") == []
    assert reply.values("cache-control") == ["no-store"]
    assert bench.api.take() == []


@pytest.mark.parametrize(
    ("claims", "status", "error", "more"),
    [
        pytest.param({"exp": 1}, 401, "invalid_token", "", id="9-expired"),
        pytest.param({"aud": "https://other.test"}, 401, "invalid_token", "", id="9-audience"),
        pytest.param({"acr": "pwd"}, 401, _INSUFFICIENT, _DEMANDS, id="10-acr"),
        pytest.param({"acr": None}, 401, _INSUFFICIENT, _DEMANDS, id="10-acr-missing"),
        pytest.param({"auth_time": 1}, 401, _INSUFFICIENT, _DEMANDS, id="10-too-old"),
        pytest.param({"auth_time": None}, 401, _INSUFFICIENT, _DEMANDS, id="10-auth-time-missing"),
        pytest.param({"scope": "other"}, 403, "insufficient_scope", _SCOPE, id="11-scope"),
        pytest.param(
            {"scope": "other", "acr": "pwd"}, 401, _INSUFFICIENT, _DEMANDS + _SCOPE, id="10-and-11"
        ),
    ],
)
def test_token_that_will_not_do_is_challenged(
    bench: Bench, bridge: RealBridge, claims: dict[str, Any], status: int, error: str, more: str
) -> None:
    token = bridge.token(**claims)
    reply = _ask(bench, "POST", "/payments/transfers", f"Authorization: Bearer {token}")
    description = reply.json()["error_description"]
    assert reply.status == status
    assert reply.values("www-authenticate") == [
        f'{_REALM}, error="{error}", error_description="{description}"{more}'
    ]
    assert reply.json()["error"] == error
    assert reply.values("content-type") == ["application/json"]
    assert reply.values("cache-control") == ["no-store"]
    assert bench.api.take() == []


def test_request_without_token_is_challenged_without_an_error(
    bench: Bench, bridge: RealBridge
) -> None:
    reply = _ask(bench, "POST", "/payments/transfers", "Origin: https://app.test")
    assert reply.status == 401
    assert reply.values("www-authenticate") == [f'{_REALM}, scope="payments:write"']
    assert reply.values("access-control-expose-headers") == ["WWW-Authenticate"]
    assert reply.json()["error"] == "unauthorized"


def test_malformed_credentials_are_refused(bench: Bench, bridge: RealBridge) -> None:
    reply = _ask(bench, "GET", "/payments/profile", "Authorization: Bearer a, Bearer b")
    assert (reply.status, reply.json()["error"]) == (400, "invalid_request")


def test_denial_of_head_has_the_challenge_and_no_body(bench: Bench, bridge: RealBridge) -> None:
    reply = _ask(bench, "HEAD", "/payments/profile")
    assert (reply.status, reply.body) == (401, b"")
    assert reply.values("www-authenticate") == [_REALM]


def test_issuer_at_fault_is_503_with_retry_after(bench: Bench, bridge: RealBridge) -> None:
    token = bridge.token(DOWN_ISSUER)
    reply = _ask(bench, "GET", "/down/profile", f"Authorization: Bearer {token}")
    assert (reply.status, reply.json()["error"]) == (503, "temporarily_unavailable")
    assert int(reply.values("retry-after")[0]) >= 1
    assert reply.values("www-authenticate") == []
    assert bench.api.take() == []


def test_strong_token_passes_with_the_identity(bench: Bench, bridge: RealBridge) -> None:
    auth_time = int(time.time()) - 60
    token = bridge.token(auth_time=auth_time)
    reply = _ask(
        bench,
        "POST",
        "/payments/transfers?dry=1",
        f"Authorization: Bearer {token}",
        "X-Stepup-Subject: admin",
        "x_stepup_acr: urn:example:phr",
        "X_Stepup-Scope: everything",
        "x-stepup-would-deny: x",
        "Connection: x-stepup-subject",
    )
    assert (reply.status, reply.body) == (200, UPSTREAM_BODY)
    assert _identity(bench) == [
        ("x-stepup-acr", MFA),
        ("x-stepup-auth-time", str(auth_time)),
        ("x-stepup-client-id", "app"),
        ("x-stepup-issuer", ISSUER),
        ("x-stepup-scope", "payments:write"),
        ("x-stepup-subject", "alice"),
    ]


@pytest.mark.parametrize(
    ("method", "target", "lines"),
    [
        pytest.param("GET", "/payments/health", ["Authorization: Bearer junk"], id="5-public"),
        pytest.param(
            "OPTIONS",
            "/payments/transfers",
            ["Origin: https://app.test", "Access-Control-Request-Method: POST"],
            id="3-preflight",
        ),
    ],
)
def test_request_without_a_looked_at_token_passes_without_identity(
    bench: Bench, bridge: RealBridge, method: str, target: str, lines: list[str]
) -> None:
    forged = ["X-Stepup-Subject: admin", "x_stepup_subject: admin", "X_STEPUP-ACR: x"]
    reply = _ask(bench, method, target, *lines, *forged)
    assert reply.status == 200
    assert _identity(bench) == []


def test_claim_that_a_token_lacks_is_removed(bench: Bench, bridge: RealBridge) -> None:
    token = bridge.token(acr=None, auth_time=None, client_id=None, scope=None)
    reply = _ask(
        bench,
        "GET",
        "/payments/profile",
        f"Authorization: Bearer {token}",
        "X-Stepup-Acr: forged",
        "x_stepup_scope: forged",
    )
    assert reply.status == 200
    assert _identity(bench) == [("x-stepup-issuer", ISSUER), ("x-stepup-subject", "alice")]


def test_subject_outside_of_ascii_arrives_encoded(bench: Bench, bridge: RealBridge) -> None:
    token = bridge.token(sub="al\xefce\r\nx: y")
    reply = _ask(bench, "GET", "/payments/profile", f"Authorization: Bearer {token}")
    assert reply.status == 200
    assert ("x-stepup-subject", "al%C3%AFce%0D%0Ax: y") in _identity(bench)


def test_monitor_mode_passes_and_tells_the_upstream(bench: Bench, bridge: RealBridge) -> None:
    reply = _ask(bench, "POST", "/watched/transfers", "x-stepup-would-deny: forged")
    assert reply.status == 200
    assert _identity(bench) == [("x-stepup-would-deny", "unauthorized")]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["Authorization: Bearer \xe9\xff"], id="bytes"),
        pytest.param(["Authorization: \x80"], id="scheme-of-bytes"),
        pytest.param(['Origin: "\\\xc3\x28', "X-Request-Id: \xed\xa0\x80"], id="broken-utf-8"),
        pytest.param(["DPoP: " + "\xff" * 7000, "Traceparent: " + '"' * 7000], id="long"),
        pytest.param([f"x_method_override: {number}" for number in range(500)], id="many"),
    ],
)
def test_no_header_of_a_client_makes_the_question_malformed(
    bench: Bench, bridge: RealBridge, lines: list[str]
) -> None:
    """A question that the bridge refuses would be 503, a line in the log, and an alarm."""
    assert _ask(bench, "GET", "/payments/profile", *lines).status in {400, 401}
