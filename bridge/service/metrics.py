"""A report as Prometheus text (docs/operations.md, "Metrics")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from bridge.service.report import BUCKETS_SECONDS, Durations, Report

METRICS = {
    "stepup_checks_total": "Checks answered.",
    "stepup_check_seconds": "Time from question to decision, seconds.",
    "stepup_token_cache_hits_total": "Tokens found verified.",
    "stepup_token_cache_misses_total": "Tokens that had to be verified.",
    "stepup_token_cache_entries": "Verified tokens held, all workers.",
    "stepup_key_set_fetches_total": "Fetches of issuers' keys.",
    "stepup_key_set_age_seconds": "Time since an issuer's keys were last fetched; the oldest.",
    "stepup_step_up_ignored_total": "New access tokens that still lacked what was asked for.",
    "stepup_introspections_total": "Calls to issuers' introspection endpoints.",
    "stepup_dpop_proofs_total": "DPoP proofs looked up among the used ones.",
    "stepup_dpop_proofs_remembered": "Used DPoP proofs held in memory, all workers.",
    "stepup_dpop_replay_store_up": "1 while Redis answers, or none is needed; else 0.",
    "stepup_config_loads_total": "Loads of the configuration.",
    "stepup_config_loaded_timestamp_seconds": "When the configuration in force was loaded; the "
    "oldest of all workers.",
    "stepup_log_lines_dropped_total": "Lines of the log that could not be written.",
}
"""Every metric with its help text, for the documentation."""

PROOF_RESULTS = ("fresh", "replayed", "forgotten", "full", "error")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CHECK_LABELS = ("gateway", "api", "operation", "decision", "error")


def prometheus_text(report: Report) -> bytes:
    """Write a report in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Report(report))
    return generate_latest(registry)


class _Report(Collector):
    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        report = self._report
        yield _counter("stepup_checks_total", _CHECK_LABELS, report.checks.items())
        yield _histogram("stepup_check_seconds", report.check_seconds)
        yield _counter("stepup_token_cache_hits_total", (), [((), report.token_cache_hits)])
        yield _counter("stepup_token_cache_misses_total", (), [((), report.token_cache_misses)])
        yield _gauge("stepup_token_cache_entries", (), [((), report.token_cache_entries)])
        fetches = report.key_set_fetches.items()
        yield _counter("stepup_key_set_fetches_total", ("issuer", "outcome"), fetches)
        ages = [
            ((state.issuer,), state.age_seconds)
            for state in report.key_sets
            if state.age_seconds is not None
        ]
        yield _gauge("stepup_key_set_age_seconds", ("issuer",), ages)
        ignored = report.step_up_ignored.items()
        yield _counter("stepup_step_up_ignored_total", ("issuer", "api", "operation"), ignored)
        calls = report.introspections.items()
        yield _counter("stepup_introspections_total", ("issuer", "outcome"), calls)
        proofs = [((result,), report.dpop_proofs[result]) for result in PROOF_RESULTS]
        yield _counter("stepup_dpop_proofs_total", ("result",), proofs)
        remembered = [((), report.dpop_proofs_remembered)]
        yield _gauge("stepup_dpop_proofs_remembered", (), remembered)
        is_up = float(report.replay_store_error is None)
        yield _gauge("stepup_dpop_replay_store_up", (), [((), is_up)])
        loads = [((outcome,), report.config_loads[outcome]) for outcome in ("ok", "refused")]
        yield _counter("stepup_config_loads_total", ("outcome",), loads)
        loaded = [((), report.config_loaded_timestamp)]
        yield _gauge("stepup_config_loaded_timestamp_seconds", (), loaded)
        yield _counter("stepup_log_lines_dropped_total", (), [((), report.log_lines_dropped)])


def _counter(
    name: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = CounterMetricFamily(name, METRICS[name], labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _gauge(
    name: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, METRICS[name], labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _histogram(name: str, durations: Durations) -> Metric:
    family = HistogramMetricFamily(name, METRICS[name])
    buckets = list(_cumulated(durations.buckets))
    family.add_metric((), buckets=buckets, sum_value=durations.sum_seconds)
    return family


def _cumulated(buckets: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    bounds = (*(repr(bound) for bound in BUCKETS_SECONDS), "+Inf")
    for bound, count in zip(bounds, buckets, strict=True):
        total += count
        yield bound, total
