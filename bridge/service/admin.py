"""The admin listener: health, readiness, metrics, and a page for people (docs/operations.md)."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

import bridge
from bridge.service.metrics import CONTENT_TYPE, prometheus_text
from bridge.service.report import Report


@dataclass(frozen=True, slots=True)
class Status:
    """The whole service, all workers, at one moment.

    Attributes:
        report: The workers' reports, added up.
        workers: Processes that should answer checks.
        answering: Processes that do.
        draining: A drain is under way.
    """

    report: Report
    workers: int
    answering: int
    draining: bool

    def missing(self) -> dict[str, object]:
        """Tell what stands in the way of readiness; empty: nothing does."""
        missing: dict[str, object] = {}
        if self.draining:  # workers go, and their state with them
            missing["drain"] = "under way"
        else:
            if self.answering < self.workers:
                missing["workers"] = f"{self.answering} of {self.workers} answer"
            if not self.report.config_loaded_timestamp:
                missing["config"] = "not loaded"
        without_keys = {
            state.issuer: state.error for state in self.report.key_sets if not state.keys
        }
        if without_keys:
            missing["keys"] = without_keys
        unanswered = {
            state.issuer: state.error
            for state in self.report.introspection
            if state.error is not None
        }
        if unanswered:
            missing["introspection"] = unanswered
        if self.report.replay_store_needed and self.report.replay_store_error is not None:
            missing["dpop_replay_store"] = self.report.replay_store_error
        return missing


def admin_app(status: Callable[[], Awaitable[Status]]) -> web.Application:
    """Make the admin application.

    Args:
        status: Asks the whole service how it is.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        return _readiness(await status())

    async def metrics(_: web.Request) -> web.Response:
        text = prometheus_text((await status()).report)
        return web.Response(body=text, headers={"content-type": CONTENT_TYPE})

    async def page(_: web.Request) -> web.Response:
        return web.Response(
            text=render_page(await status()),
            content_type="text/html",
            headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/", page)
    return app


def _readiness(status: Status) -> web.Response:
    missing = status.missing()
    document = {
        "ready": not missing,
        "missing": missing,
        "issuers": [
            {
                "issuer": state.issuer,
                "keys": state.keys,
                "error": state.error,
                "age_seconds": None if state.age_seconds is None else round(state.age_seconds, 1),
            }
            for state in status.report.key_sets
        ],
        "introspection": [
            {"issuer": state.issuer, "error": state.error} for state in status.report.introspection
        ],
        "dpop_replay_store": {"error": status.report.replay_store_error},
        "config": {
            "loaded_timestamp": status.report.config_loaded_timestamp,
            "refused": bool(status.report.config_problems),
            "problems": status.report.config_problems,
        },
    }
    body = json.dumps(document, indent=2) + "\n"
    return web.Response(status=503 if missing else 200, text=body, content_type="application/json")


def render_page(status: Status) -> str:
    """Write the page for people: is it ready, since when, what did it decide."""
    report = status.report
    missing = status.missing()
    state = "ready" if not missing else f"not ready: {json.dumps(missing)}"
    loaded = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(report.config_loaded_timestamp))
    issuers = (
        (key_set.issuer, key_set.keys, _age(key_set.age_seconds), key_set.error or "ok")
        for key_set in report.key_sets
    )
    introspection = ((asked.issuer, asked.error or "ok") for asked in report.introspection)
    checks = ((*labels, count) for labels, count in sorted(report.checks.items()))
    problems = "".join(f"<li>{html.escape(text)}</li>" for text in report.config_problems)
    refused = f"<h2>The changed configuration is refused</h2><ul>{problems}</ul>"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>stepup-bridge</title>"
        f"<style>{_STYLE}</style><h1>stepup-bridge {bridge.__version__}</h1>"
        f"<p class={'bad' if missing else 'good'}>{html.escape(state)}</p>"
        f"<p>Configuration of {loaded}; {status.answering} of {status.workers} workers answer; "
        f"{report.token_cache_entries} verified tokens held.</p>"
        f"{refused if report.config_problems else ''}"
        f"<h2>Issuers</h2>{_table(('issuer', 'keys', 'fetched', 'last fetch'), issuers)}"
        f"<h2>Introspection</h2>{_table(('issuer', 'last call'), introspection)}"
        f"{_ignored_step_ups(report)}"
        f"<h2>Checks</h2>"
        f"{_table(('gateway', 'api', 'operation', 'decision', 'error', 'checks'), checks)}"
        f'<p><a href="/readyz">readyz</a> <a href="/metrics">metrics</a></p></html>\n'
    )


def _ignored_step_ups(report: Report) -> str:
    """Tell which step-ups led nowhere lately, what was asked and what came; nothing if none."""
    if not report.step_up_ignored_last:
        return ""
    head = ("time", "issuer", "api", "operation", "client", "acr_values", "max_age", "acr", "age")
    rows = (
        (
            time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ignored.at)),
            *(ignored.issuer, ignored.api, ignored.operation, ignored.client_id),
            ignored.acr_values or "-",
            "-" if ignored.max_age is None else f"{ignored.max_age} s",
            ignored.acr or "none",
            "no auth_time" if ignored.auth_age_seconds is None else f"{ignored.auth_age_seconds} s",
        )
        for ignored in reversed(report.step_up_ignored_last)
    )
    return (
        "<h2>Step-ups that were ignored</h2><p>Asked for (acr_values, max_age), and what came after"
        f" a new login (acr, age).</p>{_table(head, rows)}"
    )


def _age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    def row(tag: str, cells: Iterable[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

    return f"<table>{row('th', head)}{''.join(row('td', cells) for cells in rows)}</table>"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2rem .8rem .2rem 0;"
    "border-bottom:1px solid #ddd}.good{color:#060}.bad{color:#a00;font-weight:600}"
)
