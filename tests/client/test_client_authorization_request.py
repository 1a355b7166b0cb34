"""From a challenge to an authorization request, and through the demo's authorization server."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.authorization_request import authorization_request
from bridge.client.demand import Demand
from bridge.client.errors import ChallengeError
from bridge.client.metadata import Server
from bridge.decision.challenge_parser import Challenge, parse_challenges
from bridge.demo.authorization_request import find_client, read_authorization_request
from bridge.demo.oauth import MFA, PWD, Client, OAuthError

SERVER = Server("https://as", "https://as/authorize", "https://as/token")
REDIRECT_URI = "http://127.0.0.1:4711/callback"
VERIFIER = "v" * 43
CHALLENGE = (
    'Bearer error="insufficient_user_authentication", acr_values="a b", max_age="0", scope="y"'
)


def challenge(line: str = CHALLENGE) -> Challenge:
    return parse_challenges([line])[0]


def params(url: str) -> dict[str, str]:
    found = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in found.values())
    return {name: values[0] for name, values in found.items()}


def test_request_says_all_that_the_challenge_says() -> None:
    request = authorization_request(
        challenge(),
        SERVER,
        client_id="app",
        redirect_uri=REDIRECT_URI,
        scopes=("x", "y"),
        state="s",
        code_verifier=VERIFIER,
        resource="https://api",
        dpop_jkt="j",
    )
    assert request.url.startswith("https://as/authorize?")
    assert params(request.url) == {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": REDIRECT_URI,
        "state": "s",
        # By openssl, of 43 v: another implementation than ours.
        "code_challenge": "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM",
        "code_challenge_method": "S256",
        "scope": "x y",
        "acr_values": "a b",
        "max_age": "0",
        "resource": "https://api",
        "dpop_jkt": "j",
    }
    assert request.scopes == ("x", "y")


def test_essential_acr_is_asked_by_claims_alone() -> None:
    request = authorization_request(
        challenge(),
        SERVER,
        client_id="app",
        redirect_uri=REDIRECT_URI,
        scopes=("x",),
        essential_acr=True,
    )
    sent = params(request.url)
    assert json.loads(sent["claims"]) == {
        "id_token": {"acr": {"essential": True, "values": ["a", "b"]}}
    }
    assert "acr_values" not in sent
    assert sent["scope"] == "openid x y"


def test_without_acr_values_nothing_is_essential() -> None:
    request = authorization_request(
        Demand(max_age=5), SERVER, client_id="a", redirect_uri=REDIRECT_URI, essential_acr=True
    )
    assert not {"claims", "acr_values", "scope"} & params(request.url).keys()


def test_state_and_verifier_are_new_each_time_and_not_shown() -> None:
    requests = [
        authorization_request(challenge(), SERVER, client_id="a", redirect_uri=REDIRECT_URI)
        for _ in range(2)
    ]
    assert requests[0].state != requests[1].state
    assert requests[0].code_verifier != requests[1].code_verifier
    assert 43 <= len(requests[0].code_verifier) <= 128
    assert requests[0].state not in repr(requests[0])
    assert requests[0].code_verifier not in repr(requests[0])


def test_pushed_request_puts_only_its_name_in_the_url() -> None:
    server = Server("https://as", "https://as/authorize?tenant=1", "https://as/token")
    request = authorization_request(challenge(), server, client_id="a", redirect_uri=REDIRECT_URI)
    assert request.pushed_url("urn:x:1") == (
        "https://as/authorize?tenant=1&client_id=a&request_uri=urn%3Ax%3A1"
    )


def test_challenge_that_cannot_be_followed_makes_no_request() -> None:
    with pytest.raises(ChallengeError, match="max_age"):
        authorization_request(
            challenge("Bearer max_age=x"), SERVER, client_id="a", redirect_uri=REDIRECT_URI
        )


@given(
    acr_values=st.lists(st.sampled_from([PWD, MFA, "other"]), unique=True),
    max_age=st.none() | st.integers(0, 10**10 - 1),
    held=st.lists(st.sampled_from("abc")),
    wanted=st.lists(st.sampled_from("abc"), min_size=1),
)
def test_authorization_server_reads_what_was_meant(
    acr_values: list[str], max_age: int | None, held: list[str], wanted: list[str]
) -> None:
    client = Client("app", ("http://127.0.0.1/callback",), ("a", "b", "c"))
    demand = Demand("Bearer", None, tuple(acr_values), max_age, tuple(wanted))
    request = authorization_request(
        demand, SERVER, client_id="app", redirect_uri=REDIRECT_URI, scopes=held
    )
    sent = params(request.url)
    assert find_client(sent.items(), {"app": client}) == (client, REDIRECT_URI)
    try:
        read = read_authorization_request(client, REDIRECT_URI, sent)
    except OAuthError as error:
        assert error.error == "unmet_authentication_requirements"  # noqa: PT017
        assert set(acr_values) == {"other"}
        return
    assert set(read.scopes) == {*held, *wanted}
    assert read.max_age == max_age
    assert read.acr in acr_values or (read.acr is None and not acr_values)
