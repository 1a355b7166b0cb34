"""One process that answers checks; with `workers: 1` it is the whole service.

As a process of its own (`python -m bridge.service.worker`) it inherits the listening socket and a
control socket: it answers `report` with its report, at `reload` it does so, at the end it drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ConfigError
from bridge.service.authz import AuthzHandler, describe
from bridge.service.line_writer import stdout_lines
from bridge.service.log import CheckLog, open_log
from bridge.service.output import open_closed_streams
from bridge.service.runtime import Runtime
from bridge.service.start import Start

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
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: _log_unexpected(log, context))
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


def _log_unexpected(log: Any, context: dict[str, Any]) -> None:
    defect = context.get("exception")
    details = describe(defect) if defect is not None else {"type": None}
    log.error("unexpected_error", **details)


async def _work(file: str, listener: socket.socket, control: socket.socket) -> None:
    config = load_config(file)
    log = open_log(config.log)
    loop = asyncio.get_running_loop()
    for ignored in (signal.SIGINT, signal.SIGTERM):  # the supervisor ends us by closing `control`
        loop.add_signal_handler(ignored, lambda: None)
    reader, writer = await asyncio.open_unix_connection(sock=control)
    start = Start.from_line(await reader.readline())
    async with answering(config, listener, log, start) as runtime:
        loop.add_signal_handler(signal.SIGHUP, runtime.want_reload)
        try:
            while order := await reader.readline():
                if order == b"reload\n":
                    runtime.want_reload()
                    continue
                report = runtime.report()
                report.log_lines_dropped = stdout_lines().lines_dropped
                writer.write(report.to_json())
                await writer.drain()
        except OSError:
            pass  # the supervisor is gone: the same as the end of the control socket
        finally:
            writer.close()


def main(arguments: list[str]) -> int:
    """Run a worker: configuration file, descriptor of the listener, of the control socket."""
    open_closed_streams()
    file, listener_fd, control_fd = arguments
    listener = socket.socket(fileno=int(listener_fd))
    listener.setblocking(False)
    try:
        run(_work(file, listener, socket.socket(fileno=int(control_fd))))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
