"""The log's way to stdout: nobody waits for who reads it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from functools import cache
from io import RawIOBase
from queue import SimpleQueue
from typing import Any

_FLUSH_SECONDS = 0.05
_MAX_WAITING_BYTES = 4 * 1024 * 1024
_CLOSE_SECONDS = 1.0


class LineWriter:
    """Writes lines from a thread of its own, many to a system call: each is out within 50 ms.

    A reader that stalls stops nobody else: what it does not take is held, up to 4 MiB of it, and
    from then on dropped, in whole lines. A closed pipe must not fail a check either: nobody reads
    the log any more, and there is nowhere to say so.

    Args:
        stream: Without a buffer, whose lock the interpreter's end would wait for.
    """

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._flush_due = False
        self._batches: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._bytes_taken = self._bytes_done = 0
        self._lines_refused = self._lines_lost = 0  # each added to by one thread only
        self._thread = threading.Thread(target=self._write_batches, daemon=True)
        self._thread.start()

    @property
    def lines_dropped(self) -> int:
        """How many lines could not be written."""
        return self._lines_refused + self._lines_lost

    def write(self, line: bytes) -> None:
        """Write a line, with its end, soon."""
        self._lines.append(line)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Have the lines written that are held."""
        self._flush_due = False
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._bytes_taken - self._bytes_done >= _MAX_WAITING_BYTES:
            self._lines_refused += len(lines)
            return
        batch = b"".join(lines)
        self._bytes_taken += len(batch)
        self._batches.put((batch, len(lines)))

    def isatty(self) -> bool:
        """Tell whether a person reads."""
        return self._stream.isatty()

    def close(self) -> None:
        """Write what is left, as far as the reader takes it at once."""
        self.flush()
        self._batches.put(None)
        self._thread.join(_CLOSE_SECONDS)

    def _write_batches(self) -> None:
        while (taken := self._batches.get()) is not None:
            batch, lines = taken
            try:
                self._write(batch)
            except (OSError, ValueError):
                self._lines_lost += lines
            self._bytes_done += len(batch)

    def _write(self, batch: bytes) -> None:
        rest = memoryview(batch)
        while rest:
            written = self._stream.write(rest)
            if written is None:  # a pipe that does not block, and is full
                time.sleep(_FLUSH_SECONDS)
            else:
                rest = rest[written:]


@cache
def stdout_lines() -> LineWriter:
    """Give the one that writes to this process's stdout."""
    buffer: Any = sys.stdout.buffer
    return LineWriter(getattr(buffer, "raw", buffer))  # `python -u` has no buffer
