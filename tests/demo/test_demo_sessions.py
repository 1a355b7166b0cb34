"""What the demo's authorization server asks a user for, given what it knows already."""

from __future__ import annotations

import pytest
from demo_browser import CLIENT, REDIRECT_URI

from bridge.demo.authorization_request import AuthorizationRequest
from bridge.demo.oauth import ALICE, BOB, MFA, PWD
from bridge.demo.sessions import Pending, Session, Step, next_step

NOW = 1_000_000


def asking(
    acr: str | None = None, max_age: int | None = None, *, prompt: str = "", fresh: bool = False
) -> Pending:
    request = AuthorizationRequest(
        client=CLIENT,
        redirect_uri=REDIRECT_URI,
        state=None,
        scopes=("accounts:read",),
        code_challenge="c" * 43,
        acr=acr,
        max_age=max_age,
        prompts=frozenset(prompt.split()),
    )
    return Pending(request, authenticated=fresh)


def known(password_ago: int = 0, second_factor_ago: int | None = None) -> Session:
    second_factor_at = None if second_factor_ago is None else NOW - second_factor_ago
    return Session(ALICE, NOW - password_ago, second_factor_at)


@pytest.mark.parametrize(
    ("session", "pending", "step"),
    [
        pytest.param(Session(), asking(), Step.PASSWORD, id="nobody-yet"),
        pytest.param(known(99_999), asking(), Step.GRANT, id="nothing-demanded"),
        pytest.param(known(), asking(MFA), Step.SECOND_FACTOR, id="level-too-low"),
        pytest.param(known(9, 9), asking(MFA), Step.GRANT, id="level-reached"),
        pytest.param(known(9, 9), asking(PWD), Step.GRANT, id="level-exceeded"),
        pytest.param(Session(BOB, NOW), asking(MFA), Step.UNMET, id="no-second-factor-to-ask-for"),
        pytest.param(known(59), asking(None, 60), Step.GRANT, id="age-below-max-age"),
        pytest.param(known(60), asking(None, 60), Step.PASSWORD, id="age-at-max-age"),
        pytest.param(known(61), asking(None, 60), Step.PASSWORD, id="age-above-max-age"),
        pytest.param(known(), asking(None, 0), Step.PASSWORD, id="max-age-0-always-asks"),
        pytest.param(known(), asking(None, 0, fresh=True), Step.GRANT, id="max-age-0-asks-once"),
        pytest.param(known(70, 50), asking(MFA, 60), Step.GRANT, id="the-last-factor-is-fresh"),
        pytest.param(known(70, 60), asking(MFA, 60), Step.PASSWORD, id="both-are-stale"),
        pytest.param(known(30), asking(MFA, 60), Step.SECOND_FACTOR, id="fresh-but-too-low"),
        pytest.param(known(), asking(prompt="login"), Step.PASSWORD, id="prompt-login"),
        pytest.param(known(), asking(prompt="login", fresh=True), Step.GRANT, id="prompt-done"),
    ],
)
def test_the_next_step_is_the_first_thing_that_is_lacking(
    session: Session, pending: Pending, step: Step
) -> None:
    assert next_step(session, pending, NOW) is step


def test_auth_time_is_the_last_time_that_the_user_answered() -> None:
    assert known(70, 50).auth_time == NOW - 50


def test_a_browser_that_begins_and_never_ends_takes_bounded_memory() -> None:
    session = Session()
    for _ in range(100):
        last = session.remember(asking().request)

    assert len(session.pending) == 20
    assert last in session.pending
