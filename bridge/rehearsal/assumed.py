"""Claims instead of a token: everything is checked but the signature and the header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.config.settings import Config
from bridge.errors import TokenError
from bridge.gateways.check_request import CheckRequest
from bridge.policy.operations import Api
from bridge.tokens.access_token import AccessToken, access_token
from bridge.tokens.confirmation import check_binding
from bridge.tokens.credentials import Credentials
from bridge.tokens.dpop import UsedProof
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.jwt import check_audience, check_claims

PLACEHOLDER_TOKEN = "assumed-verified"
_LIFETIME_SECONDS = 300
# Subject and client differ, else it would be a token that stands for no user (RFC 9068 §2.2).
_OF_RFC_9068 = {"sub": "assumed-subject", "client_id": "assumed-client", "jti": "assumed-token"}


class AssumedVerifier:
    """Takes given claims as those of the placeholder token; any other token is invalid.

    Attributes:
        claims: As in a token; a missing `iss`, `aud` or `exp` is filled in: the API's first
            issuer, its first audience, in five minutes; where the issuer's tokens are strictly
            RFC 9068's, what else that requires. `auth_age`, whole seconds, stands for the issuer's
            auth_time claim. Others may take their place between two checks.
    """

    def __init__(self, config: Config, claims: Mapping[str, Any]) -> None:
        self._settings = {settings.issuer: settings for settings in config.issuers}
        self._identity = IdentityHeaders(config.upstream_headers)
        self.claims = claims

    def find(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken | None:
        """Nothing was verified before."""

    async def verify(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken:
        """Check the claims as `TokenVerifier` does.

        Raises:
            TokenError: As there.
        """
        if credentials.token != PLACEHOLDER_TOKEN:
            raise TokenError("format", "token_opaque")
        claims = self.complete(issuers, audiences, now)
        iss = claims["iss"]
        if not isinstance(iss, str) or iss not in issuers:
            raise TokenError("iss", "token_issuer_not_accepted")
        settings = self._settings[iss]
        aud = check_claims(claims, "at+jwt", settings, now)
        check_audience(aud, audiences, settings)
        return access_token(claims, aud, settings, self._identity)

    def complete(
        self, issuers: Sequence[str], audiences: tuple[str, ...] | None, now: int
    ) -> dict[str, Any]:
        """Give the claims with what was left out."""
        claims = {"iss": issuers[0], "exp": now + _LIFETIME_SECONDS, **self.claims}
        settings = self._settings.get(str(claims["iss"]), self._settings[issuers[0]])
        claims.setdefault("aud", (audiences or settings.audiences)[0])
        if settings.token_type == "strict":
            claims = {**_OF_RFC_9068, "iat": now, **claims}
        if "auth_age" in claims:
            auth_age = claims.pop("auth_age")
            claims = _with(claims, settings.claims.auth_time[0], now - auth_age)
        return claims


class AssumedBinding:
    """Takes a token as bound as the API demands, and proven; only where none is taken, refuses."""

    def check(
        self,
        api: Api,
        credentials: Credentials,
        token: AccessToken,
        request: CheckRequest,
        path: str,
        now: int,
    ) -> None:
        """Check what needs neither proof nor certificate.

        Raises:
            TokenError: The token is bound, and the API takes no such tokens.
        """
        if api.sender_constraint == "none":
            check_binding("none", credentials.scheme, token.confirmation, None)

    async def claim(self, proof: UsedProof, now: int) -> None:
        """No proof was looked at."""


def _with(claims: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Set a member along a path."""
    name, *inner = path
    below = claims.get(name)
    below = below if isinstance(below, dict) else {}
    return {**claims, name: _with(below, inner, value) if inner else value}
