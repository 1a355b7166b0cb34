"""The same challenge again: who is to blame, from what a client can see. Pure."""

from __future__ import annotations

from bridge.client.demand import INVALID_TOKEN, Demand
from bridge.client.errors import LoopError
from bridge.client.wallet import Held

_LOGIN_SECONDS = 60
"""A good login may be as old when its token comes: consent pages, slow redirects."""

SERVER, API, UNKNOWN = "authorization server", "API", "unknown"


def loop_error(held: Held, came: Demand) -> LoopError:
    """Say what was asked, what came back, and who did not do his part.

    Args:
        held: The token that was made for the challenge and met it again.
        came: The challenge that it met.
    """
    to_blame, why = _blame(held, came)
    text = (
        f"no further login, it would not help: the login asked for ({held.asked}); "
        f"with the new token the API asks for ({came}). To blame: {to_blame}: {why}"
    )
    return LoopError(text, held.asked, came, to_blame)


def _blame(held: Held, came: Demand) -> tuple[str, str]:
    token = held.token
    if came.error == INVALID_TOKEN:
        return API, (
            "it takes no token of this authorization server, or expects another audience, "
            "or their clocks differ"
        )
    missing = [scope for scope in came.scopes if scope not in token.scopes]
    if missing:
        return SERVER, f"it did not grant the scope {' '.join(missing)}"
    if came.acr_values and token.acr is not None and token.acr not in came.acr_values:
        return SERVER, f"its ID token says acr {token.acr}: it does not honour acr_values"
    if came.max_age is not None and token.auth_time is not None:
        age = held.obtained_at - token.auth_time
        if age > came.max_age + _LOGIN_SECONDS:
            return SERVER, f"its ID token is of a login {age:.0f} s ago: it does not honour max_age"
        if age >= came.max_age:
            return API, f"max_age is too short: the login was {age:.0f} s old when its token came"
    if (token.acr is not None or not came.acr_values) and (
        token.auth_time is not None or came.max_age is None
    ):
        return API, (
            "by the authorization server's own word the login is good enough; the access token "
            "does not carry it (acr, auth_time, scope), or the API does not read it"
        )
    return UNKNOWN, (
        "the authorization server may ignore acr_values or max_age, or leave acr and auth_time "
        "out of access tokens (ask with the scope openid to know), or the API does not read them"
    )
