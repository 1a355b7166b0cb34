"""What the policy demands against what the issuer advertises. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.rehearsal.doctor.check import Check, Guarded, Outcome, listed
from bridge.rehearsal.doctor.facts import Metadata, strings_in
from bridge.tokens.settings import IssuerSettings


def check_acr_values(
    settings: IssuerSettings, guarded: list[Guarded], own: list[Metadata]
) -> Iterator[Check]:
    """Compare what the policy demands with what the issuer has: the rest is a login loop.

    Spec: OpenID Connect Discovery §3 (acr_values_supported), RFC 9470 §7.
    """
    demanding = [each for each in guarded if each.operation.requirement.acr_values]
    demanded = dict.fromkeys(
        value for each in demanding for value in each.operation.requirement.acr_values
    )
    if not demanded:
        yield Check("acr_values", "skipped", "no operation demands any")
        return
    supported = strings_in(own, "acr_values_supported")
    asked_for = listed(settings.acr_names.to_issuer(demanded))
    if supported is None:
        outcome: Outcome = "warning" if own else "skipped"
        lack = "the metadata has no `acr_values_supported`" if own else "there is no metadata"
        yield Check("acr_values", outcome, f"{lack}: make sure that the issuer knows {asked_for}")
        return
    unknown = [
        value
        for value in demanded
        if set(supported).isdisjoint(settings.acr_names.to_issuer([value]))
    ]
    looping = [
        each.name
        for each in demanding
        if set(each.operation.requirement.acr_values).issubset(unknown)
    ]
    if not unknown:
        yield Check("acr_values", "ok", f"the issuer advertises {asked_for}")
        return
    missing = listed(settings.acr_names.to_issuer(unknown))
    has = f"the issuer advertises {listed(supported)}, not {missing}"
    remedy = "configure them there, or translate with `acr_map`"
    if looping:
        detail = f"{has}: clients of {listed(looping)} would log in again and again; {remedy}"
        yield Check("acr_values", "failure", detail)
    else:
        yield Check("acr_values", "warning", f"{has}; each operation has another; {remedy}")


def check_auth_time(
    settings: IssuerSettings, guarded: list[Guarded], own: list[Metadata]
) -> Iterator[Check]:
    """Look whether the issuer knows the claim that max_age is measured by."""
    if not any(each.operation.requirement.max_age is not None for each in guarded):
        yield Check("auth_time", "skipped", "no operation demands a max_age")
        return
    claims = strings_in(own, "claims_supported")
    names = [path[0] for path in settings.claims.auth_time]
    if claims is None:
        yield Check("auth_time", "skipped", "no metadata with `claims_supported`")
    elif set(names).isdisjoint(claims):
        detail = f"`claims_supported` lacks {listed(names)}, and operations demand a max_age:"
        detail += " make sure that access tokens have it, or no token is ever fresh"
        yield Check("auth_time", "warning", detail)
    else:
        yield Check("auth_time", "ok", "advertised; whether access tokens have it, a token tells")
