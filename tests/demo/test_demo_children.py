"""Children never outlive the demo, and their death never goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bridge.demo import children as module
from bridge.demo.children import Child, Children
from bridge.demo.errors import DemoError

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"
    "time.sleep(60)",
]


def is_alive(child: Child) -> bool:
    try:
        os.kill(child.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


async def start(children: Children, command: list[str], name: str = "child") -> Child:
    """Start a child that prints `up`, and wait until it has."""
    child = await children.start(name, command)

    async def up() -> bool | None:
        return "up" in child.log.read_text() or None

    await children.wait_for(child, "come up", up)
    return child


async def never() -> None:
    return None


async def test_a_command_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        with pytest.raises(DemoError, match=r"^envoy cannot be started: No such file"):
            await children.start("envoy", [str(tmp_path / "missing")])


async def test_a_child_that_dies_at_start_is_reported_with_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('port taken'); print(); raise SystemExit(3)"]
    async with Children(tmp_path) as children:
        child = await children.start("bridge", command)

        with pytest.raises(DemoError, match=r"^bridge ended with exit code 3: port taken$"):
            await children.wait_for(child, "listen", never)


async def test_waiting_for_one_child_notices_the_death_of_another(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        first = await start(children, SLEEP, "first")
        second = await start(children, SLEEP, "second")
        first.process.kill()

        with pytest.raises(DemoError, match=r"^first was killed by signal 9$"):
            await children.wait_for(second, "listen", never)


async def test_a_child_that_never_comes_up_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT_SECONDS", 0.1)
    async with Children(tmp_path) as children:
        child = await children.start("envoy", SLEEP)

        with pytest.raises(DemoError, match=r"^envoy did not listen within 0 s$"):
            await children.wait_for(child, "listen", never)


async def test_a_death_ends_the_work(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await start(children, SLEEP)
        work = asyncio.Event()
        asyncio.get_running_loop().call_soon(child.process.kill)

        with pytest.raises(DemoError, match=r"^child was killed by signal 9$"):
            await children.watch(work.wait())


async def test_work_gives_its_result_and_its_error(tmp_path: Path) -> None:
    async def fail() -> None:
        raise DemoError("differs")

    async with Children(tmp_path) as children:
        await start(children, SLEEP)

        assert await children.watch(asyncio.sleep(0, "done")) == "done"
        with pytest.raises(DemoError, match="differs"):
            await children.watch(fail())


async def test_all_children_end_with_the_demo_also_a_stubborn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_SECONDS", 0.2)
    async with Children(tmp_path) as children:
        good, bad = await start(children, SLEEP, "good"), await start(children, STUBBORN, "bad")

    assert [is_alive(good), is_alive(bad)] == [False, False]
    assert capsys.readouterr().err == "stepup-bridge demo: bad does not stop, killing it\n"


async def test_the_death_that_made_the_work_fail_is_the_news(tmp_path: Path) -> None:
    async with Children(tmp_path) as children:
        child = await start(children, SLEEP)

        async def fail() -> None:
            child.process.kill()
            raise DemoError("connection refused")

        with pytest.raises(DemoError, match=r"^child was killed by signal 9$"):
            await children.watch(fail())
