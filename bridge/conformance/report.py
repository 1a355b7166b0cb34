"""What a run found: for a person, and for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge.conformance.exchange import Exchange
from bridge.conformance.requirement import Level, Outcome, Verdict
from bridge.conformance.run import Result
from bridge.errors import printable

# Of a response; others may hold what is nobody's business.
_SHOWN = frozenset(
    {
        "access-control-allow-origin", "access-control-expose-headers", "cache-control",
        "content-type", "location", "retry-after", "www-authenticate",
    }
)  # fmt: skip
_OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "not testable")
_LEVELS: tuple[Level, ...] = ("MUST", "SHOULD", "INFO")


def document(result: Result) -> dict[str, Any]:
    """Write the result as JSON has it. Tokens are in it by name only."""
    return {
        "url": result.url,
        "ok": result.ok,
        "summary": {
            level: {
                outcome: sum(
                    (verdict.requirement.level, verdict.outcome) == (level, outcome)
                    for verdict in result.verdicts
                )
                for outcome in _OUTCOMES
            }
            for level in _LEVELS
        },
        "requirements": [_requirement(verdict) for verdict in result.verdicts],
        "exchanges": [_exchange(exchange) for exchange in result.exchanges],
    }


def _requirement(verdict: Verdict) -> dict[str, Any]:
    requirement = verdict.requirement
    return {
        "id": requirement.id,
        "rfc": requirement.rfc,
        "section": requirement.section,
        "level": requirement.level,
        "level_by_kit": requirement.ours,
        "text": requirement.text,
        "outcome": verdict.outcome,
        "faults": [{"exchange": name, "fault": fault} for name, fault in verdict.faults],
        "reasons": list(verdict.reasons),
        "exchanges": list(verdict.seen),
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    sent, received = exchange.sent, exchange.received
    return {
        "name": exchange.name,
        "sent": {"method": sent.method, "url": sent.url, "headers": [*map(list, sent.headers)]},
        "received": None
        if received is None
        else {
            "status": received.status,
            "headers": [[key, value] for key, value in received.shown if key in _SHOWN],
        },
        "fault": exchange.fault or None,
    }


def render(found: dict[str, Any], *, verbose: bool = False) -> str:
    """Write the table.

    Args:
        found: As `document` gives it.
        verbose: Show what was sent and received for what passes, too.
    """
    exchanges = {exchange["name"]: exchange for exchange in found["exchanges"]}
    width = max(len(requirement["id"]) for requirement in found["requirements"])
    lines: list[str] = []
    for requirement in found["requirements"]:
        level = requirement["level"] + ("*" if requirement["level_by_kit"] else "")
        lines.append(
            f"{requirement['id']:<{width}}  {level:<7}  {requirement['outcome']:<12}  "
            f"{requirement['text']}"
        )
        faults = {fault["exchange"]: fault["fault"] for fault in requirement["faults"]}
        for name in requirement["exchanges"] if verbose else faults:
            lines += _shown(exchanges[name], faults.get(name))
        if requirement["outcome"] == "not testable":
            lines += [f"    {reason}" for reason in requirement["reasons"]]
    counts = (
        f"{level} " + ", ".join(f"{count} {outcome}" for outcome, count in by_outcome.items())
        for level, by_outcome in found["summary"].items()
    )
    lines += ["", *counts, "* the level is the kit's own: see docs/conformance.md"]
    return "".join(f"{printable(line)}\n" for line in lines)


def _shown(exchange: dict[str, Any], fault: str | None) -> Iterator[str]:
    yield f"    {exchange['name']}" + ("" if fault is None else f": {fault}")
    sent, received = exchange["sent"], exchange["received"]
    yield f"      > {sent['method']} {sent['url']}"
    yield from (f"      > {name}: {value}" for name, value in sent["headers"])
    if received is None:
        yield f"      < no response: {exchange['fault']}"
        return
    yield f"      < {received['status']}"
    yield from (f"      < {name}: {value}" for name, value in received["headers"])
