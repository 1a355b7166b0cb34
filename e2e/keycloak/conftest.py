"""The Keycloak of a run, Alice at a browser, and the bridge in front of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.harness.api import SCOPE, Api, build_api
from e2e.harness.arrangement import Arrangement, Evidence
from e2e.harness.browser import Knowledge, Person
from e2e.harness.gateway import GatewayFactory
from e2e.harness.oauth import PublicClient
from e2e.harness.tokens import AUDIENCE
from e2e.harness.upstream import RecordingUpstream
from e2e.keycloak.distribution import find_distribution
from e2e.keycloak.server import Keycloak


@pytest.fixture(scope="session")
def keycloak(directory: Path, evidence: Evidence) -> Iterator[Keycloak]:
    server = Keycloak(find_distribution(), directory)
    evidence.logs += server.logs
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def alice(new_person: Callable[[Knowledge], Person], keycloak: Keycloak) -> Person:
    """Alice at a browser that Keycloak has never seen."""
    return new_person(
        {
            "username": lambda: "alice",
            "password": lambda: keycloak.password,
            "otp": keycloak.totp,
        }
    )


@pytest.fixture
def app(keycloak: Keycloak, landing: RecordingUpstream) -> PublicClient:
    return PublicClient(keycloak.issuer, "app", landing, SCOPE)


@pytest.fixture
def light_app(keycloak: Keycloak, landing: RecordingUpstream) -> PublicClient:
    """A client that gets lightweight access tokens."""
    return PublicClient(keycloak.issuer, "light-app", landing, SCOPE)


@pytest.fixture
def entry(keycloak: Keycloak) -> dict[str, Any]:
    """The issuer's entry in the bridge's configuration, all of it."""
    return {"issuer": keycloak.issuer, "audiences": [AUDIENCE], "provider": "keycloak"}


@pytest.fixture
def api(own: Arrangement, newest_gateway: GatewayFactory, entry: dict[str, Any]) -> Iterator[Api]:
    api = build_api(own, newest_gateway, entry)
    yield api
    api.check_silence()


@pytest.fixture
def introspecting_api(
    own: Arrangement, newest_gateway: GatewayFactory, entry: dict[str, Any], keycloak: Keycloak
) -> Iterator[Api]:
    """The same, with every token introspected at every check."""
    secret = own.directory / "bridge-secret"
    secret.write_text(keycloak.bridge_secret)
    introspection = {
        "when": "always",
        "client_id": "bridge",
        "client_secret_file": str(secret),
        "cache_ttl": 0,
    }
    api = build_api(own, newest_gateway, {**entry, "introspection": introspection})
    yield api
    api.check_silence()
    assert keycloak.bridge_secret not in api.bridge.output()
