"""One request on its way through challenges: what to send, when to log in, when to give up.

No I/O: the adapters for httpx and aiohttp send, wait and log in, and ask here what comes next.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from bridge.client.blame import loop_error
from bridge.client.demand import INVALID_TOKEN, STATUSES, USE_DPOP_NONCE, Demand, read_demand, unite
from bridge.client.dpop import DPoPKey
from bridge.client.errors import ChallengeError, ReplayError
from bridge.client.token import Token
from bridge.client.wallet import Held, Wallet

MAX_LOGINS = 3
"""Of one request. Each answers a challenge that differs from all before it."""


FIRST_REFUSAL = 400
"""Statuses below tell that the token was good enough."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What the login callback is asked for.

    Attributes:
        demand: What the API demands, of all challenges to this request.
        scopes: Those of the demand and those held: what to ask for.
        url: Of the API's operation, without a query.
        dpop_key: The key to bind the token to; None: a Bearer token.
        cancelled: Set when nobody waits for the login any more.
    """

    demand: Demand
    scopes: tuple[str, ...]
    url: str
    dpop_key: DPoPKey | None = None
    cancelled: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of a response that matters here.

    Attributes:
        lines: Its `WWW-Authenticate` lines, decoded as ISO-8859-1.
        dpop_nonce: Its `DPoP-Nonce`.
        of_origin: It is the word of the origin that was asked: no redirect led elsewhere.
    """

    status: int
    lines: Sequence[str] = ()
    dpop_nonce: str | None = None
    of_origin: bool = True


class Next(Enum):
    """What the adapter does with an answer."""

    DONE = "give the response to the caller"
    RESEND = "send again with the same token: the nonce is new"
    STEP_UP = "alone, ask `look_again`, and log in if it says so"


class RequestFlow:
    """The state of one request.

    Args:
        wallet: The tokens for its origin.
        operation: Method and path.
        url: Without a query.
        replayable: The body can be sent twice.

    Attributes:
        demand: What the last challenge asked for.
    """

    def __init__(
        self,
        wallet: Wallet,
        operation: str,
        url: str,
        *,
        replayable: bool = True,
        dpop_key: DPoPKey | None = None,
    ) -> None:
        self._wallet = wallet
        self._operation = operation
        self._url = url
        self._replayable = replayable
        self._dpop_key = dpop_key
        self._began_at = wallet.number
        self._tried: list[Held] = []
        self._last: Held | None = None
        self.demand = Demand()
        self._merged = Demand()
        self._logged_in_for: list[Demand] = []
        self._nonce_spent = False

    def first(self, now: float) -> Held | None:
        """Give the token to send first; None: none, the challenge will tell."""
        return self._use(self._wallet.choose(self._operation, now))

    def answered(self, answer: Answer) -> Next:
        """Look at a response to the token sent last.

        Raises:
            ChallengeError: Its challenge cannot be followed.
            LoopError: A token made for this challenge met it again.
            ReplayError: The request would have to be sent again and cannot be.
        """
        demand = None
        if answer.of_origin and answer.status in STATUSES:
            demand = read_demand(answer.lines, dpop=self._dpop_key is not None)
        if demand is None:
            if answer.of_origin and self._last is not None and answer.status < FIRST_REFUSAL:
                self._wallet.took(self._operation, self._last)
            return Next.DONE
        if demand.error == USE_DPOP_NONCE:
            if self._nonce_spent or answer.dpop_nonce is None:
                raise ChallengeError("the API asks for a DPoP nonce and does not take its own")
            self._nonce_spent = True
            self._check_replayable()
            return Next.RESEND
        self._refuse_loop(demand)
        if demand.error == INVALID_TOKEN and self._last is not None:
            self._wallet.drop(self._last)
        self.demand = demand
        self._merged = demand.merged(self._merged)
        return Next.STEP_UP

    def look_again(self, now: float) -> Held | LoginRequest:
        """Give a token that may do, or else the login to make. No other request looks meanwhile.

        Raises:
            StepUpError: The login that this request waited for has failed; its error.
            ReplayError: There is a token, and the request cannot be sent again.
        """
        found = self._wallet.find(self.demand, now, self._tried)
        if found is not None:
            self._wallet.took(self._operation, found)
            self._check_replayable()
            self._use(found)
            return found
        failure = self._wallet.failure
        if failure is not None and failure[0] > self._began_at and failure[1] == self.demand:
            raise failure[2].with_traceback(None)
        held = () if self._last is None else self._last.token.scopes
        newest = self._wallet.held[-1].token.scopes if self._wallet.held else ()
        return LoginRequest(
            self._merged, unite(newest, held, self._merged.scopes), self._url, self._dpop_key
        )

    def logged_in(self, token: Token, now: float) -> Held:
        """Keep the token of the login, and give it to be sent.

        Raises:
            ReplayError: The request cannot be sent again; the token is kept for the next one.
        """
        asked = replace(self._merged, error=self.demand.error)
        held = self._wallet.add(token, asked, now)
        self._logged_in_for.append(self.demand)
        self._wallet.took(self._operation, held)
        self._check_replayable()
        self._use(held)
        return held

    def login_failed(self, error: Exception) -> None:
        """Let those who wait for the same login fail with it, rather than ask the user again."""
        self._wallet.number += 1
        self._wallet.failure = (self._wallet.number, self.demand, error)

    def _use(self, held: Held | None) -> Held | None:
        self._last = held
        self._nonce_spent = False
        if held is not None:
            self._tried.append(held)
        return held

    def _refuse_loop(self, demand: Demand) -> None:
        """Refuse to log in again for what a new token should have had.

        New means: made since this request began, by its own login or one that it shared.
        """
        last = self._last
        if last is None or last.number <= self._began_at:
            return
        met = demand.error == INVALID_TOKEN or demand in self._logged_in_for
        if met or _asks_no_more(demand, last.asked) or len(self._logged_in_for) >= MAX_LOGINS:
            raise loop_error(last, demand)

    def _check_replayable(self) -> None:
        if not self._replayable:
            raise ReplayError(
                "the body of the request was a stream, which is spent: build the request anew and "
                "send it, the token for it is at hand (or let the client buffer bodies)"
            )


def _asks_no_more(came: Demand, asked: Demand) -> bool:
    """Tell whether a login that asked for `asked` should have given all that `came` wants."""
    acr = not came.acr_values or (
        bool(asked.acr_values) and set(asked.acr_values) <= set(came.acr_values)
    )
    age = came.max_age is None or (asked.max_age is not None and asked.max_age <= came.max_age)
    return acr and age and set(came.scopes) <= set(asked.scopes)
