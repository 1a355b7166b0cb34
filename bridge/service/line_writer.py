"""The log's way to stdout: nobody waits for who reads it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
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

    Several processes may write to one stream: none comes between the lines of another.

    Args:
        stream: Without a buffer, whose lock the interpreter's end would wait for.
    """

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._flush_due = False
        self._within_line = False  # what was written last has no end
        self._batches: SimpleQueue[bytes | None] = SimpleQueue()
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
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
            self._flush_due = True

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
        self._batches.put(batch)

    def isatty(self) -> bool:
        """Tell whether a person reads."""
        return self._stream.isatty()

    def close(self) -> None:
        """Write what is left, as far as the reader takes it at once."""
        self.flush()
        self._batches.put(None)
        self._thread.join(_CLOSE_SECONDS)

    def _write_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            with contextlib.suppress(OSError, ValueError), self._alone():
                self._write(batch)
            self._bytes_done += len(batch)

    def _write(self, batch: bytes) -> None:
        taken = 0
        try:
            if self._within_line:
                self._stream.write(b"\n")
            while taken < len(batch):
                written = self._stream.write(memoryview(batch)[taken:])
                if written is None:  # a pipe that does not block, and is full
                    time.sleep(_FLUSH_SECONDS)
                else:
                    taken += written
                    self._within_line = batch[taken - 1 : taken] != b"\n"
        finally:
            self._lines_lost += batch.count(b"\n", taken)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of ours from writing: a full pipe takes a part, then of anybody.

        A file takes whatever is written at once. Where nothing can be locked, all write.
        """
        locked = None
        with contextlib.suppress(OSError, ValueError):
            stream = self._stream.fileno()
            if not stat.S_ISREG(os.fstat(stream).st_mode):
                fcntl.lockf(stream, fcntl.LOCK_EX)
                locked = stream
        try:
            yield
        finally:
            if locked is not None:
                fcntl.lockf(locked, fcntl.LOCK_UN)


@cache
def stdout_lines() -> LineWriter:
    """Give the one that writes to this process's stdout."""
    buffer: Any = sys.stdout.buffer
    return LineWriter(getattr(buffer, "raw", buffer))  # `python -u` has no buffer
