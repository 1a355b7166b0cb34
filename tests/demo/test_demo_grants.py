"""The demo's authorization codes: single use, bound to client, redirect_uri and PKCE."""

from __future__ import annotations

from dataclasses import replace

import pytest
from demo_browser import REDIRECT_URI, VERIFIER

from bridge.client.authorization_request import code_challenge_of
from bridge.demo.grants import CODE_LIFETIME_SECONDS, Grant, Grants
from bridge.demo.oauth import PWD, OAuthError

NOW = 1_000_000
GRANT = Grant(
    client_id="app",
    redirect_uri=REDIRECT_URI,
    code_challenge=code_challenge_of(VERIFIER),
    sub="alice",
    scopes=("accounts:read",),
    acr=PWD,
    auth_time=NOW,
    nonce=None,
    expires_at=NOW + CODE_LIFETIME_SECONDS,
)


def form(issued: str, /, **changes: str | None) -> dict[str, str]:
    good = {
        "grant_type": "authorization_code",
        "client_id": "app",
        "redirect_uri": REDIRECT_URI,
        "code": issued,
        "code_verifier": VERIFIER,
    } | changes
    return {name: value for name, value in good.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"grant_type": "password"}, "unsupported_grant_type", id="grant-type"),
        pytest.param({"client_id": None}, "invalid_request", id="no-client"),
        pytest.param({"code_verifier": None}, "invalid_request", id="no-verifier"),
        pytest.param({"redirect_uri": None}, "invalid_request", id="no-redirect-uri"),
        pytest.param({"code": "guessed"}, "invalid_grant", id="unknown-code"),
        pytest.param({"client_id": "other"}, "invalid_grant", id="other-client"),
        pytest.param({"redirect_uri": "http://127.0.0.1/x"}, "invalid_grant", id="redirect-uri"),
        pytest.param({"code_verifier": "w" * 43}, "invalid_grant", id="wrong-verifier"),
        pytest.param({"code_verifier": GRANT.code_challenge}, "invalid_grant", id="plain-pkce"),
        pytest.param({"code_verifier": "v" * 42}, "invalid_grant", id="short-verifier"),
    ],
)
def test_a_code_is_given_only_to_whom_it_belongs(
    changes: dict[str, str | None], error: str
) -> None:
    grants = Grants()
    code = grants.add(GRANT)

    with pytest.raises(OAuthError) as refusal:
        grants.redeem(form(code, **changes), NOW)

    assert refusal.value.error == error


def test_a_short_verifier_is_refused_even_where_it_fits() -> None:
    """RFC 7636 §4.1: 43 characters at least."""
    short = "v" * 42
    grants = Grants()
    code = grants.add(replace(GRANT, code_challenge=code_challenge_of(short)))

    with pytest.raises(OAuthError, match="code_verifier"):
        grants.redeem(form(code, code_verifier=short), NOW)


def test_a_code_works_once() -> None:
    grants = Grants()
    code = grants.add(GRANT)

    assert grants.redeem(form(code), NOW) == GRANT
    with pytest.raises(OAuthError, match="invalid_grant"):
        grants.redeem(form(code), NOW)


def test_an_attempt_with_a_wrong_verifier_spends_the_code() -> None:
    grants = Grants()
    code = grants.add(GRANT)
    with pytest.raises(OAuthError):
        grants.redeem(form(code, code_verifier="w" * 43), NOW)

    with pytest.raises(OAuthError, match="invalid_grant"):
        grants.redeem(form(code), NOW)


@pytest.mark.parametrize(
    ("age", "works"),
    [
        pytest.param(CODE_LIFETIME_SECONDS + 1, False, id="after"),
        pytest.param(CODE_LIFETIME_SECONDS, False, id="at-the-end"),
        pytest.param(CODE_LIFETIME_SECONDS - 1, True, id="before"),
    ],
)
def test_a_code_lives_a_minute(age: int, works: bool) -> None:
    grants = Grants()
    code = grants.add(GRANT)

    if works:
        assert grants.redeem(form(code), NOW + age) == GRANT
    else:
        with pytest.raises(OAuthError, match="invalid_grant"):
            grants.redeem(form(code), NOW + age)


def test_the_challenge_is_that_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert code_challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
