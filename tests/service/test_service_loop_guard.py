"""The loop guard: what it counts, what it never counts, and what it says (docs/decisions.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config.settings import LoopGuardSettings
from bridge.decision.decide import Decision, Row, decide_on_token
from bridge.decision.response import denial_response
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement
from bridge.service.loop_guard import LoopGuard
from bridge.service.report import IgnoredStepUp
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import UpstreamHeaders

NOW = 1_700_000_000
WINDOW = 600
LEEWAY = 5
ISSUER = "https://login.example.com"
MFA = Operation("mfa", ("/mfa",), requirement=Requirement((), ("mfa", "phr"), None))
PHR = Operation("phr", ("/phr",), requirement=Requirement((), ("phr",), 60))
SAME = Operation("same", ("/same",), requirement=Requirement((), ("phr",), 60))
FRESH = Operation("fresh", ("/fresh",), requirement=Requirement((), (), 60))
OPERATIONS = (MFA, PHR, SAME, FRESH)
API = Api("bank", (ISSUER,), OPERATIONS, realm="bank")

FIRST = "A different authentication level is required"
ACR_IGNORED = (
    "The authorization server did not do what was asked: after a new login acr is still unmet"
)
NO_AUTH_TIME = (
    "The authorization server does not tell when users log in: new access tokens have no auth_time"
)


def a_token(auth_time: int | None, acr: str = "pwd", **others: Any) -> AccessToken:
    """Give a token of a login; issued in the same second unless told otherwise."""
    values: dict[str, Any] = {
        "iss": ISSUER,
        "aud": ("a",),
        "exp": NOW + 86_400,
        "leeway": LEEWAY,
        "acr": (acr,) if acr else (),
        "auth_time": auth_time,
        "scopes": frozenset(),
        "client_id": "app",
        "upstream": UpstreamHeaders((), ()),
        "sub": "alice",
        "iat": auth_time,
        **others,
    }
    return AccessToken(**values)


class Bridge:
    """The decision and the guard, as the service puts them together."""

    def __init__(self, **changes: Any) -> None:
        self.guard = LoopGuard(replace(LoopGuardSettings(window=WINDOW), **changes))
        self.ignored: list[IgnoredStepUp] = []

    def ask(
        self, token: AccessToken, now: int, operation: Operation = MFA, api: Api = API
    ) -> Decision:
        decision = decide_on_token(api, operation, token, now)
        if decision.row is Row.STEP_UP:
            decision, ignored = self.guard.judge(decision, now)
            if ignored is not None:
                self.ignored.append(ignored)
        return decision

    def loop(self, times: int, start: int = NOW, **others: Any) -> list[Decision]:
        """Ask, log in in vain ten seconds later, ask again, and so on."""
        return [
            self.ask(a_token(start + 10 * turn - 1, **others), start + 10 * turn)
            for turn in range(times)
        ]


def test_the_second_login_in_vain_is_told() -> None:
    bridge = Bridge()

    decisions = bridge.loop(4)

    assert [decision.description for decision in decisions] == [
        FIRST, FIRST, ACR_IGNORED, ACR_IGNORED,
    ]  # fmt: skip
    assert {decision.status for decision in decisions} == {401}
    assert bridge.ignored == [
        IgnoredStepUp(NOW + at, ISSUER, "bank", "mfa", "app", "mfa phr", None, "pwd", 1)
        for at in (20, 30)
    ]


def test_nothing_but_the_description_of_a_challenge_changes() -> None:
    def challenge(decision: Decision) -> dict[str, str]:
        return dict(denial_response(decision, head=False, cross_origin=True).headers)

    first, _, told = Bridge().loop(3)
    changed = challenge(first)["www-authenticate"].replace(FIRST, ACR_IGNORED)
    assert challenge(told) == {**challenge(first), "www-authenticate": changed}


def test_a_token_that_fails_again_counts_once() -> None:
    bridge = Bridge()
    bridge.loop(2)
    for second in range(11, 60):
        assert bridge.ask(a_token(NOW + 9), NOW + second).description == FIRST
    assert bridge.ignored == []


NEVER = [
    pytest.param(lambda now: a_token(NOW - 1, iat=now - 1), MFA, id="renewed-without-login"),
    pytest.param(lambda now: a_token(None, iat=now - 1), MFA, id="no-auth-time-and-acr-unmet"),
    pytest.param(lambda now: a_token(None, "phr", iat=None), PHR, id="no-auth-time-and-no-iat"),
    pytest.param(lambda now: a_token(None, "phr", iat=NOW - 1), PHR, id="no-auth-time-not-new"),
    pytest.param(lambda now: a_token(None, "phr", iat=now - 5), PHR, id="issued-at-the-leeway"),
    pytest.param(lambda now: a_token(now - 1, sub=None), MFA, id="no-subject"),
    pytest.param(lambda now: a_token(now - 1, client_id=None), MFA, id="no-client"),
    pytest.param(lambda now: a_token(None, iat=now - 1, is_machine=True), PHR, id="machine"),
    pytest.param(lambda now: a_token(NOW + 900, iat=now - 1), MFA, id="one-login-of-the-future"),
    pytest.param(lambda now: a_token(now - 1, sub=str(now)), MFA, id="another-user-each-time"),
    pytest.param(lambda now: a_token(now - 1, iss=str(now)), MFA, id="another-issuer-each-time"),
    pytest.param(lambda now: a_token(now - 1, client_id=str(now)), MFA, id="another-client"),
]


@pytest.mark.parametrize(("token", "operation"), NEVER)
@pytest.mark.parametrize("action", ["report", "forbid"])
def test_what_proves_nothing_is_never_counted(
    token: Any, operation: Operation, action: str
) -> None:
    bridge = Bridge(action=action)
    for at in range(NOW, NOW + 300, 10):
        asked = token(at)
        assert bridge.ask(asked, at, operation) == decide_on_token(API, operation, asked, at)
    assert bridge.ignored == []


def test_monitor_mode_is_left_alone() -> None:
    bridge = Bridge(action="forbid")
    monitored = replace(API, mode="monitor")
    for at in range(NOW, NOW + 100, 10):
        decision = bridge.ask(a_token(at - 1), at, api=monitored)
        assert (decision.allow, decision.would_deny, decision.description) == (True, True, FIRST)
    assert (len(bridge.guard), bridge.ignored) == (0, [])


@pytest.mark.parametrize(
    ("after", "is_counted"),
    [
        pytest.param(LEEWAY - 1, False, id="before-the-leeway"),
        pytest.param(LEEWAY, False, id="at-the-leeway"),
        pytest.param(LEEWAY + 1, True, id="after-it"),
    ],
)
def test_a_login_is_later_than_the_challenge_by_more_than_the_leeway(
    after: int, is_counted: bool
) -> None:
    bridge = Bridge()
    bridge.loop(2)  # the last challenge is at NOW + 10
    bridge.ask(a_token(NOW + 10 + after), NOW + 20)
    assert bool(bridge.ignored) is is_counted


@pytest.mark.parametrize(
    ("after", "is_told"),
    [
        pytest.param(WINDOW - 1, True, id="within"),
        pytest.param(WINDOW, False, id="over"),
        pytest.param(WINDOW + 1, False, id="long-over"),
    ],
)
def test_what_was_counted_is_forgotten_when_the_window_is_over(after: int, is_told: bool) -> None:
    bridge = Bridge()
    bridge.loop(2)  # one was counted at NOW + 10
    again = NOW + 10 + after
    bridge.ask(a_token(NOW - 1), again - 30)  # a challenge in between; no login before it
    bridge.ask(a_token(again), again)
    assert bool(bridge.ignored) is is_told


@pytest.mark.parametrize(
    ("after", "is_counted"),
    [
        pytest.param(WINDOW - 1, True, id="within"),
        pytest.param(WINDOW, False, id="over"),
        pytest.param(WINDOW + 1, False, id="long-over"),
    ],
)
def test_a_login_long_after_the_challenge_is_no_answer_to_it(after: int, is_counted: bool) -> None:
    bridge = Bridge()
    bridge.loop(1)
    bridge.loop(2, start=NOW + after)
    assert bool(bridge.ignored) is is_counted


def test_one_login_of_the_future_counts_once() -> None:
    bridge = Bridge()
    bridge.loop(1)
    for at in range(NOW + 10, NOW + 300, 10):
        bridge.ask(a_token(NOW + 900, iat=at - 1), at)
    assert bridge.ignored == []


def test_a_token_that_aged_since_its_login_is_not_counted() -> None:
    bridge = Bridge(action="forbid", limit=2)
    for at in range(NOW, NOW + 560, 80):
        token = a_token(at + 6, "phr")  # what was asked for, 6 s after the challenge
        assert bridge.ask(token, at + 6, PHR).allow
        assert bridge.ask(token, at + 80, PHR).status == 401
    assert bridge.ignored == []


def test_a_login_for_another_operation_is_not_counted() -> None:
    """One tab asks for phr and nobody answers; in another one the user steps up to mfa."""
    bridge = Bridge(action="forbid", limit=2)
    bridge.ask(a_token(NOW - 9), NOW, PHR)
    for at in range(NOW + 10, NOW + 300, 20):
        bridge.ask(a_token(NOW - 9), at, MFA)
        stepped_up = a_token(at + 9, "mfa")
        assert bridge.ask(stepped_up, at + 10, MFA).allow
        assert bridge.ask(stepped_up, at + 10, PHR).status == 401
    assert bridge.ignored == []


def test_a_login_that_answers_no_challenge_counts_for_each() -> None:
    bridge = Bridge()
    for turn in range(3):
        for operation in (PHR, SAME):
            bridge.ask(a_token(NOW + 10 * turn - 1), NOW + 10 * turn, operation)
    assert [ignored.operation for ignored in bridge.ignored] == ["phr", "same"]


def test_another_demand_begins_anew() -> None:
    bridge = Bridge()
    bridge.loop(2)
    other = replace(MFA, requirement=Requirement((), ("mfa",), None))
    assert bridge.ask(a_token(NOW + 19), NOW + 20, other).description == FIRST
    assert bridge.ask(a_token(NOW + 29), NOW + 30, other).description == FIRST
    assert bridge.ignored == []


def test_new_tokens_without_auth_time_are_told_and_never_forbidden() -> None:
    bridge = Bridge(action="forbid", limit=2)
    decisions = [
        bridge.ask(a_token(None, "phr", iat=at - 1), at, PHR) for at in range(NOW, NOW + 100, 10)
    ]
    plain = "More recent authentication is required"
    assert [decision.description for decision in decisions] == [
        plain, plain, *[NO_AUTH_TIME] * 8,
    ]  # fmt: skip
    assert {decision.status for decision in decisions} == {401}
    assert len(bridge.ignored) == 8
    assert (bridge.ignored[0].max_age, bridge.ignored[0].auth_age_seconds) == (60, None)


def test_from_the_limit_on_it_is_forbidden_until_the_window_is_over() -> None:
    bridge = Bridge(action="forbid")

    decisions = bridge.loop(6)

    assert [decision.status for decision in decisions] == [401, 401, 401, 403, 403, 403]
    # the first that counted was 20 s before, and is forgotten after the window
    assert [decision.retry_after_seconds for decision in decisions[3:]] == [
        WINDOW - 20, WINDOW - 30, WINDOW - 40,
    ]  # fmt: skip
    assert len(bridge.ignored) == 2  # nothing is asked for by a 403, so nothing is ignored
    forbidden = denial_response(decisions[3], head=False, cross_origin=False)
    assert forbidden.headers == (
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
        ("retry-after", str(WINDOW - 20)),
    )
    assert ACR_IGNORED in forbidden.body
    assert decisions[3].reason == "step_up_ignored"
    last_second = NOW + 10 + WINDOW - 1
    assert bridge.ask(a_token(NOW), last_second).retry_after_seconds == 1
    assert bridge.ask(a_token(NOW), last_second + 1).status == 401


def test_forbidden_is_one_operation_to_one_user_of_one_client() -> None:
    bridge = Bridge(action="forbid", limit=2)
    at = NOW + 20
    assert bridge.loop(3)[2].status == 403
    assert bridge.ask(a_token(at, "mfa"), at).allow
    assert bridge.ask(a_token(at, "phr"), at).allow
    for other in (
        {"sub": "bob"},
        {"client_id": "other"},
        {"iss": "https://other.example"},
        {"sub": "aliceapp", "client_id": ""},
    ):
        assert bridge.ask(a_token(at, **other), at).status == 401
    assert bridge.ask(a_token(at), at, PHR).status == 401
    assert bridge.ask(a_token(at), at, api=replace(API, name="other")).status == 401
    assert bridge.ask(a_token(at), at).status == 403


def test_memory_is_bounded_and_forgets_who_was_longest_not_seen() -> None:
    bridge = Bridge(max_entries=3)
    bridge.loop(2)
    for sub in ("bob", "carol"):
        bridge.ask(a_token(NOW, sub=sub), NOW + 11)
    bridge.ask(a_token(NOW), NOW + 12)  # alice is seen again
    bridge.ask(a_token(NOW, sub="dave"), NOW + 13)  # bob makes room
    assert len(bridge.guard) == 3
    assert bridge.ask(a_token(NOW + 19), NOW + 20).description == ACR_IGNORED
    for number in range(100):
        bridge.ask(a_token(NOW, sub=str(number)), NOW + 21)
        assert len(bridge.guard) == 3
    assert bridge.ask(a_token(NOW + 29), NOW + 30).description == FIRST


def test_a_user_with_more_operations_than_there_is_room_is_forgotten_whole() -> None:
    bridge = Bridge(max_entries=3)
    for operation in OPERATIONS:
        bridge.ask(a_token(NOW - 100), NOW, operation)
    assert len(bridge.guard) == 0


# legitimate use: an honest authorization server, several tabs, a clock within the leeway

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "step-up", "renew", "cancel", "share"]),
        st.integers(0, 2),  # tab
        st.sampled_from(OPERATIONS),
        st.integers(1, 100),  # seconds that pass
        st.integers(0, 1),  # which acr of those that were asked for
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS, st.integers(-LEEWAY, LEEWAY))
def test_legitimate_use_is_never_counted(
    steps: list[tuple[str, int, Operation, int, int]], skew: int
) -> None:
    """Whatever tabs, renewals and cancelled logins there are, nobody sees anything of the guard."""
    bridge = Bridge(action="forbid", limit=2)
    now = NOW
    tabs = [a_token(NOW - 1_000) for _ in range(3)]
    wanted: list[tuple[int, Requirement] | None] = [None] * 3
    for step, tab, operation, seconds, choice in steps:
        now += seconds
        asked = wanted[tab]
        if asked is not None and now - asked[0] >= WINDOW:
            wanted[tab] = asked = None  # nobody answers a challenge that old
        if step == "ask":
            decision = bridge.ask(tabs[tab], now, operation)
            assert decision == decide_on_token(API, operation, tabs[tab], now)
            if not decision.allow:
                wanted[tab] = now, operation.requirement
        elif step == "step-up" and asked is not None:
            demanded = asked[1].acr_values
            acr = demanded[choice % len(demanded)] if demanded else "pwd"
            tabs[tab] = a_token(now + skew, acr)
            wanted[tab] = None
        elif step == "renew":
            tabs[tab] = tabs[tab]._replace(iat=now + skew)
        elif step == "cancel":
            wanted[tab] = None
        elif step == "share":  # tabs with one storage
            tabs[tab] = tabs[choice]
    assert bridge.ignored == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 700), st.booleans()), min_size=1, max_size=40),
    st.integers(2, 5),
)
def test_one_user_never_changes_what_another_one_gets(
    steps: list[tuple[int, bool]], limit: int
) -> None:
    alone, beside = Bridge(action="forbid", limit=limit), Bridge(action="forbid", limit=limit)
    now = NOW
    for seconds, is_attacker in steps:
        now += seconds
        if is_attacker:
            beside.ask(a_token(now, sub="mallory"), now)
            beside.ask(a_token(now, sub="mallory"), now + 6)
        else:
            token = a_token(now)
            assert beside.ask(token, now) == alone.ask(token, now)
