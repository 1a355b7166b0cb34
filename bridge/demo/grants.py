"""Authorization codes: given once, redeemed once, by the client that asked for them."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.client.authorization_request import code_challenge_of
from bridge.demo.oauth import OAuthError

CODE_LIFETIME_SECONDS = 60
_MAX_CODES = 1000

# code-verifier = 43*128unreserved  (RFC 7636 §4.1)
_CODE_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What the user granted to the client, behind one code.

    Attributes:
        acr: Level of the authentication that the grant rests on.
        auth_time: When it happened, epoch seconds.
        expires_at: End of the code's life, epoch seconds.
    """

    client_id: str
    redirect_uri: str
    code_challenge: str
    sub: str
    scopes: tuple[str, ...]
    acr: str
    auth_time: int
    nonce: str | None
    expires_at: int


class Grants:
    """The codes that wait for their client."""

    def __init__(self) -> None:
        self._by_code: dict[str, Grant] = {}

    def add(self, grant: Grant) -> str:
        """Keep a grant and give its code."""
        while len(self._by_code) >= _MAX_CODES:
            del self._by_code[next(iter(self._by_code))]
        code = secrets.token_urlsafe(32)
        self._by_code[code] = grant
        return code

    def redeem(self, form: Mapping[str, str], now: int) -> Grant:
        """Take a code out, if everything fits. Whatever happens, the code is spent.

        Raises:
            OAuthError: Something does not fit.

        Spec: RFC 6749 §4.1.3 and §5.2, RFC 7636 §4.6.
        """
        if form.get("grant_type") != "authorization_code":
            raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code")
        for name in ("client_id", "code", "redirect_uri", "code_verifier"):
            if name not in form:
                raise OAuthError("invalid_request", f"{name} is missing")
        grant = self._by_code.pop(form["code"], None)
        if grant is None or now >= grant.expires_at:
            raise OAuthError("invalid_grant", "The code is unknown, used, or too old")
        if form["client_id"] != grant.client_id:
            raise OAuthError("invalid_grant", "The code belongs to another client")
        if form["redirect_uri"] != grant.redirect_uri:
            raise OAuthError("invalid_grant", "The redirect_uri is not that of the request")
        if not _fits(form["code_verifier"], grant.code_challenge):
            raise OAuthError("invalid_grant", "The code_verifier does not fit the code_challenge")
        return grant


def _fits(code_verifier: str, code_challenge: str) -> bool:
    return _CODE_VERIFIER.fullmatch(code_verifier) is not None and hmac.compare_digest(
        code_challenge_of(code_verifier), code_challenge
    )
