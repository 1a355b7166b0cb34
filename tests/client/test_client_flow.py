"""The state machine of one request, by itself: whatever the API does, it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.demand import Demand
from bridge.client.dpop import DPoPKey
from bridge.client.errors import ChallengeError, LoopError, ReplayError, StepUpError
from bridge.client.flow import MAX_LOGINS, Answer, LoginRequest, Next, RequestFlow
from bridge.client.token import Token
from bridge.client.wallet import Held, Wallet
from bridge.decision.challenge import build_challenge

NOW = 1_000_000.0
KEY = DPoPKey()
NONCE = Answer(401, ['DPoP error="use_dpop_nonce"'], dpop_nonce="n")


def step_up(acr: str = "mfa", max_age: int | None = None) -> Answer:
    line = build_challenge(
        "Bearer", error="insufficient_user_authentication", acr_values=[acr], max_age=max_age
    )
    return Answer(401, [line])


def begin(wallet: Wallet | None = None, *, replayable: bool = True) -> RequestFlow:
    return RequestFlow(
        Wallet() if wallet is None else wallet, "GET /x", "https://a/x", replayable=replayable
    )


def token(*scopes: str) -> Token:
    return Token("t", scopes=scopes)


def log_in(flow: RequestFlow, answer: Answer, *scopes: str) -> LoginRequest:
    assert flow.answered(answer) is Next.STEP_UP
    request = flow.look_again(NOW)
    assert isinstance(request, LoginRequest)
    flow.logged_in(token(*scopes), NOW)
    return request


def test_same_challenge_again_is_a_loop() -> None:
    flow = begin()
    flow.first(NOW)
    log_in(flow, step_up())
    with pytest.raises(LoopError):
        flow.answered(step_up())


def test_less_than_was_asked_for_is_a_loop_too() -> None:
    flow = begin()
    flow.first(NOW)
    log_in(flow, step_up("mfa", 60))
    with pytest.raises(LoopError):
        flow.answered(step_up("mfa", 90))


def test_challenges_in_turn_are_a_loop() -> None:
    flow = begin()
    flow.first(NOW)
    log_in(flow, step_up("a"))
    log_in(flow, step_up("b"))
    with pytest.raises(LoopError):
        flow.answered(step_up("a"))


def test_ever_new_challenges_end() -> None:
    flow = begin()
    flow.first(NOW)
    for number in range(MAX_LOGINS):
        log_in(flow, step_up(f"acr{number}"))
    with pytest.raises(LoopError):
        flow.answered(step_up("another"))


def test_new_token_that_is_invalid_is_a_loop() -> None:
    flow = begin()
    flow.first(NOW)
    log_in(flow, Answer(401, ["Bearer"]))
    with pytest.raises(LoopError) as caught:
        flow.answered(Answer(401, ['Bearer error="invalid_token", scope="a"']))
    assert caught.value.to_blame == "API"


def test_old_token_that_is_invalid_is_dropped_and_replaced() -> None:
    wallet = Wallet()
    wallet.add(token("a"), Demand(), NOW)
    flow = begin(wallet)
    assert flow.first(NOW) is not None
    request = log_in(flow, Answer(401, ['Bearer error="invalid_token"']), "a")
    assert request.scopes == ("a",)
    assert len(wallet.held) == 1
    assert flow.answered(Answer(200)) is Next.DONE


def test_shared_login_that_does_not_help_is_a_loop_for_all_who_share_it() -> None:
    wallet = Wallet()
    first, second = begin(wallet), begin(wallet)
    for flow in (first, second):
        flow.first(NOW)
        assert flow.answered(step_up()) is Next.STEP_UP
    assert isinstance(first.look_again(NOW), LoginRequest)
    first.logged_in(token(), NOW)
    assert isinstance(second.look_again(NOW), Held)
    with pytest.raises(LoopError):
        second.answered(step_up())


def test_nonce_is_taken_once() -> None:
    flow = RequestFlow(Wallet(), "GET /x", "https://a/x", dpop_key=KEY)
    flow.first(NOW)
    assert flow.answered(NONCE) is Next.RESEND
    with pytest.raises(ChallengeError, match="nonce"):
        flow.answered(NONCE)


def test_nonce_that_is_not_there_is_an_error() -> None:
    flow = RequestFlow(Wallet(), "GET /x", "https://a/x", dpop_key=KEY)
    flow.first(NOW)
    with pytest.raises(ChallengeError, match="nonce"):
        flow.answered(Answer(401, NONCE.lines))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(200, step_up().lines), id="success-with-a-challenge"),
        pytest.param(Answer(500, step_up().lines), id="failure-with-a-challenge"),
        pytest.param(Answer(401, step_up().lines, of_origin=False), id="of-another-origin"),
        pytest.param(Answer(401, []), id="401-without-a-challenge"),
        pytest.param(Answer(403, ["Basic realm=x"]), id="challenge-for-others"),
    ],
)
def test_responses_that_ask_for_nothing_are_given_to_the_caller(answer: Answer) -> None:
    flow = begin()
    flow.first(NOW)
    assert flow.answered(answer) is Next.DONE


def test_stream_is_not_sent_again_and_the_next_request_takes_the_token() -> None:
    wallet = Wallet()
    flow = begin(wallet, replayable=False)
    flow.first(NOW)
    assert flow.answered(step_up()) is Next.STEP_UP
    flow.look_again(NOW)
    with pytest.raises(ReplayError):
        flow.logged_in(token(), NOW)
    assert begin(wallet).first(NOW) is wallet.held[0]


def test_other_token_at_hand_is_tried_once() -> None:
    wallet = Wallet()
    strong = wallet.add(token(), Demand(acr_values=("mfa",)), NOW)
    wallet.add(token(), Demand(), NOW)
    flow = begin(wallet)
    flow.first(NOW)
    assert flow.answered(step_up()) is Next.STEP_UP
    assert flow.look_again(NOW) is strong
    assert flow.answered(step_up()) is Next.STEP_UP
    assert isinstance(flow.look_again(NOW), LoginRequest)


ANSWERS = st.builds(
    lambda status, error, acr, max_age, scope, nonce: Answer(
        status,
        [build_challenge(
            "DPoP" if error == "use_dpop_nonce" else "Bearer", error=error,
            acr_values=acr, max_age=max_age, scope=scope, realm="r")],
        nonce,
    ),
    st.sampled_from([200, 401, 403, 500]),
    st.sampled_from([None, "invalid_token", "insufficient_scope",
                     "insufficient_user_authentication", "use_dpop_nonce", "other"]),
    st.lists(st.sampled_from("ab"), max_size=2),
    st.none() | st.integers(0, 3),
    st.lists(st.sampled_from("xy"), max_size=2),
    st.none() | st.just("n"),
)  # fmt: skip


@given(st.lists(ANSWERS, min_size=20, max_size=20), st.integers(0, 3), st.booleans())
def test_whatever_the_api_answers_it_ends_within_a_few_logins(
    answers: list[Answer], held: int, grants: bool
) -> None:
    wallet = Wallet()
    for number in range(held):
        wallet.add(token(), Demand(acr_values=(f"{number}",)), NOW)
    flow = RequestFlow(wallet, "GET /x", "https://a/x", dpop_key=KEY)
    flow.first(NOW)
    logins = 0
    for answer in answers:
        try:
            following = flow.answered(answer)
            if following is Next.DONE:
                break
            if following is Next.STEP_UP:
                found = flow.look_again(NOW)
                if isinstance(found, LoginRequest):
                    logins += 1
                    flow.logged_in(token(*(found.scopes if grants else ())), NOW)
        except StepUpError:
            break
    else:
        raise AssertionError("it does not end")
    assert logins <= MAX_LOGINS
