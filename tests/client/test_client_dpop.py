"""DPoP, PAR, nonces, redirects and `iss`, against small servers on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bridge.client.dpop import DPoPKey
from bridge.client.errors import ChallengeError, DiscoveryError, LoginError, StepUpError
from bridge.client.httpx_auth import StepUpAuth
from bridge.client.keyring import Keyring
from bridge.client.loopback_login import LoopbackLogin
from bridge.client.token import Token

from .client_stage import LoopThread
from .dpop_servers import DPoPServers
from .scripted_browser import ScriptedBrowser


@pytest.fixture
def threads() -> Iterator[LoopThread]:
    with LoopThread() as running:
        yield running


@pytest.fixture
def servers(threads: LoopThread) -> DPoPServers:
    made = DPoPServers()
    made.origin = f"http://127.0.0.1:{threads.serve(made.app())}"
    return made


@pytest.fixture
def http(servers: DPoPServers) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=servers.origin, trust_env=False, timeout=20) as client:
        yield client


def step_up_auth(*, dpop: bool = True, **changes: Any) -> StepUpAuth:
    options: dict[str, Any] = {"timeout_seconds": 10, "open_browser": ScriptedBrowser()}
    login = LoopbackLogin("app", **(options | changes))
    return StepUpAuth(login, keyring=Keyring(DPoPKey() if dpop else None))


def test_token_is_bound_and_each_request_proved(servers: DPoPServers, http: httpx.Client) -> None:
    auth = step_up_auth()
    assert http.get("/api?x=1", auth=auth).json() == {"ok": True}
    assert http.get("/api", auth=auth).status_code == 200
    # Each server's nonce is asked for once, and kept.
    assert [place for place, _ in servers.proofs] == ["/token", "/token", "/api", "/api", "/api"]
    (pushed,) = servers.pushed.values()
    assert pushed["scope"] == "a"


def test_confidential_client_shows_its_secret_to_the_authorization_server_alone(
    servers: DPoPServers, http: httpx.Client
) -> None:
    servers.secret = "s3cret"
    assert http.get("/api", auth=step_up_auth(client_secret="s3cret")).status_code == 200
    assert "s3cret" not in str(servers.pushed)


def test_new_nonce_is_taken_over_without_a_login(servers: DPoPServers, http: httpx.Client) -> None:
    auth = step_up_auth()
    http.get("/api", auth=auth)
    servers.nonce = "nonce-2"
    servers.proofs.clear()
    assert http.get("/api", auth=auth).status_code == 200
    assert [proof["nonce"] for _, proof in servers.proofs] == ["nonce-1", "nonce-2"]
    assert len(servers.pushed) == 1


def test_api_that_does_not_take_its_own_nonce_is_given_up(
    servers: DPoPServers, http: httpx.Client
) -> None:
    servers.endless_nonces = True
    with pytest.raises(ChallengeError, match="nonce"):
        http.get("/api", auth=step_up_auth())
    assert len(servers.pushed) == 1


def test_client_without_a_key_is_told(http: httpx.Client) -> None:
    with pytest.raises(ChallengeError, match="no DPoP key"):
        http.get("/api", auth=step_up_auth(dpop=False))


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        pytest.param(400, '{"error": "invalid_grant", "error_description": "old\\u001b[2J"}',
                     "the authorization server answered invalid_grant: old?[2J", id="error"),
        pytest.param(400, '{"access_token": "t", "token_type": "DPoP"}',
                     "/token answered 400", id="token-with-a-failure"),
        pytest.param(500, "oops", "/token answered 500", id="500"),
        pytest.param(302, "", "/token answered 302", id="redirect"),
        pytest.param(200, "<html>", "/token answered no JSON object", id="html"),
        pytest.param(200, "[]", "/token answered no JSON object", id="list"),
        pytest.param(200, "{}", "the token response holds no access_token", id="no-token"),
        pytest.param(200, "[" * 100_000, "/token answered no JSON object", id="deep"),
        pytest.param(200, '{"error": 5}', "an error without a name", id="error-no-string"),
    ],
)  # fmt: skip
def test_token_endpoint_that_gives_no_token_is_said(
    servers: DPoPServers, http: httpx.Client, status: int, body: str, text: str
) -> None:
    servers.broken = (status, body)
    with pytest.raises(LoginError) as caught:
        http.get("/api", auth=step_up_auth())
    assert text in str(caught.value)


async def test_async_client_answers_nonces_too(servers: DPoPServers) -> None:
    auth = step_up_auth()
    async with httpx.AsyncClient(base_url=servers.origin, trust_env=False) as http:
        for nonce in ("nonce-1", "nonce-2"):
            servers.nonce = nonce
            assert (await http.get("/api", auth=auth)).status_code == 200
    assert len(servers.pushed) == 1


def test_bound_token_is_not_sent_without_its_key(http: httpx.Client) -> None:
    auth = step_up_auth(dpop=False)
    auth.keyring.add(str(http.base_url), Token("t", "DPoP"))
    with pytest.raises(StepUpError, match="no DPoP key for it"):
        http.get("/api", auth=auth)


def test_bearer_token_for_a_proof_is_refused(servers: DPoPServers, http: httpx.Client) -> None:
    servers.token_type = "Bearer"
    with pytest.raises(LoginError, match="Bearer token for a DPoP proof"):
        http.get("/api", auth=step_up_auth())


@pytest.mark.parametrize("iss", [None, "https://attacker.example", ""])
def test_answer_of_another_issuer_is_refused_before_the_code_is_sent(
    servers: DPoPServers, http: httpx.Client, iss: str | None
) -> None:
    servers.iss = iss
    with pytest.raises(LoginError, match="another issuer"):
        http.get("/api", auth=step_up_auth())
    assert servers.proofs == []


def test_refused_par_is_said(servers: DPoPServers, http: httpx.Client) -> None:
    servers.refuse_par = True
    with pytest.raises(LoginError, match="invalid_scope") as caught:
        http.get("/api", auth=step_up_auth())
    assert caught.value.error == "invalid_scope"


def test_issuer_that_the_api_does_not_name_is_not_used(http: httpx.Client) -> None:
    with pytest.raises(DiscoveryError, match="does not take tokens of the issuer"):
        http.get("/api", auth=step_up_auth(issuer="https://as.example"))


def test_redirect_elsewhere_gets_no_token_and_its_challenge_is_not_followed(
    threads: LoopThread, servers: DPoPServers, http: httpx.Client
) -> None:
    other = DPoPServers()
    other.origin = f"http://127.0.0.1:{threads.serve(other.app())}"
    other.tokens = servers.tokens
    auth = step_up_auth()
    http.get("/api", auth=auth)
    response = http.get(
        "/moved", params={"to": f"{other.origin}/api"}, auth=auth, follow_redirects=True
    )
    assert response.status_code == 401
    assert str(response.url) == f"{other.origin}/api"
    assert "authorization" not in response.request.headers
    assert other.pushed == {}
