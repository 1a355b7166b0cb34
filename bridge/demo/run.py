"""`stepup-bridge demo`: set the stage, play the story, and stay or go."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import astuple
from pathlib import Path
from urllib.parse import urlsplit

from bridge.demo.errors import DemoError
from bridge.demo.oauth import ALICE
from bridge.demo.policy import CALL_CLIENT, STORY_CLIENT
from bridge.demo.stage import Ports, Stage
from bridge.demo.story import play

STORY_MAX_AGE_SECONDS = 5
"""Of a transfer, in the story, which waits that long."""
BROWSER_MAX_AGE_SECONDS = 60
"""Of a transfer, for people."""
BROWSER_PORTS = Ports(8080, 8081, 8082, 8083, 9191, 9192)
"""Where people find it, so that commands can be repeated."""


def run_demo(*, once: bool) -> int:
    """Run the demo.

    Args:
        once: Play the story and end; else stay up until SIGTERM or SIGINT.

    Returns:
        The exit code: 0; 1 where the story differs, or something does not start or stay up, or
        the story was interrupted.
    """
    try:
        return asyncio.run(until_told(_demo(once=once), interrupted=1 if once else 0))
    except DemoError as error:
        print(f"stepup-bridge demo: {error}", file=sys.stderr)
        return 1


async def until_told(work: Coroutine[None, None, None], *, interrupted: int) -> int:
    """Work until it is done or a signal says to stop; the work cleans up either way.

    Args:
        interrupted: The exit code after a signal.

    Returns:
        The exit code.
    """
    task = asyncio.ensure_future(work)
    told = False

    def stop() -> None:
        nonlocal told
        if not told:  # a second Ctrl-C must not cut the cleaning up short
            told = True
            task.cancel()

    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(name, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise
        print("\nStopped.", flush=True)
        return interrupted
    return 0


async def _demo(*, once: bool) -> None:
    ports = Ports() if once else BROWSER_PORTS
    with tempfile.TemporaryDirectory(prefix="stepup-demo-") as directory:
        async with Stage(Path(directory), ports, STORY_MAX_AGE_SECONDS) as stage:
            _print_addresses(stage, as_usual=once or _ports_of(stage) == set(astuple(ports)))
            story = play(stage.gateway, stage.issuer, STORY_CLIENT, STORY_MAX_AGE_SECONDS)
            await stage.children.watch(story)
            print("\nThe story went as it should.", flush=True)
            if not once:
                await stage.change_max_age(BROWSER_MAX_AGE_SECONDS)
                _print_invitation(stage)
                await stage.children.watch(asyncio.Event().wait())


def _ports_of(stage: Stage) -> set[int]:
    ports = (urlsplit(address).port for address in stage.addresses.values())
    return {port for port in ports if port is not None}


def _print_addresses(stage: Stage, *, as_usual: bool) -> None:
    width = max(map(len, stage.addresses))
    for name, address in stage.addresses.items():
        print(f"{name:{width}}  {address}", flush=True)
    if not as_usual:
        print("Some of the demo's usual ports are taken, so these are others.", flush=True)


def _print_invitation(stage: Stage) -> None:
    print(
        f"""
Now you. A transfer may follow a login by {BROWSER_MAX_AGE_SECONDS} s from here on \
(the bridge reloaded its configuration).

  Open {stage.addresses["page"]} and make a transfer as {ALICE.name}, password {ALICE.password}.
  Or:  {_command()} call --client-id {CALL_CLIENT.client_id} --issuer {stage.issuer} \
-X POST {stage.gateway}/transfers
  Or:  curl -i {stage.gateway}/accounts

Ctrl-C ends it all.""",
        flush=True,
    )


def _command() -> str:
    """Give the command that people have started this with: a bare name may not be on their PATH."""
    if Path(sys.argv[0]).name == "__main__.py":
        return shlex.join([sys.executable, "-m", "bridge"])
    return shlex.quote(sys.argv[0])
