"""`docs/clients.md`: its Python runs as it stands, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.client import errors
from bridge.demo.oauth import MFA, PWD

from .client_stage import CLIENT_ID, ClientStage
from .scripted_browser import ScriptedBrowser

GUIDE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_snippets_run_one_after_the_other(
    stage: ClientStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = ScriptedBrowser()
    monkeypatch.setenv("SSL_CERT_FILE", str(stage.authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", stage.tls)
    monkeypatch.setattr("webbrowser.open", browser)
    names: dict[str, Any] = {"__name__": "guide"}
    for snippet in SNIPPETS:
        text = snippet.replace("https://api.example.com", stage.api).replace("my-app", CLIENT_ID)
        exec(compile(text, "docs/clients.md", "exec"), names)
    assert [names[name].status_code for name in ("accounts", "transfer", "again")] == [200] * 3
    assert names["transfer"].json()["identity"]["x-stepup-acr"] == MFA
    assert names["again"].json()["identity"]["x-stepup-acr"] == PWD
    assert names["statuses"] == [200] * 10
    assert names["status"] == 200
    assert names["reason"] == ("no user to ask, and the API wants: a token, scope accounts:read")
    assert names["redirect_to"].startswith("https://login.example.com/authorize?")
    assert "scope=accounts%3Aread+payments%3Awrite" in names["redirect_to"]
    # Login and step-up; one for all ten; one for aiohttp: the browser is at the level already.
    assert len(browser.visited) == 2 + 1 + 1


def test_errors_that_the_guide_names_exist() -> None:
    named = set(re.findall(r"`(\w+Error)`", GUIDE))
    assert named >= {"LoopError", "ReplayError", "LoginTimeoutError"}
    assert not [name for name in named if not hasattr(errors, name)]
