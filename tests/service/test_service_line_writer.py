"""Lines are written by a thread: all of them, or whole ones less, whoever reads."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO, RawIOBase
from typing import Any

import pytest

from bridge.service.line_writer import LineWriter
from e2e.harness.waiting import wait_until

LINE = b"x" * 1023 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    reader, writer = os.pipe()
    with FileIO(reader) as source, FileIO(writer, "w") as sink:
        yield source, sink


def read_all(pipe: tuple[FileIO, FileIO], lines: LineWriter) -> bytes:
    """Read until the writer has written all and the pipe is closed."""
    source, sink = pipe
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(source.readall)
        lines.close()
        sink.close()
        return read.result()


async def test_lines_come_whole_and_in_order_up_to_the_last(pipe: tuple[FileIO, FileIO]) -> None:
    lines = LineWriter(pipe[1])
    expected = [b"%d\n" % count for count in range(1000)]
    for count, line in enumerate(expected):
        lines.write(line)
        if count % 7 == 0:
            lines.flush()
    assert read_all(pipe, lines) == b"".join(expected)
    assert lines.lines_dropped == 0


async def test_backlog_of_a_stalled_reader_is_bounded_and_the_rest_is_counted(
    pipe: tuple[FileIO, FileIO],
) -> None:
    lines = LineWriter(pipe[1])
    for _ in range(8 * 1024):
        lines.write(LINE)
        lines.flush()
    assert 3 * 1024 < lines.lines_dropped <= 4 * 1024
    written = read_all(pipe, lines)
    assert written == LINE * (8 * 1024 - lines.lines_dropped)


async def test_close_does_not_wait_for_a_reader_that_stalls(pipe: tuple[FileIO, FileIO]) -> None:
    lines = LineWriter(pipe[1])
    for _ in range(100):
        lines.write(LINE)
    lines.close()  # else the test would not end
    assert pipe[0].read(2048) == LINE * 2


async def test_lines_that_nobody_reads_are_counted(pipe: tuple[FileIO, FileIO]) -> None:
    source, sink = pipe
    source.close()
    lines = LineWriter(sink)
    lines.write(LINE)
    lines.write(LINE)
    lines.close()
    assert lines.lines_dropped == 2


async def test_pipe_that_does_not_block_loses_nothing(pipe: tuple[FileIO, FileIO]) -> None:
    os.set_blocking(pipe[1].fileno(), False)
    lines = LineWriter(pipe[1])
    for _ in range(200):
        lines.write(LINE)
    assert read_all(pipe, lines) == LINE * 200


WRITE_MANY = """
import asyncio, io, sys
from bridge.service.line_writer import LineWriter

async def write():
    lines = LineWriter(io.FileIO(1, "w"))
    for _ in range(4):
        for _ in range(200):
            lines.write(sys.argv[1].encode() * 1000 + b"\\n")
        lines.flush()  # more than a pipe holds
    lines.close()
    lines._thread.join(30)

asyncio.run(write())
"""


def test_lines_of_several_processes_do_not_tear_each_other(pipe: tuple[FileIO, FileIO]) -> None:
    source, sink = pipe
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, mark], stdout=sink) for mark in "abc"
    ]
    sink.close()
    read = source.readall().splitlines()
    assert [worker.wait(10) for worker in workers] == [0, 0, 0]
    assert len(read) == 3 * 800
    assert set(read) == {b"a" * 1000, b"b" * 1000, b"c" * 1000}


class FullDisk(RawIOBase):
    """Takes a part of a line, then nothing, until there is room; it cannot be locked."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.room = 3

    def write(self, content: Any, /) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "")
        taken = bytes(content[: self.room])
        self.room -= len(taken)
        self.taken += taken
        return len(taken)


async def test_a_line_that_was_cut_off_is_ended_before_the_next() -> None:
    disk = FullDisk()
    lines = LineWriter(disk)
    lines.write(b"1\n")
    lines.write(b"22\n")
    lines.write(b"33\n")
    lines.flush()
    await asyncio.to_thread(wait_until, lambda: lines.lines_dropped == 2, seconds=10, what="a loss")
    disk.room = 100
    lines.write(b"4\n")
    lines.close()
    assert disk.taken == b"1\n2\n4\n"
    assert lines.lines_dropped == 2
