"""Child processes that never outlive the demo, and whose death is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp

from bridge.demo.errors import DemoError

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.05
_NOTICE_SECONDS = 0.3
_LOG_LINE_LIMIT = 300
_FIRST = asyncio.FIRST_COMPLETED

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Child:
    """A process; stdout and stderr go to the file `log`."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ended: asyncio.Task[int]

    def death(self) -> DemoError:
        """Say how it ended; by itself: with the last line that it wrote, which says why."""
        code = self.ended.result()
        if code < 0:
            return DemoError(f"{self.name} was killed by signal {-code}")
        lines = self.log.read_text("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        return DemoError(f"{self.name} ended with exit code {code}: {last[:_LOG_LINE_LIMIT]}")


class Children:
    """Starts processes; `__aexit__` ends them all, the newest first.

    Args:
        directory: For their logs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            await _end(child)

    async def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a process.

        In a session of its own: Ctrl-C in the terminal reaches the demo alone, which then ends its
        children in order.

        Raises:
            DemoError: It cannot be started.
        """
        log = self._directory / f"{name}.log"
        try:
            with log.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error.strerror}") from None
        child = Child(name, process, log, asyncio.create_task(process.wait()))
        self._children.append(child)
        return child

    async def wait_for(
        self, child: Child, what: str, probe: Callable[[], Awaitable[T | None]]
    ) -> T:
        """Ask again and again until the probe has an answer.

        Args:
            what: What the child should do, for the error.
            probe: None, and an error of HTTP or JSON, mean: not yet.

        Raises:
            DemoError: A child ended (this one or an earlier), or there was no answer in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                while self._dead() is None:
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                        answer = await probe()
                        if answer is not None:
                            return answer
                    await asyncio.sleep(_POLL_SECONDS)
        self._check_alive()
        raise DemoError(f"{child.name} did not {what} within {START_TIMEOUT_SECONDS:.0f} s")

    async def watch(self, work: Awaitable[T]) -> T:
        """Do some work while all children live.

        Raises:
            DemoError: A child ended before the work.
        """
        task = asyncio.ensure_future(work)
        try:
            waiting = {task, *(child.ended for child in self._children)}
            await asyncio.wait(waiting, return_when=_FIRST)
            if task.done() and task.exception() is not None and self._children:
                # A refused connection may be the first sign of a death; then that is the news.
                ended = [child.ended for child in self._children]
                await asyncio.wait(ended, timeout=_NOTICE_SECONDS, return_when=_FIRST)
            self._check_alive()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _dead(self) -> Child | None:
        return next((child for child in self._children if child.ended.done()), None)

    def _check_alive(self) -> None:
        dead = self._dead()
        if dead is not None:
            raise dead.death()


async def _end(child: Child) -> None:
    """Terminate a process; kill it when it does not listen."""
    with contextlib.suppress(ProcessLookupError):
        child.process.send_signal(signal.SIGTERM)
    done, _ = await asyncio.wait([child.ended], timeout=STOP_TIMEOUT_SECONDS)
    if not done:
        print(f"stepup-bridge demo: {child.name} does not stop, killing it", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await asyncio.wait([child.ended], timeout=STOP_TIMEOUT_SECONDS)
