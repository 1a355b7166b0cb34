"""An issuer that is down, slow, wrong or changing its keys: never a way in, never a login loop."""

from __future__ import annotations

import json
import threading
import time

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.gateway import GatewayFactory
from e2e.harness.http1 import Request, exchange
from e2e.harness.issuer import MISBEHAVIOURS, Issuer
from e2e.harness.policy import configuration
from e2e.harness.scenario import Faulted
from e2e.harness.stack import Answer, Stack
from e2e.harness.tokens import TokenSpec
from e2e.harness.waiting import wait_until

pytestmark = pytest.mark.faults

PROFILE = Request(target="/payments/profile")
# A failed fetch is retried after 1 s, doubling to 30 s.
RECOVERY_SECONDS = 45
# A check waits for at most one fetch (timeout 1 s), and Envoy for 2.5 s.
PATIENCE_SECONDS = 3
MAX_MEMORY_BYTES = 300 * 1024 * 1024


def _ask(stack: Stack, token: str, target: str = "/payments/profile") -> Answer:
    return stack.send(Request(target=target).with_headers(stack.bearer(token)))


def _becomes_200(stack: Stack, token: str, target: str = "/payments/profile") -> None:
    wait_until(
        lambda: _ask(stack, token, target).status == 200,
        seconds=RECOVERY_SECONDS,
        what=f"200 for {target}",
    )


def test_misbehaving_issuers_are_faults_then_recover_without_a_restart(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    """Ten issuers misbehave, each in its way; the eleventh does not suffer."""
    good, upstream = own.issuer(), own.upstream()
    others = [own.issuer() for _ in MISBEHAVIOURS]
    for other, behaviour in zip(others, MISBEHAVIOURS, strict=True):
        other.behaviour = behaviour
    bridge = own.bridge(configuration(good, others), ready=False)
    stack = Stack(good, upstream, bridge, own.gateway(newest_gateway, bridge, upstream))
    _becomes_200(stack, good.mint())

    for position, other in enumerate(others):
        began = time.monotonic()
        answer = _ask(stack, other.mint(), f"/other{position}/profile")

        assert time.monotonic() - began < PATIENCE_SECONDS, other.behaviour
        stack.check(answer, Faulted())
        assert _ask(stack, good.mint()).status == 200, other.behaviour
    assert bridge.page("/readyz").status == 503
    assert bridge.peak_memory_bytes() < MAX_MEMORY_BYTES

    for other in others:
        other.behaviour = "ok"
    for position, other in enumerate(others):
        _becomes_200(stack, other.mint(), f"/other{position}/profile")
    wait_until(lambda: bridge.answers("/readyz"), seconds=RECOVERY_SECONDS, what="ready")


def test_issuer_down_at_start_is_a_fault_until_it_is_up(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    issuer, upstream = own.issuer(running=False), own.upstream()
    bridge = own.bridge(configuration(issuer), ready=False)
    stack = Stack(issuer, upstream, bridge, own.gateway(newest_gateway, bridge, upstream))
    token = issuer.mint()
    stack.check(_ask(stack, token), Faulted())
    assert stack.send(PROFILE).status == 401  # what needs no key is answered all the same
    assert stack.send(Request(target="/payments/health")).status == 200

    issuer.start()

    _becomes_200(stack, token)


def test_native_callers_are_told_when_to_retry(own: Arrangement) -> None:
    """Envoy drops `Retry-After` with all else of a 5xx; who asks the bridge itself gets it."""
    issuer = own.issuer(running=False)
    bridge = own.bridge(configuration(issuer), ready=False)
    question = {
        "method": "GET",
        "scheme": "https",
        "host": "api.test",
        "path": "/payments/profile",
        "headers": {"authorization": [f"Bearer {issuer.mint()}"]},
    }
    raw = Request("POST", "/v1/check", "bridge", body=json.dumps(question).encode()).raw()

    reply = exchange(bridge.authz, raw)

    assert reply is not None
    assert reply.status == 200
    answer = json.loads(reply.body)
    headers = dict(answer["response"]["headers"])
    assert answer["allow"] is False
    assert answer["response"]["status"] == 503
    assert int(headers["retry-after"]) >= 1
    assert "www-authenticate" not in headers


def test_issuer_going_down_takes_no_known_key_with_it(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway)
    assert _ask(stack, stack.issuer.mint()).status == 200

    stack.issuer.stop()
    known = stack.issuer.mint()
    stack.issuer.rotate(keep=True)
    unknown = stack.issuer.mint()

    assert _ask(stack, known).status == 200
    stack.check(_ask(stack, unknown), Faulted())  # not 401: nobody knows whether it is good

    stack.issuer.start()
    _becomes_200(stack, unknown)
    assert _ask(stack, known).status == 200


def test_new_key_is_known_at_its_first_token(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway)
    assert _ask(stack, stack.issuer.mint()).status == 200

    stack.issuer.rotate(keep=True)

    assert _ask(stack, stack.issuer.mint()).status == 200
    assert _ask(stack, stack.issuer.mint(TokenSpec(signed_by="previous"))).status == 200


def test_gateway_waits_for_a_key_that_is_fetched_late(
    own: Arrangement, gateway_factory: GatewayFactory
) -> None:
    """Envoy's own time-out, 200 ms, would turn a key rotation into an outage."""
    stack = own.stack(gateway_factory)
    stack.issuer.rotate(keep=True)
    stack.issuer.behaviour = "late"

    assert _ask(stack, stack.issuer.mint()).status == 200


def test_withdrawn_key_takes_its_cached_tokens_with_it(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway)
    old = stack.issuer.mint()
    assert _ask(stack, old).status == 200

    stack.issuer.rotate(keep=False)

    assert _ask(stack, stack.issuer.mint()).status == 200  # fetches
    assert _ask(stack, old).status == 401


def test_invented_kids_cause_one_fetch(own: Arrangement, newest_gateway: GatewayFactory) -> None:
    stack = own.stack(newest_gateway)
    assert _ask(stack, stack.issuer.mint()).status == 200
    before = _key_fetches(stack.issuer)
    tokens = [
        stack.issuer.mint(TokenSpec(signed_by="stranger", kid=f"kid-{number}"))
        for number in range(40)
    ]

    statuses = [_ask(stack, token).status for token in tokens]

    assert set(statuses) == {401}
    assert _key_fetches(stack.issuer) - before <= 1


def test_unknown_kid_at_a_silent_issuer_holds_nobody_else_up(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway)
    known = stack.issuer.mint()
    assert _ask(stack, known).status == 200
    stack.issuer.behaviour = "silent"
    unknown = stack.issuer.mint(TokenSpec(signed_by="stranger", kid="unheard-of"))
    raw = PROFILE.with_headers(stack.bearer(unknown)).raw()
    before = len(stack.issuer.fetches)
    statuses: list[int] = []

    def ask() -> None:
        reply = exchange(stack.gateway.address, raw)
        statuses.append(0 if reply is None else reply.status)

    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_until(
        lambda: len(stack.issuer.fetches) > before, seconds=5, what="a fetch for the unknown kid"
    )
    assert _ask(stack, known).status == 200
    assert statuses == []  # the other one still waits
    waiting.join(PATIENCE_SECONDS)
    assert statuses == [stack.gateway.capabilities.fault_status]


def _key_fetches(issuer: Issuer) -> int:
    return sum(target.endswith("/keys") for target in issuer.fetches)
