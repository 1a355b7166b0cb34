"""What tests of the whole bridge share: a key, its file, and the policy that they ask about."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from running_bridge import Service, policy, write_keys

from e2e.harness.issuer import Issuer
from e2e.harness.tokens import SigningKey

# A busy machine is slow: only what is wrong may fail. The same examples every time, so that no
# commit is failed by what an earlier one did; `make fuzz` looks for new ones.
_BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _BUSY, derandomize=True)
settings.register_profile("fuzz", _BUSY, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey) -> Iterator[Service]:
    """One process that answers checks, for tests that change nothing about it."""
    directory = tmp_path_factory.mktemp("service")
    write_keys(directory, signing_key)
    with Service(directory, policy()) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An authorization server that publishes its keys, and misbehaves on demand."""
    issuer = Issuer()
    issuer.start()
    yield issuer
    issuer.stop()
