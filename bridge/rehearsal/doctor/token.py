"""An access token in, what the bridge sees of it and what it lacks out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge.config.settings import Config
from bridge.decision.decide import Decision, Finding, decide_on_token
from bridge.errors import IssuerError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.rehearsal.doctor.check import Check, guarded_operations, listed, names_of, shown
from bridge.rehearsal.doctor.seen import (
    check_acr,
    check_audiences,
    check_auth_time,
    check_client,
    check_scope,
    check_senders,
)
from bridge.rehearsal.doctor.words import remedy
from bridge.tokens.access_token import AccessToken, access_token
from bridge.tokens.confirmation import read_confirmation
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection_answer import INTROSPECTION
from bridge.tokens.jwt import UnverifiedJwt, check_claims, check_header
from bridge.tokens.settings import IssuerSettings

_NEEDS_NO_KEY = ("format", "crit", "iss", "alg", "typ")


class PresentedToken(NamedTuple):
    """A token as the bridge saw it, never the token itself.

    Attributes:
        source: Where it was read from.
        jwt: Taken apart; None: it is no well-formed JWT.
        findings: What became of it at each API, in their order.
    """

    source: str
    jwt: UnverifiedJwt | None
    findings: tuple[Finding, ...]


def describe_token(config: Config, presented: PresentedToken, now: int) -> dict[str, Any]:
    """Tell what the bridge sees of a token, and what each operation would answer.

    Args:
        now: Current time, epoch seconds.
    """
    settings = _settings(config, presented)
    checks = list(_checks(config, settings, presented, now))
    if not _is_accepted(presented) and all(check.outcome != "failure" for check in checks):
        checks.append(_fault(config, settings, presented))
    return {
        "token": presented.source,
        "issuer": None if settings is None else settings.issuer,
        "checks": [check._asdict() for check in checks],
        "operations": [
            _verdict(api, operation, finding, settings, config, now)
            for api, finding in zip(config.policy.apis, presented.findings, strict=True)
            for operation in api.operations
            if not operation.public
        ],
    }


def _is_accepted(presented: PresentedToken) -> bool:
    return any(isinstance(finding, AccessToken) for finding in presented.findings)


def _settings(config: Config, presented: PresentedToken) -> IssuerSettings | None:
    """Find the token's issuer: the verified one, else the one that it claims to be of."""
    verified = next((f for f in presented.findings if isinstance(f, AccessToken)), None)
    if verified is not None:
        iss: Any = verified.iss
    else:
        iss = None if presented.jwt is None else presented.jwt.claims.get("iss")
    return next((each for each in config.issuers if each.issuer == iss), None)


def _checks(
    config: Config, settings: IssuerSettings | None, presented: PresentedToken, now: int
) -> Iterator[Check]:
    jwt = presented.jwt
    verified = next((f for f in presented.findings if isinstance(f, AccessToken)), None)
    if jwt is None and verified is None:
        yield _fault(config, settings, presented)
        return
    yield Check("format", "ok", "opaque" if jwt is None else "a JWT")
    if settings is None:
        claimed = shown(None if jwt is None else jwt.claims.get("iss"))
        detail = f"`iss` is {claimed}, exactly that is no configured issuer"
        yield Check("issuer", "failure", detail)
        return
    guarded = guarded_operations(config.policy, settings.issuer)
    takers = [api for api in config.policy.apis if settings.issuer in api.issuers]
    if not takers:
        yield Check("issuer", "failure", f"no API takes tokens of {shown(settings.issuer)}")
        return
    yield Check("issuer", "ok", f"{shown(settings.issuer)}, for {names_of(takers)}")
    if jwt is not None:
        yield _header(jwt, settings)
        yield _signature(config, settings, presented.findings)
        yield from _claims(jwt, settings, now)
    if verified is not None and verified.introspected:
        yield Check(INTROSPECTION, "ok", "the issuer says that it is active")
    seen = verified or _unverified(jwt, settings)
    yield check_audiences(seen, takers, settings)
    if seen.confirmation is not None or jwt is None or "cnf" not in jwt.claims:
        yield check_senders(seen, takers)
    yield check_acr(jwt, seen, settings, guarded)
    yield check_auth_time(jwt, seen, settings, guarded, now)
    yield check_scope(seen, guarded)
    yield check_client(seen, takers)


