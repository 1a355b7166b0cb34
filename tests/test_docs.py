"""The documentation and the code say the same; the configuration's is in tests/config."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.config.settings import LogSettings
from bridge.decision.decide import decide_without_api
from bridge.gateways.check_request import CheckRequest
from bridge.service.log import EVENTS, CheckLog
from bridge.service.metrics import METRICS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in sorted(ROOT.rglob("*.md"))
    if not re.search(r"(^|/)(\.|node_modules/)", str(page.relative_to(ROOT)))
}
OPERATIONS = PAGES["docs/operations.md"]
REASONS = PAGES["docs/decisions.md"].partition("\n## Reasons\n")[2]
# Which argument is the reason, of what takes one.
REASON_AT = {
    "RequestError": 0, "ambiguous": 0, "TokenError": 1, "IssuerError": 1,
    "ProofError": 1, "ReplayStoreError": 0,
    "_allow": 1, "_deny": 1, "Decision": 2,
}  # fmt: skip
LOG_LEVELS = ("info", "warning", "error")


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def table(text: str, heading: str) -> dict[str, list[str]]:
    """Give the rows of the table whose first heading this is, by the names in their first cell."""
    body = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in body.splitlines()[2:]]
    return {name: cells for cells in lines for name in names_in(cells[0])}


class Call(NamedTuple):
    """A call in the bridge's code: the last name of what is called, and the call."""

    name: str
    node: ast.Call


def calls() -> Iterator[Call]:
    for file in (ROOT / "bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield Call(getattr(node.func, "id", getattr(node.func, "attr", "")), node)


def logged() -> Iterator[tuple[str, str, set[str]]]:
    """Give each event that the code logs, its level, and the keys that stand beside it."""
    for name, node in calls():
        event = node.args[0] if node.args else None
        if name in LOG_LEVELS and isinstance(event, ast.Constant) and isinstance(event.value, str):
            yield event.value, name, {key.arg for key in node.keywords if key.arg}


def reasons() -> Iterator[str]:
    """Give a pattern for each reason that the code names."""
    for name, node in calls():
        at = REASON_AT.get(name)
        match node.args[at] if at is not None and at < len(node.args) else None:
            case ast.Constant(value=str(reason)):
                yield re.escape(reason)
            case ast.JoinedStr(values=parts):
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z0-9_…]+"
                    for part in parts
                )
        for key in node.keywords:
            if (name, key.arg) == ("_replace", "reason") and isinstance(key.value, ast.Constant):
                yield re.escape(str(key.value.value))


def test_operations_lists_every_metric_and_no_other() -> None:
    assert set(table(OPERATIONS, "metric")) == set(METRICS)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_metric_that_does_not_exist(page: str) -> None:
    named = re.findall(r"(?<![\w-])stepup_[a-z_]+", PAGES[page])
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} <= set(METRICS)


def test_operations_lists_every_event_and_no_other() -> None:
    assert set(table(OPERATIONS, "event")) == set(EVENTS)


def test_every_event_that_is_logged_is_listed_with_its_level_and_keys() -> None:
    listed = table(OPERATIONS, "event")
    events = list(logged())
    assert {event for event, _, _ in events} == set(EVENTS)
    for event, level, keys in events:
        assert listed[event][1] == level, event
        if event != "check_decided":
            assert keys <= names_in(listed[event][2]), event


async def test_operations_lists_every_key_of_a_check_and_no_other() -> None:
    stream = io.BytesIO()
    log = CheckLog(LogSettings(), None, stream)
    request = CheckRequest("envoy", "GET", ["h"], "/", [])
    log.write(request, decide_without_api("deny"), 0, 0.0)
    keys = set(json.loads(stream.getvalue())) - {"event", "level", "timestamp"}
    assert set(table(OPERATIONS, "key")) == keys


def test_decisions_lists_every_reason_and_no_other() -> None:
    listed = {name for cells in REASONS.splitlines() for name in names_in(cells)}
    listed -= {"reason", "explain"}
    step_up = {"acr_unmet", "max_age_unmet", "acr_and_max_age_unmet"}  # from a table in the code
    patterns = set(reasons()) | step_up
    assert len(patterns) > 40
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in listed), pattern
    for name in listed:
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, flags=re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", PAGES[page], flags=re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        file, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}
            assert anchor in slugs, link
