"""The tokens that a client holds for one API, and which of them to send. Pure."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bridge.client.demand import Demand
from bridge.client.token import Token

_EXPIRY_MARGIN_SECONDS = 5
_MAX_TOKENS = 8
_MAX_OPERATIONS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A token, and the login that gave it.

    Attributes:
        asked: What the login asked for.
        obtained_at: When it ended, epoch seconds.
        number: Counts the logins of this wallet.
    """

    token: Token
    asked: Demand
    obtained_at: float
    number: int = 0

    def is_expired(self, now: float) -> bool:
        """Tell whether the token ends now or within some seconds."""
        expires_at = self.token.expires_at
        return expires_at is not None and now >= expires_at - _EXPIRY_MARGIN_SECONDS

    def may_satisfy(self, demand: Demand, now: float) -> bool:
        """Tell whether the token is worth a try, from all that a client can know."""
        if not set(demand.scopes) <= set(self.token.scopes):
            return False
        if demand.acr_values and not self._has_one_of(demand.acr_values):
            return False
        return demand.max_age is None or self._authenticated_since(now - demand.max_age)

    def outdoes(self, other: Held) -> bool:
        """Tell whether nothing is left for which the other, older token would do better."""
        return set(other.token.scopes) <= set(self.token.scopes) and (
            self.asked.acr_values == other.asked.acr_values and self.token.acr == other.token.acr
        )

    def _has_one_of(self, acr_values: tuple[str, ...]) -> bool:
        if self.token.acr is not None:
            return self.token.acr in acr_values
        return bool(self.asked.acr_values) and set(self.asked.acr_values) <= set(acr_values)

    def _authenticated_since(self, instant: float) -> bool:
        if self.token.auth_time is not None:
            return self.token.auth_time >= instant
        asked = self.asked.max_age
        return asked is not None and self.obtained_at - asked >= instant


class Wallet:
    """Tokens for the operations of one origin. Threads may share it.

    An operation gets the token that it took last; one that is not known gets the newest. So the
    better token serves what comes, and the weaker one goes on where it is known to suffice.
    """

    def __init__(self, held: Iterable[Held] = ()) -> None:
        self._lock = threading.Lock()
        self._held: tuple[Held, ...] = tuple(held)
        self._taken: dict[str, Held] = {}
        self.number = max((one.number for one in self._held), default=0)
        self.failure: tuple[int, Demand, Exception] | None = None

    @property
    def held(self) -> tuple[Held, ...]:
        """All tokens, the newest last."""
        return self._held

    def choose(self, operation: str, now: float) -> Held | None:
        """Give the token to try first; None: there is none.

        Args:
            operation: Method and path.
            now: Current time, epoch seconds.
        """
        with self._lock:
            self._held = tuple(one for one in self._held if not one.is_expired(now))
            taken = self._taken.get(operation)
            if taken in self._held:
                return taken
            return self._held[-1] if self._held else None

    def find(self, demand: Demand, now: float, tried: Collection[Held]) -> Held | None:
        """Give a token that may satisfy a demand, the newest first."""
        for one in reversed(self._held):
            if one not in tried and not one.is_expired(now) and one.may_satisfy(demand, now):
                return one
        return None

    def add(self, token: Token, asked: Demand, now: float) -> Held:
        """Keep the token of a login."""
        with self._lock:
            self.number += 1
            new = Held(token, asked, now, self.number)
            kept = [one for one in self._held if not new.outdoes(one)]
            self._held = (*kept[-_MAX_TOKENS + 1 :], new)
        return new

    def drop(self, held: Held) -> None:
        """Forget a token: the API says that it is invalid."""
        with self._lock:
            self._held = tuple(one for one in self._held if one is not held)

    def took(self, operation: str, held: Held) -> None:
        """Remember which token an operation takes."""
        with self._lock:
            self._taken.pop(operation, None)
            self._taken[operation] = held
            while len(self._taken) > _MAX_OPERATIONS:
                del self._taken[next(iter(self._taken))]
