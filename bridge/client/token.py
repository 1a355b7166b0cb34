"""A token as its client sees it. The access token itself is opaque to a client. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.client.demand import unite
from bridge.client.errors import LoginError
from bridge.tokens import json_strict

# b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="  (RFC 6750 §2.1)
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_TOKEN_TYPES = {"bearer": "Bearer", "dpop": "DPoP"}
_JWS_PARTS = 3
_MAX_LIFETIME_SECONDS = 10**10


@dataclass(frozen=True, slots=True)
class Token:
    """What a login gives.

    Attributes:
        access_token: For the API; never looked into.
        token_type: `Bearer` or `DPoP`.
        scopes: What it may be used for, as far as the client knows.
        expires_at: Epoch seconds; None: not said.
        acr: What the ID token says of the login, for diagnosis; None: no ID token, or silent.
        auth_time: Likewise, epoch seconds.
    """

    access_token: str = field(repr=False)
    token_type: str = "Bearer"
    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    acr: str | None = None
    auth_time: int | None = None

    def __post_init__(self) -> None:
        if not _B64TOKEN.fullmatch(self.access_token):
            raise LoginError("the access token holds a character that no header may carry")
        token_type = _TOKEN_TYPES.get(self.token_type.lower())
        if token_type is None:
            raise LoginError("the token_type is neither Bearer nor DPoP")
        object.__setattr__(self, "token_type", token_type)


def read_token(response: Mapping[str, object], asked: tuple[str, ...], now: float) -> Token:
    """Read a token response (RFC 6749 §5.1).

    Args:
        asked: The scopes of the request: what was granted where the response is silent.
        now: Current time, epoch seconds.

    Raises:
        LoginError: No usable token in it.
    """
    access_token, token_type = response.get("access_token"), response.get("token_type")
    if not isinstance(access_token, str) or not isinstance(token_type, str):
        raise LoginError("the token response holds no access_token, or no token_type")
    scope, expires_in = response.get("scope"), response.get("expires_in")
    if isinstance(expires_in, str) and expires_in.isdecimal():  # seen in the wild
        expires_in = float(expires_in)
    expires_at = None
    # JSON as Authlib reads it may hold NaN, and integers that no float can hold.
    if isinstance(expires_in, int | float) and 0 <= expires_in < _MAX_LIFETIME_SECONDS:
        expires_at = now + expires_in
    acr, auth_time = _read_id_token(response.get("id_token"))
    return Token(
        access_token,
        token_type,
        unite(scope.split()) if isinstance(scope, str) else asked,
        expires_at,
        acr,
        auth_time,
    )


def _read_id_token(id_token: object) -> tuple[str | None, int | None]:
    """Read acr and auth_time, to say who is to blame; they decide about no access.

    It came from the token endpoint itself, so its signature says nothing more (OpenID Connect Core
    §3.1.3.7, 6).
    """
    if not isinstance(id_token, str):
        return None, None
    parts = id_token.split(".")
    try:
        if len(parts) != _JWS_PARTS:
            return None, None
        claims = json_strict.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None, None
    if not isinstance(claims, dict):
        return None, None
    acr, auth_time = claims.get("acr"), claims.get("auth_time")
    return (
        acr if isinstance(acr, str) else None,
        auth_time if isinstance(auth_time, int) and not isinstance(auth_time, bool) else None,
    )
