"""The configurations in `gateways/`: nobody but the bridge sets an identity header (spec §7)."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config.settings import DEFAULT_UPSTREAM_HEADERS
from bridge.tokens.identity import WOULD_DENY_HEADER

GATEWAYS = Path(__file__).parents[2] / "gateways"
NAMES = [*(name for name, _ in DEFAULT_UPSTREAM_HEADERS), WOULD_DENY_HEADER]
RULED_BY = {
    "authorization",
    "origin",
    "access-control-request-method",
    "dpop",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "x-request-id",
}


def spellings(name: str) -> set[str]:
    """Give every mix of `-` and `_` of a header's name."""
    first, *rest = name.split("-")
    return {
        first + "".join(separator + part for separator, part in zip(chosen, rest, strict=True))
        for chosen in itertools.product("-_", repeat=len(rest))
    }


@pytest.fixture
def middlewares() -> dict[str, Any]:
    document = yaml.safe_load((GATEWAYS / "traefik" / "dynamic.yml").read_text())
    found: dict[str, Any] = document["http"]["middlewares"]
    return found


def test_traefik_removes_every_spelling_of_every_identity_header(
    middlewares: dict[str, Any],
) -> None:
    headers = middlewares["stepup-clean"]["headers"]["customRequestHeaders"]

    assert set(headers.values()) == {""}
    assert {name.lower() for name in headers} - {"connection"} == set().union(
        *map(spellings, NAMES)
    )


def test_traefik_asks_with_what_the_rules_need_and_takes_the_identity(
    middlewares: dict[str, Any],
) -> None:
    asked = middlewares["stepup"]["forwardAuth"]

    assert asked["trustForwardHeader"] is False
    assert {name.lower() for name in asked["authRequestHeaders"]} == RULED_BY
    assert [name.lower() for name in asked["authResponseHeaders"]] == NAMES


def test_traefik_cleans_before_it_asks() -> None:
    document = yaml.safe_load((GATEWAYS / "traefik" / "dynamic.yml").read_text())

    assert document["http"]["routers"]["api"]["middlewares"] == ["stepup-clean", "stepup"]


def test_nginx_sets_every_identity_header() -> None:
    text = (GATEWAYS / "nginx" / "nginx.conf").read_text()
    for name in NAMES:
        variable = "$stepup_" + name.removeprefix("x-stepup-").replace("-", "_")
        upstream = "$upstream_http_" + name.replace("-", "_")
        assert f"auth_request_set {variable} {upstream};" in text
        assert re.search(rf"proxy_set_header {name} {re.escape(variable)};", text, re.IGNORECASE)
    assert "underscores_in_headers off;" in text


def test_caddy_copies_every_identity_header() -> None:
    text = (GATEWAYS / "caddy" / "Caddyfile").read_text().lower()
    copied = re.findall(r"^\s*copy_headers (.*)", text, re.MULTILINE)
    unsaid = re.findall(r"import drop_if_unsaid (.*)", text)

    assert [line.split() for line in copied] == [NAMES]
    assert unsaid == NAMES
    assert "request_header -*stepup*" in text


def test_haproxy_asks_with_what_the_rules_need() -> None:
    text = (GATEWAYS / "haproxy" / "stepup.lua").read_text()
    block = text.partition("local FORWARDED = {")[2].partition("}")[0]

    assert set(re.findall(r'"(.+)"', block)) == RULED_BY
    assert all(re.fullmatch(r"x[-_]stepup[-_].*", name) for name in NAMES)
