"""The Keycloak of a run, a person at a browser, and the bridge in front of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.harness.api import SCOPE, Api, build_api
from e2e.harness.arrangement import Arrangement, Evidence, GatewayFactory
from e2e.harness.browser import Person, find_chromium, people
from e2e.harness.oauth import PublicClient
from e2e.harness.tokens import AUDIENCE
from e2e.harness.upstream import RecordingUpstream
from e2e.keycloak.distribution import find_distribution
from e2e.keycloak.server import Keycloak

NewPerson = Callable[[], Person]
ApiFactory = Callable[..., Api]


@pytest.fixture(scope="session")
def keycloak(directory: Path, evidence: Evidence) -> Iterator[Keycloak]:
    server = Keycloak(find_distribution(), directory)
    evidence.logs += server.logs
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def landing(shared: Arrangement) -> RecordingUpstream:
    """Where the browser lands with the authorization response."""
    return shared.upstream()


@pytest.fixture(scope="session")
def new_person(keycloak: Keycloak) -> Iterator[NewPerson]:
    chromium = find_chromium()
    assert chromium is not None, "no Chromium on the path (Debian: apt-get install chromium)"
    knowledge = {
        "username": lambda: "alice",
        "password": lambda: keycloak.password,
        "otp": keycloak.totp,
    }
    with people(chromium) as new:
        yield lambda: new(knowledge)


@pytest.fixture
def alice(new_person: NewPerson) -> Person:
    """Alice at a browser that Keycloak has never seen."""
    return new_person()


@pytest.fixture
def app(keycloak: Keycloak, landing: RecordingUpstream) -> PublicClient:
    return PublicClient(keycloak.issuer, "app", landing, SCOPE)


@pytest.fixture
def entry(keycloak: Keycloak) -> dict[str, object]:
    """The issuer's entry in the bridge's configuration, all of it."""
    return {"issuer": keycloak.issuer, "audiences": [AUDIENCE], "provider": "keycloak"}


@pytest.fixture
def api(own: Arrangement, newest_gateway: GatewayFactory, entry: dict[str, object]) -> Iterator[Api]:
    api = build_api(own, newest_gateway, entry)
    yield api
    said = api.bridge.output() + "".join(file.read_text() for file in api.gateway.logs)
    assert not [part for token in api.sent for part in token.split(".")[1:] if part in said]
