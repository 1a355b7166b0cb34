"""The suite's fixtures: which gateways, and the parts that tests share. See README.md."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from e2e.harness.arrangement import Arrangement, Evidence
from e2e.harness.bridge import Bridge
from e2e.harness.browser import Knowledge, Person, find_chromium, people
from e2e.harness.envoy import find_binary, versions
from e2e.harness.gateway import GatewayFactory
from e2e.harness.gateways import PRODUCTS, envoy, gateways
from e2e.harness.issuer import Issuer
from e2e.harness.policy import configuration
from e2e.harness.runtime import RUNTIMES, close_engine, find_image, runtime
from e2e.harness.stack import Stack
from e2e.harness.upstream import RecordingUpstream

# Markers of what needs more than packages of Python, and is never run unless it is named.
BY_REQUEST = ("keycloak", "oidc_provider")
_LAST, _SEARCH = "test_secrets.py", "test_no_log_metric_or_page_holds_a_secret"
_TAIL_LINES = 40


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "faults: something is down, slow or killed; takes seconds")
    for marker in BY_REQUEST:
        config.addinivalue_line("markers", f"{marker}: against a real one; only with -m {marker}")
    if runtime() not in RUNTIMES:
        raise pytest.UsageError(f"E2E_RUNTIME={runtime()}: one of {', '.join(RUNTIMES)}")


def pytest_report_header() -> list[str]:
    """Say what runs how."""
    told = []
    for product in PRODUCTS:
        kind, _, version = product.name.partition("-")
        image = find_image(kind, version)
        how = product.missing or (f"container of {image}" if image else "process")
        told.append(f"{product.name}: {how}")
    return told


def pytest_unconfigure() -> None:
    close_engine()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what nobody asked for; search for secrets when all has been said."""
    asked = str(config.option.markexpr)
    unasked = [marker for marker in BY_REQUEST if marker not in asked]
    dropped = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    if dropped:
        items[:] = [item for item in items if item not in set(dropped)]
        config.hook.pytest_deselected(items=dropped)
    items.sort(key=lambda item: (item.path.name == _LAST, item.name == _SEARCH))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the logs with a failure, and where the whole is kept."""
    report = yield
    evidence = getattr(item, "funcargs", {}).get("evidence")
    if report.failed and isinstance(evidence, Evidence):
        for file in evidence.logs:
            if file.exists() and (lines := file.read_text(errors="replace").splitlines()):
                report.sections.append((str(file), "\n".join(lines[-_TAIL_LINES:])))
    return report


@pytest.fixture(scope="session", autouse=True)
def binaries() -> None:
    """Fetch what is missing before the first test, so that no deadline runs meanwhile."""
    for version in versions():
        if runtime() != "docker" and find_image("envoy", version) is None:
            find_binary(version)


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    return Evidence()


@pytest.fixture(scope="session")
def shared(directory: Path, evidence: Evidence) -> Iterator[Arrangement]:
    """Parts that live as long as the run."""
    arrangement = Arrangement(directory, evidence)
    yield arrangement
    arrangement.close()


@pytest.fixture
def own(tmp_path: Path, evidence: Evidence) -> Iterator[Arrangement]:
    """Parts of one test, which it may break."""
    arrangement = Arrangement(tmp_path, evidence)
    yield arrangement
    arrangement.close()


@pytest.fixture(scope="session")
def issuer(shared: Arrangement) -> Issuer:
    return shared.issuer()


@pytest.fixture(scope="session")
def down_issuer(shared: Arrangement) -> Issuer:
    """Nobody listens there, and never did."""
    return shared.issuer(running=False)


@pytest.fixture(scope="session")
def upstream(shared: Arrangement) -> RecordingUpstream:
    return shared.upstream()


@pytest.fixture(scope="session")
def bridge(shared: Arrangement, issuer: Issuer, down_issuer: Issuer) -> Bridge:
    return shared.bridge(configuration(issuer, [down_issuer]), ready=False)


@pytest.fixture(scope="session")
def bridge_on_unix_socket(shared: Arrangement, issuer: Issuer, down_issuer: Issuer) -> Bridge:
    return shared.bridge(configuration(issuer, [down_issuer]), unix=True, ready=False)


@pytest.fixture(scope="session")
def new_person() -> Iterator[Callable[[Knowledge], Person]]:
    """Chromium; each call gives a person with a profile of their own, and with this knowledge."""
    chromium = find_chromium()
    assert chromium is not None, "no Chromium on the path (Debian: apt-get install chromium)"
    with people(chromium) as new:
        yield new


@pytest.fixture(scope="session")
def landing(shared: Arrangement) -> RecordingUpstream:
    """Where a browser lands with the authorization response."""
    return shared.upstream()


_USUAL, _UNIX = gateways(), gateways("unix")


@pytest.fixture(
    scope="session",
    params=[
        *(pytest.param((*each.values, "bridge"), id=each.id, marks=each.marks) for each in _USUAL),
        *(
            pytest.param((*each.values, "bridge_on_unix_socket"), id=each.id, marks=each.marks)
            for each in _UNIX
        ),
    ],
)
def stack(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
) -> Stack:
    """Every gateway with the usual policy."""
    factory, bridge = request.param
    used: Bridge = request.getfixturevalue(bridge)
    return Stack(issuer, upstream, used, shared.gateway(factory, used, upstream))


@pytest.fixture(params=gateways())
def gateway_factory(request: pytest.FixtureRequest) -> GatewayFactory:
    """Every gateway, for tests that build their own stack."""
    factory: GatewayFactory = request.param
    return factory


@pytest.fixture
def newest_gateway() -> GatewayFactory:
    """One gateway, for what does not depend on which."""
    return envoy(versions()[-1])
