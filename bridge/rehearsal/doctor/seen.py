"""What the bridge sees of a token, against what operations demand. Pure."""

from __future__ import annotations

from bridge.errors import TokenError
from bridge.policy.operations import Api
from bridge.rehearsal.doctor.check import Check, Guarded, listed, names_of, shown
from bridge.tokens.access_token import AccessToken, find_claim
from bridge.tokens.jwt import UnverifiedJwt, check_audience
from bridge.tokens.settings import IssuerSettings


def check_audiences(seen: AccessToken, takers: list[Api], settings: IssuerSettings) -> Check:
    """Tell which of the APIs that take its issuer the token is for."""
    refusing = [api for api in takers if not _is_for(seen, api, settings)]
    if not refusing:
        return Check("audience", "ok", f"accepted by {names_of(takers)}")
    has = f"`aud` is {listed(seen.aud or ())}"
    wanted = listed(a for api in refusing for a in api.audiences or settings.audiences)
    if len(refusing) == len(takers):
        detail = (
            f"{has}, but {names_of(takers)} want one of {wanted}: mend `audiences`, or have the"
        )
        return Check("audience", "failure", f"{detail} issuer add one")
    accepting = [api for api in takers if api not in refusing]
    detail = (
        f"{has}: accepted by {names_of(accepting)}; not by {names_of(refusing)}, which want one of"
    )
    return Check("audience", "ok", f"{detail} {wanted}")


def _is_for(seen: AccessToken, api: Api, settings: IssuerSettings) -> bool:
    try:
        check_audience(seen.aud, api.audiences, settings)
    except TokenError:
        return False
    return True


def check_acr(
    jwt: UnverifiedJwt | None,
    seen: AccessToken,
    settings: IssuerSettings,
    guarded: list[Guarded],
) -> Check:
    """Tell the acr in the policy's names, and whether any can ever be enough."""
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


def check_auth_time(
    jwt: UnverifiedJwt | None,
    seen: AccessToken,
    settings: IssuerSettings,
    guarded: list[Guarded],
    now: int,
) -> Check:
    """Tell when the user authenticated, if the token says so."""
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


def check_scope(seen: AccessToken, guarded: list[Guarded]) -> Check:
    """Tell the scopes."""
    if not seen.scopes and any(each.operation.requirement.scopes for each in guarded):
        detail = "none: operations with scopes can never pass; ask for them, or set `claims.scope`"
        return Check("scope", "warning", detail)
    return Check("scope", "ok", listed(sorted(seen.scopes)))


def check_client(seen: AccessToken, takers: list[Api]) -> Check:
    """Tell who the token was issued to, and whether a user stands behind it."""
    client = "no client_id" if seen.client_id is None else shown(seen.client_id)
    if not seen.is_machine:
        return Check("client", "ok", f"{client}, for a user")
    answers = dict.fromkeys(api.machine_tokens for api in takers)
    detail = (
        f"{client}, no user stands behind it: acr and max_age can never be met; `machine_tokens`"
    )
    return Check("client", "ok", f"{detail} says {listed(answers)}")
