"""What a browser's session knows, and what an authorization request still lacks. Pure."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import Enum

from bridge.demo.authorization_request import AuthorizationRequest
from bridge.demo.oauth import MFA, PWD, User

_MAX_PENDING = 20


@dataclass(slots=True)
class Pending:
    """An authorization request whose user is looking at our pages.

    Attributes:
        authenticated: The user authenticated for this very request, so it is as fresh as can be.
    """

    request: AuthorizationRequest
    authenticated: bool = False


@dataclass(slots=True)
class Session:
    """One browser.

    Attributes:
        password_at: When the password was given, epoch seconds; counts only with a user.
        second_factor_at: When the one-time code was given, after that password; None: not yet.
        pending: By a random name, which the forms carry. Nobody else can know it, so nobody else
            can make this browser send a form (RFC 6819 §4.4.1.8).
    """

    user: User | None = None
    password_at: int = 0
    second_factor_at: int | None = None
    pending: dict[str, Pending] = field(default_factory=dict)

    @property
    def acr(self) -> str:
        """The highest level that was reached."""
        return PWD if self.second_factor_at is None else MFA

    @property
    def auth_time(self) -> int:
        """When the user last answered a prompt (RFC 9470 §3: "active authentication event")."""
        return max(self.password_at, self.second_factor_at or 0)

    def remember(self, request: AuthorizationRequest) -> str:
        """Keep a request while the user logs in; give the name that the forms carry."""
        while len(self.pending) >= _MAX_PENDING:
            del self.pending[next(iter(self.pending))]
        name = secrets.token_urlsafe(32)
        self.pending[name] = Pending(request)
        return name


class Step(Enum):
    """What comes next for an authorization request."""

    PASSWORD = "ask for the password"
    SECOND_FACTOR = "ask for the one-time code"
    UNMET = "the user has no second factor"
    GRANT = "give the code"


def next_step(session: Session, pending: Pending, now: int) -> Step:
    """Compare what the session knows with what the request asks for.

    What is too old, or forced by `prompt=login`, begins again with the password; a level that is
    only too low takes the second factor alone.

    Args:
        now: Current time, epoch seconds.

    Spec: RFC 9470 §5; OpenID Connect Core §3.1.2.1 (prompt, max_age).
    """
    if session.user is None or (not pending.authenticated and _is_stale(session, pending, now)):
        return Step.PASSWORD
    if pending.request.acr == MFA and session.second_factor_at is None:
        return Step.UNMET if session.user.code is None else Step.SECOND_FACTOR
    return Step.GRANT


def _is_stale(session: Session, pending: Pending, now: int) -> bool:
    """Tell whether the request wants a newer authentication.

    An age of exactly `max_age` is too old here: the token would be stale before it was used.
    """
    max_age = pending.request.max_age
    too_old = max_age is not None and now - session.auth_time >= max_age
    return too_old or "login" in pending.request.prompts
