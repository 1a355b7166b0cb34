"""The doctor's report, for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge.errors import printable


def render(document: dict[str, Any]) -> str:
    """Write the report: a line for each check, the operations of each token, a last word."""
    lines = []
    for issuer in document["issuers"]:
        lines += [f"issuer {issuer['issuer']}", *_checks(issuer["checks"]), ""]
    for token in document["tokens"]:
        lines += [f"token {token['token']}", *_checks(token["checks"])]
        lines += [*_operations(token["operations"]), ""]
    checks = [c for each in document["issuers"] + document["tokens"] for c in each["checks"]]
    failures, warnings = (
        sum(check["outcome"] == outcome for check in checks) for outcome in ("failure", "warning")
    )
    lines.append(f"{failures} would fail, {warnings} to look at")
    return "".join(f"{printable(line)}\n" for line in lines)


def _checks(checks: list[dict[str, str]]) -> Iterator[str]:
    for check in checks:
        yield f"  {check['outcome']:<8} {check['check']:<16} {check['detail']}"


def _operations(operations: list[dict[str, Any]]) -> Iterator[str]:
    if operations:
        width = max(len(f"{each['api']}.{each['operation']}") for each in operations)
        yield "  operations"
        for each in operations:
            name = f"{each['api']}.{each['operation']}"
            line = f"    {each['decision']:<10} {name:<{width}}  {'; '.join(each['lacks'])}"
            yield line.rstrip()
