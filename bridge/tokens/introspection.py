"""Asking an issuer about a token (RFC 7662): once at a time for each token, within bounds.

Each issuer has its own connections, so that one that hangs takes none from another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe

from bridge.errors import IssuerError
from bridge.tokens.access_token import Claims
from bridge.tokens.cache import InactiveTokens
from bridge.tokens.client_authentication import (
    Form,
    Headers,
    private_key_jwt,
    read_private_key,
    secret_basic,
    secret_post,
)
from bridge.tokens.fetch import Fetcher, FetchError
from bridge.tokens.introspection_answer import AnswerError, inactive, read_answer
from bridge.tokens.metadata import discover_introspection_endpoint
from bridge.tokens.settings import IntrospectionSettings, IssuerSettings

HEAD_START_SECONDS = 0.1
"""What an issuer that answers is given before the next one is asked about an opaque token too."""

HANGS_AFTER_SECONDS = 1.0
"""From when on the answers of those after it count without its own."""

MAX_CALLS = 1000
_CONNECTIONS = 100
_MAX_INACTIVE_ENTRIES = 10_000
_MAX_INACTIVE_SECONDS = 5
_ENDPOINT_LIFETIME_SECONDS = 600.0
_RETRY_SECONDS = 1.0
_MAX_PROBE_DELAY_SECONDS = 30.0
_REFUSALS = ("status_401", "status_403")  # of the bridge as a client (RFC 7662 §2.3)


@dataclass(frozen=True, slots=True)
class IntrospectionReport:
    """What became of one call, for log and metrics.

    Attributes:
        error: Stable code; None: the answer was a proper one, whatever it said.
        changed: The call before it ended differently, or there was none.
    """

    issuer: str
    error: str | None
    changed: bool


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way. The task never raises, since nobody may be left to wait for it."""

    task: asyncio.Task[Claims | IssuerError | None]
    began_at: float


