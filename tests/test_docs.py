"""The documentation and the code say the same; the configuration's is in tests/config."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bridge.config.settings import LogSettings
from bridge.conformance.profile import read_profile
from bridge.decision.decide import decide_without_api
from bridge.gateways.check_request import CheckRequest
from bridge.rehearsal.cases import CaseSection, ExpectSection, RequestSection
from bridge.service.log import EVENTS, CheckLog
from bridge.service.metrics import METRICS

ROOT = Path(__file__).parents[1]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in sorted(ROOT.rglob("*.md"))
    if not re.search(r"(^|/)(\.|node_modules/)", str(page.relative_to(ROOT)))
}
OPERATIONS = PAGES["docs/operations.md"]
REHEARSALS = PAGES["docs/rehearsals.md"]
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


COMMAND = ".venv/bin/stepup-bridge "
README_COMMANDS = [
    line.partition("    # ")[0]
    for line in PAGES["README.md"].partition("\n## Use it\n")[2].splitlines()
    if COMMAND in line and not line.startswith("-")
]
# What they exit with; the others need a running demo, or run until they are told to end.
ENDS = {"check-config": 0, "explain": 3, "test": 0, "schema": 0}


def name_of(command: str) -> str:
    return command.partition(COMMAND)[2].split()[0]


def test_readme_shows_the_commands_that_there_are() -> None:
    shown = [name_of(command) for command in README_COMMANDS]

    assert set(shown) >= {*ENDS, "serve", "doctor", "call", "conform"}


@pytest.mark.parametrize("command", README_COMMANDS, ids=name_of)
def test_readme_names_files_that_are_shipped(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0])
    files = [word for word in words if re.search(r"\.(yaml|json|txt)$", word)]

    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    "command", [each for each in README_COMMANDS if name_of(each) in ENDS], ids=name_of
)
def test_readme_commands_do_what_they_say(command: str) -> None:
    ours = command.partition(" > ")[0].replace(COMMAND, f"{sys.executable} -m bridge ")

    run = subprocess.run(
        ["sh", "-c", ours],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (run.returncode, run.stderr) == (ENDS[name_of(command)], "")


def test_the_example_of_a_profile_can_be_used() -> None:
    profile, _ = read_profile(ROOT / "examples" / "profile.yaml")

    assert profile.sensitive.max_age == 60


def test_rehearsals_names_every_member_of_a_case_and_no_other() -> None:
    members = {
        *CaseSection.model_fields,
        *(f"request.{name}" for name in RequestSection.model_fields),
        *(f"expect.{name}" for name in ExpectSection.model_fields),
    }

    assert set(table(REHEARSALS, "member")) == members - {"request", "expect"}


def test_rehearsals_names_every_step_of_an_explanation() -> None:
    code = (ROOT / "bridge" / "rehearsal" / "explain.py").read_text(encoding="utf-8")

    assert set(re.findall(r'"step": "(\w+)"', code)) <= set(table(REHEARSALS, "step"))
