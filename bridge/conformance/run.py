"""One run of the kit: a profile in, every request sent, every requirement judged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bridge.client.origin import is_protected, origin_of
from bridge.conformance.exchange import Evidence, Exchange, Facts, NotApplicableError
from bridge.conformance.plan import LINKED_METADATA, METADATA, plan, why_not
from bridge.conformance.probe import Prober
from bridge.conformance.profile import ProfileSection, read_profile
from bridge.conformance.requirement import Verdict, judge
from bridge.conformance.requirements import REQUIREMENTS
from bridge.conformance.tokens import read_tokens
from bridge.decision.challenge_parser import ChallengeSyntaxError
from bridge.decision.resource_metadata import metadata_url
from bridge.errors import BridgeError

# Where a challenge may be that has `resource_metadata`.
_CHALLENGED = ("none", "none-sensitive", "garbage")


class TargetError(BridgeError):
    """The URL is none that the kit sends tokens to; the text says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found."""

    url: str
    verdicts: tuple[Verdict, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def ok(self) -> bool:
        """Tell whether no MUST fails."""
        return not any(
            verdict.outcome == "fail" and verdict.requirement.level == "MUST"
            for verdict in self.verdicts
        )


def conform(url: str, file: str | Path) -> Result:
    """Check a target.

    Args:
        url: Of the API or gateway, without query; the profile's paths follow it.
        file: The profile.

    Raises:
        TargetError: The URL cannot be used.
        ConfigError: The profile cannot be used.
    """
    _check_url(url)
    profile, top = read_profile(file)
    tokens = read_tokens(file, profile, top)
    evidence = asyncio.run(_gather(url, profile, tokens))
    verdicts = tuple(judge(requirement, evidence) for requirement in REQUIREMENTS)
    return Result(url, verdicts, tuple(evidence.exchanges.values()))


def _check_url(url: str) -> None:
    try:
        origin_of(url)
        parts = urlsplit(url)
    except ValueError:
        raise TargetError("URL must be an absolute http or https URL") from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise TargetError("URL must have no user, query or fragment")
    if not is_protected(url):
        raise TargetError("URL must be https, or on this machine: tokens are sent there")


async def _gather(url: str, profile: ProfileSection, tokens: Mapping[str, str]) -> Evidence:
    """Send everything, one after the other."""
    sensitive = profile.sensitive
    facts = Facts(profile.resource, tuple(sensitive.acr_values), sensitive.max_age)
    exchanges: dict[str, Exchange] = {}
    missing: dict[str, str] = {}
    evidence = Evidence(facts, exchanges, missing)
    async with Prober(url, profile.host, tokens) as prober:
        for probe in plan(profile):
            if (reason := why_not(probe, tokens)) is None:
                exchanges[probe.name] = await prober.send(probe)
            else:
                missing[probe.name] = reason
        if profile.resource is None:
            missing[METADATA] = missing[LINKED_METADATA] = "the profile names no resource"
            return evidence
        for name, found in (
            (METADATA, metadata_url(profile.resource)),
            (LINKED_METADATA, next(_links(evidence), None)),
        ):
            if found is None:
                missing[name] = "no challenge has resource_metadata"
            elif (exchange := await prober.fetch(name, found)) is None:
                missing[name] = "it is at an origin that is not the target's, and was not asked"
            else:
                exchanges[name] = exchange
    return evidence


def _links(evidence: Evidence) -> Iterator[str]:
    for name in _CHALLENGED:
        try:
            link = evidence.exchanges[name].bearer.params.get("resource_metadata")
        except (NotApplicableError, ChallengeSyntaxError):
            continue
        if link is not None:
            yield link
