"""The bridge's image, alone and behind an Envoy in a container; and `compose.yaml`.

Wants a container engine and the images of `make e2e-images`; `make e2e-docker` brings both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from bridge.demo.policy import STORY_CLIENT, bridge_yaml
from bridge.demo.serve import API_PORT, GATEWAY, ISSUER, PAGE
from bridge.demo.story import play
from e2e.harness.addresses import Tcp
from e2e.harness.containers import BRIDGE_IMAGE, ENVOY_IMAGE, Container, Engine, NoEngineError
from e2e.harness.http1 import Reply, Request, exchange, get
from e2e.harness.tokens import AUDIENCE, SigningKey, TokenSpec, mint
from e2e.harness.waiting import wait_until

ROOT = Path(__file__).parents[1]
CONFIGURATION = "/etc/stepup-bridge/bridge.yaml"
KEYS = "/etc/stepup-bridge/keys.json"
TOKEN_ISSUER = "https://login.test"
HARDENED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
_START_SECONDS = 30
_STORY_MAX_AGE_SECONDS = 5


def unavailable(reason: str) -> NoReturn:
    """Skip; or fail, where `make e2e-docker` has promised an engine."""
    if os.environ.get("E2E_ENGINE") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    try:
        engine = Engine()
    except NoEngineError as error:
        unavailable(str(error))
    with engine:
        for image in (BRIDGE_IMAGE, ENVOY_IMAGE):
            if engine.image(image) is None:
                unavailable(f"no image {image}: make e2e-images")
        yield engine


@pytest.fixture(scope="module")
def network(engine: Engine) -> str:
    return engine.network()


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> dict[str, Path]:
    """The bridge's files, by where they are in its container."""
    directory = tmp_path_factory.mktemp("containers")
    policy = {
        "version": 1,
        "listen": {"authz": "0.0.0.0:9191", "admin": "0.0.0.0:9192"},
        "issuers": [{"issuer": TOKEN_ISSUER, "audiences": [AUDIENCE], "jwks_file": "keys.json"}],
        "apis": [
            {
                "name": "bank",
                "operations": [
                    {
                        "name": "create-transfer",
                        "methods": ["POST"],
                        "paths": ["/transfers"],
                        "require": {
                            "scopes": ["payments:write"],
                            "acr_values": ["urn:example:mfa"],
                            "max_age": "5m",
                        },
                    }
                ],
            }
        ],
    }
    texts = {
        CONFIGURATION: yaml.safe_dump(policy),
        KEYS: json.dumps({"keys": [key.jwk()]}),
    }
    placed = {}
    for inside, text in texts.items():
        file = directory / Path(inside).name
        file.write_text(text)
        file.chmod(0o644)
        placed[inside] = file
    return placed


@pytest.fixture(scope="module")
def bridge(engine: Engine, network: str, files: dict[str, Path]) -> Container:
    return engine.run(BRIDGE_IMAGE, network=network, files=files, **HARDENED)


