"""A configuration come to life: issuers with their keys, cache, checker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from bridge.config.settings import Config
from bridge.decision.decide import Decision
from bridge.service.binding import SenderBinding, UsedProofs
from bridge.service.check import Checker
from bridge.service.proof_memory import ProofMemory
from bridge.service.reload import ConfigWatch
from bridge.service.report import IgnoredStepUp, IntrospectionState, KeySetState, Report
from bridge.service.shared_loop_guard import SharedLoopGuard
from bridge.service.start import Start
from bridge.tokens.cache import TokenCache
from bridge.tokens.fetch import Fetcher
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection import Introspection, IntrospectionReport
from bridge.tokens.keys import FetchReport, KeySet, KeySource
from bridge.tokens.nonce import Nonces
from bridge.tokens.settings import IssuerSettings
from bridge.tokens.verifier import Issuer, TokenVerifier


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
        self.config_taken_over = asyncio.Event()
        self._config = config
        self._log = log
        self._start = Start() if start is None else start
        self._own_proofs = ProofMemory(int(time.time()), log)
        self._proofs = self._own_proofs if proofs is None else proofs
        self._fetcher = Fetcher()
        self._issuers: dict[str, Issuer] = {}
        self._made = WeakSet[KeySet | Introspection]()  # those in force, and those still in use
        self._verifier: TokenVerifier | None = None
        self._cache: TokenCache[Issuer] = TokenCache(1, 1)
        self._loop_guard = SharedLoopGuard(config.loop_guard, log)
        processes = self._start.processes
        self._watch = ConfigWatch(config, self._take_over, self.tally, log, processes)
        self._opened = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opened:
            await opened.enter_async_context(self._fetcher)
            opened.push_async_callback(self._close)
            await self._loop_guard.__aenter__()
            await self._take_over(self._config)
            await opened.enter_async_context(self._watch)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.__aexit__(kind, error, traceback)

    async def _close(self) -> None:
        for each in list(self._made):
            await each.stop()
        await self._own_proofs.stop()
        await self._loop_guard.__aexit__(None, None, None)

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
        self._watch.want_reload()

    def inherit_refusal(self, problems: list[str]) -> None:
        """Take on that the file was refused before this process began; empty: it was not."""
        self.tally.config_problems = problems
        self._watch.inherit_refusal(problems)

    async def _take_over(self, config: Config) -> None:
        """Prepare everything, then put it into force between two checks.

        Where it raises, nothing has changed.
        """
        async with contextlib.AsyncExitStack() as prepared:
            issuers, first_fetches = self._prepare_issuers(config, prepared)
            loop_guard = self._loop_guard
            if config.loop_guard != loop_guard.settings:
                made = SharedLoopGuard(config.loop_guard, self._log)
                loop_guard = await prepared.enter_async_context(made)
            redis = None
            if self._proofs is self._own_proofs:
                redis = await self._own_proofs.prepare(config, prepared)
            if first_fetches and self._issuers:  # at the start /readyz waits instead
                await asyncio.wait(first_fetches, timeout=max(i.timeout for i in config.issuers))
            cache = self._cache
            if config.token_cache != self._config.token_cache or self._verifier is None:
                cache = TokenCache(config.token_cache.max_entries, config.token_cache.ttl)
            verifier = TokenVerifier(issuers, cache)
            checker = Checker(config, verifier, self._binding(config))
            prepared.pop_all()
        self.report()  # takes the old verifier's counts
        for keys in _keys(issuers):
            keys.source = key_source(issuers[keys.source.issuer].settings)
        retired_keys = set(_keys(self._issuers)) - set(_keys(issuers))
        retired_introspections = set(_introspections(self._issuers)) - set(_introspections(issuers))
        retired_guard, self._loop_guard = self._loop_guard, loop_guard
        retired_redis = self._own_proofs.take_over(config, redis, int(time.time()))
        self._verifier, self._issuers, self._cache = verifier, issuers, cache
        self._config, self.checker = config, checker
        self.tally.config_loads["ok"] += 1
        self.tally.config_loaded_timestamp = time.time()
        self.tally.config_problems = []
        self.config_taken_over.set()
        self._log.info("config_loaded", file=str(config.file), issuers=len(issuers))
        for keys in retired_keys:
            keys.retire()
        for introspection in retired_introspections:
            await introspection.retire()
        if retired_guard is not loop_guard:
            await retired_guard.__aexit__(None, None, None)
        if retired_redis is not None:
            await retired_redis.__aexit__(None, None, None)

    def _binding(self, config: Config) -> SenderBinding:
        """Make what checks sender-constrained tokens."""
        nonces = None
        if config.dpop.nonce == "required":
            nonces = Nonces(config.dpop.nonce_secret or self._start.nonce_secret)
        return SenderBinding(config.dpop, nonces, self._proofs)

    def _prepare_issuers(
        self, config: Config, prepared: contextlib.AsyncExitStack
    ) -> tuple[dict[str, Issuer], list[asyncio.Task[None]]]:
        """Make each issuer's state, of what can be kept of the one in force.

        Args:
            prepared: Stops what is new.

        Returns:
            The states, and the first fetches of new key sets.
        """
        identity = IdentityHeaders(config.upstream_headers)
        same_identity = config.upstream_headers == self._config.upstream_headers
        issuers: dict[str, Issuer] = {}
        first_fetches = []
        for settings in config.issuers:
            old = self._issuers.get(settings.issuer)
            if old is not None and old.settings == settings and same_identity:
                issuers[settings.issuer] = old
                continue
            source = key_source(settings)
            keys = None if old is None else old.keys
            if not settings.takes_jwt:
                keys = None
            elif keys is None or keys.source != source:
                keys = KeySet(source, self._fetcher, self._count_fetch)
                self._made.add(keys)
                prepared.push_async_callback(keys.stop)
                first_fetches.append(keys.start())
            introspection = None if old is None else old.introspection
            if settings.introspection is None:
                introspection = None
            elif introspection is None or introspection.settings != settings:
                introspection = Introspection(settings, self._count_introspection)
                self._made.add(introspection)
                prepared.push_async_callback(introspection.stop)
            issuers[settings.issuer] = Issuer(settings, keys, identity, introspection)
        return issuers, first_fetches

    def _count_fetch(self, fetch: FetchReport) -> None:
        outcome = "ok" if fetch.error is None else "error"
        self.tally.key_set_fetches[fetch.issuer, outcome] += 1
        if fetch.error is None:
            self._log.info("key_set_fetched", issuer=fetch.issuer, keys=fetch.keys)
            if fetch.removed:
                self._cache.drop_retired()
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
