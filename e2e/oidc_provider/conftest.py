"""The oidc-provider of a run, Alice at a browser, and the bridge in front of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.harness.api import SCOPE, Api, build_api
from e2e.harness.arrangement import Arrangement, Evidence
from e2e.harness.browser import Knowledge, Person
from e2e.harness.gateway import GatewayFactory
from e2e.harness.oauth import PublicClient
from e2e.harness.tokens import AUDIENCE
from e2e.harness.upstream import RecordingUpstream
from e2e.oidc_provider.server import OPAQUE_AUDIENCE, OidcProvider


@pytest.fixture(scope="session")
def provider(
    directory: Path, evidence: Evidence, landing: RecordingUpstream
) -> Iterator[OidcProvider]:
    server = OidcProvider(f"http://{landing.address}/landing", directory)
    evidence.logs += server.logs
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def alice(new_person: Callable[[Knowledge], Person], provider: OidcProvider) -> Person:
    """Alice at a browser that oidc-provider has never seen."""
    return new_person(
        {
            "username": lambda: "alice",
            "password": lambda: provider.password,
            "otp": lambda: provider.code,
        }
    )


@pytest.fixture
def app(provider: OidcProvider, landing: RecordingUpstream) -> PublicClient:
    return PublicClient(provider.issuer, "app", landing, SCOPE)


@pytest.fixture
def api(own: Arrangement, newest_gateway: GatewayFactory, provider: OidcProvider) -> Iterator[Api]:
    """Takes JWTs as RFC 9068 wants them, and nothing else."""
    entry = {"issuer": provider.issuer, "audiences": [AUDIENCE], "token_type": "strict"}
    api = build_api(own, newest_gateway, entry)
    yield api
    api.check_silence()


@pytest.fixture
def opaque_api(
    own: Arrangement, newest_gateway: GatewayFactory, provider: OidcProvider
) -> Iterator[Api]:
    """Takes opaque tokens, and has each introspected at every check."""
    secret = own.directory / "bridge-secret"
    secret.write_text(provider.bridge_secret)
    entry = {
        "issuer": provider.issuer,
        "audiences": [OPAQUE_AUDIENCE],
        "tokens": ["opaque"],
        "introspection": {
            "client_id": "bridge",
            "client_secret_file": str(secret),
            "cache_ttl": 0,
        },
    }
    api = build_api(own, newest_gateway, entry)
    yield api
    api.check_silence()
    assert provider.bridge_secret not in api.bridge.output()


@pytest.fixture
def bound_api(
    own: Arrangement, newest_gateway: GatewayFactory, provider: OidcProvider
) -> Iterator[Api]:
    """Takes tokens that are bound to a key, with their proof, and nothing else."""
    entry = {"issuer": provider.issuer, "audiences": [AUDIENCE], "token_type": "strict"}
    constraint = {"sender_constraint": "dpop", "external_origin": "https://api.test"}
    api = build_api(own, newest_gateway, entry, **constraint)
    yield api
    api.check_silence()
