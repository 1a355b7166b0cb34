"""One process that answers checks; with `workers: 1` it is the whole service.

As a process of its own (`python -m bridge.service`) it inherits the listening socket and a control
socket: it reads what it begins with, answers `report` with its report, and does `reload` and
`drain`. At the end of the control socket it drains as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from aiohttp import web

from bridge.config.settings import Config
from bridge.service.authz import AuthzHandler, describe
from bridge.service.line_writer import stdout_lines
from bridge.service.log import CheckLog, open_log
from bridge.service.output import open_closed_streams
from bridge.service.reload import SET_AT_START
from bridge.service.runtime import Runtime
from bridge.service.start import AcceptedConfig, Handover, Start, framed, read_framed

_FULL_COLLECTION = 1_000  # collections of the old generation between two of everything
_CLOSE_SECONDS = 0.1  # for answers that are written; the requests in hand had their time


@contextlib.asynccontextmanager
async def answering(
    config: Config, listener: socket.socket, log: Any, start: Start | None = None
) -> AsyncIterator[Runtime]:
    """Answer checks on a listening socket; at the end, finish the requests in hand.

    Args:
        start: What this process shares with others; None: there are none.

    Yields:
        The runtime, for its report and for reloads.
    """
    tell_defects(log)
    async with Runtime(config, log, start) as runtime:
        handler = AuthzHandler(runtime, log, CheckLog(config.log, log))
        runner = web.ServerRunner(handler.server(), shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        site = web.SockSite(runner, listener)
        _spare_collections()
        try:
            await site.start()
            yield runtime
        finally:
            await site.stop()
            await handler.finish(config.drain_timeout)
            await runner.cleanup()


def _spare_collections() -> None:
    """Keep the garbage collector from stopping checks for what is no garbage.

    What is loaded by now stays: no collection looks at it again. One of everything takes 140 ms
    with 100,000 cached tokens, none of which is part of a cycle: it is due a hundred times less
    often.
    """
    gc.collect()
    gc.freeze()
    young, old, all_of_it = gc.get_threshold()
    gc.set_threshold(young, old, max(all_of_it, _FULL_COLLECTION))


def tell_defects(log: Any) -> None:
    """Have the running loop log what fails outside of any check."""

    def tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        defect = context.get("exception")
        details = describe(defect) if defect is not None else {"type": None}
        log.error("unexpected_error", **details)

    asyncio.get_running_loop().set_exception_handler(tell)


async def _work(listener: socket.socket, control: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=control)
    try:
        handover: Handover = pickle.loads(await read_framed(reader))  # noqa: S301 the supervisor's
    except EOFError:
        return  # the end came before we had begun
    accepted: AcceptedConfig = pickle.loads(handover.accepted)  # noqa: S301 likewise
    log = open_log(accepted.config.log)
    drain = asyncio.Event()
    async with answering(accepted.config, listener, log, handover.start) as runtime:
        runtime.tally.config_loaded_timestamp = accepted.loaded_timestamp
        if handover.config_loads:
            runtime.tally.config_loads = handover.config_loads
            runtime.inherit_refusal(handover.config_problems)
        teller = _Teller(runtime, accepted.config, writer)
        tasks = [
            asyncio.create_task(_obey(reader, teller, drain)),
            asyncio.create_task(_tell_of_loads(teller)),
        ]
        await drain.wait()
    for task in tasks:
        task.cancel()
    with contextlib.suppress(OSError):
        await teller.tell()
        writer.close()
        await writer.wait_closed()


class _Teller:
    """Tells the supervisor how it is, and of each configuration that it has accepted."""

    def __init__(self, runtime: Runtime, config: Config, writer: asyncio.StreamWriter) -> None:
        self.runtime = runtime
        self._writer = writer
        self._told = config
        self._set_at_start = {name: getattr(config, name) for name in SET_AT_START}

    async def tell(self) -> None:
        report, config = self.runtime.report(), self.runtime.checker.config
        report.log_lines_dropped = stdout_lines().lines_dropped
        if config is not self._told:
            self._told = config
            config = replace(config, **self._set_at_start)
            accepted = AcceptedConfig(config, report.config_loaded_timestamp)
            self._writer.write(b"config\n" + framed(accepted))
        self._writer.write(report.to_json())
        await self._writer.drain()


async def _tell_of_loads(teller: _Teller) -> None:
    """Tell at once of what is accepted: another worker may have to begin with it."""
    with contextlib.suppress(OSError):
        while True:
            await teller.runtime.config_taken_over.wait()
            teller.runtime.config_taken_over.clear()
            await teller.tell()


async def _obey(reader: asyncio.StreamReader, teller: _Teller, drain: asyncio.Event) -> None:
    """Do what the supervisor says; where it is gone, drain."""
    try:
        while order := await reader.readline():
            if order == b"reload\n":
                teller.runtime.want_reload()
            elif order == b"drain\n":
                drain.set()
            else:
                await teller.tell()
    except OSError:
        pass
    finally:
        drain.set()


def main(arguments: list[str]) -> int:
    """Run a worker: descriptor of the listener, of the control socket."""
    open_closed_streams()
    listener, control = (socket.socket(fileno=int(descriptor)) for descriptor in arguments)
    listener.setblocking(False)
    try:
        run(_work(listener, control))
    finally:
        stdout_lines().close()
    return 0


def run(main_coroutine: Any) -> Any:
    """Run a coroutine on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(main_coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main_coroutine)
