"""Several workers on one socket: started, asked for their reports, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.service.report import Report, counters_of, merge
from bridge.service.start import Start

_REPORT_TIMEOUT_SECONDS = 2.0
_SILENT_SECONDS = 10.0  # without an answer, before a worker is killed
_SILENT_AT_START_SECONDS = 60.0  # a cold start on a busy machine takes its time
_RESTART_DELAY_SECONDS = 1.0
_REPORT_LIMIT_BYTES = 64 * 1024 * 1024
_GRACE_SECONDS = 2.0  # beyond the drain time-out, before a worker is killed


@dataclass(slots=True)
class _Worker:
    """A living worker process, the last that it said, and the question that it has not answered."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last: Report
    has_answered: bool = False
    question: asyncio.Task[bool] | None = None
    asked_at: float = 0.0

    async def fetch_report(self) -> bool:
        """Ask, and wait for the answer; False: it is gone."""
        try:
            self.writer.write(b"report\n")
            self.last = Report.from_json(await self.reader.readline())
        except (OSError, ValueError):
            return False
        self.has_answered = True
        return True


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
        self._start = Start(count)
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
        self._listener.close()  # else new connections would wait for nobody
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
        """Pass SIGHUP on to every worker; also to one that is still starting."""
        if not self._stopping:
            for worker in self._workers.values():
                worker.writer.write(b"reload\n")

    async def report(self) -> tuple[Report, int]:
        """Ask every worker; give the sum, and how many answered in time.

        While they drain they cannot be asked: what they said last counts.
        """
        workers = list(self._workers.values())
        if self._stopping:
            answering = len(workers)
        else:
            answering = sum(await asyncio.gather(*map(self._ask, workers)))
        return merge([self._past, *(worker.last for worker in self._workers.values())]), answering

    async def _ask(self, worker: _Worker) -> bool:
        """Tell whether a worker reports in time.

        A question is put once and waited for by all, so that a late answer is still its answer.
        Who is silent for long is killed; the keeper starts another one.
        """
        loop = asyncio.get_running_loop()
        if worker.question is None:
            worker.question = loop.create_task(worker.fetch_report())
            worker.asked_at = loop.time()
        question = worker.question
        await asyncio.wait([question], timeout=_REPORT_TIMEOUT_SECONDS)
        if question.done():
            if worker.question is question:
                worker.question = None
            return question.result()
        patience = _SILENT_SECONDS if worker.has_answered else _SILENT_AT_START_SECONDS
        if loop.time() - worker.asked_at > patience:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
        return False

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
        with contextlib.suppress(OSError):  # it may have ended already
            writer.write(self._start.to_line())
        worker = _Worker(process, reader, writer, Report())
        self._workers[slot] = worker
        try:
            return await process.wait()
        finally:
            writer.close()
            del self._workers[slot]
            self._past = merge([self._past, counters_of(worker.last)])
