"""What tests of the whole bridge share: a key, its file, and the policy that they ask about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from running_bridge import Service, policy, write_keys

from e2e.harness.issuer import Issuer
from e2e.harness.tokens import SigningKey

# A busy machine is slow: only what is wrong may fail.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


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
