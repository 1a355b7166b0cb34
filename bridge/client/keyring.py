"""What the adapters share: a wallet and a nonce for each origin, and where tokens are kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.client.demand import Demand
from bridge.client.dpop import DPoPKey
from bridge.client.errors import StepUpError
from bridge.client.flow import Answer, LoginRequest, Next, RequestFlow
from bridge.client.login import AsyncLogin, Login, log_in, log_in_async
from bridge.client.origin import is_protected, origin_of, place_of
from bridge.client.token import Token
from bridge.client.wallet import Held, Wallet


class TokenStore(Protocol):
    """Where tokens outlive the program."""

    def load(self) -> Mapping[str, tuple[Held, ...]]:
        """Give the tokens by origin."""

    def save(self, held: Mapping[str, tuple[Held, ...]]) -> None:
        """Keep these tokens, and no others."""


class Keyring:
    """Wallets by origin: a token goes to the origin whose challenge it was made for, no other.

    Args:
        dpop_key: To bind tokens to; None: Bearer tokens.
        store: None: tokens are kept in memory alone.
        tell: Called with each step, a line for a person, without secrets.
    """

    def __init__(
        self,
        dpop_key: DPoPKey | None = None,
        store: TokenStore | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.dpop_key = dpop_key
        self.tell = tell
        self._store = store
        self._lock = threading.Lock()
        loaded = {} if store is None else store.load()
        self._wallets = {origin: Wallet(held) for origin, held in loaded.items()}
        self._nonces: dict[str, str] = {}

    def add(self, url: str, token: Token) -> None:
        """Keep a token that the program has from elsewhere.

        Args:
            url: Any of the API that it is for: its origin counts.
        """
        asked = Demand(scheme=token.token_type, scopes=token.scopes)
        self.wallet(url).add(token, asked, time.time())

    def begin(self, method: str, url: str, *, replayable: bool) -> RequestFlow:
        """Begin the way of one request.

        Raises:
            StepUpError: It would go over the network without TLS.
        """
        if not is_protected(url):
            raise StepUpError("no token is sent without TLS: the URL must be https")
        place = place_of(url)
        return RequestFlow(
            self.wallet(url),
            f"{method} {place}",
            place,
            replayable=replayable,
            dpop_key=self.dpop_key,
        )

    def wallet(self, url: str) -> Wallet:
        """Give the wallet for the origin of a URL."""
        with self._lock:
            return self._wallets.setdefault(origin_of(url), Wallet())

    def credentials(self, held: Held | None, method: str, url: str) -> dict[str, str]:
        """Give the headers that show a token: `authorization`, and `dpop` for a bound one."""
        if held is None:
            return {}
        token = held.token
        headers = {"authorization": f"{token.token_type} {token.access_token}"}
        if token.token_type == "DPoP":
            if self.dpop_key is None:
                raise StepUpError("there is a DPoP token, and no DPoP key for it")
            headers["dpop"] = self.dpop_key.proof(
                method, url, access_token=token.access_token, nonce=self._nonces.get(origin_of(url))
            )
        return headers

    def first(self, flow: RequestFlow) -> Held | None:
        """Give the token to send first."""
        return flow.first(time.time())

    def answered(self, flow: RequestFlow, url: str, answer: Answer) -> Next:
        """Look at an answer, and keep its nonce (RFC 9449 §8.2).

        Raises:
            StepUpError: No login can help.
        """
        if answer.dpop_nonce is not None and answer.of_origin:
            self._nonces[origin_of(url)] = answer.dpop_nonce
        following = flow.answered(answer)
        if following is Next.STEP_UP:
            self.tell(f"{answer.status}: the API asks for: {flow.demand}")
        return following

    def step_up(self, flow: RequestFlow, login: Login | AsyncLogin) -> Held:
        """Get a better token. The caller lets one request of an origin in at a time."""
        found = self._look_again(flow)
        if isinstance(found, Held):
            return found
        try:
            token = log_in(login, found)
        except Exception as error:
            flow.login_failed(error)
            raise
        return self._logged_in(flow, token)

    async def step_up_async(self, flow: RequestFlow, login: Login | AsyncLogin) -> Held:
        """Do the same for an async client."""
        found = self._look_again(flow)
        if isinstance(found, Held):
            return found
        try:
            token = await log_in_async(login, found)
        except Exception as error:
            flow.login_failed(error)
            raise
        return self._logged_in(flow, token)

    def _look_again(self, flow: RequestFlow) -> Held | LoginRequest:
        found = flow.look_again(time.time())
        if isinstance(found, Held):
            self.tell("a token at hand may do")
        return found

    def _logged_in(self, flow: RequestFlow, token: Token) -> Held:
        try:
            return flow.logged_in(token, time.time())
        finally:
            self._save()

    def _save(self) -> None:
        if self._store is not None:
            with self._lock:
                held = {origin: wallet.held for origin, wallet in self._wallets.items()}
            self._store.save(held)
