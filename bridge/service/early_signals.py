"""Signals that come while the service starts: kept until it can act on them."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def keep_signals() -> set[int]:
    """Let none of them end the process from now on; give the set of those that have come.

    The second SIGINT or SIGTERM does: where the start hangs, at a file system that does not answer,
    somebody asks again.
    """
    came: set[int] = set()

    def keep(number: int, frame: FrameType | None) -> None:
        if number in came and number != signal.SIGHUP:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        came.add(number)

    for name in SIGNALS:
        signal.signal(name, keep)
    return came
