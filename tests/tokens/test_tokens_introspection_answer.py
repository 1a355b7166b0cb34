"""What an issuer says about a token, read and checked (RFC 7662 §2.2, RFC 9470 §6.2)."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import TokenError
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection_answer import (
    AnswerError,
    inactive,
    introspected_token,
    read_answer,
)
from bridge.tokens.settings import ClaimNames, IssuerSettings

NOW = 1_700_000_000
ISS = "https://login.example.com"
AUD = "https://api.example.com"
SETTINGS = IssuerSettings(ISS, (AUD,), takes_opaque=True)
IDENTITY = IdentityHeaders([("x-subject", "sub"), ("x-acr", "acr"), ("x-active", "active")])
JWT_CLAIMS: dict[str, Any] = {
    "iss": ISS,
    "aud": AUD,
    "exp": NOW + 300,
    "sub": "alice",
    "client_id": "app",
    "acr": "pwd",
    "auth_time": NOW - 100,
    "scope": "read write",
}


def make(answer: dict[str, Any], settings: IssuerSettings = SETTINGS, **jwt: Any) -> AccessToken:
    return introspected_token(answer, settings, IDENTITY, NOW, **jwt)


def failure(answer: dict[str, Any], settings: IssuerSettings = SETTINGS, **jwt: Any) -> str:
    with pytest.raises(TokenError) as invalid:
        make(answer, settings, **jwt)
    assert invalid.value.check == "introspection"
    return invalid.value.reason


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param("", "not_json", id="empty"),
        pytest.param("<html>", "not_json", id="html"),
        pytest.param('{"active":true', "not_json", id="cut-off"),
        pytest.param('{"active":true,"active":false}', "not_json", id="two-members-of-a-name"),
        pytest.param('{"active":true,"exp":NaN}', "not_json", id="nan"),
        pytest.param("[" * 100_000, "not_json", id="nested-deeply"),
        pytest.param('[{"active":true}]', "not_an_object", id="list"),
        pytest.param("true", "not_an_object", id="boolean"),
        pytest.param("null", "not_an_object", id="null"),
        pytest.param("{}", "active_not_boolean", id="without-active"),
        pytest.param('{"active":"true"}', "active_not_boolean", id="active-text"),
        pytest.param('{"active":1}', "active_not_boolean", id="active-number"),
        pytest.param('{"active":null}', "active_not_boolean", id="active-null"),
        pytest.param('{"Active":true}', "active_not_boolean", id="active-in-another-case"),
        pytest.param('{"active":true,"exp":"1800000000"}', "time_not_a_number", id="exp-text"),
        pytest.param('{"active":true,"exp":null}', "time_not_a_number", id="exp-null"),
        pytest.param('{"active":true,"nbf":true}', "time_not_a_number", id="nbf-boolean"),
        pytest.param('{"active":true,"iat":[1]}', "time_not_a_number", id="iat-list"),
        pytest.param('{"active":false,"exp":"soon"}', "time_not_a_number", id="inactive-exp-text"),
    ],
)
def test_anything_but_a_proper_answer_is_the_issuers_fault(body: str, code: str) -> None:
    with pytest.raises(AnswerError) as wrong:
        read_answer(body.encode())
    assert str(wrong.value) == code


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param('{"active":false}', None, id="inactive"),
        pytest.param('{"active":false,"exp":1,"sub":"a"}', None, id="inactive-with-more"),
        pytest.param('{"active":false,"exp":null,"sub":null}', None, id="inactive-with-nulls"),
        pytest.param('{"active":true}', {}, id="active"),
        pytest.param('{"active":true,"exp":1.5,"sub":"a"}', {"exp": 1.5, "sub": "a"}, id="more"),
        pytest.param('{"active":true,"auth_time":"x"}', {"auth_time": "x"}, id="auth-time-text"),
    ],
)
def test_an_answer_is_read_without_its_active(body: str, answer: object) -> None:
    assert read_answer(body.encode()) == answer


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["active", "exp", "aud", "cnf", "iss", "token_type", "scope"]), inner
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_answer_raises_anything_else(body: bytes) -> None:
    try:
        answer = read_answer(body)
    except AnswerError:
        return
    if answer is not None:
        with contextlib.suppress(TokenError):
            make(dict(answer))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param({"iss": f"{ISS}/"}, "token_issuer_not_accepted", id="iss-with-slash"),
        pytest.param({"iss": None}, "token_issuer_not_accepted", id="iss-null"),
        pytest.param({"iss": [ISS]}, "token_issuer_not_accepted", id="iss-list"),
        pytest.param({"exp": NOW - 6}, "token_expired", id="exp-one-above"),
        pytest.param({"exp": NOW - 5}, "token_expired", id="exp-at-the-leeway"),
        pytest.param({"nbf": NOW + 6}, "token_not_yet_valid", id="nbf-one-above"),
        pytest.param({"iat": NOW + 6}, "token_issued_in_the_future", id="iat-one-above"),
        pytest.param({"aud": 1}, "token_audience_not_accepted", id="aud-malformed"),
        pytest.param({"aud": None}, "token_audience_not_accepted", id="aud-null"),
        pytest.param({"cnf": {"jkt": "x"}}, "token_binding_malformed", id="cnf"),
        pytest.param({"token_type": "DPoP"}, "token_binding_not_supported", id="dpop-without-cnf"),
        pytest.param({"token_type": "refresh_token"}, "token_is_not_an_access_token", id="refresh"),
        pytest.param({"token_use": "refresh_token"}, "token_is_not_an_access_token", id="hydra"),
        pytest.param({"typ": "Refresh"}, "token_is_not_an_access_token", id="keycloak-refresh"),
        pytest.param({"typ": "Offline"}, "token_is_not_an_access_token", id="keycloak-offline"),
        pytest.param({"typ": "ID"}, "token_is_not_an_access_token", id="keycloak-id"),
        pytest.param(
            {"token_type": "urn:ietf:params:oauth:token-type:id_token"},
            "token_is_not_an_access_token",
            id="rfc-8693",
        ),
    ],
)
def test_an_active_token_is_refused_for_what_the_answer_says(
    answer: dict[str, Any], reason: str
) -> None:
    assert failure(answer) == reason
    assert failure(answer, claims=JWT_CLAIMS, aud=(AUD,)) == reason


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"iss": ISS}, id="iss"),
        pytest.param({"exp": NOW - 4}, id="exp-one-below"),
        pytest.param({"nbf": NOW + 5}, id="nbf-at"),
        pytest.param({"iat": NOW + 5}, id="iat-at"),
        pytest.param({"token_type": "Bearer", "typ": "Bearer"}, id="bearer"),
        pytest.param({"token_type": "bearer", "token_use": "access_token"}, id="token-use"),
        pytest.param({"token_type": None, "typ": 7}, id="kind-malformed"),
    ],
)
def test_an_active_token_is_accepted_where_nothing_speaks_against_it(
    answer: dict[str, Any],
) -> None:
    token = make(answer)
    assert (token.iss, token.introspected) == (ISS, True)


def test_what_the_decision_needs_comes_from_the_answer() -> None:
    answer = {
        "iss": ISS,
        "aud": [AUD, "other"],
        "exp": NOW + 60,
        "sub": "alice",
        "client_id": "app",
        "acr": "mfa",
        "auth_time": NOW - 10,
        "scope": "read write",
    }
    assert make(answer) == AccessToken(
        iss=ISS,
        aud=(AUD, "other"),
        exp=NOW + 60,
        leeway=5,
        acr=("mfa",),
        auth_time=NOW - 10,
        scopes=frozenset({"read", "write"}),
        client_id="app",
        upstream=IDENTITY.of({"sub": "alice", "acr": "mfa"}),
        introspected=True,
        sub="alice",
    )


def test_an_answer_with_nothing_in_it_proves_nothing() -> None:
    assert make({}) == AccessToken(
        iss=ISS,
        aud=None,
        exp=math.inf,
        leeway=5,
        acr=(),
        auth_time=None,
        scopes=frozenset(),
        client_id=None,
        upstream=IDENTITY.nobody,
        is_machine=True,
        introspected=True,
    )


def test_strict_and_the_tell_tales_of_id_tokens_are_about_jwts() -> None:
    assert make({}, replace(SETTINGS, token_type="strict")).introspected
    for name in ("nonce", "at_hash", "c_hash"):
        assert make({name: "x"}).introspected


def test_a_malformed_auth_time_is_unknown_and_no_fault() -> None:
    assert make({"auth_time": "soon", "acr": 3}).auth_time is None


def test_where_the_answer_is_silent_the_jwt_holds() -> None:
    token = make({}, claims=JWT_CLAIMS, aud=(AUD,))
    assert (token.acr, token.auth_time, token.exp) == (("pwd",), NOW - 100, NOW + 300)
    assert token.scopes == {"read", "write"}
    assert token.aud == (AUD,)
    assert token.client_id == "app"
    assert token.upstream == IDENTITY.of({"sub": "alice", "acr": "pwd"})


def test_where_the_answer_speaks_it_wins_over_the_jwt() -> None:
    answer = {"acr": "mfa", "auth_time": NOW, "scope": "read", "sub": "a", "client_id": "b"}
    token = make(answer, claims=JWT_CLAIMS, aud=(AUD,))
    assert (token.acr, token.auth_time) == (("mfa",), NOW)
    assert token.scopes == {"read"}
    assert token.client_id == "b"
    assert token.upstream == IDENTITY.of({"sub": "a", "acr": "mfa"})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"acr": None, "auth_time": None}, id="null"),
        pytest.param({"acr": "", "auth_time": "x"}, id="malformed"),
    ],
)
def test_an_answer_that_takes_something_back_wins_too(answer: dict[str, Any]) -> None:
    token = make(answer, claims=JWT_CLAIMS, aud=(AUD,))
    assert (token.acr, token.auth_time) == ((), None)


def test_every_alternative_in_the_answer_goes_before_any_in_the_jwt() -> None:
    settings = replace(SETTINGS, claims=ClaimNames(acr=(("level", "acr"), ("acr",))))
    claims = {**JWT_CLAIMS, "level": {"acr": "phr"}}
    assert make({"acr": "pwd"}, settings, claims=claims, aud=(AUD,)).acr == ("pwd",)
    assert make({}, settings, claims=claims, aud=(AUD,)).acr == ("phr",)


@pytest.mark.parametrize(
    ("exp", "earlier"),
    [
        pytest.param(NOW + 299, NOW + 299, id="of-the-answer"),
        pytest.param(NOW + 301, NOW + 300, id="of-the-jwt"),
    ],
)
def test_the_earlier_exp_counts(exp: int, earlier: int) -> None:
    assert make({"exp": exp}, claims=JWT_CLAIMS, aud=(AUD,)).exp == earlier


@pytest.mark.parametrize(
    ("aud", "both"),
    [
        pytest.param(AUD, (AUD,), id="the-same"),
        pytest.param([AUD, "more"], (AUD,), id="more"),
        pytest.param("other", (), id="another"),
        pytest.param([], (), id="none"),
    ],
)
def test_an_audience_must_be_in_the_jwt_and_in_the_answer(aud: Any, both: tuple[str, ...]) -> None:
    assert make({"aud": aud}, claims=JWT_CLAIMS, aud=(AUD, "third")).aud == both


def test_an_inactive_token_fails_at_introspection() -> None:
    assert (inactive().check, inactive().reason) == ("introspection", "token_inactive")
