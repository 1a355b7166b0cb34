"""Claims in, `AccessToken` out: the verified token as the decision sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from bridge.errors import TokenError
from bridge.tokens.confirmation import Confirmation, read_confirmation
from bridge.tokens.identity import IdentityHeaders, UpstreamHeaders
from bridge.tokens.settings import POLICY_NAMES, AcrNames, ClaimPath, IssuerSettings

Claims = Mapping[str, Any]

_LARGEST = 1.7976931348623157e308  # of a float: neither infinity nor NaN lies within


class AccessToken(NamedTuple):
    """A verified access token. What is missing or malformed is empty, never an error.

    Attributes:
        iss: The issuer that signed it, or said that it is active.
        aud: Its audiences; None: the issuer said that it is active, and named none.
        exp: Expiry, epoch seconds; infinite where the issuer named none.
        leeway: Clock skew tolerated for this issuer, seconds.
        acr: How the user authenticated, in the policy's names; empty: unknown (RFC 9470 §6.1).
        auth_time: When the user last authenticated, epoch seconds; None: unknown.
        scopes: What was granted.
        client_id: For the log; None where the token has none.
        upstream: The identity headers of this token.
        is_machine: No user stands behind it, as far as can be seen: nobody can step up.
        acr_names: What its issuer calls the policy's acr values.
        insufficient_claims: Its client is told in Microsoft Entra's dialect too.
        sub: Whom it stands for; None where that is no string.
        iat: When it was issued, epoch seconds; None: unknown.
        introspected: The issuer was asked about it (RFC 7662).
        confirmation: What it is bound to, to be proven at every request; None: nothing.
    """

    iss: str
    aud: tuple[str, ...] | None
    exp: float
    leeway: int
    acr: tuple[str, ...]
    auth_time: float | None
    scopes: frozenset[str]
    client_id: str | None
    upstream: UpstreamHeaders
    is_machine: bool = False
    acr_names: AcrNames = POLICY_NAMES
    insufficient_claims: bool = False
    sub: str | None = None
    iat: float | None = None
    introspected: bool = False
    confirmation: Confirmation | None = None


def access_token(
    claims: Claims,
    aud: tuple[str, ...] | None,
    settings: IssuerSettings,
    identity: IdentityHeaders,
    answer: Claims | None = None,
) -> AccessToken:
    """Read what the decision needs from claims that `tokens.jwt.check_claims` has accepted.

    Args:
        claims: Of the token; empty for an opaque one.
        answer: What its issuer said when asked, which is newer and wins; None: it was not asked.

    Does not check: anything. Signature, times and issuer are checked before.
    """
    names = settings.claims
    acr = find_claim(claims, names.acr)
    auth_time = find_claim(claims, names.auth_time)
    scope = find_claim(claims, names.scope)
    client_id = find_claim(claims, names.client_id)
    exp = claims.get("exp", math.inf)
    if answer is None:
        confirmation = read_confirmation(claims["cnf"]) if "cnf" in claims else None
    else:
        confirmation = _confirmation(claims, answer)
        acr = find_claim(answer, names.acr, acr)
        auth_time = find_claim(answer, names.auth_time, auth_time)
        scope = find_claim(answer, names.scope, scope)
        client_id = find_claim(answer, names.client_id, client_id)
        exp = min(exp, answer.get("exp", math.inf))
        claims = {**claims, **answer}
    sub = claims.get("sub")
    authenticated = read_acr(acr)
    if settings.acr_names is not POLICY_NAMES:
        authenticated = settings.acr_names.to_policy(authenticated)
        acr = list(authenticated)
    shown = {"acr": acr, "auth_time": auth_time, "scope": scope, "client_id": client_id}
    upstream = identity.of(claims, shown)
    if client_id is None:
        client_id = claims.get("azp")
    return AccessToken(
        iss=settings.issuer,
        aud=aud,
        exp=exp,
        leeway=settings.leeway,
        acr=authenticated,
        auth_time=read_auth_time(auth_time),
        scopes=_scopes(scope) if type(scope) is str else frozenset(read_scopes(scope)),
        client_id=client_id if isinstance(client_id, str) else None,
        upstream=upstream,
        is_machine=auth_time is None and _is_machine(claims, client_id, authenticated),
        acr_names=settings.acr_names,
        insufficient_claims=settings.insufficient_claims,
        sub=sub if isinstance(sub, str) else None,
        iat=read_auth_time(claims.get("iat")),
        introspected=answer is not None,
        confirmation=confirmation,
    )


def _confirmation(claims: Claims, answer: Claims) -> Confirmation | None:
    """Read what an introspected token is bound to; where token and answer say it, they must agree.

    Raises:
        TokenError: They do not, or it cannot be checked. An answer loosens no binding.
    """
    bound = [read_confirmation(said["cnf"]) for said in (claims, answer) if "cnf" in said]
    if len(bound) > 1 and bound[0] != bound[1]:
        raise TokenError("cnf", "token_binding_ambiguous")
    return bound[0] if bound else None


def _is_machine(claims: Claims, client_id: Any, acr: tuple[str, ...]) -> bool:
    """Tell a token of the client credentials grant by the marks that issuers give it.

    `sub` is the client (RFC 9068 §2.2), or absent with no acr either (PingOne); Entra's `idtyp`;
    Auth0's `gty`; the user name of Keycloak's service accounts, whose acr is "1".
    """
    sub, user = claims.get("sub"), claims.get("preferred_username")
    return (
        (sub == client_id if sub is not None else not acr)
        or claims.get("idtyp") == "app"
        or claims.get("gty") == "client-credentials"
        or (isinstance(user, str) and user.startswith("service-account-"))
    )


def find_claim(claims: Claims, alternatives: tuple[ClaimPath, ...], default: Any = None) -> Any:
    """Give the value of the first alternative that is present, or the default."""
    if len(alternatives) == 1 and len(alternatives[0]) == 1:  # as nearly all are
        return claims.get(alternatives[0][0], default)
    for path in alternatives:
        value: Any = claims
        for name in path:
            if not isinstance(value, dict) or name not in value:
                break
            value = value[name]
        else:
            return value
    return default


def read_acr(value: Any) -> tuple[str, ...]:
    """Read `acr`: a string, or a list of strings; anything else, or empty, is none.

    Spec: OpenID Connect Core §2 (a case-sensitive string); lists as Entra's `acrs`.
    """
    match value:
        case str():
            return (value,) if value else ()
        case list() if all(isinstance(member, str) for member in value):
            return tuple(member for member in value if member)
        case _:
            return ()


def read_auth_time(value: Any) -> float | None:
    """Read `auth_time`: a finite number >= 0, epoch seconds; anything else is none.

    Spec: RFC 9068 §2.2.1, RFC 7519 §2 (NumericDate).
    """
    return value if is_number(value) and value >= 0 else None


def read_scopes(value: Any) -> tuple[str, ...]:
    """Read `scope`: space-separated (RFC 6749 §3.3) or a list of strings; anything else is none."""
    match value:
        case str():
            return tuple(scope for scope in value.split(" ") if scope)
        case list() if all(isinstance(member, str) for member in value):
            return tuple(value)
        case _:
            return ()


@lru_cache(maxsize=1024)  # a client's tokens have the same few
def _scopes(scope: str) -> frozenset[str]:
    return frozenset(read_scopes(scope))


def is_number(value: Any) -> bool:
    """Tell whether a claim is a finite JSON number; `True` is none, though Python thinks so.

    An integer beyond the range of a float is none either: arithmetic with it would overflow.
    """
    return (type(value) is int or type(value) is float) and -_LARGEST <= value <= _LARGEST
