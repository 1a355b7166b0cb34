"""What an issuer says about a token when asked (RFC 7662 §2.2): body in, access token out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bridge.errors import TokenError
from bridge.tokens import json_strict
from bridge.tokens.access_token import AccessToken, Claims, access_token, is_number
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.jwt import check_claims
from bridge.tokens.settings import IssuerSettings

INTROSPECTION = "introspection"
"""The check that fails where the issuer's answer speaks against a token."""

_TIMES = ("exp", "nbf", "iat")
_NO_EXPIRY = 2**63
# Servers say `active` of other tokens too, and name their kind in one of these.
_KIND_MEMBERS = ("token_type", "token_use", "typ")
_OTHER_KINDS = frozenset(
    ("refresh", "refresh_token", "offline", "offline_token", "id", "id_token", "serialized-id")
)


class AnswerError(ValueError):
    """No proper answer. `str()` says why: stable code, nothing of the answer."""


def read_answer(body: bytes) -> Claims | None:
    """Read an introspection response.

    Returns:
        Its members without `active`; None: the token is not active.

    Raises:
        AnswerError: No JSON object, no boolean `active`, a time that is no number.
    """
    try:
        answer = json_strict.loads(body)
    except ValueError:
        raise AnswerError("not_json") from None
    if not isinstance(answer, dict):
        raise AnswerError("not_an_object")
    active = answer.pop("active", None)
    if not isinstance(active, bool):
        raise AnswerError("active_not_boolean")
    if not active:  # some write out every member of a token that they do not know
        answer = {name: value for name, value in answer.items() if value is not None}
    if any(name in answer and not is_number(answer[name]) for name in _TIMES):
        raise AnswerError("time_not_a_number")
    return answer if active else None


def inactive() -> TokenError:
    """Give what is wrong with a token that is not active."""
    return TokenError(INTROSPECTION, "token_inactive")


def introspected_token(
    answer: Claims,
    settings: IssuerSettings,
    identity: IdentityHeaders,
    now: int,
    *,
    claims: Claims | None = None,
    aud: tuple[str, ...] | None = None,
) -> AccessToken:
    """Make the access token of which its issuer said that it is active.

    Args:
        answer: As of `read_answer`. It wins over the token's own claims, since it is newer.
        now: Current time, epoch seconds.
        claims: Of a JWT that was verified locally first; None for an opaque token.
        aud: Its audiences.

    Raises:
        TokenError: Active, but not acceptable: another issuer, expired, not yet valid, bound to
            what is not checked, an ID or a refresh token.

    Does not check: whether the API takes the audience; where the answer names none, there is none
        to check.
    Spec: RFC 7662 §2.2 and §4, RFC 9470 §6.2.
    """
    answer_aud = _check(answer, settings, now)
    if aud is None:
        aud = answer_aud
    elif answer_aud is not None:
        aud = tuple(audience for audience in aud if audience in answer_aud)
    return access_token(claims or {}, aud, settings, identity, answer)


def _check(answer: Claims, settings: IssuerSettings, now: int) -> tuple[str, ...] | None:
    """Check an active answer as a JWT's claims are, where they are present; give its audiences."""
    if answer.get("iss", settings.issuer) != settings.issuer:
        raise TokenError(INTROSPECTION, "token_issuer_not_accepted")
    kinds = [_kind(answer.get(name)) for name in _KIND_MEMBERS]
    if any(kind in _OTHER_KINDS for kind in kinds):
        raise TokenError(INTROSPECTION, "token_is_not_an_access_token")
    if "dpop" in kinds and "cnf" not in answer:
        raise TokenError(INTROSPECTION, "token_binding_not_supported")
    # RFC 9068 and the tell-tales of ID tokens are about JWTs.
    lenient = replace(settings, token_type="any", id_token_claims="ignore")  # noqa: S106
    try:
        aud = check_claims({"exp": _NO_EXPIRY, "aud": [], **answer}, None, lenient, now)
    except TokenError as error:
        raise TokenError(INTROSPECTION, error.reason) from None
    return aud if "aud" in answer else None


def _kind(member: Any) -> str:
    """Read a token's kind: lower case, without the prefix of RFC 8693 §3."""
    return member.lower().rpartition(":")[2] if isinstance(member, str) else ""
