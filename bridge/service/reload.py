"""The configuration's files watched, and loaded anew when they change."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ConfigError
from bridge.service.proof_memory import takes_dpop
from bridge.service.report import Report
from bridge.tokens.fingerprint import fingerprint

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 10.0
_DEFECT = "cannot be loaded, by a defect of the bridge: the log says where"
_UNSHARED = "dpop.replay needs a Redis until the restart: several workers are running"
SET_AT_START = ("listen_authz", "listen_admin", "workers", "drain_timeout", "log")
"""What a reload does not change, of a `Config`."""


class ConfigWatch:
    """Loads the configuration when a file of it changes, or when asked; from enter to exit.

    Args:
        config: The one that the service has started with.
        take_over: Puts another one into force; where it raises, nothing has changed.
        tally: Where refused loads are counted.
        log: Where events go.
        processes: How many answer checks, whatever a configuration of later says.
    """

    def __init__(
        self,
        config: Config,
        take_over: Callable[[Config], Awaitable[None]],
        tally: Report,
        log: Any,
        processes: int,
    ) -> None:
        self._started_with = config
        self._take_over = take_over
        self._tally = tally
        self._log = log
        self._processes = processes
        self._wanted = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._settled = config.files
        self._told: list[str] = []  # what is wrong with the file, where all know it

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    def want_reload(self) -> None:
        """Load the configuration again soon, changed or not (SIGHUP)."""
        self._wanted.set()

    def inherit_refusal(self, problems: list[str]) -> None:
        """Take on that the file was refused before; the same again is not told again."""
        self._told = problems

    async def _watch(self) -> None:
        """Poll the files' fingerprints: sees atomic renames, swapped links and bind mounts alike.

        A change is taken up once it has held for one poll, so that a file is not read half written.
        What is no more as it was before the last load is a change, so none during a load is missed.
        A refused one is tried again now and then: it may be this process that could not read it.
        A defect must not end the watch: the rules of today would never again be replaced.
        """
        loop = asyncio.get_running_loop()
        pending = None
        retry_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wanted.wait()
            seen = {file: fingerprint(file) for file in self._settled}
            held = seen == pending
            pending = seen
            wanted, changed = self._wanted.is_set(), held and seen != self._settled
            again = held and self._tally.config_problems and loop.time() >= retry_at
            if wanted or changed or again:
                if wanted:
                    self._told = []
                elif not changed:
                    self._told = self._tally.config_problems
                self._wanted.clear()
                self._settled = seen
                retry_at = loop.time() + _RETRY_SECONDS
                try:
                    await self._reload()
                except Exception as defect:
                    self._refuse([f"{self._started_with.file}: {_DEFECT}"])
                    context = {"message": "reload failed", "exception": defect}
                    loop.call_exception_handler(context)
                self._told = []

    async def _reload(self) -> None:
        try:
            config = await _in_thread(load_config, self._started_with.file)
        except ConfigError as error:
            self._refuse([problem.render(error.file) for problem in error.problems])
            self._settled = error.files  # a missing one may come yet
            return
        self._settled = config.files
        if self._processes > 1 and takes_dpop(config) and config.dpop.redis_url is None:
            self._refuse([f"{config.file}: {_UNSHARED}"])
            return
        for setting in SET_AT_START:
            if getattr(config, setting) != getattr(self._started_with, setting):
                self._log.warning("config_needs_restart", setting=setting)
        await self._take_over(config)

    def _refuse(self, problems: list[str]) -> None:
        """Keep to the configuration in force, and say why."""
        if problems == self._told:
            return
        self._tally.config_loads["refused"] += 1
        self._tally.config_problems = problems
        self._log.error("config_refused", problems=problems)


async def _in_thread(load: Callable[[Path], Config], file: Path) -> Config:
    """Load in a thread that nobody waits for at the end: a file system may never answer."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Config] = loop.create_future()

    def tell(config: Config | None, error: Exception | None) -> None:
        if loaded.cancelled():
            return
        if error is not None:
            loaded.set_exception(error)
        elif config is not None:
            loaded.set_result(config)

    def run() -> None:
        config, failure = None, None
        try:
            config = load(file)
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, config, failure)

    threading.Thread(target=run, daemon=True).start()
    return await loaded
