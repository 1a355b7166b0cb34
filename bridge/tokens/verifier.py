"""Credentials in, verified access token out: cache, keys, signature, claims, in that order.

An opaque token, or a JWT of an issuer that wants to be asked about each, is introspected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import count

from bridge.errors import TokenError
from bridge.tokens.access_token import AccessToken, access_token
from bridge.tokens.cache import TokenCache
from bridge.tokens.credentials import Credentials
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection import Introspection, ask_each
from bridge.tokens.introspection_answer import introspected_token
from bridge.tokens.jwk import VerificationKey
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

_states = count()


class Issuer:
    """One state of an issuer's configuration, with its keys. Cached tokens belong to a state.

    Args:
        settings: What the configuration says.
        keys: Its key set, which may outlive this state; None: it has no JWTs.
        identity: The upstream headers to compute for its tokens.
        introspection: Asks it about tokens, and may outlive this state; None: it is not asked.
    """

    def __init__(
        self,
        settings: IssuerSettings,
        keys: KeySet | None,
        identity: IdentityHeaders,
        introspection: Introspection | None = None,
    ) -> None:
        self.settings = settings
        self.keys = keys
        self.identity = identity
        self.introspection = introspection
        asked = settings.introspection
        self.cache_ttl = None if asked is None else asked.cache_ttl
        self.asked_about_jwts = introspection if asked and asked.when == "always" else None
        self.asked_about_opaque = introspection if settings.takes_opaque else None
        self.cache_tag = next(_states).to_bytes(8)


class TokenVerifier:
    """Verifies the tokens of the configured issuers.

    Args:
        issuers: By exact `iss`.
        cache: Verified tokens; may hold entries of earlier states, which are not used.
    """

    def __init__(self, issuers: Mapping[str, Issuer], cache: TokenCache[Issuer]) -> None:
        self._issuers = issuers
        self._with_opaque = {
            name: issuer for name, issuer in issuers.items() if issuer.asked_about_opaque
        }
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
        """Give the token if that can be told at once: nobody is waited for.

        That is one that was verified before and still holds, or a JWT whose key is at hand.

        Args:
            issuers: The API's issuers.
            audiences: The API's audiences; None: those of the token's issuer.
            now: Current time, epoch seconds.

        Returns:
            None where it takes `verify`.

        Raises:
            TokenError: The token is unusable, or not for this API.
        """
        digest = _digest(credentials)
        entry = self._cache.find(digest, now)
        if entry is not None and self._issuers.get(entry.token.iss) is entry.issuer:
            self._hits += 1
            token = entry.token
            _require_issuer(token.iss, issuers)
            check_audience(token.aud, audiences, entry.issuer.settings)
            return token
        if self._with_opaque:
            opaque = self._find_opaque(digest, issuers, audiences, now)
            if opaque is not None:
                return opaque
        self._misses += 1
        return self._verify_at_once(credentials, digest, issuers, audiences, now)

    def _verify_at_once(
        self,
        credentials: Credentials,
        digest: bytes,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken | None:
        """Verify a JWT whose key is at hand, and whose issuer need not be asked about it."""
        jwt = read_jwt(credentials.token)
        if jwt is None:
            return None
        issuer = self._select_issuer(jwt, issuers)
        if issuer.keys is None or issuer.asked_about_jwts is not None:
            return None
        check_header(jwt.header, issuer.settings)
        keys = issuer.keys.find(jwt.header.kid)
        if not keys:
            return None
        token = self._take(jwt, issuer, keys, digest, now)
        check_audience(token.aud, audiences, issuer.settings)
        return token

    def _take(
        self,
        jwt: UnverifiedJwt,
        issuer: Issuer,
        keys: Sequence[VerificationKey],
        digest: bytes,
        now: int,
    ) -> AccessToken:
        """Verify a JWT of which its issuer need not be asked, and keep it."""
        key = verify_signature(jwt, keys)
        aud = check_claims(jwt.claims, jwt.header.typ, issuer.settings, now)
        token = access_token(jwt.claims, aud, issuer.settings, issuer.identity)
        self._cache.add(digest, token, issuer, key, now)
        return token

    def _find_opaque(
        self,
        digest: bytes,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken | None:
        """Give an opaque token that one of the API's issuers said to be active.

        Its key names all that were asked before too: what an issuer said where they are not asked
        does not count, since one of them may know the token.
        """
        key = digest
        for name in issuers:
            issuer = self._with_opaque.get(name)
            if issuer is None:
                continue
            key += issuer.cache_tag
            entry = self._cache.find(key, now)
            if entry is not None:
                self._hits += 1
                check_audience(entry.token.aud, audiences, issuer.settings)
                return entry.token
        return None

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
            IssuerError: It cannot be told: the issuer's keys are not to be had, or it was asked and
                gave no proper answer.

        Waits for the network: for a kid that is not known, or for introspection.
        """
        jwt = read_jwt(credentials.token)
        if jwt is None:
            return await self._verify_opaque(credentials, issuers, audiences, now)
        issuer = self._select_issuer(jwt, issuers)
        if issuer.keys is None:
            raise TokenError("iss", "token_jwt_not_accepted")
        check_header(jwt.header, issuer.settings)
        kid = jwt.header.kid
        keys = issuer.keys.find(kid) or await issuer.keys.find_or_fetch(kid)
        digest = _digest(credentials)
        if issuer.asked_about_jwts is None:
            token = self._take(jwt, issuer, keys, digest, now)
        else:
            key = verify_signature(jwt, keys)
            aud = check_claims(jwt.claims, jwt.header.typ, issuer.settings, now)
            check_audience(aud, audiences, issuer.settings)  # before anybody is asked
            _, answer = await ask_each([issuer.asked_about_jwts], credentials.token, digest)
            token = introspected_token(
                answer, issuer.settings, issuer.identity, now, claims=jwt.claims, aud=aud
            )
            self._cache.add(digest, token, issuer, key, now, issuer.cache_ttl)
        check_audience(token.aud, audiences, issuer.settings)
        return token

    async def _verify_opaque(
        self,
        credentials: Credentials,
        issuers: Sequence[str],
        audiences: tuple[str, ...] | None,
        now: int,
    ) -> AccessToken:
        """Ask the API's issuers that have opaque tokens, in order."""
        key = digest = _digest(credentials)
        candidates: dict[Introspection, tuple[Issuer, bytes]] = {}
        for issuer in map(self._with_opaque.get, issuers):
            if issuer is not None and issuer.asked_about_opaque is not None:
                key += issuer.cache_tag
                candidates[issuer.asked_about_opaque] = issuer, key
        if not candidates:
            raise TokenError("format", "token_opaque")
        introspection, answer = await ask_each(list(candidates), credentials.token, digest)
        issuer, key = candidates[introspection]
        token = introspected_token(answer, issuer.settings, issuer.identity, now)
        self._cache.add(key, token, issuer, None, now, issuer.cache_ttl)
        check_audience(token.aud, audiences, issuer.settings)
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
