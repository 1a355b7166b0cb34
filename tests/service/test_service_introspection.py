"""Introspection as operators see it: metric, readiness, log, `explain`, reload (spec §9, §2)."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from bridge.config.load import load_config
from bridge.config.settings import LogSettings
from bridge.rehearsal.explain import explain, render
from bridge.rehearsal.question import ask
from bridge.service.admin import Status, render_page
from bridge.service.log import open_log
from bridge.service.metrics import prometheus_text
from bridge.service.report import IntrospectionState, Report, counters_of, merge
from bridge.service.runtime import Runtime

SECRET = "s3cr3t-x7Gq"
TOKEN = "0paque-t0ken"
WAIT_SECONDS = 10
CONFIG = """\
issuers:
  - issuer: {url}
    audiences: [https://api.example.com]
    tokens: [opaque]
    timeout: 10
    introspection:
      endpoint: {url}/introspect
      client_id: bridge
      client_secret_file: secret
      cache_ttl: 0
apis:
  - name: payments
    operations:
      - name: transfer
        paths: [/transfers]
        require: {{acr_values: [mfa]}}
"""


class Server:
    """Says what `status` and `answer` say, and keeps the credentials that it was shown."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: dict[str, Any] = {"active": True, "acr": "mfa", "client_id": "app"}
        self.shown: list[str] = []
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        host, port = self.runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _introspect(self, request: web.Request) -> web.Response:
        self.shown.append(request.headers["authorization"])
        return web.json_response(self.answer, status=self.status)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    started = Server()
    await started.start()
    yield started
    await started.runner.cleanup()


class Service:
    """A running bridge without its listeners."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.stream = io.BytesIO()
        self.file = directory / "bridge.yaml"
        self.file.write_text(CONFIG.format(url=server.url))
        (directory / "secret").write_text(SECRET)
        log = open_log(LogSettings(), self.stream)
        self.runtime = Runtime(load_config(self.file), log)

    async def check(self) -> str:
        """Ask about a transfer, and give the reason of the decision."""
        headers = [("authorization", f"Bearer {TOKEN}")]
        request = ask("POST", "https://api.example.com/transfers", headers)
        checked = await self.runtime.checker.check(request, int(time.time()))
        return checked.decision.reason

    async def explain(self) -> dict[str, Any]:
        request = ask("POST", "https://a.example/transfers", [("authorization", f"Bearer {TOKEN}")])
        checker, now = self.runtime.checker, int(time.time())
        checked = await checker.check(request, now)
        return explain(request, checked, checker.nobody, now, token=TOKEN)

    def status(self) -> Status:
        return Status(self.runtime.report(), workers=1, answering=1, draining=False)

    def metric(self, outcome: str, server: Server) -> float:
        wanted = f'stepup_introspections_total{{issuer="{server.url}",outcome="{outcome}"}}'
        for line in prometheus_text(self.runtime.report()).decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == wanted:
                return float(value)
        return 0

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest_asyncio.fixture
async def service(server: Server, tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(server, tmp_path)
    async with made.runtime:
        yield made


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 what happens at a server sets no event of ours
            await asyncio.sleep(0.05)


async def test_without_jwts_and_before_any_call_the_bridge_is_ready(service: Service) -> None:
    assert service.status().missing() == {}
    assert service.runtime.report().key_sets == []


async def test_calls_are_counted_and_a_failed_one_is_in_readiness_and_log_until_a_good_one(
    server: Server, service: Service
) -> None:
    assert await service.check() == "requirement_met"
    server.status = 401
    assert await service.check() == "introspection_client_refused"
    assert await service.check() == "introspection_client_refused"

    assert service.status().missing() == {"introspection": {server.url: "client_refused"}}
    assert service.metric("ok", server) == 1
    assert service.metric("error", server) == 2
    assert "client_refused" in render_page(service.status())

    server.status = 200
    await eventually(lambda: service.status().missing() == {})
    assert service.metric("ok", server) == 2
    told = [(each["event"], each.get("reason")) for each in service.events()]
    assert told == [
        ("config_loaded", None),
        ("introspection_failed", "client_refused"),
        ("introspection_recovered", None),
    ]


async def test_a_changed_secret_reloads_and_a_missing_one_changes_nothing(
    server: Server, service: Service
) -> None:
    await service.check()
    secret = service.file.with_name("secret")
    secret.unlink()
    await eventually(lambda: service.runtime.tally.config_loads["refused"] == 1)
    assert await service.check() == "requirement_met"

    secret.write_text("changed")
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 2)
    assert await service.check() == "requirement_met"

    assert server.shown[0] == server.shown[1] != server.shown[2]
    assert service.runtime.tally.config_problems == []


async def test_a_check_that_began_before_a_reload_is_answered_after_it(
    server: Server, service: Service
) -> None:
    before = service.runtime.checker
    service.file.with_name("secret").write_text("changed")
    service.runtime.want_reload()
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 2)
    headers = [("authorization", f"Bearer {TOKEN}")]
    request = ask("POST", "https://api.example.com/transfers", headers)
    checked = await before.check(request, int(time.time()))
    assert checked.decision.reason == "requirement_met"


async def test_a_secret_that_a_refused_file_waits_for_loads_it_when_it_comes(
    server: Server, service: Service
) -> None:
    changed = CONFIG.format(url=server.url).replace("_file: secret", "_file: later")
    service.file.write_text(changed)
    await eventually(lambda: service.runtime.tally.config_loads["refused"] == 1)
    service.file.with_name("later").write_text("x")
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 2)


async def test_a_secret_that_a_reload_brought_in_is_watched_too(
    server: Server, service: Service
) -> None:
    service.file.with_name("second").write_text("x")
    changed = CONFIG.format(url=server.url).replace("_file: secret", "_file: second")
    service.file.write_text(changed)
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 2)
    service.file.with_name("second").write_text("changed")
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 3)


async def test_dropped_introspection_is_forgotten(server: Server, service: Service) -> None:
    server.status = 500
    await service.check()
    text = CONFIG.format(url=server.url)
    start, end = text.index("    tokens:"), text.index("    timeout:")
    text = text[:start] + text[end:]
    start, end = text.index("    introspection:"), text.index("apis:")
    service.file.write_text(text[:start] + "    jwks_file: none.json\n" + text[end:])
    await eventually(lambda: service.runtime.tally.config_loads["ok"] == 2)
    assert service.runtime.report().introspection == []
    assert await service.check() == "token_opaque"


@pytest.mark.parametrize(
    ("answer", "status", "step"),
    [
        pytest.param(
            {"active": True, "acr": "mfa"},
            200,
            {"outcome": "verified", "passed": ["format", "introspection", "aud"]},
            id="active",
        ),
        pytest.param(
            {"active": False},
            200,
            {"outcome": "invalid", "reason": "token_inactive", "passed": ["format"]},
            id="inactive",
        ),
        pytest.param(
            {"active": True, "exp": 1},
            200,
            {"outcome": "invalid", "reason": "token_expired", "passed": ["format"]},
            id="expired",
        ),
        pytest.param(
            {"active": True, "aud": "other"},
            200,
            {
                "outcome": "invalid",
                "reason": "token_audience_not_accepted",
                "passed": ["format", "introspection"],
            },
            id="audience",
        ),
        pytest.param(
            {"active": True},
            500,
            {"outcome": "issuer_at_fault", "reason": "introspection_status_500"},
            id="fault",
        ),
    ],
)
async def test_explain_tells_what_came_of_introspection(
    server: Server,
    service: Service,
    answer: dict[str, Any],
    status: int,
    step: dict[str, Any],
) -> None:
    server.answer, server.status = answer, status
    document = await service.explain()
    (told,) = (each for each in document["steps"] if each["step"] == "token")
    shown = {
        "outcome": told["outcome"],
        "reason": told.get("reason"),
        "passed": told.get("passed_checks"),
    }
    assert {name: value for name, value in shown.items() if value is not None} == step
    assert told["format"] == "opaque"
    assert TOKEN not in render(document)


async def test_no_secret_and_no_token_is_said_anywhere(server: Server, service: Service) -> None:
    for server.status in (200, 401, 500):
        await service.check()
    said = service.stream.getvalue().decode() + render_page(service.status())
    said += prometheus_text(service.runtime.report()).decode()
    said += service.runtime.report().to_json().decode()
    for hidden in (SECRET, TOKEN, server.shown[0], server.shown[0].removeprefix("Basic ")):
        assert hidden not in said


def test_reports_of_workers_are_added_up_and_the_failed_one_counts() -> None:
    reports = []
    for error in (None, "timeout", None):
        report = Report(introspection=[IntrospectionState("a", error)])
        report.introspections["a", "ok" if error is None else "error"] += 1
        reports.append(Report.from_json(report.to_json()))
    total = merge(reports)
    assert total.introspection == [IntrospectionState("a", "timeout")]
    assert total.introspections == {("a", "ok"): 2, ("a", "error"): 1}
    assert counters_of(total).introspections == total.introspections
    assert counters_of(total).introspection == []
