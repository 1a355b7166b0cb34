"""Facts about an issuer in, the doctor's checks of it out. Pure: `diagnose` does the asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.policy.operations import Policy
from bridge.rehearsal.doctor.advertised import check_acr_values, check_auth_time
from bridge.rehearsal.doctor.check import Check, Outcome, guarded_operations, listed, shown
from bridge.rehearsal.doctor.facts import (
    Exchange,
    IssuerFacts,
    Metadata,
    discovers_keys,
    find_jwks_uri,
    has_metadata,
    members_of,
    needs_metadata,
    of_metadata,
    own_metadata,
    strings_in,
)
from bridge.rehearsal.doctor.times import check_times
from bridge.rehearsal.doctor.words import describe_fault
from bridge.tokens.jwk import VerificationKey
from bridge.tokens.settings import IssuerSettings


def check_issuer(settings: IssuerSettings, policy: Policy, facts: IssuerFacts) -> list[Check]:
    """Judge an issuer.

    Args:
        policy: What its tokens are asked to satisfy.
    """
    guarded = guarded_operations(policy, settings.issuer)
    checks: list[Check] = []
    own: list[Metadata] = []
    if has_metadata(settings):
        own = list(own_metadata(settings, facts.exchanges))
        checks += _metadata(settings, facts.exchanges, own)
    else:
        reason = "keys come from a file" if settings.jwks_file else "its name is no URL"
        checks.append(Check("metadata", "skipped", f"not asked for: {reason}"))
    checks.append(_key_set(settings, facts))
    if facts.keys:
        checks.append(_keys(settings, facts.keys, own))
    checks += check_times(settings, facts, own)
    checks += check_acr_values(settings, guarded, own)
    checks += check_auth_time(settings, guarded, own)
    if facts.introspection is not None:
        checks.append(_introspection(facts.introspection))
    return checks


def _metadata(
    settings: IssuerSettings, exchanges: Iterable[Exchange], own: list[Metadata]
) -> Iterator[Check]:
    """Look whether there is metadata, of this issuer, that says where the keys are."""
    missing: Outcome = "failure" if needs_metadata(settings) else "warning"
    faults, others = [], []
    for exchange in of_metadata(settings, exchanges):
        members = members_of(exchange)
        if isinstance(members, str):
            faults.append(f"{exchange.url}: {describe_fault(members)}")
        elif members.get("issuer") != settings.issuer:
            others.append(f"{exchange.url} says {shown(members.get('issuer'))}")
    if not own and not others:
        needed = "" if missing == "failure" else "; the service can do without"
        yield Check("metadata", missing, f"not found: {'; '.join(faults)}{needed}")
        return
    found = ", ".join(each.url for each in own) or "; ".join(others)
    yield Check("metadata", "ok", f"found at {found}")
    if not own:
        yield Check(
            "issuer",
            missing,
            f"not this issuer's: {'; '.join(others)}: `issuer` must be written exactly so",
        )
        return
    yield Check("issuer", "ok", "the metadata names exactly this issuer")
    if discovers_keys(settings):
        yield _jwks_uri(settings, own)


def _jwks_uri(settings: IssuerSettings, own: list[Metadata]) -> Check:
    uri, fault = find_jwks_uri(settings, own)
    if uri is not None:
        return Check("jwks_uri", "ok", f"{shown(uri)} from the metadata")
    if fault == "keys_over_http":
        detail = "the metadata of an https issuer names keys over http: refused, mend the issuer"
    else:
        detail = "the metadata has no `jwks_uri`: set `jwks_uri` or `jwks_file`"
    return Check("jwks_uri", "failure", detail)


def _key_set(settings: IssuerSettings, facts: IssuerFacts) -> Check:
    error = facts.keys_error
    if not settings.takes_jwt:
        return Check("key_set", "skipped", "`tokens` has no jwt")
    if error is None:
        source = f"read from {settings.jwks_file}" if settings.jwks_file else "fetched"
        return Check("key_set", "ok", source)
    if error.startswith(("metadata_", "no_metadata")):
        return Check("key_set", "failure", "nothing says where it is: see the metadata")
    return Check("key_set", "failure", f"cannot be used: {describe_fault(error)}")


def _keys(
    settings: IssuerSettings, keys: tuple[VerificationKey, ...], own: list[Metadata]
) -> Check:
    """Compare the keys with the configured algorithms (RFC 8725 §3.1)."""
    configured = frozenset(settings.algorithms)
    fitting = [
        f"{shown(key.kid)} for {listed(sorted(key.algorithms & configured))}"
        for key in keys
        if key.algorithms & configured
    ]
    useless = [
        f"{shown(key.kid)} for {listed(sorted(key.algorithms))}"
        for key in keys
        if not key.algorithms & configured
    ]
    remedy = f"tokens signed with it are refused: `algorithms` has {listed(settings.algorithms)}"
    if not fitting:
        return Check("keys", "failure", f"no key fits: {listed(useless)}; {remedy}")
    detail = f"{len(fitting)} usable: {listed(fitting)}"
    if useless:
        return Check("keys", "warning", f"{detail}; not used: {listed(useless)}; {remedy}")
    hinted = strings_in(own, "id_token_signing_alg_values_supported") or []
    if hinted and configured.isdisjoint(hinted):
        hint = f"the metadata says that ID tokens are signed with {listed(hinted)}"
        return Check("keys", "warning", f"{detail}; but {hint}: see which alg access tokens have")
    return Check("keys", "ok", detail)


def _introspection(said: str) -> Check:
    """Judge what was said of a token that nobody has (RFC 7662 §2.2)."""
    if said == "inactive":
        return Check("introspection", "ok", "answers, and says that a made-up token is not active")
    if said == "active":
        detail = "says that a made-up token is active: anybody would be let in; mend the issuer"
        return Check("introspection", "failure", detail)
    return Check("introspection", "failure", f"no proper answer: {describe_fault(said)}")
