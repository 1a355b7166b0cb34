"""Tells when step-ups lead nowhere: users log in anew, and what was asked for does not come.

Asked about step-up denials alone, so an allow costs nothing and a token that will do always passes.
No clock: `now` is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from bridge.config.settings import LoopGuardSettings
from bridge.decision.decide import Decision, satisfies_acr
from bridge.service.report import IgnoredStepUp
from bridge.tokens.access_token import AccessToken

_CHALLENGED = 401
_FORBIDDEN = 403
_TOLD_FROM = 2
"""One token may be chance: the user logged in in another tab, for something else."""

_ACR_IGNORED = (
    "The authorization server did not do what was asked: after a new login acr is still unmet"
)
_NO_AUTH_TIME = (
    "The authorization server does not tell when users log in: new access tokens have no auth_time"
)


class Asked(NamedTuple):
    """An operation and what it demands; with another demand counting begins anew."""

    api: str
    operation: str
    acr_values: tuple[str, ...]
    max_age: int | None


@dataclass(frozen=True, slots=True)
class Challenges:
    """What is remembered of an operation's challenges to one user of one client.

    Attributes:
        last: When the last one was given, or the 403 that ended them; epoch seconds.
        auth_time: The latest that has come, so that no login counts twice.
        ignored: When tokens of a new login came without the acr.
        undated: When new tokens came without the `auth_time` that max_age needs.
    """

    last: int
    auth_time: float
    ignored: tuple[int, ...] = ()
    undated: tuple[int, ...] = ()

    def within(self, start: int) -> Challenges:
        """Forget what was counted before."""
        ignored = tuple(at for at in self.ignored if at > start)
        return replace(
            self, ignored=ignored, undated=tuple(at for at in self.undated if at > start)
        )

    def answered(self, token: AccessToken, now: int) -> Challenges:
        """Remember that a token was answered."""
        return replace(self, last=now, auth_time=max(self.auth_time, token.auth_time or 0))


Known = dict[Asked, Challenges]
"""What is remembered of one user of one client."""


class LoopGuard:
    """Counts new tokens that still fail, by issuer, subject, client and operation.

    All four come from a verified token and the configuration: nobody can fill another one's count.

    Args:
        settings: What to do about it; the count is of this process.
    """

    def __init__(self, settings: LoopGuardSettings) -> None:
        self.settings = settings
        self._users: dict[bytes, Known] = {}  # the longest unseen first
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def judge(self, denial: Decision, now: int) -> tuple[Decision, IgnoredStepUp | None]:
        """Look at a denial of row 10 before it is given.

        Args:
            now: Current time, epoch seconds.

        Returns:
            The denial, which may say more, or be a 403; and what is to be told to people.
        """
        user = watched_user(denial)
        if user is None:
            return denial, None
        judged, known = self.look(self._take(user), denial, now)
        self._keep(user, known)
        return judged

    def look(
        self, held: Known, denial: Decision, now: int
    ) -> tuple[tuple[Decision, IgnoredStepUp | None], Known]:
        """Judge a denial by what is known of its user, and give what is known then. Pure."""
        token, asked = denial.token, _asked(denial)
        assert token is not None  # noqa: S101 for mypy: the user is of the token
        start = now - self.settings.window
        known = {each: was.within(start) for each, was in held.items() if was.last > start}
        was = known.get(asked) or Challenges(now, token.auth_time or 0)
        if self._is_over(was):  # a 403 asks for nothing, so nothing is ignored
            return (self._forbid(denial, was, now), None), known
        ignored = (
            denial.unmet.acr and _is_new_login(token, was) and not _answers_another(token, known)
        )
        undated = denial.unmet.max_age and _is_new_and_undated(token, was)
        was = was.answered(token, now)
        if ignored:
            was = replace(was, ignored=(*was.ignored, now)[-self.settings.limit :])
        if undated:
            was = replace(was, undated=(*was.undated, now)[-self.settings.limit :])
        known[asked] = was
        tell = (ignored and len(was.ignored) >= _TOLD_FROM) or (
            undated and len(was.undated) >= _TOLD_FROM
        )
        told = self._forbid(denial, was, now) if self._is_over(was) else _explain(denial, was)
        return (told, _report(token, asked, now) if tell else None), known

    def _is_over(self, was: Challenges) -> bool:
        """Only logins that prove it can forbid: a token without `auth_time` leaves a doubt."""
        return self.settings.action == "forbid" and len(was.ignored) >= self.settings.limit

    def _forbid(self, denial: Decision, was: Challenges, now: int) -> Decision:
        seconds = was.ignored[-self.settings.limit] + self.settings.window - now
        return denial._replace(
            status=_FORBIDDEN,
            reason="step_up_ignored",
            description=_ACR_IGNORED,
            retry_after_seconds=seconds,
        )

    def _take(self, user: bytes) -> Known:
        held = self._users.pop(user, {})
        self._held -= len(held)
        return held

    def _keep(self, user: bytes, known: Known) -> None:
        """Remember a user, the others' longest unseen making room: whole, so none half-known."""
        self._users[user] = known
        self._held += len(known)
        while self._held > self.settings.max_entries:
            self._take(next(iter(self._users)))


def watched_user(denial: Decision) -> bytes | None:
    """Name the user and client of a denial by a few bytes; None: it is none to look at.

    That is what monitor mode lets pass, a token that stands for no user, and one without `sub` or
    `client_id`, which could be several users' or clients'. `sub` itself is kept nowhere.
    """
    token = denial.token
    if denial.allow or denial.status != _CHALLENGED or token is None or token.is_machine:
        return None
    if token.sub is None or token.client_id is None:
        return None
    return sha256(json.dumps([token.iss, token.sub, token.client_id]).encode()).digest()


def _asked(denial: Decision) -> Asked:
    api = "" if denial.api is None else denial.api.name
    operation = "" if denial.operation is None else denial.operation.name
    return Asked(api, operation, denial.requirement.acr_values, denial.requirement.max_age)


def _is_new_login(token: AccessToken, was: Challenges) -> bool:
    """Tell whether the user logged in since the challenge; a renewed token keeps `auth_time`."""
    auth_time = token.auth_time
    return auth_time is not None and auth_time > max(was.last + token.leeway, was.auth_time)


def _is_new_and_undated(token: AccessToken, was: Challenges) -> bool:
    """Tell whether a token without `auth_time` was issued since the challenge."""
    return token.auth_time is None and token.iat is not None and token.iat > was.last + token.leeway


def _answers_another(token: AccessToken, known: Iterable[Asked]) -> bool:
    """Tell whether the login may be the answer to another operation's challenge, in another tab.

    `max_age` is met by any login at its own time, whatever has become of it by now.
    """
    return any(satisfies_acr(token, other.acr_values) for other in known)


def _explain(denial: Decision, was: Challenges) -> Decision:
    if len(was.ignored) >= _TOLD_FROM:
        return denial._replace(description=_ACR_IGNORED)
    if len(was.undated) >= _TOLD_FROM:
        return denial._replace(description=_NO_AUTH_TIME)
    return denial


def _report(token: AccessToken, asked: Asked, now: int) -> IgnoredStepUp:
    return IgnoredStepUp(
        at=now,
        issuer=token.iss,
        api=asked.api,
        operation=asked.operation,
        client_id=token.client_id or "",
        acr_values=" ".join(asked.acr_values),
        max_age=asked.max_age,
        acr=" ".join(token.acr),
        auth_age_seconds=None if token.auth_time is None else now - token.auth_time,
    )
