"""A gateway that asks the bridge's admin listener whether it is ready, and believes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.envoy import EnvoyGateway
from e2e.harness.gateway import GatewayFactory
from e2e.harness.gateways import gateways, makers
from e2e.harness.http1 import Request
from e2e.harness.policy import configuration
from e2e.harness.stack import Stack
from e2e.harness.waiting import wait_until

SECONDS = 15


def _healthy(gateway: object) -> int:
    assert isinstance(gateway, EnvoyGateway)
    return gateway.statistic("cluster.bridge.membership_healthy")


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("factory", gateways("health"))
def test_ready_bridge_is_healthy(own: Arrangement, factory: GatewayFactory, unix: bool) -> None:
    stack = own.stack(factory, unix=unix)

    wait_until(lambda: _healthy(stack.gateway) == 1, seconds=SECONDS, what="a healthy bridge")


@pytest.mark.parametrize("maker", makers("health"))
def test_bridge_without_keys_is_left_out_while_another_is_ready(
    own: Arrangement, maker: Callable[..., GatewayFactory]
) -> None:
    issuer, upstream = own.issuer(), own.upstream()
    ready = own.bridge(configuration(issuer))
    down = own.issuer(running=False)
    unready = own.bridge(configuration(issuer, [down]), ready=False)

    def add_second_endpoint(text: str) -> str:
        lines = text.splitlines(keepends=True)
        at = next(n for n, line in enumerate(lines) if f"port_value: {ready.admin.port}" in line)
        block = "".join(lines[at - 2 : at + 1])
        second = block.replace(
            f"port_value: {ready.admin.port}", f"port_value: {unready.admin.port}"
        ).replace(f"port_value: {_port(ready.authz)}", f"port_value: {_port(unready.authz)}")
        return text.replace(block, block + second)

    gateway = own.gateway(maker(edits=(add_second_endpoint,)), ready, upstream)
    stack = Stack(issuer, upstream, ready, gateway)
    wait_until(lambda: _healthy(gateway) == 1, seconds=SECONDS, what="one healthy bridge")
    asked = unready.output().count("check_decided")
    request = Request(target="/payments/profile").with_headers(stack.bearer(issuer.mint()))

    assert {stack.send(request).status for _ in range(20)} == {200}
    assert unready.output().count("check_decided") == asked


def _port(address: object) -> int:
    port = getattr(address, "port", None)
    assert isinstance(port, int)
    return port
