"""The demo's Envoy is hardened like the one that users are told to run."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.demo.envoy import envoy_yaml, find_envoy
from bridge.demo.errors import DemoError

SHIPPED = (Path(__file__).parents[2] / "envoy" / "envoy.yaml").read_text()


def with_cors(text: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text.replace("#cors# ", ""))
    return document


def demo() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        envoy_yaml(
            port=8080,
            bridge_authz_port=9191,
            bridge_admin_port=9192,
            api_port=8000,
            page_origin="https://app.example.com",
        )
    )
    return document


def test_it_differs_from_the_shipped_file_in_two_places_only() -> None:
    ours = demo()
    (listener,) = ours["static_resources"]["listeners"]

    assert listener.pop("enable_reuse_port") is False
    assert ours["admin"]["address"]["socket_address"]["port_value"] == 0
    ours["admin"]["address"]["socket_address"]["port_value"] = 9901
    assert ours == with_cors(SHIPPED)


def test_everything_in_it_is_on_loopback() -> None:
    addresses: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            if "socket_address" in value:
                addresses.append(value["socket_address"]["address"])
            for member in value.values():
                collect(member)
        elif isinstance(value, list):
            for member in value:
                collect(member)

    collect(demo())
    assert len(addresses) == 4
    assert set(addresses) == {"127.0.0.1"}


def test_without_the_wheel_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", nothing)

    with pytest.raises(DemoError, match=r"^the demo needs Envoy: /.* -m pip install .*\[demo\]'"):
        find_envoy()
