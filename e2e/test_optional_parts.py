"""What gateways do beside asking: route the resource metadata, and answer browsers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.gateways import gateways
from e2e.harness.http1 import Request
from e2e.harness.issuer import Issuer
from e2e.harness.stack import Stack
from e2e.harness.upstream import RecordingUpstream

WELL_KNOWN = "/.well-known/oauth-protected-resource"
ORIGIN = "https://app.example.com"


def _stack(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    bridge: Bridge,
) -> Iterator[Stack]:
    gateway = shared.gateway(request.param, bridge, upstream)
    yield Stack(issuer, upstream, bridge, gateway)
    gateway.stop()


as_shipped = pytest.fixture(scope="module", params=gateways())(_stack)
for_browsers = pytest.fixture(scope="module", params=gateways("browsers"))(_stack)


def test_metadata_comes_from_the_bridge(as_shipped: Stack) -> None:
    answer = as_shipped.send(Request(target=f"{WELL_KNOWN}/payments"))

    assert answer.upstream == ()
    assert answer.reply is not None
    assert answer.status == 200
    metadata = json.loads(answer.reply.body)
    assert metadata["resource"] == "https://api.test/payments"
    assert metadata["authorization_servers"] == [as_shipped.issuer.url]
    assert metadata["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize(
    "request_",
    [
        Request(target=f"{WELL_KNOWN}/../../v1/openapi.json"),
        Request(target=f"{WELL_KNOWN}/..%2f..%2fv1/openapi.json"),
        Request(target=f"{WELL_KNOWN}/%2e%2e/%2e%2e/envoy/payments/health"),
        Request(target=f"{WELL_KNOWN}x"),
        Request("POST", f"{WELL_KNOWN}/payments", body=b"{}"),
        Request("POST", "/v1/check", body=b"{}"),
        Request(target="/envoy/payments/health"),
    ],
    ids=lambda request_: f"{request_.method} {request_.target}",
)
def test_nothing_else_of_the_bridge_is_reachable(as_shipped: Stack, request_: Request) -> None:
    answer = as_shipped.send(request_)

    assert answer.refused
    assert answer.status in {400, 403, 404}


def test_preflight_is_answered_by_the_gateway(for_browsers: Stack) -> None:
    headers = (("Origin", ORIGIN), ("Access-Control-Request-Method", "POST"))

    answer = for_browsers.send(Request("OPTIONS", "/payments/transfers", headers=headers))

    assert (answer.status, answer.upstream) == (200, ())
    assert answer.reply is not None
    assert answer.reply.values("access-control-allow-origin") == [ORIGIN]


def test_page_may_read_the_challenge(for_browsers: Stack) -> None:
    answer = for_browsers.send(Request(target="/payments/profile", headers=(("Origin", ORIGIN),)))

    assert answer.reply is not None
    assert answer.status == 401
    assert answer.reply.values("access-control-allow-origin") == [ORIGIN]
    exposed = ",".join(answer.reply.values("access-control-expose-headers")).lower()
    assert "www-authenticate" in exposed
    assert len(answer.reply.values("www-authenticate")) == 1
