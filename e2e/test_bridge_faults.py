"""The bridge is down, killed, hung, drained or reloaded, with clients asking all the while."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.gateway import GatewayFactory
from e2e.harness.http1 import Request
from e2e.harness.load import load
from e2e.harness.policy import configuration
from e2e.harness.scenario import Faulted
from e2e.harness.stack import Stack
from e2e.harness.waiting import wait_until

pytestmark = pytest.mark.faults

PROFILE = Request(target="/payments/profile")
SECONDS = 15
ENOUGH = 50


def _with_token(stack: Stack) -> Request:
    return PROFILE.with_headers(stack.bearer(stack.issuer.mint()))


def _serves_again(stack: Stack) -> None:
    request = _with_token(stack)
    wait_until(lambda: stack.send(request).status == 200, seconds=SECONDS, what="200 again")


def _assert_nobody_slipped_through(stack: Stack) -> None:
    for received in stack.upstream.take():
        assert received.values("x-stepup-subject") == ["alice"]


def test_bridge_down_closes_the_api_until_it_is_back(
    own: Arrangement, gateway_factory: GatewayFactory
) -> None:
    stack = own.stack(gateway_factory)
    assert stack.send(_with_token(stack)).status == 200

    stack.bridge.stop()

    for request in (_with_token(stack), PROFILE, Request(target="/payments/health")):
        stack.check(stack.send(request), Faulted())

    stack.bridge.start()
    _serves_again(stack)
    assert stack.send(PROFILE).status == 401


def test_hung_bridge_closes_the_api_in_bounded_time(
    own: Arrangement, gateway_factory: GatewayFactory
) -> None:
    stack = own.stack(gateway_factory)
    assert stack.send(_with_token(stack)).status == 200

    stack.bridge.signal(signal.SIGSTOP)
    try:
        bound = stack.gateway.capabilities.gives_up_seconds
        stack.check(stack.send(_with_token(stack), timeout_seconds=bound), Faulted())
    finally:
        stack.bridge.signal(signal.SIGCONT)

    _serves_again(stack)


@pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])
@pytest.mark.parametrize("end", ["kill", "drain"])
def test_bridge_ending_under_load_lets_nobody_through(
    own: Arrangement, gateway_factory: GatewayFactory, end: str, workers: int
) -> None:
    stack = own.stack(gateway_factory, workers=workers)
    address, traits = stack.gateway.address, stack.gateway.capabilities
    fault = traits.own_fault or traits.fault_status
    with (
        load(address, _with_token(stack).raw()) as good,
        load(address, PROFILE.raw(), clients=2) as bad,
    ):
        wait_until(
            lambda: min(good.count(200), bad.count(401)) > ENOUGH,
            seconds=SECONDS,
            what="traffic",
        )
        if end == "kill":
            stack.bridge.kill()
        else:
            assert stack.bridge.stop() == 0
        faults = good.count(fault)
        wait_until(lambda: good.count(fault) > faults + ENOUGH, seconds=SECONDS, what="faults")
        stack.bridge.start()
        passed = good.count(200)
        wait_until(lambda: good.count(200) > passed + ENOUGH, seconds=SECONDS, what="recovery")

    assert good.statuses == {200, fault}
    assert bad.statuses == {401, fault}
    _assert_nobody_slipped_through(stack)


def _named(stack: Stack, realm: str, workers: int = 1) -> dict[str, object]:
    document = configuration(stack.issuer, workers=workers)
    document["apis"][0]["realm"] = realm
    return document


@pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])
@pytest.mark.parametrize("how", ["watched", "sighup"])
def test_reload_under_load_fails_no_request(
    own: Arrangement, newest_gateway: GatewayFactory, how: str, workers: int
) -> None:
    stack = own.stack(newest_gateway, workers=workers)
    address = stack.gateway.address
    realms = ["payments", *(f"realm{number}" for number in range(5))]
    with (
        load(address, _with_token(stack).raw()) as good,
        load(address, PROFILE.raw(), clients=2) as bad,
    ):
        wait_until(
            lambda: min(good.count(200), bad.count(401)) > ENOUGH, seconds=SECONDS, what="traffic"
        )
        for realm in realms[1:]:
            stack.bridge.write(_named(stack, realm, workers))
            if how == "sighup":
                stack.bridge.reload()
            wait_until(
                lambda realm=realm: any(f'"{realm}"' in seen for seen in bad.challenges),  # type: ignore[misc]
                seconds=SECONDS,
                what=f"{realm} in a challenge",
            )

    assert good.statuses == {200}
    assert bad.statuses == {401}
    assert {challenge.split('"')[1] for challenge in bad.challenges} == set(realms)
    _assert_nobody_slipped_through(stack)


def test_broken_configuration_changes_nothing(
    own: Arrangement, newest_gateway: GatewayFactory
) -> None:
    stack = own.stack(newest_gateway)
    refused = 'stepup_config_loads_total{outcome="refused"}'
    request = _with_token(stack)
    with load(stack.gateway.address, request.raw()) as good:
        wait_until(lambda: good.count(200) > ENOUGH, seconds=SECONDS, what="traffic")
        stack.bridge.write_text("version: 1\napis: [{}]\nunknown: true\n")
        wait_until(lambda: stack.bridge.metric(refused) >= 1, seconds=SECONDS, what="refusal")

    assert good.statuses == {200}
    assert stack.bridge.page("/readyz").status == 200
    assert stack.send(PROFILE).status == 401

    stack.bridge.write(_named(stack, "repaired"))
    wait_until(
        lambda: b'"repaired"' in _challenge(stack).encode(), seconds=SECONDS, what="the repair"
    )


def test_symlinked_configuration_is_reloaded(
    own: Arrangement, newest_gateway: GatewayFactory, tmp_path: Path
) -> None:
    """Kubernetes swaps a directory's symlink; the file itself never changes."""
    stack = own.stack(newest_gateway)
    first, second = tmp_path / "v1", tmp_path / "v2"
    for directory in (first, second):
        directory.mkdir()
    link, file = tmp_path / "current", stack.bridge.file
    stack.bridge.stop()
    text = file.read_text()
    (first / file.name).write_text(text)
    (second / file.name).write_text(
        text.replace("name: payments", "realm: second\n  name: payments")
    )
    link.symlink_to(first)
    file.unlink()
    file.symlink_to(link / file.name)
    stack.bridge.start()
    assert 'realm="payments"' in _challenge(stack)

    swapped = tmp_path / "next"
    swapped.symlink_to(second)
    swapped.replace(link)

    wait_until(lambda: 'realm="second"' in _challenge(stack), seconds=SECONDS, what="the swap")


def _challenge(stack: Stack) -> str:
    reply = stack.send(PROFILE).reply
    return "" if reply is None else ", ".join(reply.values("www-authenticate"))
