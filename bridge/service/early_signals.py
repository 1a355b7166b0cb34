"""Signals that come while the service starts: kept until it can act on them."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def keep_signals() -> set[int]:
    """Let none of them end the process from now on; give the set of those that have come."""
    came: set[int] = set()
    for name in SIGNALS:
        signal.signal(name, lambda number, _: came.add(number))
    return came
