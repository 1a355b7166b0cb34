"""`doctor` asks the running bridge about login loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from running_bridge import ISSUER, Service, bearer, policy, question, write_keys

from bridge.config.settings import TcpAddress, UnixAddress
from bridge.rehearsal.doctor.running import check_login_loops, fetch_ignored, read_ignored
from bridge.service.metrics import prometheus_text
from bridge.service.report import Report
from e2e.harness.addresses import Tcp, free_port
from e2e.harness.tokens import SigningKey, TokenSpec


async def asked(answer: Callable[[], web.Response]) -> Any:
    """Ask a server that answers so."""

    async def respond(_: web.BaseRequest) -> web.StreamResponse:
        return answer()

    runner = web.ServerRunner(web.Server(respond, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await fetch_ignored(TcpAddress("127.0.0.1", runner.addresses[0][1]))
    finally:
        await runner.cleanup()


async def test_loops_of_the_running_bridge_are_a_warning_to_look_at(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    write_keys(tmp_path, signing_key)
    with Service(tmp_path, policy()) as service:
        service.wait_until_ready()
        assert isinstance(service.admin, Tcp)
        admin = TcpAddress(service.admin.host, service.admin.port)
        assert check_login_loops(ISSUER, await fetch_ignored(admin)).outcome == "ok"
        for turn in range(4):
            spec = TokenSpec(claims={"auth_time": int(time.time()) + 10 * turn})
            asked_for = question(
                "POST", "/payments/transfers", authorization=bearer(signing_key, spec)
            )
            service.ask(asked_for)
        ignored = await fetch_ignored(admin)

    check = check_login_loops(ISSUER, ignored)
    assert (check.check, check.outcome) == ("login_loops", "warning")
    assert "payments.create-transfer (2)" in check.detail
    assert check_login_loops("https://other.test", ignored).outcome == "ok"


async def test_it_asks_at_a_unix_socket_too(tmp_path: Path, signing_key: SigningKey) -> None:
    write_keys(tmp_path, signing_key)
    listen = {"authz": "127.0.0.1:0", "admin": "unix:admin.sock"}
    with Service(tmp_path, policy(listen=listen)):
        assert await fetch_ignored(UnixAddress(tmp_path / "admin.sock")) == {}


@pytest.mark.parametrize(
    "admin",
    [
        pytest.param(TcpAddress("127.0.0.1", 0), id="any-port"),
        pytest.param(TcpAddress("127.0.0.1", free_port()), id="nobody"),
        pytest.param(UnixAddress(Path("/nonexistent/admin.sock")), id="no-socket"),
    ],
)
async def test_no_bridge_is_skipped(admin: TcpAddress | UnixAddress) -> None:
    assert await fetch_ignored(admin) is None
    assert check_login_loops(ISSUER, None).outcome == "skipped"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: web.Response(status=404), id="404"),
        pytest.param(lambda: web.Response(status=302, headers={"location": "/"}), id="redirect"),
        pytest.param(lambda: web.Response(text="<html>"), id="html"),
        pytest.param(lambda: web.Response(body=b"\xff"), id="binary"),
        pytest.param(lambda: web.Response(text="up 1\n"), id="another-programs-metrics"),
        pytest.param(lambda: web.Response(body=b"#" * 9 * 1024 * 1024), id="huge"),
    ],
)
async def test_what_is_no_bridge_is_skipped(answer: Callable[[], web.Response]) -> None:
    assert await asked(answer) is None


def test_the_metric_is_read_as_it_is_written() -> None:
    report = Report()
    report.step_up_ignored[ISSUER, "payments", "pay"] = 3
    report.step_up_ignored[ISSUER, "payments", "limits"] = 1
    assert read_ignored(prometheus_text(report).decode()) == {
        ISSUER: {"payments.pay": 3, "payments.limits": 1}
    }
    assert read_ignored(prometheus_text(Report()).decode()) == {}
