"""What the doctor's checks of issuers and of tokens share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from bridge.policy.operations import Api, Operation, Policy

Outcome = Literal["ok", "warning", "failure", "skipped"]
"""`failure`: some request would be denied or loop; `skipped`: there was nothing to look at."""

_MAX_SHOWN = 200


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        check: Stable name.
        detail: What was found; where it is not good, what is wrong and what to do.
    """

    check: str
    outcome: Outcome
    detail: str


class Guarded(NamedTuple):
    """An operation that looks at tokens, with its API."""

    api: Api
    operation: Operation

    @property
    def name(self) -> str:
        """As the log and the metrics would say it."""
        return f"{self.api.name}.{self.operation.name}"


def guarded_operations(policy: Policy, issuer: str) -> list[Guarded]:
    """Give the operations at which a token of this issuer is looked at."""
    return [
        Guarded(api, operation)
        for api in policy.apis
        if issuer in api.issuers
        for operation in api.operations
        if not operation.public
    ]


def names_of(apis: Iterable[Api]) -> str:
    """Write the names of APIs."""
    return listed(api.name for api in apis)


def listed(values: Iterable[str]) -> str:
    """Write names for a sentence, bounded: some of them are an issuer's or a client's."""
    return _clip(", ".join(values)) or "none"


def shown(value: Any) -> str:
    """Write a claim's or a member's value as JSON, bounded."""
    return _clip(json.dumps(value))


def _clip(text: str) -> str:
    text = text.encode("ascii", "backslashreplace").decode("ascii")  # fit for any terminal
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
