"""`stepup-bridge test`: policy test cases, what an API owner runs in CI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bridge.config.load import read_text
from bridge.config.messages import schema_problems
from bridge.config.model import Section
from bridge.config.settings import Config
from bridge.config.values import duration
from bridge.config.yaml_marks import UnreadableYamlError, read_yaml
from bridge.decision.response import told
from bridge.errors import ConfigError, Problem
from bridge.rehearsal.assumed import PLACEHOLDER_TOKEN, AssumedBinding, AssumedVerifier
from bridge.rehearsal.question import QuestionSyntaxError, ask
from bridge.service.check import Checked, Checker

_MISSING = "-"


class RequestSection(Section):
    """The request of a case."""

    method: str = "GET"
    url: str
    headers: dict[str, str] = Field(default_factory=dict)


class TokenSection(Section):
    """The claims of a case, as `AssumedVerifier` takes them; what is not named here is a claim."""

    model_config = ConfigDict(extra="allow")

    auth_age: Annotated[int, BeforeValidator(duration)] = 0

    def claims(self) -> dict[str, Any]:
        """Give what was written."""
        return self.model_dump(exclude_unset=True)


class ExpectSection(Section):
    """What a case expects; what is not named may be anything."""

    allow: bool | None = None
    status: int | None = None
    error: str | None = None
    operation: str | None = None
    acr_values: str | None = None
    max_age: int | None = None
    scope: str | None = None


class CaseSection(Section):
    """One policy test case."""

    name: str
    request: RequestSection
    token: TokenSection | None = None
    expect: ExpectSection


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    Attributes:
        differences: Member of `expect`, what was expected, what came; empty: passed.
        reason: The decision's reason, to understand a failure by.
    """

    name: str
    differences: tuple[tuple[str, str, str], ...]
    reason: str

    @property
    def outcome(self) -> Literal["passed", "failed"]:
        """Name the result."""
        return "failed" if self.differences else "passed"


def read_cases(file: str | Path) -> list[CaseSection]:
    """Read a file of cases.

    Raises:
        ConfigError: It cannot be used; every problem with its place.
    """
    try:
        root, problems = read_yaml(read_text(file))
    except UnreadableYamlError as error:
        raise ConfigError(file, [error.problem]) from None
    cases: list[CaseSection] = []
    try:
        cases = TypeAdapter(list[CaseSection]).validate_python(root.plain())
    except ValidationError as error:
        problems += schema_problems(root, error, CaseSection)
    for index, case in enumerate(cases):
        node = root.value[index] if isinstance(root.value, list) else root
        try:
            ask(case.request.method, case.request.url)
        except QuestionSyntaxError as error:
            problems.append(Problem(node.line, f"[{index}].request.url", str(error)))
        if not case.expect.model_fields_set:
            problems.append(Problem(node.line, f"[{index}].expect", "must expect something"))
    if not problems and not cases:
        problems.append(Problem(root.line, "", "must hold at least one case"))
    if problems:
        raise ConfigError(file, problems)
    return cases


async def run_cases(config: Config, cases: Sequence[CaseSection], now: int) -> list[Result]:
    """Decide each case as the service would, and compare.

    Args:
        now: The time to decide at, epoch seconds.
    """
    verifier = AssumedVerifier(config, {})
    checker = Checker(config, verifier, AssumedBinding())
    results = []
    for case in cases:
        headers = list(case.request.headers.items())
        verifier.claims = {} if case.token is None else case.token.claims()
        if case.token is not None:
            headers.append(("authorization", f"Bearer {PLACEHOLDER_TOKEN}"))
        checked = await checker.check(ask(case.request.method, case.request.url, headers), now)
        differences = tuple(_differences(case.expect, checked))
        results.append(Result(case.name, differences, checked.decision.reason))
    return results


def _differences(expect: ExpectSection, checked: Checked) -> Iterator[tuple[str, str, str]]:
    came = _came(checked)
    for member in (name for name in ExpectSection.model_fields if name in expect.model_fields_set):
        wanted = getattr(expect, member)
        if wanted not in (came[member], came.get(f"full_{member}", came[member])):
            yield member, _show(wanted), _show(came[member])


def _came(checked: Checked) -> dict[str, Any]:
    decision = checked.decision
    shown = told(decision)
    api, operation = decision.api, decision.operation
    full_name = (
        f"{api.name}.{operation.name}" if api is not None and operation is not None else None
    )
    return {
        "allow": decision.allow,
        "status": 200 if decision.allow else decision.status,
        "error": decision.error,
        "operation": None if operation is None else operation.name,
        "full_operation": full_name,
        "acr_values": " ".join(shown.acr_values) or None,
        "max_age": shown.max_age,
        "scope": " ".join(shown.scopes) or None,
    }


def _show(value: Any) -> str:
    if value is None:
        return _MISSING
    return str(value).lower() if isinstance(value, bool) else str(value)
