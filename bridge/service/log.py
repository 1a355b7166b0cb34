"""Structured logs on stdout: one line per check, and a short list of events in the past tense.

Never a token, an `Authorization` value, a query string, a cookie or a whole claim set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from typing import Any, BinaryIO

import orjson
import structlog

from bridge.config.settings import LogSettings
from bridge.decision.decide import Decision
from bridge.gateways.check_request import CheckRequest

EVENTS = {
    "check_decided": "a check was answered",
    "check_failed": "a check hit a defect of the bridge and was refused as row 8",
    "config_loaded": "a configuration took over",
    "config_refused": "a changed configuration has problems and changes nothing",
    "config_needs_restart": "a changed `listen`, `workers`, `drain_timeout` or `log` waits",
    "key_set_fetched": "an issuer's keys were fetched",
    "key_set_fetch_failed": "an issuer's keys could not be fetched; the last good ones stay",
    "service_started": "the listeners are open",
    "drain_started": "SIGTERM or SIGINT: no new connections, requests in hand are finished",
    "service_stopped": "the end",
    "worker_exited": "a worker process ended without being told to; another one is started",
    "unexpected_error": "something failed outside of any check; its type and place, never its text",
}
"""Every event that is logged, for the documentation."""

Log = structlog.stdlib.BoundLogger | Any


_FLUSH_SECONDS = 0.05
_LEAST_AGE = -(2**53)  # an `auth_time` far in the future must not overflow the encoder


class _LineLogger:
    """Writes rendered lines, many to a system call: each is out within 50 ms.

    A closed pipe must not fail a check: nobody reads the log any more, and there is nowhere to say
    so. What is not flushed yet when the process ends, the interpreter flushes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._flush_due = False

    def msg(self, line: str) -> None:
        self.write(line.encode("utf-8", "backslashreplace"))
        self._flush()

    def write(self, line: bytes) -> None:
        """Write a line soon."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + b"\n")
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    debug = info = warning = error = critical = msg


def open_log(settings: LogSettings, stream: BinaryIO | None = None) -> Any:
    """Configure logging for this process and give the logger.

    Args:
        stream: Where to write; stdout by default.
    """
    # aiohttp and asyncio log through `logging`, with what clients sent in their messages.
    logging.getLogger().handlers = [logging.NullHandler()]
    stream = stream or sys.stdout.buffer
    renderer: Any = structlog.processors.JSONRenderer(separators=(",", ":"))
    if settings.format == "console":
        # repr: a claim must not talk to the terminal
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), repr_native_str=True)
    lazy = structlog.wrap_logger(
        _LineLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
    )
    return lazy.bind()  # once: the lazy one would do so at every line


class CheckLog:
    """The one line of each check (spec §9).

    It is written at every request: as JSON without structlog's machinery, a few times cheaper.

    Args:
        log: The log of everything else, which writes the line in other formats.
        stream: Where to write; stdout by default.
    """

    def __init__(self, settings: LogSettings, log: Any, stream: BinaryIO | None = None) -> None:
        self._log = log
        self._lines = _LineLogger(stream or sys.stdout.buffer)
        self._is_off = settings.level not in ("debug", "info")
        self._is_json = settings.format == "json"
        self._second = 0
        self._second_text = ""

    def write(
        self, request: CheckRequest, decision: Decision, now: int, duration_seconds: float
    ) -> None:
        """Write the line of a check.

        Args:
            now: The time it was decided at, epoch seconds.
        """
        if self._is_off:
            return
        fields = _fields(request, decision, now, duration_seconds)
        if not self._is_json:
            self._log.info("check_decided", **fields)
            return
        fields["event"] = "check_decided"
        fields["level"] = "info"
        fields["timestamp"] = self._timestamp(time.time())
        self._lines.write(orjson.dumps(fields))

    def _timestamp(self, instant: float) -> str:
        """Write an instant as structlog does; the second's part is kept for a second."""
        second = int(instant)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((instant - second) * 1e6):06d}Z"


def _fields(
    request: CheckRequest, decision: Decision, now: int, duration_seconds: float
) -> dict[str, Any]:
    api, operation, token = decision.api, decision.operation, decision.token
    fields: dict[str, Any] = {
        "gateway": request.gateway,
        "method": request.method if decision.reason != "method_malformed" else None,
        "api": None if api is None else api.name,
        "operation": None if operation is None else operation.name,
        "decision": decision.outcome,
        "status": 200 if decision.allow else decision.status,
        "error": decision.error,
        "reason": decision.reason,
        "issuer": None,
        "client_id": None,
        "acr": None,
        "auth_age_seconds": None,
        "duration_ms": round(duration_seconds * 1000, 3),
        "request_id": request.request_id,
    }
    if token is not None:
        fields["issuer"] = token.iss
        fields["client_id"] = token.client_id
        fields["acr"] = " ".join(token.acr) or None
        if token.auth_time is not None:
            fields["auth_age_seconds"] = max(now - token.auth_time, _LEAST_AGE)
    return fields


def silent_log() -> Any:
    """Give a logger that says nothing, for commands that print their own answer."""
    return structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger("critical"), processors=[]
    )
