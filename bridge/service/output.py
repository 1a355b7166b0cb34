"""A process's own stdout and stderr: closed, broken or full, they never stop the service."""

from __future__ import annotations

import os
import sys


def open_closed_streams() -> None:
    """Give a process that was started with a closed stdout or stderr somewhere to write."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def flush_or_discard() -> OSError | None:
    """Write out what is still held, or drop it: the interpreter would fail on it at its end.

    Returns:
        Why it could not be written; None: it was.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return error
    return None
