"""`stepup-bridge serve`: from a good configuration to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

import bridge
from bridge.config.settings import Config, TcpAddress
from bridge.service.admin import Status, admin_app
from bridge.service.early_signals import SIGNALS
from bridge.service.line_writer import stdout_lines
from bridge.service.log import open_log
from bridge.service.sockets import listening_socket
from bridge.service.supervisor import Supervisor
from bridge.service.worker import answering, run, tell_defects

_Working = tuple[Callable[[], Awaitable[Status]], Callable[[], None]]
"""How it is asked how it is, and how to have it load its configuration again."""


def serve(config: Config, came: set[int]) -> None:
    """Run the service until SIGTERM or SIGINT, then drain.

    Args:
        came: Signals that have come already, and those that come before it can act on them.

    Raises:
        ListenError: An address cannot be listened on.
    """
    with (
        listening_socket(config.listen_admin) as admin,
        listening_socket(config.listen_authz) as authz,
    ):
        run(_serve(config, came, authz, admin))


async def _serve(
    config: Config, came: set[int], authz: socket.socket, admin: socket.socket
) -> None:
    log = open_log(config.log)
    loop = asyncio.get_running_loop()
    stop, draining = asyncio.Event(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
        if name in came:
            stop.set()
    started = {"authz": _address(authz), "admin": _address(admin), "pid": os.getpid()}
    service = _one_process if config.workers == 1 else _several_processes
    async with contextlib.AsyncExitStack() as working:
        ask, want_reload = await working.enter_async_context(service(config, authz, draining, log))
        loop.add_signal_handler(signal.SIGHUP, want_reload)
        if signal.SIGHUP in came:
            want_reload()
        async with _listening(admin_app(ask), admin):
            log.info("service_started", version=bridge.__version__, **started)
            await stop.wait()
            draining.set()
            log.info("drain_started", timeout_seconds=config.drain_timeout)
            await working.aclose()  # before the admin listener, which tells about it
    log.info("service_stopped")
    for name in SIGNALS:  # one more must not change the exit status
        loop.remove_signal_handler(name)
        signal.signal(name, signal.SIG_IGN)


@contextlib.asynccontextmanager
async def _one_process(
    config: Config, listener: socket.socket, draining: asyncio.Event, log: Any
) -> AsyncIterator[_Working]:
    async with answering(config, listener, log) as runtime:

        async def ask() -> Status:
            report = runtime.report()
            report.log_lines_dropped = stdout_lines().lines_dropped
            return Status(report, workers=1, answering=1, draining=draining.is_set())

        yield ask, runtime.want_reload


@contextlib.asynccontextmanager
async def _several_processes(
    config: Config, listener: socket.socket, draining: asyncio.Event, log: Any
) -> AsyncIterator[_Working]:
    tell_defects(log)
    async with Supervisor(config, listener, log) as supervisor:

        async def ask() -> Status:
            report, answering_count = await supervisor.report()
            report.log_lines_dropped += stdout_lines().lines_dropped
            return Status(report, config.workers, answering_count, draining.is_set())

        yield ask, supervisor.want_reload


@contextlib.asynccontextmanager
async def _listening(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _address(listener: socket.socket) -> str:
    """Tell where a socket listens, with the port that the system chose for 0."""
    name = listener.getsockname()
    return f"unix:{name}" if isinstance(name, str) else str(TcpAddress(name[0], name[1]))
