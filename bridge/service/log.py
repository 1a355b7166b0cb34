"""Structured logs on stdout: one line per check, and a short list of events in the past tense.

Never a token, an `Authorization` value, a query string, a cookie or a whole claim set.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from typing import Any, BinaryIO

import structlog

from bridge.config.settings import LogSettings
from bridge.decision.decide import Decision
from bridge.gateways.check_request import CheckRequest

EVENTS = {
    "check_decided": "a check was answered",
    "check_failed": "a check hit a defect of the bridge and was refused as row 8",
    "config_loaded": "a configuration took over",
    "config_refused": "a changed configuration has problems and changes nothing",
    "config_needs_restart": "a changed `listen` or `workers` waits for a restart",
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


_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)  # `json.dumps` makes one a call


class _LineLogger:
    """Writes rendered lines, one system call for all of a turn of the event loop.

    A closed pipe must not fail a check: nobody reads the log any more, and there is nowhere to say
    so. What is not flushed yet when the process ends, the interpreter flushes.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._flush_due = False

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line.encode("utf-8", "backslashreplace") + b"\n")
        if self._flush_due:
            return
        try:
            asyncio.get_running_loop().call_soon(self._flush)
            self._flush_due = True
        except RuntimeError:  # no loop runs
            self._flush()

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
    renderer: Any = structlog.processors.JSONRenderer(lambda event, **_: _ENCODER.encode(event))
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
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


def log_check(
    log: Any, request: CheckRequest, decision: Decision, now: int, duration_seconds: float
) -> None:
    """Write the one line of a check (spec §9)."""
    token = decision.token
    log.info(
        "check_decided",
        gateway=request.gateway,
        method=request.method if decision.reason != "method_malformed" else None,
        api=decision.api.name if decision.api is not None else None,
        operation=decision.operation.name if decision.operation is not None else None,
        decision=decision.outcome,
        status=200 if decision.allow else decision.status,
        error=decision.error,
        reason=decision.reason,
        issuer=token.iss if token is not None else None,
        client_id=token.client_id if token is not None else None,
        acr=" ".join(token.acr) if token is not None and token.acr else None,
        auth_age_seconds=(
            now - token.auth_time if token is not None and token.auth_time is not None else None
        ),
        duration_ms=round(duration_seconds * 1000, 3),
        request_id=request.request_id,
    )


def silent_log() -> Any:
    """Give a logger that says nothing, for commands that print their own answer."""
    return structlog.wrap_logger(
        None, wrapper_class=structlog.make_filtering_bound_logger("critical"), processors=[]
    )
