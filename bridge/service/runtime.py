"""A configuration come to life: issuers with their keys, cache, checker; and its reloads."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.decision.decide import Decision
from bridge.errors import ConfigError
from bridge.service.binding import SenderBinding, UsedProofs
from bridge.service.check import Checker
from bridge.service.proof_memory import ProofMemory, takes_dpop
from bridge.service.report import IgnoredStepUp, IntrospectionState, KeySetState, Report
from bridge.service.shared_loop_guard import SharedLoopGuard
from bridge.service.start import Fingerprint, Start
from bridge.tokens.cache import TokenCache
from bridge.tokens.fetch import Fetcher
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection import Introspection, IntrospectionReport
from bridge.tokens.keys import FetchReport, KeySet, KeySource
from bridge.tokens.nonce import Nonces
from bridge.tokens.settings import IssuerSettings
from bridge.tokens.verifier import Issuer, TokenVerifier

_POLL_SECONDS = 0.5
_DEFECT = "cannot be loaded, by a defect of the bridge: the log says where"
_UNSHARED = "dpop.replay needs a Redis until the restart: several workers are running"
SET_AT_START = ("listen_authz", "listen_admin", "workers", "drain_timeout", "log")
"""What a reload does not change, of a `Config`."""


class Runtime:
    """What decides, from `__aenter__` to `__aexit__`, through reloads.

    Args:
        config: A good configuration to begin with.
        log: Where events go.
        start: What this process shares with others; None: there are none.
        proofs: Where used DPoP proofs are remembered; None: as the configuration says.
    """

    def __init__(
        self,
        config: Config,
        log: Any,
        start: Start | None = None,
        proofs: UsedProofs | None = None,
    ) -> None:
        self.tally = Report()
        self.checker: Checker
        self._config = config
        self._started_with = config
        self._log = log
        self._start = Start() if start is None else start
        self._own_proofs = ProofMemory(int(time.time()), log)
        self._proofs = self._own_proofs if proofs is None else proofs
        self._fetcher = Fetcher()
        self._issuers: dict[str, Issuer] = {}
        self._verifier: TokenVerifier | None = None
        self._cache: TokenCache[Issuer] = TokenCache(1, 1)
        self._loop_guard = SharedLoopGuard(config.loop_guard, log)
        self._reload_wanted = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._files = config.files
        self._settled = fingerprint(self._files)

    async def __aenter__(self) -> Self:
        await self._fetcher.__aenter__()
        await self._loop_guard.__aenter__()
        await self._take_over(self._config)
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
        for keys in _keys(self._issuers):
            await keys.stop()
        for introspection in _introspections(self._issuers):
            await introspection.stop(finish=False)
        await self._own_proofs.stop()
        await self._loop_guard.__aexit__(kind, error, traceback)
        await self._fetcher.__aexit__(kind, error, traceback)

    def report(self) -> Report:
        """Give the counters and the state of this process."""
        report = self.tally
        if self._verifier is not None:
            hits, misses = self._verifier.take_counts()
            report.token_cache_hits += hits
            report.token_cache_misses += misses
        report.token_cache_entries = len(self._cache)
        report.dpop_proofs = self._own_proofs.outcomes
        report.dpop_proofs_remembered = len(self._own_proofs)
        report.replay_store_error = self._own_proofs.error
        report.replay_store_needed = self._own_proofs.on_error == "refuse"
        report.key_sets = [
            KeySetState(keys.source.issuer, len(keys.keys), keys.error, keys.age_seconds)
            for keys in _keys(self._issuers)
        ]
        report.introspection = [
            IntrospectionState(introspection.settings.issuer, introspection.error)
            for introspection in _introspections(self._issuers)
        ]
        return report

    async def guard_loops(self, denial: Decision, now: int) -> Decision:
        """Look at a step-up denial before it is given; see `LoopGuard.judge`."""
        return self._tell_ignored(*await self._loop_guard.judge(denial, now))

    def guard_loops_at_once(self, denial: Decision, now: int) -> Decision | None:
        """Do the same where nobody must be waited for; None: somebody must."""
        judged = self._loop_guard.judge_at_once(denial, now)
        return None if judged is None else self._tell_ignored(*judged)

    def _tell_ignored(self, told: Decision, ignored: IgnoredStepUp | None) -> Decision:
        if ignored is not None:
            self.tally.count_ignored(ignored)
            self._log.warning(
                "step_up_ignored",
                api=ignored.api,
                operation=ignored.operation,
                issuer=ignored.issuer,
                client_id=ignored.client_id,
                acr_values=ignored.acr_values or None,
                max_age=ignored.max_age,
                acr=ignored.acr or None,
                auth_age_seconds=ignored.auth_age_seconds,
            )
        return told

    def want_reload(self) -> None:
        """Load the configuration again soon, changed or not (SIGHUP)."""
        self._reload_wanted.set()

    async def _watch(self) -> None:
        """Poll the files' fingerprints: sees atomic renames, swapped links and bind mounts alike.

        A change is taken up once it has held for one poll, so that a file is not read half written.
        A defect must not end the watch: the rules of today would never again be replaced.
        """
        pending = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reload_wanted.wait(), _POLL_SECONDS)
            seen = fingerprint(self._files)
            held = seen == pending
            pending = seen
            if self._reload_wanted.is_set() or (held and seen != self._settled):
                self._reload_wanted.clear()
                self._settled = seen
                try:
                    await self._reload()
                except Exception as defect:
                    self._refuse([f"{self._config.file}: {_DEFECT}"])
                    context = {"message": "reload failed", "exception": defect}
                    asyncio.get_running_loop().call_exception_handler(context)

    async def _reload(self) -> None:
        try:
            config = await asyncio.to_thread(load_config, self._config.file)
        except ConfigError as error:
            self._refuse([problem.render(error.file) for problem in error.problems])
            self._watch_files((*self._config.files, *error.files))  # a missing one may come yet
            return
        self._watch_files(config.files)
        if self._start.processes > 1 and takes_dpop(config) and config.dpop.redis_url is None:
            self._refuse([f"{config.file}: {_UNSHARED}"])
            return
        for setting in SET_AT_START:
            if getattr(config, setting) != getattr(self._started_with, setting):
                self._log.warning("config_needs_restart", setting=setting)
        await self._take_over(config)

    def _watch_files(self, files: tuple[Path, ...]) -> None:
        files = tuple(dict.fromkeys(files))
        if files != self._files:
            self._files = files
            self._settled = fingerprint(files)

    def _refuse(self, problems: list[str]) -> None:
        """Keep to the configuration in force, and say why."""
        self.tally.config_loads["refused"] += 1
        self.tally.config_problems = problems
        self._log.error("config_refused", problems=problems)

    async def _take_over(self, config: Config) -> None:
        """Prepare everything, then put it into force between two checks."""
        identity = IdentityHeaders(config.upstream_headers)
        same_identity = config.upstream_headers == self._config.upstream_headers
        issuers, first_fetches = self._prepare_issuers(config, identity, keep=same_identity)
        if first_fetches and self._issuers:  # at the start /readyz waits instead
            await asyncio.wait(first_fetches, timeout=max(i.timeout for i in config.issuers))
        if config.token_cache != self._config.token_cache or self._verifier is None:
            limits = config.token_cache
            self._cache = TokenCache(limits.max_entries, limits.ttl)
        retired_guard = self._loop_guard
        if config.loop_guard != retired_guard.settings:
            self._loop_guard = await SharedLoopGuard(config.loop_guard, self._log).__aenter__()
        retired_keys = set(_keys(self._issuers)) - set(_keys(issuers))
        retired_introspections = set(_introspections(self._issuers)) - set(_introspections(issuers))
        binding = await self._binding(config)
        if self._verifier is not None:
            self.report()  # takes the old verifier's counts
        verifier = TokenVerifier(issuers, self._cache)
        checker = Checker(config, verifier, binding)
        self._verifier, self._issuers, self._config = verifier, issuers, config
        self.checker = checker
        self.tally.config_loads["ok"] += 1
        self.tally.config_loaded_timestamp = time.time()
        self.tally.config_problems = []
        self._log.info("config_loaded", file=str(config.file), issuers=len(issuers))
        for keys in retired_keys:
            await keys.stop()
        if retired_guard is not self._loop_guard:
            await retired_guard.__aexit__(None, None, None)
        for introspection in retired_introspections:
            await introspection.stop(finish=True)

    async def _binding(self, config: Config) -> SenderBinding:
        """Prepare what checks sender-constrained tokens."""
        if self._proofs is self._own_proofs:
            await self._own_proofs.take_over(config)
        nonces = None
        if config.dpop.nonce == "required":
            nonces = Nonces(config.dpop.nonce_secret or self._start.nonce_secret)
        return SenderBinding(config.dpop, nonces, self._proofs)

    def _prepare_issuers(
        self, config: Config, identity: IdentityHeaders, *, keep: bool
    ) -> tuple[dict[str, Issuer], list[asyncio.Task[None]]]:
        """Make each issuer's state, of what can be kept of the one in force.

        Args:
            keep: States of issuers that have not changed may be kept whole.

        Returns:
            The states, and the first fetches of new key sets.
        """
        issuers: dict[str, Issuer] = {}
        first_fetches = []
        for settings in config.issuers:
            old = self._issuers.get(settings.issuer)
            if old is not None and old.settings == settings and keep:
                issuers[settings.issuer] = old
                continue
            source = key_source(settings)
            keys = None if old is None else old.keys
            if not settings.takes_jwt:
                keys = None
            elif keys is None or keys.source != source:
                keys = KeySet(source, self._fetcher, self._count_fetch)
                first_fetches.append(keys.start())
            introspection = None if old is None else old.introspection
            if settings.introspection is None:
                introspection = None
            elif introspection is None or introspection.settings != settings:
                introspection = Introspection(settings, self._count_introspection)
            issuers[settings.issuer] = Issuer(settings, keys, identity, introspection)
        return issuers, first_fetches

    def _count_fetch(self, fetch: FetchReport) -> None:
        outcome = "ok" if fetch.error is None else "error"
        self.tally.key_set_fetches[fetch.issuer, outcome] += 1
        if fetch.error is None:
            self._log.info("key_set_fetched", issuer=fetch.issuer, keys=fetch.keys)
        else:
            self._log.warning(
                "key_set_fetch_failed",
                issuer=fetch.issuer,
                reason=fetch.error,
                keys=fetch.keys,
                retry_in_seconds=fetch.next_fetch_seconds,
            )

    def _count_introspection(self, call: IntrospectionReport) -> None:
        outcome = "ok" if call.error is None else "error"
        self.tally.introspections[call.issuer, outcome] += 1
        if call.changed and call.error is None:
            self._log.info("introspection_recovered", issuer=call.issuer)
        elif call.changed:
            self._log.warning("introspection_failed", issuer=call.issuer, reason=call.error)


def _keys(issuers: dict[str, Issuer]) -> list[KeySet]:
    return [issuer.keys for issuer in issuers.values() if issuer.keys is not None]


def _introspections(issuers: dict[str, Issuer]) -> list[Introspection]:
    return [each.introspection for each in issuers.values() if each.introspection is not None]


def key_source(settings: IssuerSettings) -> KeySource:
    """Tell where an issuer's keys come from."""
    return KeySource(
        issuer=settings.issuer,
        jwks_uri=settings.jwks_uri,
        jwks_file=settings.jwks_file,
        timeout_seconds=settings.timeout,
        allow_insecure_http=settings.allow_insecure_http,
    )


def fingerprint(files: tuple[Path, ...]) -> Fingerprint:
    """Identify the files' contents without reading them; None: there is no such file."""
    found: list[tuple[int, ...] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append(
                (
                    status.st_dev,
                    status.st_ino,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_size,
                )
            )
    return tuple(found)
