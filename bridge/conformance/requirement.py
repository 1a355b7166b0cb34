"""A requirement, and how it is judged over what was seen. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bridge.conformance.exchange import Evidence, Exchange, NotApplicableError
from bridge.decision.challenge_parser import ChallengeSyntaxError

Level = Literal["MUST", "SHOULD", "INFO"]
Outcome = Literal["pass", "fail", "not testable"]

EVERY: tuple[str, ...] = ()
"""A requirement on every response, whatever was sent."""

Check = Callable[[Exchange, Evidence], str | None]
"""Says what is wrong, None where nothing is; raises `NotApplicableError` where that cannot be told.

`ChallengeSyntaxError` counts as that too: it is the business of the requirement on the grammar.
"""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of the table.

    Attributes:
        id: RFC, section, and a number of ours.
        level: INFO: it says something about the target, and fails nothing.
        text: What must be so.
        on: Names of the exchanges that it looks at; `EVERY`.
        ours: The level is this kit's; the RFC leaves it open, or another document demands it.
    """

    id: str
    level: Level
    text: str
    on: tuple[str, ...]
    check: Check
    ours: bool = False

    @property
    def rfc(self) -> str:
        """The document, `RFC 9470`."""
        return f"RFC {self.id.split('-')[0].removeprefix('RFC')}"

    @property
    def section(self) -> str:
        """The section of it."""
        return self.id.split("-")[1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a requirement.

    Attributes:
        faults: Name of each exchange that failed, and what is wrong with it.
        reasons: Why it is not testable.
        seen: Names of the exchanges that spoke for or against it.
    """

    requirement: Requirement
    outcome: Outcome
    faults: tuple[tuple[str, str], ...] = ()
    reasons: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


def judge(requirement: Requirement, evidence: Evidence) -> Verdict:
    """Judge a requirement: one bad exchange fails it, and no exchange leaves it open.

    No response fails whatever looks at that exchange: nobody knows what the API did.
    """
    faults: list[tuple[str, str]] = []
    reasons: list[str] = []
    seen: list[str] = []
    for name in requirement.on or tuple(evidence.exchanges):
        exchange = evidence.exchanges.get(name)
        if exchange is None:
            reasons.append(evidence.missing.get(name, f"{name} was not sent"))
            continue
        if exchange.received is None:
            if requirement.on is not EVERY:
                seen.append(name)
                faults.append((name, f"no response: {exchange.fault}"))
            continue
        try:
            fault = requirement.check(exchange, evidence)
        except NotApplicableError as error:
            reasons.append(str(error))
        except ChallengeSyntaxError:
            reasons.append("the challenge cannot be read")
        else:
            seen.append(name)
            if fault is not None:
                faults.append((name, fault))
    outcome: Outcome = "fail" if faults else "pass" if seen else "not testable"
    why = () if seen else tuple(dict.fromkeys(reasons)) or ("no response came",)
    return Verdict(requirement, outcome, tuple(faults), why, tuple(seen))
