"""An issuer's key set: fetched in the background, kept when a fetch fails, never on the hot path.

A check only looks at the keys at hand. What can wait for the network is a token with a `kid` that
nobody has seen, and that at most once in 30 seconds, shared by all that wait.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.errors import IssuerError, TokenError
from bridge.tokens.fetch import MAX_ANSWER_BYTES, Fetcher, FetchError
from bridge.tokens.fingerprint import Fingerprint, fingerprint
from bridge.tokens.jwk import VerificationKey, read_key_set
from bridge.tokens.metadata import discover_jwks_uri

UNKNOWN_KID_COOLDOWN_SECONDS = 30.0
_MIN_LIFETIME_SECONDS = 60.0
_MAX_LIFETIME_SECONDS = 24 * 3600.0
_DEFAULT_LIFETIME_SECONDS = 600.0
_FILE_POLL_SECONDS = 1.0
_MAX_RETRY_SECONDS = 30.0
_NOT_FETCHED_YET = "not_fetched_yet"
_FILE_UNREADABLE = "file_unreadable"
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age="?(\d+)"?(?:$|[\s,])', re.IGNORECASE)
_AGE = re.compile(r"\s*(\d+)\s*")
_NO_CACHE = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where an issuer's keys come from; equal sources share one key set across reloads.

    How they are fetched makes it no other source.
    """

    issuer: str
    jwks_uri: str | None
    jwks_file: Path | None
    timeout_seconds: int = field(compare=False)
    allow_insecure_http: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of one fetch, for log and metrics.

    Attributes:
        error: Stable code; None: the fetch was good.
        keys: Usable keys at hand after it.
        next_fetch_seconds: When the next one is due.
        removed: Keys that it has retired.
    """

    issuer: str
    error: str | None
    keys: int
    next_fetch_seconds: float
    removed: int = 0


class KeySet:
    """The keys of one issuer, kept fresh from `start` to `stop`.

    Args:
        source: Where they come from; an equal one may be put in its place.
        fetcher: The HTTP client.
        report: Called after every fetch; must not raise.
    """

    def __init__(
        self, source: KeySource, fetcher: Fetcher, report: Callable[[FetchReport], None]
    ) -> None:
        self.source = source
        self.error: str | None = _NOT_FETCHED_YET
        self._fetcher = fetcher
        self._report = report
        self._keys: tuple[VerificationKey, ...] = ()
        self._by_kid: dict[str, tuple[VerificationKey, ...]] = {}
        self._loop = asyncio.get_running_loop()
        self._fetch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_fetch_at = 0.0
        self._succeeded_at: float | None = None
        self._asked_for_kid_at = -UNKNOWN_KID_COOLDOWN_SECONDS
        self._failures = 0
        self._file_fingerprint: Fingerprint = None
        self._retired = False

    @property
    def keys(self) -> tuple[VerificationKey, ...]:
        """The keys at hand; empty until a fetch was good."""
        return self._keys

    @property
    def age_seconds(self) -> float | None:
        """Time since the last good fetch; None: there was none."""
        return None if self._succeeded_at is None else self._loop.time() - self._succeeded_at

    def start(self) -> asyncio.Task[None]:
        """Begin to fetch; the task is the first fetch, and never raises."""
        return self._begin_fetch()

    def retire(self) -> None:
        """Fetch no more but for checks that began before: they may still wait for keys."""
        self._retired = True
        if self._timer is not None:
            self._timer.cancel()

    async def stop(self) -> None:
        """Fetch no more."""
        self.retire()
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    def find(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Give the keys that may have signed a token: those with its kid, all where it has none."""
        return self._keys if kid is None else self._by_kid.get(kid, ())

    async def find_or_fetch(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Give the keys of a token for which `find` has none.

        Raises:
            TokenError: A recent fetch was good, and lacks the kid.
            IssuerError: There are no keys to judge by.
        """
        since_asked = self._loop.time() - self._asked_for_kid_at
        if self._fetch is None and kid is not None and since_asked >= UNKNOWN_KID_COOLDOWN_SECONDS:
            self._asked_for_kid_at = self._loop.time()
            self._begin_fetch()
        if self._fetch is not None:
            await asyncio.wait([self._fetch])  # a cancelled waiter does not cancel the fetch
        keys = self.find(kid)
        if keys:
            return keys
        age = self.age_seconds
        if self.error is None and age is not None and age <= UNKNOWN_KID_COOLDOWN_SECONDS:
            raise TokenError("key", "token_kid_unknown")
        retry_after = self._next_fetch_at - self._loop.time()
        raise IssuerError(self.source.issuer, "keys_unavailable", round(retry_after))

    def _begin_fetch(self) -> asyncio.Task[None]:
        if self._timer is not None:
            self._timer.cancel()
        if self._fetch is None:
            self._fetch = self._loop.create_task(self._refresh())
        return self._fetch

    async def _refresh(self) -> None:
        delay = _MAX_RETRY_SECONDS
        try:
            delay = await self._load()
            self._failures = 0
        except FetchError as error:
            delay = min(2.0**self._failures, _MAX_RETRY_SECONDS)
            self._failures = min(self._failures + 1, 10)
            if self.source.jwks_file is not None:
                delay = _FILE_POLL_SECONDS
            is_known = str(error) == self.error == _FILE_UNREADABLE  # looked at every second
            self.error = str(error)
            if not is_known:
                self._tell(delay)
        finally:
            self._fetch = None
            if not self._retired:
                self._next_fetch_at = self._loop.time() + delay
                self._timer = self._loop.call_later(delay, self._begin_fetch)

    async def _load(self) -> float:
        """Load the keys and give the seconds until they must be loaded again."""
        if self.source.jwks_file is not None:
            return self._load_file(self.source.jwks_file)
        source = self.source
        jwks_uri = source.jwks_uri or await discover_jwks_uri(
            source.issuer,
            self._fetcher,
            timeout_seconds=source.timeout_seconds,
            allow_insecure_http=source.allow_insecure_http,
        )
        document = await self._fetcher.get(
            jwks_uri,
            timeout_seconds=source.timeout_seconds,
            allow_insecure_http=source.allow_insecure_http,
        )
        delay = refresh_after(document.cache_control, document.age)
        self._tell(delay, self._take(document.body))
        return delay

    def _load_file(self, file: Path) -> float:
        """Read the file if it is another one than last time; a swapped link is another file."""
        seen = fingerprint(file)
        if seen != self._file_fingerprint or self.error == _NOT_FETCHED_YET:
            self._file_fingerprint = seen
            try:
                with file.open("rb") as stream:
                    removed = self._take(stream.read(MAX_ANSWER_BYTES))
            except OSError:
                self._file_fingerprint = None  # it may be this process that cannot
                raise FetchError(_FILE_UNREADABLE) from None
            self._tell(_FILE_POLL_SECONDS, removed)
        elif self.error is None:
            self._succeeded_at = self._loop.time()
        return _FILE_POLL_SECONDS

    def _take(self, raw: bytes) -> int:
        """Put a new key set into force; keys that stay keep their identity.

        Returns:
            How many went.
        """
        try:
            fetched = read_key_set(raw)
        except ValueError:
            raise FetchError("no_usable_key_set") from None
        known = {key.fingerprint: key for key in self._keys}
        keys = {key.fingerprint: known.get(key.fingerprint, key) for key in fetched}
        removed = known.keys() - keys.keys()
        for each in removed:
            known[each].retired = True  # voids the cached tokens that it verified
        self._keys = tuple(keys.values())
        by_kid: dict[str, tuple[VerificationKey, ...]] = {}
        for key in self._keys:
            if key.kid is not None:
                by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
        self._by_kid = by_kid
        self._succeeded_at = self._loop.time()
        self.error = None
        return len(removed)

    def _tell(self, delay: float, removed: int = 0) -> None:
        self._report(FetchReport(self.source.issuer, self.error, len(self._keys), delay, removed))


def refresh_after(cache_control: str, age: str = "") -> float:
    """Give the seconds after which to fetch again: before the answer goes stale.

    Args:
        cache_control: Value of the answer's `Cache-Control` (RFC 9111 §5.2.2); between one minute
            and 24 hours it is respected, 10 minutes without one.
        age: Value of its `Age` (§5.1), which is what a cache on the way has used up of `max-age`.
    """
    lifetime = _DEFAULT_LIFETIME_SECONDS
    if _NO_CACHE.search(cache_control):
        lifetime = _MIN_LIFETIME_SECONDS
    elif match := _MAX_AGE.search(cache_control):
        lifetime = _delta_seconds(match[1])
        if used := _AGE.fullmatch(age):
            lifetime -= _delta_seconds(used[1])
    return min(max(lifetime, _MIN_LIFETIME_SECONDS), _MAX_LIFETIME_SECONDS) * 0.9


def _delta_seconds(digits: str) -> float:
    """Read a number of seconds of any length (RFC 9111 §1.2.2)."""
    return min(float(digits), 2.0**31)
