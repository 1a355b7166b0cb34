"""What one process knows about itself, and the sum of what several know.

Plain numbers that a check adds to without a lock; they become Prometheus text, `/readyz` and the
page only when somebody asks.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

BUCKETS_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5)

_SHOWN_STEP_UPS = 20
_SHOWN_LENGTH = 100

Labels = tuple[str, ...]


@dataclass(slots=True)
class Durations:
    """A histogram: observations by bucket, not cumulated (the last one has no bound), and sum."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    sum_seconds: float = 0.0

    def observe(self, seconds: float) -> None:
        """Add one observation."""
        self.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.sum_seconds += seconds

    def add(self, other: Durations) -> None:
        """Add another histogram's observations."""
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.sum_seconds += other.sum_seconds


@dataclass(slots=True)
class KeySetState:
    """One issuer's keys. `error` None: the last fetch was good. `age_seconds` None: none was."""

    issuer: str
    keys: int
    error: str | None
    age_seconds: float | None


@dataclass(slots=True)
class IgnoredStepUp:
    """A new access token that still lacks what was asked for; `acr_values`, `max_age`: what was.

    `acr` and `acr_values` are lists joined with spaces; `auth_age_seconds` None: no `auth_time`.
    """

    at: int
    issuer: str
    api: str
    operation: str
    client_id: str
    acr_values: str
    max_age: int | None
    acr: str
    auth_age_seconds: float | None


@dataclass(slots=True)
class IntrospectionState:
    """How the last call to an issuer's introspection endpoint ended; None: well, or none was."""

    issuer: str
    error: str | None


@dataclass(slots=True)
class Report:
    """Counters since the start of the process, and its state.

    Attributes:
        checks: By gateway, api, operation, decision, error.
        key_set_fetches: By issuer and outcome.
        step_up_ignored: By issuer, api, operation.
        step_up_ignored_last: The newest of them, the newest last, their texts cut short.
        introspections: By issuer and outcome.
        dpop_proofs: By outcome.
        replay_store_error: Why Redis cannot tell used proofs; None: it can, or none is needed.
        replay_store_needed: While it cannot, proofs are refused.
        config_loads: By outcome.
        config_loaded_timestamp: Epoch seconds of the load in force.
        config_problems: Of the last load, where it was refused.
        log_lines_dropped: Lines of the log that nobody took.
    """

    checks: Counter[Labels] = field(default_factory=Counter)
    check_seconds: Durations = field(default_factory=Durations)
    token_cache_hits: int = 0
    token_cache_misses: int = 0
    token_cache_entries: int = 0
    key_set_fetches: Counter[Labels] = field(default_factory=Counter)
    step_up_ignored: Counter[Labels] = field(default_factory=Counter)
    step_up_ignored_last: list[IgnoredStepUp] = field(default_factory=list)
    key_sets: list[KeySetState] = field(default_factory=list)
    introspections: Counter[Labels] = field(default_factory=Counter)
    introspection: list[IntrospectionState] = field(default_factory=list)
    dpop_proofs: Counter[str] = field(default_factory=Counter)
    dpop_proofs_remembered: int = 0
    replay_store_error: str | None = None
    replay_store_needed: bool = True
    config_loads: Counter[str] = field(default_factory=Counter)
    config_loaded_timestamp: float = 0.0
    config_problems: list[str] = field(default_factory=list)
    log_lines_dropped: int = 0

    def count_check(
        self,
        gateway: str,
        api: str,
        operation: str,
        decision: str,
        error: str,
        seconds: float,
    ) -> None:
        """Count one check. No label may hold anything that a client chose."""
        self.checks[gateway, api, operation, decision, error] += 1
        self.check_seconds.observe(seconds)

    def count_ignored(self, ignored: IgnoredStepUp) -> None:
        """Count a step-up that was ignored, and keep it for people."""
        self.step_up_ignored[ignored.issuer, ignored.api, ignored.operation] += 1
        short = replace(
            ignored, client_id=ignored.client_id[:_SHOWN_LENGTH], acr=ignored.acr[:_SHOWN_LENGTH]
        )
        self.step_up_ignored_last = [*self.step_up_ignored_last, short][-_SHOWN_STEP_UPS:]

    def to_json(self) -> bytes:
        """Write the report as one line."""
        document = asdict(self)
        document["checks"] = [[*labels, n] for labels, n in self.checks.items()]
        document["key_set_fetches"] = [[*labels, n] for labels, n in self.key_set_fetches.items()]
        document["step_up_ignored"] = [[*labels, n] for labels, n in self.step_up_ignored.items()]
        document["introspections"] = [[*labels, n] for labels, n in self.introspections.items()]
        document["dpop_proofs"] = dict(self.dpop_proofs)
        document["config_loads"] = dict(self.config_loads)  # asdict rebuilds a Counter wrongly
        return json.dumps(document).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """Read what `to_json` of another process wrote."""
        document: dict[str, Any] = json.loads(line)
        document["checks"] = _counter(document["checks"])
        document["key_set_fetches"] = _counter(document["key_set_fetches"])
        document["step_up_ignored"] = _counter(document["step_up_ignored"])
        last = [IgnoredStepUp(**ignored) for ignored in document["step_up_ignored_last"]]
        document["step_up_ignored_last"] = last
        document["introspections"] = _counter(document["introspections"])
        document["introspection"] = [IntrospectionState(**s) for s in document["introspection"]]
        document["dpop_proofs"] = Counter(document["dpop_proofs"])
        document["config_loads"] = Counter(document["config_loads"])
        document["key_sets"] = [KeySetState(**state) for state in document["key_sets"]]
        document["check_seconds"] = Durations(**document["check_seconds"])
        return cls(**document)


