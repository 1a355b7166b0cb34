"""Structured logs on stdout: one line per check, and a short list of events in the past tense.

Never a token, an `Authorization` value, a query string, a cookie or a whole claim set.
"""

from __future__ import annotations

import json
import logging
import time
from functools import lru_cache
from typing import Any, BinaryIO

import structlog

from bridge.config.settings import LogSettings
from bridge.decision.decide import Decision
from bridge.gateways.check_request import CheckRequest
from bridge.service.line_writer import LineWriter, stdout_lines

EVENTS = {
    "check_decided": "a check was answered",
    "check_failed": "a check hit a defect of the bridge and was refused as row 8",
    "config_loaded": "a configuration took over",
    "config_refused": "a changed configuration has problems and changes nothing",
    "config_needs_restart": "a changed `listen`, `workers`, `drain_timeout` or `log` waits",
    "key_set_fetched": "an issuer's keys were fetched",
    "key_set_fetch_failed": "an issuer's keys could not be fetched; the last good ones stay",
    "loop_guard_store_failed": "Redis does not answer the loop guard; this process counts alone",
    "loop_guard_store_recovered": "it does again",
    "step_up_ignored": "users log in anew, and still what was asked for does not come",
    "introspection_failed": "an issuer gave no proper answer about a token; once for each reason",
    "introspection_recovered": "it does again",
    "replay_store_failed": "Redis does not answer: `on_error` says what becomes of DPoP proofs",
    "replay_store_recovered": "it does again",
    "service_started": "the listeners are open",
    "drain_started": "SIGTERM or SIGINT: no new connections, requests in hand are finished",
    "service_stopped": "the end",
    "worker_exited": "a worker process ended untold, or could not start; another one is started",
    "unexpected_error": "something failed outside of any check; its type and place, never its text",
}
"""Every event that is logged, for the documentation."""

Log = structlog.stdlib.BoundLogger | Any
_Lines = LineWriter | BinaryIO


class _LineLogger:
    """Writes rendered lines, each at once."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def msg(self, line: str) -> None:
        self._lines.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self._lines.flush()

    debug = info = warning = error = critical = msg


def open_log(settings: LogSettings, lines: _Lines | None = None) -> Any:
    """Configure logging for this process and give the logger.

    Args:
        lines: Where to write; stdout by default.
    """
    # aiohttp and asyncio log through `logging`, with what clients sent in their messages.
    logging.getLogger().handlers = [logging.NullHandler()]
    lines = lines or stdout_lines()
    renderer: Any = structlog.processors.JSONRenderer(separators=(",", ":"))
    if settings.format == "console":
        # repr: a claim must not talk to the terminal
        renderer = structlog.dev.ConsoleRenderer(colors=lines.isatty(), repr_native_str=True)
    lazy = structlog.wrap_logger(
        _LineLogger(lines),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
    )
    return lazy.bind()  # once: the lazy one would do so at every line


class CheckLog:
    """The one line of each check (docs/operations.md, "Events").

    It is written at every request, so as JSON it is put together from parts that repeat.

    Args:
        log: The log of everything else, which writes the line in other formats.
        lines: Where to write; stdout by default.
    """

    def __init__(self, settings: LogSettings, log: Any, lines: _Lines | None = None) -> None:
        self._log = log
        self._lines = lines or stdout_lines()
        self._is_off = settings.level not in ("debug", "info")
        self._is_json = settings.format == "json"

    def write(
        self, request: CheckRequest, decision: Decision, now: int, duration_seconds: float
    ) -> None:
        """Write the line of a check.

        Args:
            now: The time it was decided at, epoch seconds.
        """
        if self._is_off:
            return
        api, operation, token = decision.api, decision.operation, decision.token
        decided = (
            request.gateway,
            request.method if decision.reason != "method_malformed" else None,
            None if api is None else api.name,
            None if operation is None else operation.name,
            decision.outcome,
            200 if decision.allow else decision.status,
            decision.error,
            decision.reason,
        )
        bearer = (None, None, ()) if token is None else (token.iss, token.client_id, token.acr)
        age = None if token is None or token.auth_time is None else now - token.auth_time
        if self._is_json:
            request_id = "null" if request.request_id is None else f'"{request.request_id}"'
            self._lines.write(
                f"{_decision_json(*decided)}{_bearer_json(*bearer)}"
                f'"auth_age_seconds":{"null" if age is None else age},'
                f'"duration_ms":{duration_seconds * 1000:.3f},"request_id":{request_id},'
                f'"timestamp":"{_iso_time(time.time())}"}}\n'.encode()
            )
        else:
            self._log.info(
                "check_decided",
                **_decision_fields(*decided),
                **_bearer_fields(*bearer),
                auth_age_seconds=age,
                duration_ms=round(duration_seconds * 1000, 3),
                request_id=request.request_id,
            )


def _decision_fields(
    gateway: str,
    method: str | None,
    api: str | None,
    operation: str | None,
    decision: str,
    status: int,
    error: str | None,
    reason: str,
) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "method": method,
        "api": api,
        "operation": operation,
        "decision": decision,
        "status": status,
        "error": error,
        "reason": reason,
    }


def _bearer_fields(
    issuer: str | None, client_id: str | None, acr: tuple[str, ...]
) -> dict[str, Any]:
    return {"issuer": issuer, "client_id": client_id, "acr": " ".join(acr) or None}


@lru_cache(maxsize=1024)
def _decision_json(*decided: Any) -> str:
    """Write the members that say what was decided, and the comma after them."""
    return (
        _dump({"event": "check_decided", "level": "info", **_decision_fields(*decided)})[:-1] + ","
    )


@lru_cache(maxsize=1024)
def _bearer_json(*bearer: Any) -> str:
    """Write the members that say whose token it is, and the comma after them."""
    return _dump(_bearer_fields(*bearer))[1:-1] + ","


def _dump(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _iso_time(instant: float) -> str:
    """Write an instant as structlog does."""
    return f"{_iso_second(int(instant))}.{int(instant * 1e6) % 1_000_000:06d}Z"


@lru_cache(maxsize=2)
def _iso_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def silent_log() -> Any:
    """Give a logger that says nothing, for commands that print their own answer."""
    return structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger("critical"), processors=[]
    )