@pytest.fixture(scope="module")
def gateway(
    engine: Engine, network: str, bridge: Container, tmp_path_factory: pytest.TempPathFactory
) -> Tcp:
    """An Envoy on the project's configuration: only addresses differ."""
    api = engine.run(
        BRIDGE_IMAGE,
        ["-m", "bridge.demo.serve", "sample-api", "--host", "0.0.0.0"],
        entrypoint="python3",
        network=network,
        **HARDENED,
    )
    wait_until(lambda: "sample-api is there" in api.logs(), seconds=_START_SECONDS, what="the API")
    text = (ROOT / "envoy" / "envoy.yaml").read_text()
    everywhere = "{address: 0.0.0.0, port_value: 8080}"
    for old, new in (
        ("{address: 127.0.0.1, port_value: 8080}", everywhere),
        ("{address: 127.0.0.1, port_value: 9191}", _address(bridge.ip(network), 9191)),
        ("{address: 127.0.0.1, port_value: 8000}", _address(api.ip(network), API_PORT)),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path_factory.mktemp("envoy") / "envoy.yaml"
    file.write_text(text)
    file.chmod(0o644)
    envoy = engine.run(
        ENVOY_IMAGE,
        ["envoy", "-c", "/etc/envoy/envoy.yaml", "--log-level", "warning"],
        entrypoint=[],
        user="101:101",
        network=network,
        files={"/etc/envoy/envoy.yaml": file},
        ports=[8080],
        **HARDENED,
    )
    address = envoy.published(8080)
    wait_until(lambda: _answers(address, envoy), seconds=_START_SECONDS, what="an answer of Envoy")
    return address


def _address(ip: str, port: int) -> str:
    return f"{{address: {ip}, port_value: {port}}}"


def _answers(address: Tcp, container: Container) -> bool:
    assert container.running, container.logs()
    try:
        return get(address, "/transfers").status != 503
    except OSError:
        return False


def test_image_runs_as_a_numbered_user_and_says_what_it_is(engine: Engine) -> None:
    facts = engine.image(BRIDGE_IMAGE)

    assert facts is not None
    settings = facts["Config"]
    user = settings["User"].partition(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    assert settings["StopSignal"] == "SIGTERM"
    labels = settings["Labels"]
    assert labels["org.opencontainers.image.title"] == "stepup-bridge"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]
    # The listener for people is never offered for publishing.
    assert set(settings["ExposedPorts"]) == {"9191/tcp"}


def test_image_keeps_no_trace_of_how_pip_was_configured(engine: Engine) -> None:
    facts = engine.image(BRIDGE_IMAGE)

    assert facts is not None
    assert not [line for line in facts["Config"]["Env"] if "INDEX" in line or "CERT" in line]


def test_container_becomes_healthy(bridge: Container) -> None:
    wait_until(lambda: bridge.health == "healthy", seconds=_START_SECONDS, what="healthy")


def test_health_check_fails_where_no_bridge_answers(engine: Engine, network: str) -> None:
    facts = engine.image(BRIDGE_IMAGE)
    assert facts is not None
    kind, *check = facts["Config"]["Healthcheck"]["Test"]
    idle = engine.run(BRIDGE_IMAGE, ["60"], entrypoint="sleep", network=network)

    status, _ = idle.execute(*check)

    assert kind == "CMD"
    assert status == 1


@pytest.mark.parametrize("tool", ["gcc", "cc", "make", "pip", "pip3", "curl", "wget"])
def test_no_tool_of_a_build_is_inside(bridge: Container, tool: str) -> None:
    assert bridge.execute("sh", "-c", "command -v python3")[0] == 0

    assert bridge.execute("sh", "-c", f"command -v {tool}") == (127, "")


@pytest.mark.parametrize("python", ["python3", "$(readlink -f $(command -v python3))"])
def test_no_python_inside_has_pip(bridge: Container, python: str) -> None:
    status, said = bridge.execute("sh", "-c", f"{python} -c 'import ssl; import pip'")

    assert status == 1
    assert "No module named 'pip'" in said


def test_nothing_inside_can_be_written(bridge: Container) -> None:
    assert bridge.execute("id", "-u") == (0, "65532\n")

    for place in ("/tmp", "/etc/stepup-bridge", "/opt/stepup-bridge", CONFIGURATION):
        status, _ = bridge.execute("sh", "-c", f"test -w {place}")
        assert status == 1, place


def test_sigterm_ends_it_with_exit_code_0_after_a_drain(
    engine: Engine, network: str, files: dict[str, Path]
) -> None:
    own = engine.run(BRIDGE_IMAGE, network=network, files=files, **HARDENED)
    wait_until(
        lambda: "service_started" in own.logs(), seconds=_START_SECONDS, what="service_started"
    )

    own.signal("SIGTERM")

    assert own.wait() == 0
    events = [json.loads(line)["event"] for line in own.logs().splitlines()]
    assert events[-2:] == ["drain_started", "service_stopped"]


def test_envoy_relays_the_challenge_for_a_weak_token(gateway: Tcp, key: SigningKey) -> None:
    reply = _transfer(gateway, mint(TokenSpec(acr="urn:example:pwd"), TOKEN_ISSUER, key))

    assert reply.status == 401
    assert reply.values("www-authenticate") == [
        'Bearer realm="bank", error="insufficient_user_authentication", '
        'error_description="A different authentication level is required", '
        'acr_values="urn:example:mfa", max_age="300"'
    ]


def test_envoy_lets_a_strong_token_through_with_the_identity(gateway: Tcp, key: SigningKey) -> None:
    reply = _transfer(gateway, mint(TokenSpec(acr="urn:example:mfa"), TOKEN_ISSUER, key))

    assert reply.status == 200
    identity = json.loads(reply.body)["identity"]
    assert identity["x-stepup-subject"] == "alice"
    assert identity["x-stepup-acr"] == "urn:example:mfa"


def test_envoy_refuses_a_token_that_somebody_else_signed(gateway: Tcp) -> None:
    stranger = SigningKey.generate()

    reply = _transfer(gateway, mint(TokenSpec(acr="urn:example:mfa"), TOKEN_ISSUER, stranger))

    assert reply.status == 401
    assert 'error="invalid_token"' in reply.values("www-authenticate")[0]


def _transfer(gateway: Tcp, token: str) -> Reply:
    headers = (("Authorization", f"Bearer {token}"), ("X-Stepup-Subject", "mallory"))
    reply = exchange(gateway, Request("POST", "/transfers", headers=headers).raw())
    assert reply is not None
    return reply


@pytest.fixture
def compose(engine: Engine, tmp_path: Path) -> Iterator[None]:
    """The services of `compose.yaml` but Kong, with a transfer's `max_age` made short."""
    command = _compose_command()
    policy = tmp_path / "bridge.yaml"
    policy.write_text(
        bridge_yaml(
            authz_port=9191,
            admin_port=9192,
            issuer=ISSUER,
            max_age_seconds=_STORY_MAX_AGE_SECONDS,
        )
    )
    policy.chmod(0o644)
    override = tmp_path / "override.yaml"
    volumes = [f"{policy}:{CONFIGURATION}:ro"]
    override.write_text(yaml.safe_dump({"services": {"bridge": {"volumes": volumes}}}))
    files = ["-f", str(ROOT / "compose.yaml"), "-f", str(override)]
    project = [*command, *files, "-p", f"stepup-e2e-{uuid.uuid4().hex[:8]}"]
    services = ["authorization-server", "page", "sample-api", "bridge", "envoy"]
    try:
        _compose(*project, "up", "--detach", "--no-build", *services)
        yield
    finally:
        _compose(*project, "down", "--volumes", "--timeout", "5")


def _compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        pytest.skip("neither docker compose nor docker-compose is installed")
    return ["docker-compose"]


def _compose(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr


async def test_compose_shows_the_page_and_plays_the_story(compose: None) -> None:
    page = Tcp(int(PAGE.rpartition(":")[2]))
    gateway = Tcp(int(GATEWAY.rpartition(":")[2]))
    wait_until(lambda: _status(page) == 200, seconds=_START_SECONDS, what="the page")
    # The API's public operation passes Envoy and the bridge: all four are there.
    wait_until(lambda: _status(gateway, "/health") == 200, seconds=_START_SECONDS, what="the API")
    settings = exchange(page, Request(target="/settings.json", host=str(page)).raw())
    asked = Request(target="/accounts", host=str(gateway), headers=(("Origin", PAGE),))
    denial = exchange(gateway, asked.raw())
    started = time.monotonic()

    await play(GATEWAY, ISSUER, STORY_CLIENT, _STORY_MAX_AGE_SECONDS)

    assert time.monotonic() - started > _STORY_MAX_AGE_SECONDS
    assert denial is not None
    assert denial.status == 401
    assert denial.values("access-control-allow-origin") == [PAGE]
    assert settings is not None
    assert json.loads(settings.body)["gateway"] == GATEWAY


def _status(address: Tcp, target: str = "/") -> int | None:
    try:
        reply = exchange(address, Request(target=target, host=str(address)).raw())
    except OSError:
        return None
    return reply.status if reply is not None else None
