"""Gateways with the plugin, one of each kind for the whole run, and what stands around them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

import pytest

from .bench import QUICK_TIMEOUT_SECONDS, TIMEOUT_SECONDS, Bench
from .certificates import Certificates, make_certificates
from .fake_bridge import FakeBridge
from .gateways import RealKong, Routes, StandIn
from .wire import Upstream, free_port

_ALL: dict[str, type[StandIn] | type[RealKong]] = {"stand-in": StandIn, "kong": RealKong}
GATEWAYS = {name: kind for name, kind in _ALL.items() if kind.missing() is None}
GATEWAY_PARAMS = [pytest.param(name) for name in GATEWAYS] or [
    pytest.param("none", marks=pytest.mark.skip(reason=StandIn.missing() or ""))
]
"""The names of those that can run here; where none can, one that is skipped and says why."""


def pytest_report_header() -> list[str]:
    """Say which of them the tests do without, and why."""
    reasons = {name: kind.missing() for name, kind in _ALL.items()}
    return [f"{name}: {reason or 'runs here'}" for name, reason in reasons.items()]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def api() -> Iterator[Upstream]:
    """The API behind the gateways."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def bridges(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[dict[str, FakeBridge]]:
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.load_cert_chain(certificates.server, certificates.server_key)
    other = make_certificates(tmp_path_factory.mktemp("other"))
    untrusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    untrusted.load_cert_chain(other.server, other.server_key)
    made = {
        "tcp": FakeBridge(),
        "unix": FakeBridge(path=str(tmp_path_factory.mktemp("socket") / "bridge.sock")),
        "tls": FakeBridge(context=trusted),
        "untrusted": FakeBridge(context=untrusted),
    }
    yield made
    for bridge in made.values():
        bridge.close()


@pytest.fixture(scope="session")
def real_bridge_port() -> int:
    """Where the gateways expect the real bridge, started or not."""
    return free_port()


@pytest.fixture(scope="session", params=GATEWAY_PARAMS)
def started(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    certificates: Certificates,
    api: Upstream,
    bridges: dict[str, FakeBridge],
    real_bridge_port: int,
) -> Iterator[Bench]:
    url = bridges["tcp"].url
    new_each_time = {"keepalive": 0, "timeout": int(TIMEOUT_SECONDS * 1000)}
    quick = int(QUICK_TIMEOUT_SECONDS * 1000)
    routes: Routes = {
        "api.test": {"url": url, **new_each_time},
        "kept.test": {"url": url},
        "quick.test": {"url": url, "keepalive": 0, "timeout": quick},
        "quick-kept.test": {"url": url, "timeout": quick},
        "unix.test": {"url": bridges["unix"].url},
        "tls.test": {"url": bridges["tls"].url},
        "untrusted.test": {"url": bridges["untrusted"].url},
        "unverified.test": {"url": bridges["untrusted"].url, "ssl_verify": False},
        "down.test": {"url": f"http://127.0.0.1:{free_port()}"},
        "no-socket.test": {"url": "unix:/nonexistent/bridge.sock"},
        "no-name.test": {"url": "http://bridge.invalid:9191", "timeout": quick},
        "custom.test": {"url": url, **new_each_time, "forward_headers": ["X_Custom"]},
        "bridge.test": {"url": f"http://127.0.0.1:{real_bridge_port}"},
    }
    gateway = GATEWAYS[request.param](tmp_path_factory.mktemp(request.param), certificates)
    with contextlib.ExitStack() as stack:
        stack.callback(gateway.stop)
        gateway.start(routes, api.port)
        yield Bench(gateway, api, bridges)


@pytest.fixture
def bench(started: Bench) -> Bench:
    """The bench with nothing left of the test before."""
    for bridge in started.bridges.values():
        bridge.reset()
    started.api.take()
    return started
