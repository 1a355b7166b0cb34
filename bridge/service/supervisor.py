"""Several workers on one socket: started, asked for their reports, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.service.report import Report, counters_of, merge

_REPORT_TIMEOUT_SECONDS = 2.0
_RESTART_DELAY_SECONDS = 1.0
_REPORT_LIMIT_BYTES = 64 * 1024 * 1024
_GRACE_SECONDS = 2.0  # beyond the drain time-out, before a worker is killed


@dataclass(slots=True)
class _Worker:
    """A living worker process and the last that it said."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    asking: asyncio.Lock
    last: Report


class Supervisor:
    """Keeps a number of workers alive, from `__aenter__` to `__aexit__`.

    Args:
        file: Configuration file.
        count: How many workers.
        listener: The socket that they share; bound without `SO_REUSEPORT`.
        drain_timeout: Seconds that they get at the end.
    """

    def __init__(
        self, file: Path, count: int, listener: socket.socket, drain_timeout: int, log: Any
    ) -> None:
        self._file = file
        self._count = count
        self._listener = listener
        self._drain_timeout = drain_timeout
        self._log = log
        self._workers: dict[int, _Worker] = {}
        self._past = Report()  # counters of workers that have died
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(self._count)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping = True
        for worker in self._workers.values():
            worker.writer.close()
        limit = self._drain_timeout + _GRACE_SECONDS
        _, late = await asyncio.wait(self._keepers, timeout=limit)
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
        if late:
            await asyncio.wait(late, timeout=_GRACE_SECONDS)

    def want_reload(self) -> None:
        """Pass SIGHUP on to every worker."""
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGHUP)

    async def report(self) -> tuple[Report, int]:
        """Ask every worker; give the sum, and how many answered in time."""
        answers = await asyncio.gather(*(self._ask(w) for w in list(self._workers.values())))
        fresh = [answer for answer in answers if answer is not None]
        return merge([self._past, *(worker.last for worker in self._workers.values())]), len(fresh)

    async def _ask(self, worker: _Worker) -> Report | None:
        try:
            async with asyncio.timeout(_REPORT_TIMEOUT_SECONDS), worker.asking:
                worker.writer.write(b"report\n")
                worker.last = Report.from_json(await worker.reader.readline())
                return worker.last
        except (OSError, ValueError, TimeoutError):
            # An answer that comes late would be taken for the next one: never ask it again.
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            return None

    async def _keep(self, slot: int) -> None:
        """Run a worker in a slot, and another when it ends before its time."""
        while not self._stopping:
            code = await self._run_worker(slot)
            if not self._stopping:
                self._log.error("worker_exited", slot=slot, code=code)
                await asyncio.sleep(_RESTART_DELAY_SECONDS)

    async def _run_worker(self, slot: int) -> int:
        ours, theirs = socket.socketpair()
        descriptors = (self._listener.fileno(), theirs.fileno())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bridge.service.worker", str(self._file), *map(str, descriptors)),
            pass_fds=descriptors,
        )
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_REPORT_LIMIT_BYTES)
        worker = _Worker(process, reader, writer, asyncio.Lock(), Report())
        self._workers[slot] = worker
        try:
            return await process.wait()
        finally:
            writer.close()
            del self._workers[slot]
            self._past = merge([self._past, counters_of(worker.last)])
