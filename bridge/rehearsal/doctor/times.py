"""What answers say of time: how long keys last, and how the issuer's clock goes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from bridge.rehearsal.doctor.check import Check, shown
from bridge.rehearsal.doctor.facts import Exchange, IssuerFacts, Metadata, find_jwks_uri
from bridge.tokens.keys import refresh_after
from bridge.tokens.settings import IssuerSettings

MAX_SKEW_SECONDS = 60
"""A clock that is further off is a failure, whatever the leeway (unless that is larger still)."""


def check_times(
    settings: IssuerSettings, facts: IssuerFacts, own: list[Metadata]
) -> Iterator[Check]:
    """Look at what answers say of time: how long keys last, how the clock goes."""
    uri, _ = find_jwks_uri(settings, own)
    key_set = next((e.document for e in facts.exchanges if e.url == uri), None)
    if facts.keys and key_set is not None:
        yield _lifetime(key_set.cache_control)
    skews = [skew for each in facts.exchanges if (skew := clock_skew(each)) is not None]
    if skews:  # a cache on the way can only make one look older
        yield _clock(settings, min(skews, key=abs))
    elif facts.exchanges:
        yield Check("clock", "skipped", "no answer with a Date")


def _lifetime(cache_control: str) -> Check:
    seconds = refresh_after(cache_control)
    detail = f"each worker fetches the keys again every {seconds:.0f} s"
    if seconds <= refresh_after("no-store"):
        detail += f", the most often, as {shown(cache_control)} asks: let the issuer allow more"
        return Check("key_lifetime", "warning", detail)
    if seconds >= refresh_after("max-age=999999"):
        detail += ", the least often: a key that the issuer removes is trusted for as long"
        return Check("key_lifetime", "warning", detail)
    return Check("key_lifetime", "ok", detail)


def clock_skew(exchange: Exchange) -> float | None:
    """Tell how far the issuer's clock is ahead of ours, at least, in seconds; None: unknown.

    A Date is cut to a whole second and was written at some time between question and answer; what
    that can explain is no skew. A cached answer is older by its Age (RFC 9111 §5.1).
    """
    document = exchange.document
    if document is None:
        return None
    try:
        written = parsedate_to_datetime(document.date)
    except (ValueError, TypeError, OverflowError):
        return None
    if written.tzinfo is None:
        return None
    date = written.timestamp()
    date += int(document.age) if document.age.isdecimal() and len(document.age) < 10 else 0  # noqa: PLR2004
    ahead, behind = date - exchange.answered_at, date + 1 - exchange.asked_at
    return ahead if ahead > 0 else min(behind, 0.0)


def _clock(settings: IssuerSettings, skew: float) -> Check:
    off = abs(skew)
    side = "ahead of" if skew > 0 else "behind"
    if off <= settings.leeway:
        return Check("clock", "ok", f"within the leeway of {settings.leeway} s")
    detail = f"the issuer is {off:.0f} s {side} this machine, the leeway is {settings.leeway} s:"
    detail += " set both clocks by NTP"
    if off > max(MAX_SKEW_SECONDS, settings.leeway):
        return Check("clock", "failure", detail)
    return Check("clock", "warning", detail)
