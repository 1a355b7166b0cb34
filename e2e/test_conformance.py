"""The conformance kit through every gateway, as shipped: every MUST passes, all are tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.conformance import check, write_profile
from e2e.harness.gateway import GatewayFactory
from e2e.harness.gateways import gateways
from e2e.harness.issuer import Issuer
from e2e.harness.upstream import RecordingUpstream

# No response of ours has one.
UNTESTED = {"RFC6750-3-6"}
# Our API is a tree of URLs, and its identifier is the prefix that they share.
NOTED = {"RFC9728-3.3-3"}


@pytest.mark.parametrize("factory", gateways())
def test_gateway_passes_every_must(
    factory: GatewayFactory,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    bridge: Bridge,
    tmp_path: Path,
) -> None:
    gateway = shared.gateway(factory, bridge, upstream)
    upstream.take()

    result = check(gateway, write_profile(tmp_path, issuer))

    faults = {
        verdict.requirement.id: verdict.faults
        for verdict in result.verdicts
        if verdict.outcome == "fail"
    }
    assert result.ok, faults
    assert set(faults) == NOTED, faults
    untested = {v.requirement.id for v in result.verdicts if v.outcome == "not testable"}
    assert untested == UNTESTED
    # What the kit calls accepted is what reached the API, and nothing else did.
    accepted = [e for e in result.exchanges if e.accepted and not e.name.startswith("metadata")]
    assert len(upstream.take()) == len(accepted) == 4
    gateway.stop()
