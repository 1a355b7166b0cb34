"""Verified tokens, kept for a while: bounded in number and in time, never past `exp`.

The key is a digest of the whole token, for an opaque one with the issuers that are asked up to its
own; an entry holds the issuer's verification state, so that a changed configuration or a removed
key voids it. The decision is never cached.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from bridge.tokens.access_token import AccessToken
from bridge.tokens.jwk import VerificationKey

IssuerT = TypeVar("IssuerT")


class CachedToken(NamedTuple, Generic[IssuerT]):
    """One verified token.

    Attributes:
        issuer: The state of the issuer's configuration that verified it.
        key: The key that verified its signature; None: it has none, its issuer was asked.
        expires_at: Epoch seconds from which on the entry is void.
    """

    token: AccessToken
    issuer: IssuerT
    key: VerificationKey | None
    expires_at: float


class TokenCache(Generic[IssuerT]):
    """A bounded map from token digests to verified tokens; the oldest entry makes room.

    Args:
        max_entries: Most entries held, >= 1.
        ttl: Longest life of an entry, seconds.
    """

    def __init__(self, max_entries: int, ttl: int) -> None:
        self._max_entries = max_entries
        self._ttl = ttl
        self._entries: dict[bytes, CachedToken[IssuerT]] = {}  # in order of insertion

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: bytes, now: int) -> CachedToken[IssuerT] | None:
        """Give the entry of a token if it is still good."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if now >= entry.expires_at or (entry.key is not None and entry.key.retired):
            del self._entries[digest]
            return None
        return entry

    def add(
        self,
        digest: bytes,
        token: AccessToken,
        issuer: IssuerT,
        key: VerificationKey | None,
        now: int,
        ttl: int | None = None,
    ) -> None:
        """Keep a verified token; one that has expired (within the leeway) is not kept.

        Args:
            ttl: A shorter life than other entries have, seconds.
        """
        expires_at = min(token.exp, now + self._ttl)
        if ttl is not None:
            expires_at = min(expires_at, now + ttl)
        if expires_at <= now:
            return
        self._entries.pop(digest, None)  # one that is replaced needs no room, and is the newest
        self._make_room(now)
        self._entries[digest] = CachedToken(token, issuer, key, expires_at)

    def drop_retired(self) -> None:
        """Drop the tokens of keys that were removed; `find` would give none of them any more."""
        self._entries = {
            digest: entry
            for digest, entry in self._entries.items()
            if entry.key is None or not entry.key.retired
        }

    def _make_room(self, now: int) -> None:
        """Drop from the oldest on what is void, and one more if the cache is full."""
        while self._entries:
            oldest = next(iter(self._entries))
            full = len(self._entries) >= self._max_entries
            if not full and self._entries[oldest].expires_at > now:
                return
            del self._entries[oldest]


class InactiveTokens:
    """Opaque tokens of which their issuer said that they are not active, kept for a short while.

    They are apart from the good ones, so that a flood of made-up tokens drives none of these out.

    Args:
        max_entries: Most entries held, >= 1.
        ttl: Life of an entry, seconds; 0: none is kept.
    """

    def __init__(self, max_entries: int, ttl: int) -> None:
        self._max_entries = max_entries
        self._ttl = ttl
        self._expiries: dict[bytes, float] = {}  # in order of insertion, and so of expiry

    def __len__(self) -> int:
        return len(self._expiries)

    def holds(self, digest: bytes, now: float) -> bool:
        """Tell whether a token was inactive a short while ago."""
        return self._expiries.get(digest, 0) > now

    def add(self, digest: bytes, now: float) -> None:
        """Keep a token; the oldest makes room."""
        self._expiries.pop(digest, None)
        while self._expiries:
            oldest = next(iter(self._expiries))
            if len(self._expiries) < self._max_entries and self._expiries[oldest] > now:
                break
            del self._expiries[oldest]
        if self._ttl:
            self._expiries[digest] = now + self._ttl