class Introspection:
    """Asks one issuer about tokens, from now to `retire` or `stop`.

    Args:
        settings: With `introspection`.
        report: Called after every call; must not raise.
    """

    def __init__(
        self, settings: IssuerSettings, report: Callable[[IntrospectionReport], None]
    ) -> None:
        if settings.introspection is None:
            raise ValueError("the issuer has no introspection")
        self.settings = settings
        self.error: str | None = None
        self._issuer = settings.issuer
        self._authenticate = _authentication(settings.introspection, settings.issuer)
        self._endpoint = _Endpoint(settings, settings.introspection.endpoint)
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._fetcher = Fetcher(connections=_CONNECTIONS, keep_alive=True)
        self._calls: dict[bytes, _Call] = {}  # in order of their beginning
        ttl = min(settings.introspection.cache_ttl, _MAX_INACTIVE_SECONDS)
        self._inactive = InactiveTokens(_MAX_INACTIVE_ENTRIES, ttl)
        self._failures = 0
        self._probe_timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.Task[None] | None = None
        self._retired = False
        self._closed = False
        self._stopped = False

    @property
    def is_lagging(self) -> bool:
        """True when the last call failed, or one is under way for suspiciously long."""
        return self.error is not None or self._is_waited_for(HEAD_START_SECONDS)

    @property
    def is_hanging(self) -> bool:
        """True when the last call failed, or one is under way for so long that it will."""
        return self.error is not None or self._is_waited_for(HANGS_AFTER_SECONDS)

    def _is_waited_for(self, seconds: float) -> bool:
        oldest = next(iter(self._calls.values()), None)
        return oldest is not None and self._loop.time() - oldest.began_at > seconds

    def is_known_inactive(self, digest: bytes) -> bool:
        """Tell whether the issuer said a short while ago that the token is not active."""
        return self._inactive.holds(digest, self._loop.time())

    def ask(self, token: str, digest: bytes) -> asyncio.Task[Claims | IssuerError | None]:
        """Ask about a token, or join the call that is under way for it.

        Args:
            digest: Of the whole token.

        Returns:
            A task that others may wait for too, and that never raises. Its result is the answer
            of an active token, None for one that is not active, or the issuer's fault.

        Raises:
            IssuerError: Too many calls are under way already.
        """
        call = self._calls.get(digest)
        if call is not None:
            return call.task
        if self._stopped or len(self._calls) >= MAX_CALLS:
            raise self._fault("overloaded")
        if self._closed:
            self._fetcher, self._closed = Fetcher(connections=_CONNECTIONS), False
        task = self._loop.create_task(self._call(token, digest))
        self._calls[digest] = _Call(task, self._loop.time())
        return task

    async def retire(self) -> None:
        """Ask no more but for checks that began before; no connection outlives their calls."""
        self._retired = True
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        if not self._calls:
            await self._close()

    async def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        await self.retire()
        tasks = [call.task for call in self._calls.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._close()

    async def _close(self) -> None:
        """Close the connections, and end what no check waits for."""
        self._closed = True
        fetcher = self._fetcher
        tasks = [task for task in (self._probe, self._endpoint.task) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await fetcher.__aexit__(None, None, None)

    async def _call(self, token: str, digest: bytes) -> Claims | IssuerError | None:
        try:
            answer = await self._exchange(token)
        except (FetchError, AnswerError) as error:
            return self._fault(str(error))
        finally:
            del self._calls[digest]
            if self._retired and not self._calls:
                await self._close()
        if answer is None:
            self._inactive.add(digest, self._loop.time())
        return answer

    async def _exchange(self, token: str) -> Claims | None:
        """Make one call, and tell how it went.

        Raises:
            FetchError: There was no answer within the time.
            AnswerError: It was no proper one.
        """
        try:
            answer = await self._fetch_answer(token)
        except (FetchError, AnswerError) as error:
            self._note(str(error))
            raise
        self._note(None)
        return answer

    async def _fetch_answer(self, token: str) -> Claims | None:
        try:
            async with asyncio.timeout(self.settings.timeout):  # discovery included
                url = await self._endpoint.find(self._fetcher)
                headers, form = self._authenticate()
                body = await self._fetcher.post(
                    url,
                    {"token": token, "token_type_hint": "access_token", **form},
                    headers,
                    timeout_seconds=self.settings.timeout,
                    allow_insecure_http=self.settings.allow_insecure_http,
                )
        except TimeoutError:
            raise FetchError("timeout") from None
        except FetchError as error:
            raise (FetchError("client_refused") if str(error) in _REFUSALS else error) from None
        return read_answer(body)

    def _note(self, error: str | None) -> None:
        changed = error != self.error
        self.error = error
        if error is None:
            self._failures = 0
        elif self._probe_timer is None and self._probe is None and not self._retired:
            self._plan_probe()
        self._report(IntrospectionReport(self._issuer, error, changed))

    def _plan_probe(self) -> None:
        """Ask again soon after a failure, so that readiness returns even where no request comes.

        Nobody sends requests to a bridge that is not ready, and no request means no call.
        """
        delay = min(2.0**self._failures, _MAX_PROBE_DELAY_SECONDS)
        self._failures = min(self._failures + 1, 10)
        self._probe_timer = self._loop.call_later(delay, self._begin_probe)

    def _begin_probe(self) -> None:
        self._probe_timer = None
        if self.error is not None:
            self._probe = self._loop.create_task(self._ask_about_nothing())

    async def _ask_about_nothing(self) -> None:
        """Ask about a token that nobody has."""
        try:
            await self._exchange(token_urlsafe())
        except (FetchError, AnswerError):
            pass
        finally:
            self._probe = None
        if self.error is not None and not self._retired:
            self._plan_probe()

    def _fault(self, code: str) -> IssuerError:
        return IssuerError(self._issuer, f"introspection_{code}")


class _Endpoint:
    """Where to ask: configured, or found in the metadata and looked up anew now and then."""

    def __init__(self, settings: IssuerSettings, configured: str | None) -> None:
        self.task: asyncio.Task[None] | None = None
        self._settings = settings
        self._is_configured = configured is not None
        self._url = configured
        self._error = ""
        self._look_up_at = 0.0

    async def find(self, fetcher: Fetcher) -> str:
        """Give the URL; only the first look-up is waited for.

        Raises:
            FetchError: It cannot be found.
        """
        loop = asyncio.get_running_loop()
        is_due = not self._is_configured and loop.time() >= self._look_up_at
        if is_due and self.task is None:
            self.task = loop.create_task(self._look_up(fetcher))
        if self._url is None and self.task is not None:
            await asyncio.wait([self.task])  # a cancelled waiter does not cancel it
        if self._url is None:
            raise FetchError(self._error)
        return self._url

    async def _look_up(self, fetcher: Fetcher) -> None:
        settings = self._settings
        delay = _RETRY_SECONDS
        try:
            self._url = await discover_introspection_endpoint(
                settings.issuer,
                fetcher,
                timeout_seconds=settings.timeout,
                allow_insecure_http=settings.allow_insecure_http,
            )
            delay = _ENDPOINT_LIFETIME_SECONDS
        except FetchError as error:
            self._error = str(error)
        finally:
            self._look_up_at = asyncio.get_running_loop().time() + delay
            self.task = None


async def ask_each(
    candidates: Sequence[Introspection], token: str, digest: bytes
) -> tuple[Introspection, Claims]:
    """Ask several issuers about an opaque token, in order; the first that says `active` wins.

    Each is given a head start before the next is asked too, but for one that lags. What the next
    says counts once those before it have answered, but for one that hangs: it does not hold up the
    tokens of the others.

    Raises:
        TokenError: All of them say that it is not active.
        IssuerError: Nobody says that it is active, and one cannot tell.
    """
    rank = {each: place for place, each in enumerate(candidates)}
    waiting = [each for each in candidates if not each.is_known_inactive(digest)]
    asked: dict[asyncio.Task[Claims | IssuerError | None], Introspection] = {}
    winner: tuple[Introspection, Claims] | None = None
    fault: IssuerError | None = None
    while waiting or asked:
        look_again = None if winner is None else HEAD_START_SECONDS
        if waiting:
            asking = waiting.pop(0)
            if waiting:
                look_again = 0.0 if asking.is_lagging else HEAD_START_SECONDS
            try:
                asked[asking.ask(token, digest)] = asking
            except IssuerError as error:
                fault = fault or error
                continue
        done, _ = await asyncio.wait(asked, timeout=look_again, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            issuer = asked.pop(task)
            answer = task.result()
            if isinstance(answer, IssuerError):
                fault = fault or answer
            elif answer is not None and (winner is None or rank[issuer] < rank[winner[0]]):
                winner = issuer, answer
                waiting.clear()
        if winner is not None and all(
            rank[each] > rank[winner[0]] or each.is_hanging for each in asked.values()
        ):
            return winner
    raise fault or inactive()


def _authentication(
    settings: IntrospectionSettings, issuer: str
) -> Callable[[], tuple[Headers, Form]]:
    """Prepare how each call proves which client the bridge is."""
    client_id, secret = settings.client_id, settings.client_secret
    match settings.auth:
        case "client_secret_basic":
            headers = secret_basic(client_id, secret)
            return lambda: (headers, {})
        case "client_secret_post":
            form = secret_post(client_id, secret)
            return lambda: ({}, form)
        case "private_key_jwt":
            key = read_private_key(settings.private_key)
            return lambda: (
                {},
                private_key_jwt(client_id, key, issuer, int(time.time()), token_urlsafe()),
            )