def merge(reports: Iterable[Report]) -> Report:
    """Add up the reports of several processes that serve one configuration.

    Counters and cache entries are sums; loads are the most that one process counts, since each
    makes every load, and counts on from where the others were when it started; the load in force
    is the oldest; a key set is as bad as its worst, and so is introspection.
    """
    total = Report()
    key_sets: dict[str, KeySetState] = {}
    introspection: dict[str, IntrospectionState] = {}
    for report in reports:
        total.checks.update(report.checks)
        total.check_seconds.add(report.check_seconds)
        total.token_cache_hits += report.token_cache_hits
        total.token_cache_misses += report.token_cache_misses
        total.token_cache_entries += report.token_cache_entries
        total.key_set_fetches.update(report.key_set_fetches)
        total.step_up_ignored.update(report.step_up_ignored)
        total.step_up_ignored_last += report.step_up_ignored_last
        total.introspections.update(report.introspections)
        total.dpop_proofs.update(report.dpop_proofs)
        total.dpop_proofs_remembered += report.dpop_proofs_remembered
        total.replay_store_error = total.replay_store_error or report.replay_store_error
        total.replay_store_needed = total.replay_store_needed and report.replay_store_needed
        total.config_loads |= report.config_loads
        if report.config_loaded_timestamp and (
            not total.config_loaded_timestamp
            or report.config_loaded_timestamp < total.config_loaded_timestamp
        ):
            total.config_loaded_timestamp = report.config_loaded_timestamp
        total.config_problems = total.config_problems or report.config_problems
        total.log_lines_dropped += report.log_lines_dropped
        for state in report.key_sets:
            key_sets[state.issuer] = _worse(key_sets.get(state.issuer), state)
        for asked in report.introspection:
            if asked.error is not None or asked.issuer not in introspection:
                introspection[asked.issuer] = asked
    total.key_sets = list(key_sets.values())
    total.step_up_ignored_last.sort(key=lambda ignored: ignored.at)
    del total.step_up_ignored_last[:-_SHOWN_STEP_UPS]
    total.introspection = list(introspection.values())
    return total


def counters_of(report: Report) -> Report:
    """Give what must outlive a process that has died, so that no counter ever falls."""
    return Report(
        checks=report.checks,
        check_seconds=report.check_seconds,
        token_cache_hits=report.token_cache_hits,
        token_cache_misses=report.token_cache_misses,
        key_set_fetches=report.key_set_fetches,
        step_up_ignored=report.step_up_ignored,
        step_up_ignored_last=report.step_up_ignored_last,
        introspections=report.introspections,
        dpop_proofs=report.dpop_proofs,
        config_loads=report.config_loads,
        log_lines_dropped=report.log_lines_dropped,
    )


def _worse(one: KeySetState | None, other: KeySetState) -> KeySetState:
    if one is None or other.keys < one.keys:
        return other
    if one.error is None and other.error is not None:
        return other
    return one if (one.age_seconds or 0) >= (other.age_seconds or 0) else other


def _counter(rows: list[list[Any]]) -> Counter[Labels]:
    return Counter({tuple(labels): n for *labels, n in rows})
