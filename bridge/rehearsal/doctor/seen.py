"""What the bridge sees of a token, against what operations demand. Pure."""

from __future__ import annotations

from bridge.errors import TokenError
from bridge.policy.operations import Api
from bridge.rehearsal.doctor.check import Check, Guarded, listed, names_of, shown
from bridge.rehearsal.doctor.words import remedy
from bridge.tokens.access_token import AccessToken, find_claim
from bridge.tokens.confirmation import TAKES_DPOP, Confirmation, check_binding
from bridge.tokens.credentials import Scheme
from bridge.tokens.jwt import UnverifiedJwt, check_audience, decode_base64url
from bridge.tokens.settings import IssuerSettings

_KEY, _CERTIFICATE = "a key (DPoP)", "a certificate (mTLS)"


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


def require_sender(api: Api, token: AccessToken) -> None:
    """Check a token's binding as if its client proved all that is due, by DPoP where it can.

    Raises:
        TokenError: The API takes no token that is bound so, or not bound.
    """
    bound = token.confirmation or Confirmation()
    takes_proof = bound.jkt is not None and api.sender_constraint in TAKES_DPOP
    certificate = None if bound.x5t_s256 is None else decode_base64url(bound.x5t_s256).hex()
    scheme: Scheme = "dpop" if takes_proof else "bearer"
    check_binding(api.sender_constraint, scheme, token.confirmation, certificate)


def check_senders(seen: AccessToken, takers: list[Api]) -> Check:
    """Tell what the token is bound to, and which of the APIs take it so."""
    bound = seen.confirmation or Confirmation()
    has = "a plain bearer token"
    if seen.confirmation is not None:
        to = [name for name, value in ((_KEY, bound.jkt), (_CERTIFICATE, bound.x5t_s256)) if value]
        has = f"bound to {' and '.join(to)}, which its client must prove at every request"
    faults: dict[str, TokenError] = {}
    for api in takers:
        try:
            require_sender(api, seen)
        except TokenError as fault:
            faults[api.name] = fault
    if not faults:
        return Check("binding", "ok", has)
    refusing = f"{has}: refused by {listed(faults)}: {remedy(next(iter(faults.values())).reason)}"
    return Check("binding", "failure" if len(faults) == len(takers) else "ok", refusing)


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
