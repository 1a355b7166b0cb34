"""Credentials in, verified access token out: cache, keys, signature, claims, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from bridge.errors import TokenError
from bridge.tokens.access_token import AccessToken, access_token
from bridge.tokens.cache import TokenCache
from bridge.tokens.credentials import Credentials
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.jwt import (
    UnverifiedJwt,
    check_audience,
    check_claims,
    check_header,
    read_jwt,
    verify_signature,
)
from bridge.tokens.keys import KeySet
from bridge.tokens.settings import IssuerSettings


class Issuer:
    """One state of an issuer's configuration, with its keys. Cached tokens belong to a state.

    Args:
        settings: What the configuration says.
        keys: Its key set, which may outlive this state.
        identity: The upstream headers to compute for its tokens.
    """

    def __init__(self, settings: IssuerSettings, keys: KeySet, identity: IdentityHeaders) -> None:
        self.settings = settings
        self.keys = keys
        self.identity = identity


class TokenVerifier:
    """Verifies the tokens of the configured issuers.

    Args:
        issuers: By exact `iss`.
        cache: Verified tokens; may hold entries of earlier states, which are not used.
    """

    def __init__(self, issuers: Mapping[str, Issuer], cache: TokenCache[Issuer]) -> None:
        self._issuers = issuers
        self._cache = cache
        self._hits = 0
        self._misses = 0

    def take_counts(self) -> tuple[int, int]:
        """Give the cache's hits and misses since the last call."""
        counts = self._hits, self._misses
        self._hits = self._misses = 0
        return counts

    def find(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken | None:
        """Give the token if it was verified before and still holds.

        Args:
            issuers: The API's issuers.
            audiences: The API's audiences; None: those of the token's issuer.
            now: Current time, epoch seconds.

        Returns:
            None where it must be verified.

        Raises:
            TokenError: A good token, but not for this API.
        """
        entry = self._cache.find(_digest(credentials), now)
        if entry is None:
            return None
        token, issuer = entry.token, entry.issuer
        if self._issuers.get(token.iss) is not issuer:
            return None
        self._hits += 1
        _require_issuer(token.iss, issuers)
        check_audience(token.aud, audiences, issuer.settings)
        return token

    async def verify(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken:
        """Verify a token that `find` does not know, and keep it.

        Args: As of `find`.

        Raises:
            TokenError: The token is unusable.
            IssuerError: It cannot be told, the issuer's keys are not to be had.

        Waits for the network only for a kid that is not known.
        """
        self._misses += 1
        jwt = read_jwt(credentials.token)
        if jwt is None:
            raise TokenError("format", "token_opaque")
        issuer = self._select_issuer(jwt, issuers)
        check_header(jwt.header, issuer.settings)
        kid = jwt.header.kid
        keys = issuer.keys.find(kid) or await issuer.keys.find_or_fetch(kid)
        key = verify_signature(jwt, keys)
        aud = check_claims(jwt.claims, jwt.header.typ, issuer.settings, now)
        token = access_token(jwt.claims, aud, issuer.settings, issuer.identity)
        self._cache.add(_digest(credentials), token, issuer, key, now)
        check_audience(aud, audiences, issuer.settings)
        return token

    def _select_issuer(self, jwt: UnverifiedJwt, issuers: Sequence[str]) -> Issuer:
        """Let the unverified `iss` select, but only among the API's issuers."""
        iss = jwt.claims.get("iss")
        if not isinstance(iss, str):
            raise TokenError("iss", "token_issuer_not_accepted")
        _require_issuer(iss, issuers)
        return self._issuers[iss]


def _digest(credentials: Credentials) -> bytes:
    return sha256(credentials.token.encode()).digest()


def _require_issuer(iss: str, issuers: Sequence[str]) -> None:
    if iss not in issuers:
        raise TokenError("iss", "token_issuer_not_accepted")
