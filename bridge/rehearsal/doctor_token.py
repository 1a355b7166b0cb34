"""An access token in, what the bridge sees of it and what it lacks out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge.config.settings import Config
from bridge.decision.decide import Decision, Finding, decide_on_token
from bridge.errors import IssuerError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.rehearsal.doctor_check import Check, Guarded, guarded_operations, listed, shown
from bridge.tokens.access_token import AccessToken, access_token, find_claim
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection_answer import INTROSPECTION
from bridge.tokens.jwt import (
    UnverifiedJwt,
    check_audience,
    check_claims,
    check_header,
)
from bridge.tokens.settings import IssuerSettings

_REMEDIES = {
    "authorization_repeated": "holds a comma, so it is no access token",
    "bearer_token_malformed": "no token that a Bearer header can carry, or over 16 KiB",
    "token_malformed": "looks like a JWT, but is not well formed",
    "token_opaque": "opaque: no issuer takes such tokens, see `tokens` and `introspection`",
    "token_inactive": "the issuer says that it is not active: expired, revoked, or not its own",
    "token_is_not_an_access_token": "the issuer says that it is no access token",
    "token_issuer_not_accepted": "`iss` is not exactly an issuer of the API",
    "token_crit_not_understood": "its header has `crit`: have it issued without",
    "token_alg_not_accepted": "its `alg` is not among the issuer's `algorithms`",
    "token_typ_not_accepted": "its `typ` is not accepted: an access token has at+jwt, with"
    " `token_type: any` also JWT or none",
    "token_kid_unknown": "signed with a key that the issuer does not publish",
    "token_signature_invalid": "the signature is of no published key of the issuer",
    "token_expired": "expired: give a fresh one",
    "token_exp_malformed": "has no `exp` that is a number",
    "token_nbf_malformed": "`nbf` is not a number",
    "token_iat_malformed": "`iat` is not a number",
    "token_not_yet_valid": "`nbf` is in the future: set both clocks by NTP, or raise `leeway`",
    "token_issued_in_the_future": "`iat` is in the future: set both clocks by NTP, or raise"
    " `leeway`",
    "token_is_an_id_token": "looks like an ID token: send the access token, or set"
    " `id_token_claims: ignore` if this is one",
    "token_lacks_required_claims": "lacks claims that `token_type: strict` demands (RFC 9068 §2.2)",
    "token_binding_not_supported": "bound to a key or a certificate (`cnf`): not supported",
    "token_audience_not_accepted": "`aud` has none of the accepted audiences: mend `audiences`, or"
    " have the issuer add one",
    "keys_unavailable": "the issuer's keys are not to be had: see the issuer's checks",
}
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
    return {
        "token": presented.source,
        "issuer": None if settings is None else settings.issuer,
        "checks": [check._asdict() for check in _checks(config, settings, presented, now)],
        "operations": [
            _verdict(api, operation, finding, settings, config, now)
            for api, finding in zip(config.policy.apis, presented.findings, strict=True)
            for operation in api.operations
            if not operation.public
        ],
    }


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
        yield _fault(presented.findings)
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
    yield Check("issuer", "ok", f"{shown(settings.issuer)}, for {_names(takers)}")
    if jwt is not None:
        judged = [_header(jwt, settings), _signature(config, settings, presented.findings)]
        judged += _claims(jwt, settings, now)
        yield from judged
        if verified is None and all(check.outcome == "ok" for check in judged):
            fault = _fault(presented.findings)
            if fault.check != "aud":  # judged below, for each API
                yield fault
    if verified is not None and verified.introspected:
        yield Check(INTROSPECTION, "ok", "the issuer says that it is active")
    seen = verified or _unverified(jwt, settings)
    yield _audience(seen, takers, settings)
    yield _acr(jwt, seen, settings, guarded)
    yield _auth_time(jwt, seen, settings, guarded, now)
    yield _scope(seen, guarded)
    yield _client(seen, takers)


def _fault(findings: tuple[Finding, ...]) -> Check:
    """Say why a token is refused at every API: by the one that looked at it most closely."""
    faults = [f for f in findings if f is not None and not isinstance(f, AccessToken)]
    for fault in faults:
        match fault:
            case IssuerError():
                return Check(INTROSPECTION, "failure", _remedy(fault.reason))
            case TokenError() if fault.check not in _NEEDS_NO_KEY:
                return Check(fault.check, "failure", _remedy(fault.reason))
    detail = _remedy(faults[0].reason) if faults else "no token at all"
    return Check("format", "failure", detail)


def _header(jwt: UnverifiedJwt, settings: IssuerSettings) -> Check:
    header = jwt.header
    has = f"alg {shown(header.alg)}, typ {shown(header.typ)}, kid {shown(header.kid)}"
    try:
        check_header(header, settings)
    except TokenError as fault:
        return Check("header", "failure", f"{has}: {_remedy(fault.reason)}")
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
            return Check("signature", "failure", _remedy(finding.reason))
        case TokenError(check="key" | "signature"):
            return Check("signature", "failure", _remedy(finding.reason))
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
    detail = _remedy(fault.reason)
    if fault.reason in ("token_not_yet_valid", "token_issued_in_the_future"):
        detail = f"{jwt.claims[fault.check] - now:.0f} s off: {detail}"
    yield Check(fault.check, "failure", detail)
    if fault.reason == "token_expired":
        before = int(jwt.claims["exp"]) - settings.leeway - 1
        fault = _claims_fault(jwt, settings, before)
        if fault is not None:
            yield Check(fault.check, "failure", f"a fresh one too: {_remedy(fault.reason)}")


def _claims_fault(jwt: UnverifiedJwt, settings: IssuerSettings, now: int) -> TokenError | None:
    try:
        check_claims(jwt.claims, jwt.header.typ, settings, now)
    except TokenError as fault:
        return fault
    return None


def _unverified(jwt: UnverifiedJwt | None, settings: IssuerSettings) -> AccessToken:
    """Read a token that is refused as if it were not: a good one will look alike."""
    claims = {} if jwt is None else {k: v for k, v in jwt.claims.items() if k != "cnf"}
    aud = claims.get("aud")
    match aud:
        case str():
            audiences: tuple[str, ...] = (aud,)
        case list():
            audiences = tuple(member for member in aud if isinstance(member, str))
        case _:
            audiences = ()
    return access_token({"exp": 0, **claims}, audiences, settings, IdentityHeaders(()))


def _audience(seen: AccessToken, takers: list[Api], settings: IssuerSettings) -> Check:
    refusing = [api for api in takers if not _is_for(seen, api, settings)]
    if not refusing:
        return Check("audience", "ok", f"accepted by {_names(takers)}")
    has = f"`aud` is {listed(seen.aud or ())}"
    wanted = listed(a for api in refusing for a in api.audiences or settings.audiences)
    if len(refusing) == len(takers):
        detail = f"{has}, but {_names(takers)} want one of {wanted}: mend `audiences`, or have the"
        return Check("audience", "failure", f"{detail} issuer add one")
    accepting = [api for api in takers if api not in refusing]
    detail = f"{has}: accepted by {_names(accepting)}; not by {_names(refusing)}, which want one of"
    return Check("audience", "ok", f"{detail} {wanted}")


def _is_for(seen: AccessToken, api: Api, settings: IssuerSettings) -> bool:
    try:
        check_audience(seen.aud, api.audiences, settings)
    except TokenError:
        return False
    return True


def _acr(
    jwt: UnverifiedJwt | None,
    seen: AccessToken,
    settings: IssuerSettings,
    guarded: list[Guarded],
) -> Check:
    demanded = dict.fromkeys(v for each in guarded for v in each.operation.requirement.acr_values)
    claim = None if jwt is None else find_claim(jwt.claims, settings.claims.acr)
    if not seen.acr:
        what = "none" if claim is None else "neither a string nor a list of strings"
        if not demanded:
            return Check("acr", "ok", f"{what}, and no operation demands one")
        where = _claim_names(settings, "acr")
        detail = f"{what} at {where}: operations with acr_values can never pass; have the issuer"
        return Check("acr", "warning", f"{detail} put it into access tokens, or set `claims.acr`")
    note = " (a list: any of them counts)" if isinstance(claim, list) else ""
    called = settings.acr_names.to_issuer(seen.acr)
    names = f", which the issuer calls {listed(called)}" if called != seen.acr else ""
    if demanded and set(seen.acr).isdisjoint(demanded):
        detail = f"{listed(seen.acr)}{names}{note}: no operation asks for that, but for"
        return Check("acr", "ok", f"{detail} {listed(demanded)}")
    return Check("acr", "ok", f"{listed(seen.acr)}{names}{note}")


def _auth_time(
    jwt: UnverifiedJwt | None,
    seen: AccessToken,
    settings: IssuerSettings,
    guarded: list[Guarded],
    now: int,
) -> Check:
    is_demanded = any(each.operation.requirement.max_age is not None for each in guarded)
    if seen.auth_time is None:
        claim = None if jwt is None else find_claim(jwt.claims, settings.claims.auth_time)
        what = "missing" if claim is None else "not a number"
        if not is_demanded:
            return Check("auth_time", "ok", f"{what}, and no operation demands a max_age")
        where = _claim_names(settings, "auth_time")
        detail = f"{what} at {where}: operations with max_age can never pass; have the issuer put"
        return Check("auth_time", "warning", f"{detail} it in, or set `claims.auth_time`")
    age = now - seen.auth_time
    if age < -settings.leeway:
        detail = f"{-age:.0f} s in the future, so never fresh: set both clocks by NTP"
        return Check("auth_time", "warning", detail)
    return Check("auth_time", "ok", f"{age:.0f} s ago")


def _claim_names(settings: IssuerSettings, name: str) -> str:
    paths: tuple[tuple[str, ...], ...] = getattr(settings.claims, name)
    return " or ".join(shown(path[0] if len(path) == 1 else list(path)) for path in paths)


def _scope(seen: AccessToken, guarded: list[Guarded]) -> Check:
    if not seen.scopes and any(each.operation.requirement.scopes for each in guarded):
        detail = "none: operations with scopes can never pass; ask for them, or set `claims.scope`"
        return Check("scope", "warning", detail)
    return Check("scope", "ok", listed(sorted(seen.scopes)))


def _client(seen: AccessToken, takers: list[Api]) -> Check:
    client = "no client_id" if seen.client_id is None else shown(seen.client_id)
    if not seen.is_machine:
        return Check("client", "ok", f"{client}, for a user")
    answers = dict.fromkeys(api.machine_tokens for api in takers)
    detail = (
        f"{client}, no user stands behind it: acr and max_age can never be met; `machine_tokens`"
    )
    return Check("client", "ok", f"{detail} says {listed(answers)}")


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
        yield _remedy(decision.reason)
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


def _remedy(reason: str) -> str:
    if reason.startswith(f"{INTROSPECTION}_"):
        return "the issuer, asked about it, gives no proper answer: see the issuer's checks"
    return _REMEDIES.get(reason, reason)


def _names(apis: list[Api]) -> str:
    return listed(api.name for api in apis)
