"""What Envoy asks the bridge: all that its rules need, and nothing that it could leak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.conftest import VERSIONS
from e2e.harness.arrangement import Arrangement, envoy
from e2e.harness.bridge import Bridge
from e2e.harness.http1 import Request
from e2e.harness.issuer import Issuer
from e2e.harness.stack import Stack
from e2e.harness.tap import Tap
from e2e.harness.upstream import Received, RecordingUpstream

# Beside what was allowed by name, what Envoy always adds.
ALWAYS = {"host", "authorization", "content-length", "x-request-id"}
ENVOYS_OWN = {"x-envoy-internal", "x-envoy-expected-rq-timeout-ms", "x-forwarded-for"}

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ALLOWED = {
    "origin": "https://app.test",
    "access-control-request-method": "PUT",
    "dpop": "a.b.c",
    "x-http-method-override": "GET",
    "x-method-override": "GET",
    "x-http-method": "GET",
    "traceparent": TRACE,
}
WITHHELD = {
    "cookie": "session=1",
    "proxy-authorization": "Basic YTpi",
    "x-api-key": "1",
    "x-forwarded-host": "other.test",
    "x-forwarded-uri": "/payments/health",
    "x-forwarded-client-cert": "Hash=1",
    "x-stepup-subject": "admin",
    "referer": "https://app.test/?code=1",
    "user-agent": "test",
    "content-type": "text/plain",
}


@pytest.fixture(scope="module", params=[f"envoy-{version}" for version in VERSIONS])
def asked(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    bridge: Bridge,
) -> Iterator[tuple[Stack, Tap]]:
    tap = shared.tap(bridge)
    factory = envoy(request.param.removeprefix("envoy-"))
    gateway = shared.gateway(factory, bridge, upstream, tap)
    yield Stack(issuer, upstream, bridge, gateway), tap
    gateway.stop()


def _ask(asked: tuple[Stack, Tap], request: Request) -> Received:
    stack, tap = asked
    tap.take()
    stack.send(request.raw())
    checks = tap.take()
    assert len(checks) == 1
    return checks[0]


def test_bridge_gets_what_its_rules_are_about_and_nothing_else(asked: tuple[Stack, Tap]) -> None:
    lines = (("Authorization", "Bearer x"), *ALLOWED.items(), *WITHHELD.items())

    check = _ask(asked, Request(target="/payments/profile?a=/../b", headers=lines))

    assert check.method == "GET"
    assert check.target == "/envoy/payments/profile?a=/../b"
    assert check.values("host") == ["api.test"]
    assert check.values("authorization") == ["Bearer x"]
    assert {name: check.values(name) for name in ALLOWED} == {
        name: [value] for name, value in ALLOWED.items()
    }
    names = {name.lower() for name, _ in check.headers}
    assert names - ENVOYS_OWN == ALWAYS | set(ALLOWED)
    assert check.values("x-forwarded-for") in ([], ["127.0.0.1"])  # Envoy's own


def test_repeated_headers_arrive_joined_so_a_comma_tells(asked: tuple[Stack, Tap]) -> None:
    lines = (("DPoP", "a.b.c"), ("DPoP", "d.e.f"), ("Authorization", "A"), ("Authorization", "B"))

    check = _ask(asked, Request(headers=lines))

    assert check.values("dpop") == ["a.b.c,d.e.f"]
    assert check.values("authorization") == ["A,B"]


def test_request_id_is_the_gateways(asked: tuple[Stack, Tap]) -> None:
    check = _ask(asked, Request(headers=(("X-Request-Id", "mine"),)))

    assert len(check.values("x-request-id")) == 1
    assert check.values("x-request-id") != ["mine"]


def test_body_is_not_sent(asked: tuple[Stack, Tap]) -> None:
    check = _ask(asked, Request("POST", "/payments/transfers", body=b"secret"))

    assert check.method == "POST"
    assert check.values("content-length") == ["0"]
