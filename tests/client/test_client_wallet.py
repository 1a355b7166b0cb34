"""Which token is sent, kept and forgotten."""

from __future__ import annotations

import pytest

from bridge.client.demand import Demand
from bridge.client.token import Token
from bridge.client.wallet import Held, Wallet

NOW = 1_000_000.0
MFA = Demand(acr_values=("mfa",))


def held(asked: Demand | None = None, at: float = NOW, **token: object) -> Held:
    return Held(Token("t", **token), asked or Demand(), at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "demand", "may"),
    [
        pytest.param(held(scopes=("a",)), Demand(scopes=("a", "b")), False, id="scope-missing"),
        pytest.param(held(scopes=("a", "b")), Demand(scopes=("b",)), True, id="scope-there"),
        pytest.param(held(), MFA, False, id="acr-not-asked-for"),
        pytest.param(held(MFA), MFA, True, id="acr-asked-for"),
        pytest.param(held(Demand(acr_values=("mfa", "pwd"))), MFA, False, id="acr-perhaps"),
        pytest.param(held(MFA, acr="pwd"), MFA, False, id="id-token-says-another-acr"),
        pytest.param(held(acr="mfa"), MFA, True, id="id-token-says-the-acr"),
        pytest.param(held(), Demand(max_age=60), False, id="auth-time-unknown"),
        pytest.param(held(auth_time=int(NOW) - 61), Demand(max_age=60), False, id="too-old"),
        pytest.param(held(auth_time=int(NOW) - 60), Demand(max_age=60), True, id="just-not"),
        pytest.param(held(Demand(max_age=10), NOW - 51), Demand(max_age=60), False, id="perhaps"),
        pytest.param(held(Demand(max_age=10), NOW - 50), Demand(max_age=60), True, id="surely"),
    ],
)
def test_token_is_tried_where_it_may_do(one: Held, demand: Demand, may: bool) -> None:
    assert one.may_satisfy(demand, NOW) is may
    wallet = Wallet([one])
    assert wallet.find(demand, NOW, []) is (one if may else None)
    assert wallet.find(demand, NOW, [one]) is None


def test_unknown_operation_gets_the_newest_and_a_known_one_what_it_took() -> None:
    wallet = Wallet()
    weak = wallet.add(Token("weak"), Demand(), NOW)
    wallet.took("GET /a", weak)
    strong = wallet.add(Token("strong"), MFA, NOW)
    assert wallet.choose("GET /a", NOW) is weak
    assert wallet.choose("GET /b", NOW) is strong
    wallet.drop(weak)
    assert wallet.choose("GET /a", NOW) is strong


def test_token_is_sent_until_shortly_before_it_expires() -> None:
    wallet = Wallet()
    one = wallet.add(Token("t", expires_at=NOW + 60), Demand(), NOW)
    assert wallet.choose("x", NOW + 54.9) is one
    assert wallet.choose("x", NOW + 55) is None
    assert wallet.held == ()


def test_new_token_replaces_those_that_it_outdoes() -> None:
    wallet = Wallet()
    for token, asked in [
        (Token("1", scopes=("a",)), Demand()),
        (Token("2", scopes=("a",)), MFA),
        (Token("3", scopes=("b",)), MFA),
        (Token("4", scopes=("a", "b")), MFA),
    ]:
        wallet.add(token, asked, NOW)
    assert [one.token.access_token for one in wallet.held] == ["1", "4"]


def test_wallet_stays_small() -> None:
    wallet = Wallet()
    for number in range(2000):
        one = wallet.add(Token("t"), Demand(acr_values=(f"{number}",)), NOW)
        wallet.took(f"GET /{number}", one)
    assert len(wallet.held) == 8
    assert len(wallet._taken) == 1024
