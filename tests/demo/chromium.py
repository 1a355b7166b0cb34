"""A real browser: headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

SECONDS = 60
"""How long anything may take; far more than it ever does."""
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


def find_chromium() -> str | None:
    """Give the command: `CHROMIUM_BIN`, or one of Chromium's names on the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM_BIN") or next(filter(None, found), None)


class Chromium:
    """One tab of a browser with a profile of its own, from `async with` to its end.

    Args:
        directory: For the profile and the output.

    Attributes:
        requests: Method and URL of what went over the network, preflights included.
    """

    def __init__(self, directory: Path) -> None:
        self.requests: list[tuple[str, str]] = []
        self._directory = directory
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as starting:
            profile = self._directory / "profile"
            process = self._start(profile)
            starting.push_async_callback(asyncio.to_thread, _end, process)
            port_file = profile / "DevToolsActivePort"
            deadline = time.monotonic() + SECONDS
            while not (port_file.exists() and port_file.read_text().count("\n")):
                assert process.poll() is None, self.output()
                assert time.monotonic() < deadline, self.output()
                await asyncio.sleep(0.05)
            port, path = port_file.read_text().split()
            session = await starting.enter_async_context(aiohttp.ClientSession())
            self._socket = await starting.enter_async_context(
                session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=_MAX_MESSAGE_BYTES)
            )
            reading = asyncio.create_task(self._read())
            starting.callback(reading.cancel)
            self._tab: str | None = None
            target = await self._send("Target.createTarget", url="about:blank")
            tab = await self._send("Target.attachToTarget", **target, flatten=True)
            self._tab = tab["sessionId"]
            for domain in ("Page", "Runtime", "Network"):
                await self._send(f"{domain}.enable")
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._running.aclose()

    def output(self) -> str:
        return (self._directory / "chromium.out").read_text(errors="replace")

    async def open(self, url: str) -> None:
        await self._send("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Give what an expression comes to, a promise's result included.

        Raises:
            AssertionError: It throws, or the page went away meanwhile.
        """
        answer = await self._send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """Wait until an expression is true, on whatever page the browser is by then."""
        deadline = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(AssertionError):
                if value := await self.run(script):
                    return value
            if time.monotonic() > deadline:
                shown = await self.run("location.href + '\\n' + document.body?.innerText")
                raise AssertionError(f"not in time: {script}; the page is {shown}")
            await asyncio.sleep(0.05)

    async def click(self, selector: str, text: str = "") -> None:
        """Click the first visible element with a text, once it is there."""
        await self.wait_for(
            f"""(() => {{
              const found = [...document.querySelectorAll({json.dumps(selector)})].find((each) =>
                each.textContent.includes({json.dumps(text)}) && each.checkVisibility());
              found?.click();
              return Boolean(found);
            }})()"""
        )

    async def fill(self, **fields: str) -> None:
        """Fill in the page's form, once it is there, and send it."""
        for name, value in fields.items():
            field = f"document.getElementById({json.dumps(name)})"
            await self.wait_for(f"{field} && ({field}.value = {json.dumps(value)})")
        await self.click("form button")

    def _start(self, profile: Path) -> subprocess.Popen[bytes]:
        command = find_chromium()
        assert command is not None
        with (self._directory / "chromium.out").open("ab") as output:
            return subprocess.Popen(
                [
                    command,
                    "--headless=new",
                    "--remote-debugging-port=0",
                    f"--user-data-dir={profile}",
                    *("--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                    *("--disable-background-networking", "--disable-component-update"),
                    "--no-proxy-server",
                    *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # it refuses root otherwise
                    "about:blank",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def _send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._tab is not None:
            message["sessionId"] = self._tab
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        return await asyncio.wait_for(answer, SECONDS)

    async def _read(self) -> None:
        async for message in self._socket:
            content = json.loads(message.data)
            waiting = self._answers.pop(content.get("id"), None)
            if waiting is not None and not waiting.done():
                if "error" in content:
                    waiting.set_exception(AssertionError(content["error"]))
                else:
                    waiting.set_result(content["result"])
            elif content.get("method") == "Network.requestWillBeSent":
                request = content["params"]["request"]
                self.requests.append((request["method"], request["url"]))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)
