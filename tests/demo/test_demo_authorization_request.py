"""The demo's authorization requests: what is refused, and where the refusal goes."""

from __future__ import annotations

import pytest
from demo_browser import CLIENT, GOOD_REQUEST, REDIRECT_URI

from bridge.demo.authorization_request import (
    AuthorizationRequest,
    find_client,
    read_authorization_request,
)
from bridge.demo.oauth import MFA, PWD, Client, OAuthError, single_values

CLIENTS = {CLIENT.client_id: CLIENT}


def read(**changes: str | None) -> AuthorizationRequest:
    values = {n: v for n, v in (GOOD_REQUEST | changes).items() if v is not None}
    return read_authorization_request(CLIENT, REDIRECT_URI, values)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"client_id": "stranger"}, id="unknown-client"),
        pytest.param({"client_id": None}, id="no-client"),
        pytest.param({"redirect_uri": None}, id="no-redirect-uri"),
        pytest.param({"redirect_uri": "https://evil.example/"}, id="other-redirect-uri"),
        pytest.param({"redirect_uri": REDIRECT_URI + "/"}, id="longer-redirect-uri"),
        pytest.param({"redirect_uri": REDIRECT_URI + "?x=1"}, id="redirect-uri-with-query"),
        pytest.param({"redirect_uri": REDIRECT_URI.upper()}, id="redirect-uri-in-capitals"),
    ],
)
def test_without_a_registered_client_and_redirect_uri_nothing_is_redirected(
    changes: dict[str, str | None],
) -> None:
    pairs = [(n, v) for n, v in (GOOD_REQUEST | changes).items() if v is not None]

    with pytest.raises(OAuthError, match="invalid_request"):
        find_client(pairs, CLIENTS)


@pytest.mark.parametrize(
    ("registered", "sent", "good"),
    [
        pytest.param("http://127.0.0.1/cb", "http://127.0.0.1:65535/cb", True, id="any-port"),
        pytest.param("http://127.0.0.1/cb", "http://127.0.0.1:0/cb", False, id="port-0"),
        pytest.param("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", False, id="user"),
        pytest.param("http://127.0.0.1/cb", "http://127.0.0.1:1/cb2", False, id="other-path"),
        pytest.param("http://127.0.0.1/cb", "https://127.0.0.1:1/cb", False, id="other-scheme"),
        pytest.param("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", False, id="port-registered"),
        pytest.param("http://a.example/cb", "http://a.example:1/cb", False, id="not-loopback"),
    ],
)
def test_only_a_loopback_redirect_may_choose_its_port(
    registered: str, sent: str, good: bool
) -> None:
    client = Client("app", (registered,), ("a",))
    pairs = [("client_id", "app"), ("redirect_uri", sent)]
    if good:
        assert find_client(pairs, {"app": client}) == (client, sent)
    else:
        with pytest.raises(OAuthError, match="redirect_uri"):
            find_client(pairs, {"app": client})


def test_two_redirect_uris_are_none() -> None:
    with pytest.raises(OAuthError, match="redirect_uri"):
        find_client([*GOOD_REQUEST.items(), ("redirect_uri", REDIRECT_URI)], CLIENTS)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        pytest.param({"response_type": "token"}, "unsupported_response_type", id="implicit"),
        pytest.param({"response_type": None}, "unsupported_response_type", id="no-response-type"),
        pytest.param({"code_challenge": None}, "invalid_request", id="no-pkce"),
        pytest.param({"code_challenge_method": "plain"}, "invalid_request", id="pkce-plain"),
        # RFC 7636 §4.3: plain is what a missing method means.
        pytest.param({"code_challenge_method": None}, "invalid_request", id="pkce-no-method"),
        pytest.param({"code_challenge": "x" * 42}, "invalid_request", id="challenge-too-short"),
        pytest.param({"max_age": "-1"}, "invalid_request", id="max-age-negative"),
        pytest.param({"max_age": "5m"}, "invalid_request", id="max-age-no-number"),
        pytest.param({"prompt": "create"}, "invalid_request", id="prompt-unknown"),
        pytest.param({"prompt": "none login"}, "invalid_request", id="prompt-none-and-more"),
        pytest.param({"scope": None}, "invalid_scope", id="no-scope"),
        pytest.param({"scope": "accounts:read admin"}, "invalid_scope", id="scope-of-nobody"),
        pytest.param(
            {"acr_values": "urn:example:phr"}, "unmet_authentication_requirements", id="acr-unknown"
        ),
        pytest.param(
            {"acr_values": "URN:EXAMPLE:MFA"}, "unmet_authentication_requirements", id="acr-case"
        ),
    ],
)
def test_what_cannot_be_granted_is_refused_to_the_client(
    changes: dict[str, str | None], error: str
) -> None:
    with pytest.raises(OAuthError) as refusal:
        read(**changes)

    assert refusal.value.error == error


def test_a_parameter_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(OAuthError, match="more than once"):
        single_values([("max_age", "0"), ("max_age", "9999")])


@pytest.mark.parametrize(
    ("acr_values", "acr"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("", None, id="empty"),
        pytest.param(MFA, MFA, id="one"),
        pytest.param(f"{PWD} {MFA}", PWD, id="the-preferred"),
        pytest.param(f"urn:example:phr {MFA} {PWD}", MFA, id="the-preferred-that-there-is"),
    ],
)
def test_the_most_preferred_level_that_there_is_becomes_the_demand(
    acr_values: str | None, acr: str | None
) -> None:
    assert read(acr_values=acr_values).acr == acr


def test_all_that_a_step_up_asks_for_is_read() -> None:
    assert read(scope="payments:write", acr_values=MFA, max_age="0", prompt="login") == (
        AuthorizationRequest(
            client=CLIENT,
            redirect_uri=REDIRECT_URI,
            state="xyz",
            scopes=("payments:write",),
            code_challenge=GOOD_REQUEST["code_challenge"],
            acr=MFA,
            max_age=0,
            prompts=frozenset({"login"}),
        )
    )
