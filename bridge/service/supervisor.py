"""Several workers on one socket: started, asked for their reports, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pickle
import socket
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from bridge.config.settings import Config
from bridge.service.report import Report, counters_of, merge
from bridge.service.start import AcceptedConfig, Handover, Start, framed, read_framed

_ASK_SECONDS = 5.0
_REPORT_TIMEOUT_SECONDS = 2.0
_SILENT_SECONDS = 30.0  # without an answer, before a worker is killed
_SILENT_AT_START_SECONDS = 60.0  # a cold start on a busy machine takes its time
_RESTART_DELAY_SECONDS = 1.0
_REPORT_LIMIT_BYTES = 64 * 1024 * 1024
_GRACE_SECONDS = 2.0  # beyond the drain time-out, before a worker is killed


@dataclass(slots=True)
class _Worker:
    """A worker process, the last that it said, and the question that it has not answered."""

    process: asyncio.subprocess.Process
    writer: asyncio.StreamWriter
    last: Report = field(default_factory=Report)
    has_answered: bool = False
    is_gone: bool = False
    question: asyncio.Future[bool] | None = None
    asked_at: float = 0.0

    def answered(self, *, is_gone: bool = False) -> None:
        """Tell those who wait for it; False: it is gone."""
        self.has_answered = True
        self.is_gone = is_gone
        if self.question is not None:
            self.question.set_result(not is_gone)
            self.question = None

    def tell(self, order: bytes) -> None:
        """Give an order, if there is still somebody to obey."""
        if not self.is_gone and not self.writer.is_closing():
            self.writer.write(order)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Supervisor:
    """Keeps a number of workers alive, from `__aenter__` to `__aexit__`.

    Args:
        config: What they begin with, until they accept another one.
        listener: The socket that they share; bound without `SO_REUSEPORT`.
    """

    def __init__(self, config: Config, listener: socket.socket, log: Any) -> None:
        self._count = config.workers
        self._drain_timeout = config.drain_timeout
        self._listener = listener
        self._log = log
        self._start = Start(config.workers)
        accepted = AcceptedConfig(config, time.time())
        self._accepted = pickle.dumps(accepted)
        self._workers: dict[int, _Worker] = {}
        self._reload_owed: set[int] = set()  # slots without a worker, when that was wanted
        self._past = Report()  # counters of workers that have died
        self._loaded: tuple[float, list[str]] = (0.0, [])  # as the last report has it
        self._keepers: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in range(self._count)]
        self._asking = asyncio.create_task(self._ask_regularly())
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
            worker.tell(b"drain\n")
        limit = self._drain_timeout + _GRACE_SECONDS
        _, late = await asyncio.wait(self._keepers, timeout=limit)
        for worker in self._workers.values():
            worker.kill()
        if late:
            await asyncio.wait(late, timeout=_GRACE_SECONDS)
        if self._asking is not None:
            self._asking.cancel()

    def want_reload(self) -> None:
        """Pass SIGHUP on to every worker; also to one that is still starting."""
        self._reload_owed = set(range(self._count)) - self._workers.keys()
        for worker in self._workers.values():
            worker.tell(b"reload\n")

    async def report(self) -> tuple[Report, int]:
        """Ask every worker; give the sum, and how many answered in time."""
        answering = sum(await asyncio.gather(*map(self._ask, self._workers.values())))
        return self._merged(), answering

    def _merged(self) -> Report:
        total = merge([self._past, *(worker.last for worker in self._workers.values())])
        if not total.config_loaded_timestamp:  # while all workers are being replaced
            total.config_loaded_timestamp, total.config_problems = self._loaded
        return total

    async def _ask_regularly(self) -> None:
        """See a worker that hangs, and know of one that dies what it counted until lately."""
        while True:
            await asyncio.sleep(_ASK_SECONDS)
            try:
                await self.report()
            except Exception as defect:  # it must not end the asking
                context = {"message": "asking failed", "exception": defect}
                asyncio.get_running_loop().call_exception_handler(context)

    async def _ask(self, worker: _Worker) -> bool:
        """Tell whether a worker reports in time.

        A question is put once and waited for by all, so that a late answer is still its answer.
        Who is silent for long is killed; the keeper starts another one.
        """
        if worker.is_gone:
            return False
        loop = asyncio.get_running_loop()
        if worker.question is None:
            worker.question = loop.create_future()
            worker.asked_at = loop.time()
            worker.tell(b"report\n")
        question = worker.question
        await asyncio.wait([question], timeout=_REPORT_TIMEOUT_SECONDS)
        if question.done():
            return question.result()
        patience = _SILENT_SECONDS if worker.has_answered else _SILENT_AT_START_SECONDS
        if loop.time() - worker.asked_at > patience:
            worker.kill()
        return False

    async def _keep(self, slot: int) -> None:
        """Run a worker in a slot, and another when it ends before its time, or cannot start."""
        while not self._stopping:
            code, error = None, None
            try:
                code = await self._run_worker(slot)
            except Exception as failure:
                number = getattr(failure, "errno", None)
                error = errno.errorcode.get(number or 0, type(failure).__name__)
            if not self._stopping:
                self._log.error("worker_exited", slot=slot, code=code, error=error)
                await asyncio.sleep(_RESTART_DELAY_SECONDS)

    async def _run_worker(self, slot: int) -> int:
        ours, theirs = socket.socketpair()
        try:
            descriptors = (self._listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_path_flags(), "-m", "bridge.service"),
                *map(str, descriptors),
                pass_fds=descriptors,
                start_new_session=True,  # a terminal's signals are for us, who tell it
            )
            reader, writer = await asyncio.open_unix_connection(
                sock=ours, limit=_REPORT_LIMIT_BYTES
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = self._workers[slot] = _Worker(process, writer)
        try:
            if not self._stopping:  # the end may have come while it was started
                so_far = self._merged()
                loads, problems = so_far.config_loads, so_far.config_problems
                worker.tell(framed(Handover(self._start, self._accepted, loads, problems)))
                if slot in self._reload_owed:
                    worker.tell(b"reload\n")
                self._reload_owed.discard(slot)
                await self._listen(worker, reader)
            writer.close()
            return await process.wait()
        finally:
            del self._workers[slot]
            self._past = merge([self._past, counters_of(worker.last)])

    async def _listen(self, worker: _Worker, reader: asyncio.StreamReader) -> None:
        """Take in what a worker says, until it ends."""
        try:
            while line := await reader.readline():
                if line == b"config\n":
                    self._accepted = await read_framed(reader)
                else:
                    said = worker.last = Report.from_json(line)
                    self._loaded = (said.config_loaded_timestamp, said.config_problems)
                    worker.answered()
        except (OSError, ValueError, EOFError):
            pass  # it was killed in the middle of it
        finally:
            worker.answered(is_gone=True)


def _path_flags() -> tuple[str, ...]:
    """Keep a worker from importing from the current directory, unless we do so too."""
    with contextlib.suppress(OSError):  # it may be gone
        if not {"", os.getcwd()}.isdisjoint(sys.path):
            return ()
    return ("-P",)