def _fault(config: Config, settings: IssuerSettings | None, presented: PresentedToken) -> Check:
    """Say why no API accepts a token: by the one that came furthest with it."""
    faults = [
        finding
        for api, finding in zip(config.policy.apis, presented.findings, strict=True)
        if finding is not None
        and not isinstance(finding, AccessToken)
        and (settings is None or settings.issuer in api.issuers)
    ]
    for fault in faults:
        match fault:
            case IssuerError():
                return Check(INTROSPECTION, "failure", remedy(fault.reason))
            case TokenError() if fault.check not in _NEEDS_NO_KEY:
                return Check(fault.check, "failure", remedy(fault.reason))
    if not faults:
        return Check("format", "failure", "no token at all")
    check = faults[0].check if isinstance(faults[0], TokenError) else "format"
    return Check(check, "failure", remedy(faults[0].reason))


def _header(jwt: UnverifiedJwt, settings: IssuerSettings) -> Check:
    header = jwt.header
    has = f"alg {shown(header.alg)}, typ {shown(header.typ)}, kid {shown(header.kid)}"
    try:
        check_header(header, settings)
    except TokenError as fault:
        return Check("header", "failure", f"{has}: {remedy(fault.reason)}")
    return Check("header", "ok", has)


def _signature(config: Config, settings: IssuerSettings, findings: tuple[Finding, ...]) -> Check:
    """Read from the verifier's own findings whether it got past the signature."""
    finding = next(
        finding
        for api, finding in zip(config.policy.apis, findings, strict=True)
        if settings.issuer in api.issuers
    )
    match finding:
        case IssuerError() if not finding.reason.startswith(INTROSPECTION):
            return Check("signature", "failure", remedy(finding.reason))
        case TokenError(check="key" | "signature"):
            return Check("signature", "failure", remedy(finding.reason))
        case TokenError() if finding.check in _NEEDS_NO_KEY:
            return Check("signature", "skipped", "not looked at: what comes before it is refused")
        case _:
            return Check("signature", "ok", "of a key that the issuer publishes")


def _claims(jwt: UnverifiedJwt, settings: IssuerSettings, now: int) -> Iterator[Check]:
    """Check times and the rest; behind an expiry it is also seen what a fresh token would meet."""
    fault = _claims_fault(jwt, settings, now)
    if fault is None:
        yield Check("claims", "ok", f"expires in {jwt.claims['exp'] - now:.0f} s")
        return
    detail = remedy(fault.reason)
    if fault.reason in ("token_not_yet_valid", "token_issued_in_the_future"):
        detail = f"{jwt.claims[fault.check] - now:.0f} s off: {detail}"
    yield Check(fault.check, "failure", detail)
    if fault.reason == "token_expired":
        before = int(jwt.claims["exp"]) - settings.leeway - 1
        fault = _claims_fault(jwt, settings, before)
        if fault is not None:
            yield Check(fault.check, "failure", f"a fresh one too: {remedy(fault.reason)}")


def _claims_fault(jwt: UnverifiedJwt, settings: IssuerSettings, now: int) -> TokenError | None:
    try:
        check_claims(jwt.claims, jwt.header.typ, settings, now)
    except TokenError as fault:
        return fault
    return None


def _unverified(jwt: UnverifiedJwt | None, settings: IssuerSettings) -> AccessToken:
    """Read a token that is refused as if it were not: a good one will look alike."""
    claims = {} if jwt is None else dict(jwt.claims)
    try:
        read_confirmation(claims.get("cnf"))
    except TokenError:
        claims.pop("cnf", None)
    aud = claims.get("aud")
    match aud:
        case str():
            audiences: tuple[str, ...] = (aud,)
        case list():
            audiences = tuple(member for member in aud if isinstance(member, str))
        case _:
            audiences = ()
    return access_token({**claims, "exp": 0}, audiences, settings, IdentityHeaders(()))


def _verdict(
    api: Api,
    operation: Operation,
    finding: Finding,
    settings: IssuerSettings | None,
    config: Config,
    now: int,
) -> dict[str, Any]:
    decision = decide_on_token(api, operation, finding, now, config.unavailable_status)
    return {
        "api": api.name,
        "operation": operation.name,
        "decision": decision.outcome,
        "reason": decision.reason,
        "lacks": list(_lacks(decision, settings, now)),
    }


def _lacks(decision: Decision, settings: IssuerSettings | None, now: int) -> Iterator[str]:
    unmet, token, demanded = decision.unmet, decision.token, decision.requirement
    if token is None:
        yield remedy(decision.reason)
        return
    if unmet.acr:
        called = demanded.acr_values
        if settings is not None:
            called = settings.acr_names.to_issuer(called)
        yield f"acr: one of {listed(called)}"
    if unmet.max_age:
        age = "no auth_time" if token.auth_time is None else f"{now - token.auth_time:.0f} s ago"
        yield f"max_age {demanded.max_age}: {age}"
    if unmet.scopes:
        yield f"scope: {listed(unmet.scopes)}"
