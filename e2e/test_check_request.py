"""What a gateway asks the bridge: all that its rules need, and nothing that it could leak."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.gateway import Check
from e2e.harness.gateways import gateways
from e2e.harness.http1 import Request
from e2e.harness.issuer import Issuer
from e2e.harness.stack import Stack, check_own_refusal
from e2e.harness.tap import Tap
from e2e.harness.upstream import Received, RecordingUpstream

ALLOWED = {
    "origin": "https://app.test",
    "access-control-request-method": "PUT",
    "dpop": "a.b.c",
    "x-http-method-override": "GET",
    "x-method-override": "GET",
    "x-http-method": "GET",
}
WITHHELD = {
    "cookie": "session=1",
    "proxy-authorization": "Basic YTpi",
    "x-api-key": "1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-forwarded-host": "other.test",
    "x-forwarded-uri": "/payments/health",
    "x-forwarded-client-cert": "Hash=1",
    "x-stepup-subject": "admin",
    "referer": "https://app.test/?code=1",
    "user-agent": "test",
    "content-type": "text/plain",
}


@pytest.fixture(scope="module", params=gateways())
def asked(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    bridge: Bridge,
) -> Iterator[tuple[Stack, Tap]]:
    tap = shared.tap(bridge)
    gateway = shared.gateway(request.param, bridge, upstream, tap)
    yield Stack(issuer, upstream, bridge, gateway), tap
    gateway.stop()


def _overhear(asked: tuple[Stack, Tap], request: Request) -> Received:
    stack, tap = asked
    tap.take()
    stack.send(request.raw())
    (check,) = tap.take()
    return check


def _ask(asked: tuple[Stack, Tap], request: Request) -> Check:
    return asked[0].gateway.capabilities.read_check(_overhear(asked, request))


def test_bridge_gets_what_its_rules_are_about_and_nothing_else(asked: tuple[Stack, Tap]) -> None:
    lines = (("Authorization", "Bearer x"), *ALLOWED.items(), *WITHHELD.items())

    check = _ask(asked, Request(target="/payments/profile?a=/../b", headers=lines))

    assert check.method == "GET"
    assert check.target == "/payments/profile?a=/../b"
    assert check.hosts == ["api.test"]
    headers = {name: values for name, values in check.headers.items() if name not in check.own}
    assert headers == {name: [value] for name, value in ALLOWED.items()} | {
        "authorization": ["Bearer x"]
    }


@pytest.mark.parametrize("name", ["DPoP", "Authorization"])
def test_repeated_headers_arrive_so_that_it_can_be_told(
    asked: tuple[Stack, Tap], name: str
) -> None:
    stack, _ = asked
    request = Request(headers=((name, "a.b.c"), (name, "d.e.f")))
    status = stack.gateway.capabilities.own_refusal(request)
    if status is not None:
        check_own_refusal(stack.send(request.raw()), status)
        return

    check = _ask(asked, request)

    joined = stack.gateway.capabilities.joins_repeated
    assert check.headers[name.lower()] == (["a.b.c,d.e.f"] if joined else ["a.b.c", "d.e.f"])


def test_request_id_is_one_of_the_gateway_or_of_the_client(asked: tuple[Stack, Tap]) -> None:
    check = _ask(asked, Request(headers=(("X-Request-Id", "mine"),)))

    (value,) = check.headers["x-request-id"]
    assert (value != "mine") == asked[0].gateway.capabilities.replaces_request_id


def test_body_is_not_sent(asked: tuple[Stack, Tap]) -> None:
    overheard = _overhear(asked, Request("POST", "/payments/transfers", body=b"secret"))

    assert asked[0].gateway.capabilities.read_check(overheard).method == "POST"
    assert b"secret" not in overheard.body
