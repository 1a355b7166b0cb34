"""`compose.yaml` and the `Dockerfile`, without an engine: they fit what they are made of."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.demo.loopback import HOST
from bridge.demo.policy import bridge_yaml
from bridge.demo.run import BROWSER_MAX_AGE_SECONDS, BROWSER_PORTS
from bridge.demo.serve import API_PORT, ISSUER, PAGE
from e2e.harness import containers

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PUBLISHED = {"8080", "8081", "8082", "8084"}


def edited(service: str, source: str) -> tuple[str, Any]:
    """Run the `sed` of a service on the file that it mounts; give the file as it was, and after."""
    (script,) = SERVICES[service]["command"]
    command, _, _ = script.replace("\\\n", " ").partition(" > ")
    *arguments, inside = command.split(" /")
    assert inside.endswith(Path(source).name)
    file = ROOT / source
    result = subprocess.run(
        ["sh", "-ec", f"{' /'.join(arguments)} {file}"], capture_output=True, text=True, check=True
    )
    return file.read_text(), yaml.safe_load(result.stdout)


def test_the_bridges_configuration_is_the_demos() -> None:
    demo = bridge_yaml(
        authz_port=BROWSER_PORTS.bridge_authz,
        admin_port=BROWSER_PORTS.bridge_admin,
        issuer=ISSUER,
        max_age_seconds=BROWSER_MAX_AGE_SECONDS,
    )

    assert yaml.safe_load((ROOT / "compose" / "bridge.yaml").read_text()) == yaml.safe_load(demo)


def test_envoy_differs_in_its_address_and_the_pages_origin_alone() -> None:
    text, configuration = edited("envoy", "envoy/envoy.yaml")

    shipped = text.replace("#cors# ", "").replace("https://app.example.com", PAGE)
    wanted = yaml.safe_load(shipped)
    listener = wanted["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {
        "address": "127.0.0.1",
        "port_value": BROWSER_PORTS.gateway,
    }
    listener["address"]["socket_address"]["address"] = "0.0.0.0"
    assert configuration == wanted
    assert text.count("https://app.example.com") == 1
    assert f"port_value: {API_PORT}" in text


def test_kong_differs_in_the_demos_route_and_api_alone() -> None:
    text, configuration = edited("kong", "kong/kong.yml")

    wanted = yaml.safe_load(text)
    bank, metadata = wanted["services"]
    assert bank["url"] == "http://payments.internal:8080"
    bank["url"] = f"http://{HOST}:{API_PORT}"
    for service in (bank, metadata):
        (route,) = service["routes"]
        del route["hosts"]
        assert route["protocols"] == ["https"]
        route["protocols"] = ["http"]
    bank["routes"][0]["paths"] = ["/"]
    assert configuration == wanted
    assert [plugin["name"] for plugin in configuration["services"][0]["plugins"]] == [
        "stepup-bridge"
    ]


def test_the_bridge_and_the_api_are_published_nowhere_and_the_rest_on_loopback() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    for port in published:
        host, outside, inside = port.split(":")
        assert (host, outside) == (HOST, inside)
    assert {port.rpartition(":")[2] for port in published} == PUBLISHED


def test_every_service_shares_the_one_network() -> None:
    shared = {
        name: service["network_mode"]
        for name, service in SERVICES.items()
        if "ports" not in service
    }

    assert set(SERVICES) - set(shared) == {"authorization-server"}
    assert set(shared.values()) == {"service:authorization-server"}


@pytest.mark.parametrize(
    ("service", "image"),
    [
        ("bridge", "BRIDGE_IMAGE"),
        ("envoy", "ENVOY_IMAGE"),
        ("kong", "KONG_IMAGE"),
    ],
)
def test_the_suite_runs_the_same_images(service: str, image: str) -> None:
    source = Path(containers.__file__).read_text()
    default = re.search(rf'^{image} = os\.environ\.get\("E2E_{image}"\) or "(.+)"$', source, re.M)

    assert default is not None
    assert SERVICES[service]["image"] == default[1]
    assert re.search(r":v?\d+\.\d+\.\d+$|^stepup-bridge:dev$", default[1])


def test_the_image_is_built_on_a_pinned_base_of_no_named_registry() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+$", text, re.M)
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]
    assert "://" not in text.replace("http://127.0.0.1", "")


@pytest.fixture
def taken() -> Iterator[None]:
    with socket.socket() as holder:
        with contextlib.suppress(OSError):  # whoever has it already will do
            holder.bind((HOST, API_PORT))
            holder.listen()
        yield


def test_a_part_of_the_demo_refuses_another_port(taken: None) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bridge.demo.serve", "sample-api"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr == f"bridge.demo.serve: port {API_PORT} is taken\n"
