"""The doors that believe forwarded headers: closed unless the configuration lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_bridge import HOST, Service, bearer, policy, write_config, write_keys

from e2e.harness.http1 import Lines, Reply, Request
from e2e.harness.tokens import SigningKey

KEY = SigningKey.generate()
FORWARDED: Lines = (
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", HOST),
    ("X-Forwarded-Uri", "/payments/profile?a=secret-in-query"),
)
ORIGINAL: Lines = (
    ("X-Original-Method", "GET"),
    ("X-Original-Host", HOST),
    ("X-Original-URI", "/payments/profile?a=secret-in-query"),
)
DOORS = [
    pytest.param("forward_auth", "/forward-auth", FORWARDED, id="forward_auth"),
    pytest.param("nginx", "/nginx", ORIGINAL, id="nginx"),
]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A bridge with both doors open."""
    directory = tmp_path_factory.mktemp("open")
    write_keys(directory, KEY)
    with Service(directory, policy(doors=["forward_auth", "nginx"])) as service:
        service.wait_until_ready()
        yield service


def ask(bridge: Service, path: str, lines: Lines, method: str = "GET") -> Reply:
    return bridge.send(Request(method, path, host="bridge", headers=lines))


def identity(reply: Reply) -> dict[str, str]:
    return {name: value for name, value in reply.headers if name.startswith("x-stepup-")}


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
def test_door_is_404_until_the_configuration_lists_it(
    tmp_path: Path, name: str, path: str, lines: Lines
) -> None:
    write_keys(tmp_path, KEY)
    other = next(each.values[0] for each in DOORS if each.values[0] != name)
    with Service(tmp_path, policy(doors=[other])) as service:
        assert ask(service, path, lines).status == 404

        write_config(service.file, {**policy(doors=[name]), **_listening(service)})
        service.wait_for_event("config_loaded", 2)

        assert ask(service, path, lines).status == 401


def _listening(service: Service) -> dict[str, object]:
    return {"listen": {"authz": str(service.authz), "admin": str(service.admin)}}


def test_doors_are_closed_by_default(tmp_path: Path) -> None:
    with Service(tmp_path, policy()) as service:
        for _, path, lines in (each.values for each in DOORS):
            assert isinstance(path, str)
            assert ask(service, path, lines).status == 404  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_denial_has_its_challenge_and_its_door(
    bridge: Service, name: str, path: str, lines: Lines, method: str
) -> None:
    reply = ask(bridge, path, lines, method)

    assert reply.status == 401
    (challenge,) = reply.values("www-authenticate")
    assert challenge.startswith('Bearer realm="payments"')
    if method != "HEAD":
        assert json.loads(reply.body)["error"] == "unauthorized"
    sample = (
        f'stepup_checks_total{{api="payments",decision="deny",error="unauthorized",'
        f'gateway="{name}",operation="profile"}}'
    )
    assert bridge.metric(sample) >= 1


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
@pytest.mark.parametrize("first", ["/nowhere", None], ids=["at-once", "in-a-task"])
def test_a_gateway_that_asks_by_head_gets_no_body(
    bridge: Service, name: str, path: str, lines: Lines, first: str | None
) -> None:
    asked = Request("HEAD", path, host="bridge", headers=lines).raw()
    with bridge.authz.connect(10) as connection:
        if first is not None:
            connection.sendall(Request("GET", first, host="bridge").raw())
            connection.recv(65536)
        for _ in range(2):  # a body would stand where the next answer begins
            connection.sendall(asked)
            head = connection.recv(65536)
            assert head.startswith(b"HTTP/1.1 401 ")
            assert head.partition(b"\r\n\r\n")[2] == b""


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
def test_a_request_with_very_many_headers_is_read(
    bridge: Service, name: str, path: str, lines: Lines
) -> None:
    many = tuple((f"X-Client-{n}", "a") for n in range(900))
    assert ask(bridge, path, (*lines, *many, ("Authorization", bearer(KEY)))).status == 200


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
def test_allow_has_the_identity(bridge: Service, name: str, path: str, lines: Lines) -> None:
    reply = ask(bridge, path, (*lines, ("Authorization", bearer(KEY))))

    assert (reply.status, reply.body) == (200, b"")
    assert identity(reply)["x-stepup-subject"] == "alice"


@pytest.mark.parametrize(("name", "path", "lines"), DOORS)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda lines: lines[1:], id="missing"),
        pytest.param(lambda lines: (*lines, lines[0]), id="doubled"),
        pytest.param(lambda lines: (*lines[:-1], (lines[-1][0], "/a;b")), id="ambiguous-path"),
        pytest.param(lambda lines: (*lines[:-1], (lines[-1][0], "")), id="empty-path"),
        pytest.param(lambda lines: (*lines[:-1], (lines[-1][0], "/\xff\x80")), id="raw-bytes"),
        pytest.param(lambda lines: (("X-Forwarded-Method", "\xff"), *lines[1:2]), id="raw-method"),
        pytest.param(lambda lines: (), id="none"),
    ],
)
def test_malformed_forwarded_request_is_row_1(
    bridge: Service, name: str, path: str, lines: Lines, change: object
) -> None:
    assert callable(change)

    reply = ask(bridge, path, change(lines))

    assert reply.status == (403 if name == "nginx" else 400)
    assert reply.values("x-stepup-status") == (["400"] if name == "nginx" else [])
    assert reply.values("www-authenticate") == []
    assert json.loads(reply.body)["error"] == "invalid_request"


@pytest.mark.parametrize("target", ["/forward-auth/", "/forward-authx", "/nginx/", "/Nginx"])
def test_no_other_path_is_a_door(bridge: Service, target: str) -> None:
    assert ask(bridge, target, (*FORWARDED, *ORIGINAL)).status == 404


def test_log_names_the_door_and_no_query(bridge: Service) -> None:
    ask(bridge, "/nginx", ORIGINAL)
    ask(bridge, "/forward-auth", FORWARDED)

    bridge.wait_for_event("check_decided", 2)

    assert "secret-in-query" not in bridge.stdout() + bridge.stderr()
    assert {"nginx", "forward_auth"} <= {
        event["gateway"] for event in bridge.events("check_decided")
    }
