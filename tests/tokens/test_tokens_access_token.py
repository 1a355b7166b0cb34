"""Claims that are not what they seem are unmet, never a pass and never an error (spec §6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.decision.decide import find_unmet
from bridge.errors import TokenError
from bridge.policy.requirement import Requirement
from bridge.tokens import json_strict
from bridge.tokens.access_token import (
    AccessToken,
    access_token,
    find_claim,
    is_number,
    read_acr,
    read_auth_time,
    read_scopes,
)
from bridge.tokens.confirmation import Confirmation
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.jwt import check_audience, check_claims
from bridge.tokens.settings import AcrNames, ClaimNames, IssuerSettings

NOW = 1_700_000_000
SETTINGS = IssuerSettings("https://login.example.com", ("https://api.example.com",))
IDENTITY = IdentityHeaders(
    (
        ("x-subject", "sub"),
        ("x-issuer", "iss"),
        ("x-acr", "acr"),
        ("x-auth-time", "auth_time"),
        ("x-scope", "scope"),
    )
)
CLAIMS = {
    "iss": "https://login.example.com",
    "aud": "https://api.example.com",
    "exp": NOW + 300,
    "sub": "alice",
    "client_id": "app",
    "acr": "urn:example:mfa",
    "auth_time": NOW - 10,
    "scope": "a b",
}


def read(claims: dict[str, Any], settings: IssuerSettings = SETTINGS) -> AccessToken:
    return access_token(claims, ("https://api.example.com",), settings, IDENTITY)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="missing-or-null"),
        pytest.param("", id="empty"),
        pytest.param(0, id="number-zero"),
        pytest.param(2, id="number"),
        pytest.param(1.0, id="float"),
        pytest.param(True, id="bool"),
        pytest.param({}, id="object"),
        pytest.param({"urn:example:mfa": True}, id="object-with-the-value-as-a-name"),
        pytest.param([], id="empty-list"),
        pytest.param([""], id="list-of-an-empty-string"),
        pytest.param([1], id="list-of-a-number"),
        pytest.param(["urn:example:mfa", 1], id="list-with-a-number"),
        pytest.param(["urn:example:mfa", None], id="list-with-null"),
        pytest.param(["urn:example:mfa", ["x"]], id="list-in-a-list"),
        pytest.param([["urn:example:mfa"]], id="list-of-a-list"),
    ],
)
def test_malformed_or_empty_acr_is_none_and_unmet(value: Any) -> None:
    assert read_acr(value) == ()
    token = read({**CLAIMS, "acr": value})
    assert token.acr == ()
    assert find_unmet(Requirement(acr_values=("urn:example:mfa", "0", "2")), token, NOW).acr


@pytest.mark.parametrize(
    ("value", "acr"),
    [
        pytest.param("urn:example:mfa", ("urn:example:mfa",), id="string"),
        pytest.param("0", ("0",), id="zero-is-a-value-like-any-other"),
        pytest.param("a b", ("a b",), id="a-string-is-not-split"),
        pytest.param(" a", (" a",), id="a-string-is-not-stripped"),
        pytest.param(["c1", "p1"], ("c1", "p1"), id="list"),
        pytest.param(["", "c1"], ("c1",), id="list-with-an-empty-string"),
    ],
)
def test_acr_is_a_string_or_a_list_of_strings(value: Any, acr: tuple[str, ...]) -> None:
    assert read_acr(value) == acr


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="missing-or-null"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param(str(NOW), id="string"),
        pytest.param("", id="empty-string"),
        pytest.param("2023-11-14T22:13:20Z", id="date"),
        pytest.param(-1, id="one-below-zero"),
        pytest.param(-0.5, id="negative-float"),
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param([NOW], id="list"),
        pytest.param({"auth_time": NOW}, id="object"),
    ],
)
def test_malformed_auth_time_is_none_and_unmet(value: Any) -> None:
    assert read_auth_time(value) is None
    token = read({**CLAIMS, "auth_time": value, "iat": NOW})
    assert token.auth_time is None
    assert find_unmet(Requirement(max_age=10**9 * 3), token, NOW).max_age


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(NOW * 1000, id="milliseconds"),
        pytest.param(NOW + 6, id="future"),
        pytest.param(1e308, id="huge-float"),
        pytest.param(10**19, id="huge-integer"),
    ],
)
def test_auth_time_in_the_future_is_unmet(value: float) -> None:
    token = read({**CLAIMS, "auth_time": value})
    assert token.auth_time == value
    assert find_unmet(Requirement(max_age=10**9), token, NOW).max_age


def test_there_is_no_falling_back_to_iat() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "auth_time"}
    token = read({**claims, "iat": NOW, "nbf": NOW, "updated_at": NOW})
    assert token.auth_time is None
    assert find_unmet(Requirement(max_age=10**10), token, NOW).max_age


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(0, id="zero"),
        pytest.param(1, id="one-above-zero"),
        pytest.param(NOW, id="integer"),
        pytest.param(NOW + 0.5, id="float"),
    ],
)
def test_auth_time_is_a_finite_number_from_zero_on(value: float) -> None:
    assert read_auth_time(value) == value


@pytest.mark.parametrize(
    ("value", "scopes"),
    [
        pytest.param(None, (), id="missing-or-null"),
        pytest.param("", (), id="empty"),
        pytest.param(1, (), id="number"),
        pytest.param({"a": 1}, (), id="object"),
        pytest.param(["a", 1], (), id="list-with-a-number"),
        pytest.param("a\tb", ("a\tb",), id="only-spaces-separate"),
        pytest.param("a,b", ("a,b",), id="commas-do-not-separate"),
        pytest.param("a", ("a",), id="one"),
        pytest.param(" a  b ", ("a", "b"), id="spaces-around"),
        pytest.param(["a", "b"], ("a", "b"), id="list"),
        pytest.param(["a b"], ("a b",), id="members-are-not-split"),
        pytest.param([], (), id="empty-list"),
    ],
)
def test_scopes_are_a_space_separated_string_or_a_list_of_strings(
    value: Any, scopes: tuple[str, ...]
) -> None:
    assert read_scopes(value) == scopes


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(True, False, id="bool"),
        pytest.param("1", False, id="string"),
        pytest.param(None, False, id="null"),
        pytest.param(float("nan"), False, id="nan"),
        pytest.param(float("-inf"), False, id="infinity"),
        pytest.param(10**400, False, id="integer-beyond-a-float"),
        pytest.param(-(10**400), False, id="negative-integer-beyond-a-float"),
        pytest.param([], False, id="list"),
        pytest.param(-1, True, id="negative"),
        pytest.param(1.5, True, id="float"),
    ],
)
def test_number_is_finite_and_no_bool(value: Any, number: bool) -> None:
    assert is_number(value) is number


@pytest.mark.parametrize(
    ("alternatives", "claims", "value"),
    [
        pytest.param((("acr",),), {}, None, id="absent"),
        pytest.param((("a.b",),), {"a": {"b": "x"}}, None, id="dots-mean-nothing"),
        pytest.param((("a", "b"),), {"a.b": "x"}, None, id="path-is-no-name-with-dots"),
        pytest.param((("a", "b"),), {"a": "b"}, None, id="path-through-a-string"),
        pytest.param((("a", "0"),), {"a": ["x"]}, None, id="path-through-a-list"),
        pytest.param((("a", "b"),), {"a": {"c": "x"}}, None, id="path-that-ends-early"),
        pytest.param((("a", "b"),), {"a": None}, None, id="path-through-null"),
        pytest.param((("a.b",),), {"a.b": "x"}, "x", id="name-with-dots"),
        pytest.param(
            (("https://example.com/acr",),), {"https://example.com/acr": "x"}, "x", id="url-as-name"
        ),
        pytest.param((("a", "b"),), {"a": {"b": "x"}}, "x", id="path"),
        pytest.param((("a", "b", "c"),), {"a": {"b": {"c": 0}}}, 0, id="path-of-three"),
        pytest.param((("a",), ("b",)), {"b": "y"}, "y", id="second-alternative"),
        pytest.param((("a",), ("b",)), {"a": "x", "b": "y"}, "x", id="first-present-wins"),
        pytest.param((("a",), ("b",)), {"a": "", "b": "y"}, "", id="present-though-empty"),
        pytest.param((("a",), ("b",)), {"a": None, "b": "y"}, None, id="present-though-null"),
        pytest.param((("a", "b"), ("c",)), {"a": {}, "c": "z"}, "z", id="path-absent-then-name"),
        pytest.param((), {"a": "x"}, None, id="no-alternative"),
    ],
)
def test_the_first_alternative_that_is_present_wins(
    alternatives: tuple[tuple[str, ...], ...], claims: dict[str, Any], value: Any
) -> None:
    assert find_claim(claims, alternatives) == value


def test_token_holds_what_the_decision_needs() -> None:
    assert read(CLAIMS) == AccessToken(
        iss="https://login.example.com",
        aud=("https://api.example.com",),
        exp=NOW + 300,
        leeway=5,
        acr=("urn:example:mfa",),
        auth_time=NOW - 10,
        scopes=frozenset({"a", "b"}),
        client_id="app",
        upstream=IDENTITY.of(CLAIMS),
        sub="alice",
    )


@pytest.mark.parametrize(
    ("claims", "sub", "iat"),
    [
        pytest.param({"sub": 7, "iat": "now"}, None, None, id="of-the-wrong-type"),
        pytest.param({"sub": None, "iat": True}, None, None, id="null-and-boolean"),
        pytest.param({"sub": "", "iat": -1}, "", None, id="empty-and-negative"),
        pytest.param({"sub": "bob", "iat": NOW - 5}, "bob", NOW - 5, id="good"),
    ],
)
def test_whom_a_token_stands_for_and_when_it_was_issued(
    claims: dict[str, Any], sub: str | None, iat: int | None
) -> None:
    token = read({**CLAIMS, **claims})
    assert (token.sub, token.iat) == (sub, iat)


def test_token_without_optional_claims_lacks_them() -> None:
    token = read({"iss": "https://login.example.com", "exp": NOW + 1})
    assert token == AccessToken(
        iss="https://login.example.com",
        aud=("https://api.example.com",),
        exp=NOW + 1,
        leeway=5,
        acr=(),
        auth_time=None,
        scopes=frozenset(),
        client_id=None,
        upstream=IDENTITY.of({"iss": "https://login.example.com"}),
        is_machine=True,
    )


def test_acr_auth_time_and_scope_are_found_where_the_issuer_puts_them() -> None:
    names = ClaimNames(
        acr=(("https://example.com/acr",), ("acrs",)),
        auth_time=(("session", "at"),),
        scope=(("permissions",), ("scope",)),
    )
    settings = IssuerSettings("i", ("a",), claims=names, leeway=9)
    claims = {
        "exp": NOW,
        "iss": "i",
        "acr": "not-this",
        "auth_time": 1,
        "scope": "not-this",
        "acrs": ["c1", "c2"],
        "session": {"at": NOW - 7},
        "permissions": ["p", "q r"],
    }
    assert read(claims, settings) == AccessToken(
        iss="i",
        aud=("https://api.example.com",),
        exp=NOW,
        leeway=9,
        acr=("c1", "c2"),
        auth_time=NOW - 7,
        scopes=frozenset({"p", "q r"}),
        client_id=None,
        upstream=IDENTITY.of(
            {"iss": "i", "acr": "c1 c2", "auth_time": NOW - 7, "scope": ["p", "q r"]}
        ),
    )


def test_claims_at_their_usual_place_do_not_stand_in_for_configured_ones() -> None:
    settings = IssuerSettings("i", ("a",), claims=ClaimNames((("x",),), (("y",),), (("z",),)))
    token = read(CLAIMS, settings)
    assert (token.acr, token.auth_time, token.scopes) == ((), None, frozenset())
    assert token.upstream.set == (("x-subject", "alice"), ("x-issuer", CLAIMS["iss"]))


@pytest.mark.parametrize(
    ("claims", "client_id"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"client_id": 1}, None, id="number"),
        pytest.param({"client_id": None, "azp": "b"}, "b", id="null"),
        pytest.param({"client_id": "a"}, "a", id="client-id"),
        pytest.param({"azp": "b"}, "b", id="authorized-party"),
        pytest.param({"client_id": "a", "azp": "b"}, "a", id="client-id-first"),
    ],
)
def test_client_id_for_the_log_is_a_string_or_none(
    claims: dict[str, Any], client_id: str | None
) -> None:
    assert read({"exp": NOW, **claims}).client_id == client_id


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([NOW, NOW + 1, 10**19, -1, "", "https://api.example.com", "at+jwt"])
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
random_claims = st.dictionaries(
    st.sampled_from([*CLAIMS, "nbf", "iat", "jti", "nonce", "at_hash", "cnf", "azp", "scp"])
    | st.text(max_size=3),
    json_values,
)


@given(claims=random_claims, strict=st.booleans(), complete=st.booleans())
@settings(deadline=None)
def test_whatever_the_claims_are_they_are_read_or_an_invalid_token(
    claims: dict[str, Any], strict: bool, complete: bool
) -> None:
    text = json.dumps({**CLAIMS, **claims} if complete else claims).encode()
    try:
        decoded = json_strict.loads(text)
    except ValueError:
        return
    settings = IssuerSettings(
        "https://login.example.com",
        ("https://api.example.com",),
        token_type="strict" if strict else "any",
    )
    try:
        aud = check_claims(decoded, "at+jwt", settings, NOW)
        check_audience(aud, None, settings)
    except TokenError:
        return
    token = access_token(decoded, aud, settings, IDENTITY)
    find_unmet(Requirement(("a",), ("urn:example:mfa",), 300), token, NOW)


MAPPED = IssuerSettings("i", ("a",), acr_names=AcrNames((("2", "mfa"),)))


@pytest.mark.parametrize(
    ("acr", "read_as", "header"),
    [
        pytest.param("2", ("mfa",), "mfa", id="mapped"),
        pytest.param("1", ("1",), "1", id="not-in-the-map"),
        pytest.param(["1", "2"], ("1", "mfa"), "1 mfa", id="list"),
        pytest.param(2, (), None, id="number"),
        pytest.param(None, (), None, id="none"),
    ],
)
def test_acr_is_told_in_the_policys_names(
    acr: Any, read_as: tuple[str, ...], header: str | None
) -> None:
    token = read({**CLAIMS, "acr": acr}, MAPPED)
    assert token.acr == read_as
    assert token.acr_names is MAPPED.acr_names
    assert dict(token.upstream.set).get("x-acr") == header
    assert ("x-acr" in token.upstream.remove) is (header is None)


@pytest.mark.parametrize(
    ("claims", "is_machine"),
    [
        pytest.param({"sub": "alice", "client_id": "app"}, False, id="user"),
        pytest.param({"sub": "app", "client_id": "app"}, True, id="sub-is-the-client"),
        pytest.param({"sub": "app", "azp": "app"}, True, id="sub-is-azp"),
        pytest.param({"sub": "app", "client_id": "app", "acr": "1"}, True, id="whatever-its-acr"),
        pytest.param(
            {"sub": "app", "client_id": "app", "auth_time": NOW}, False, id="somebody-authenticated"
        ),
        pytest.param({}, True, id="nothing-of-a-user"),
        pytest.param({"acr": "1"}, False, id="acr-without-sub"),
        pytest.param({"sub": "x", "idtyp": "app"}, True, id="entra"),
        pytest.param({"sub": "x", "idtyp": "user"}, False, id="entra-user"),
        pytest.param({"sub": "x@clients", "gty": "client-credentials"}, True, id="auth0"),
        pytest.param({"sub": "x", "gty": "password"}, False, id="auth0-user"),
        pytest.param(
            {"sub": "x", "acr": "1", "preferred_username": "service-account-app"},
            True,
            id="keycloak",
        ),
        pytest.param({"sub": "x", "preferred_username": 7}, False, id="odd-user-name"),
    ],
)
def test_a_machine_is_told_by_the_marks_of_its_token(
    claims: dict[str, Any], is_machine: bool
) -> None:
    assert read({"exp": NOW, **claims}).is_machine is is_machine


def test_client_id_is_found_where_the_issuer_puts_it() -> None:
    settings = IssuerSettings("i", ("a",), claims=ClaimNames(client_id=(("cid",), ("azp",))))
    identity = IdentityHeaders([("x-client", "client_id")])
    token = access_token({"exp": NOW, "cid": "okta-app"}, ("a",), settings, identity)
    assert token.client_id == "okta-app"
    assert token.upstream.set == (("x-client", "okta-app"),)


JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
BANK = IssuerSettings("https://login.example.com", ("api",))
X5T = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"


@pytest.mark.parametrize(
    ("claims", "answer", "confirmation"),
    [
        pytest.param({}, None, None, id="plain"),
        pytest.param({"cnf": {"jkt": JKT}}, None, Confirmation(JKT), id="token"),
        pytest.param({}, {"cnf": {"jkt": JKT}}, Confirmation(JKT), id="answer"),
        pytest.param({"cnf": {"jkt": JKT}}, {}, Confirmation(JKT), id="answer-without"),
        pytest.param(
            {"cnf": {"jkt": JKT}}, {"cnf": {"jkt": JKT}}, Confirmation(JKT), id="both-agree"
        ),
    ],
)
def test_what_a_token_is_bound_to_is_kept(
    claims: dict[str, Any], answer: dict[str, Any] | None, confirmation: Confirmation | None
) -> None:
    token = access_token({"exp": 1, **claims}, ("api",), BANK, IdentityHeaders(()), answer)
    assert token.confirmation == confirmation


@pytest.mark.parametrize("said", [{"x5t#S256": X5T}, {"jkt": X5T}, {"jkt": JKT, "x5t#S256": X5T}])
def test_answer_does_not_loosen_what_the_token_is_bound_to(said: dict[str, str]) -> None:
    claims = {"exp": 1, "cnf": {"jkt": JKT}}
    with pytest.raises(TokenError) as refused:
        access_token(claims, ("api",), BANK, IdentityHeaders(()), {"cnf": said})
    assert (refused.value.check, refused.value.reason) == ("cnf", "token_binding_ambiguous")
