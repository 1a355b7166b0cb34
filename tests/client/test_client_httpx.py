"""`StepUpAuth` against a real bridge, by a scripted browser."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from bridge.client.demand import Demand
from bridge.client.errors import (
    LoginCancelledError,
    LoginError,
    LoginTimeoutError,
    LoopError,
    ReplayError,
    StepUpError,
    UnmetRequirementsError,
)
from bridge.client.flow import LoginRequest
from bridge.client.httpx_auth import StepUpAuth
from bridge.client.keyring import Keyring
from bridge.client.loopback_login import LoopbackLogin
from bridge.client.token import Token
from bridge.demo.oauth import MFA, PWD

from .client_stage import CLIENT_ID, ClientStage
from .scripted_browser import ScriptedBrowser

TRANSFERS, ACCOUNTS = "/transfers", "/accounts"
DEMAND = Demand()


class Counted:
    """A login callback that counts."""

    def __init__(self, login: Any) -> None:
        self._login = login
        self.requests: list[LoginRequest] = []

    def __call__(self, request: LoginRequest) -> Token:
        self.requests.append(request)
        token: Token = self._login(request)
        return token


def loopback_login(stage: ClientStage, browser: Any, **changes: Any) -> LoopbackLogin:
    options = {"timeout_seconds": 10, "verify": stage.tls, "open_browser": browser} | changes
    return LoopbackLogin(CLIENT_ID, **options)


def minting(stage: ClientStage, **claims: Any) -> Any:
    """Log in without a browser: what is asked for, but for some claims of the access token."""

    def login(request: LoginRequest) -> Token:
        acr = request.demand.acr_values[0] if request.demand.acr_values else PWD
        said = {"acr": acr, "scope": " ".join(request.scopes)} | claims
        return Token(stage.server.mint(said), scopes=request.scopes)

    return login


@pytest.fixture
def browser() -> ScriptedBrowser:
    return ScriptedBrowser()


@pytest.fixture
def login(stage: ClientStage, browser: ScriptedBrowser) -> Counted:
    return Counted(loopback_login(stage, browser))


@pytest.fixture
def auth(login: Counted) -> StepUpAuth:
    return StepUpAuth(login)


@pytest.fixture
def http(stage: ClientStage) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stage.api, verify=stage.tls, timeout=20) as client:
        yield client


@pytest.fixture
async def async_http(stage: ClientStage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stage.api, verify=stage.tls, timeout=20) as client:
        yield client


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        # It happens in another thread.
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def answers(stage: ClientStage) -> list[tuple[str, int]]:
    return [(seen.path, seen.status) for seen in stage.seen]


def test_first_call_logs_in_for_the_scope_that_the_challenge_names(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    response = http.get(ACCOUNTS, auth=auth)
    assert response.status_code == 200
    assert response.json()["identity"]["x-stepup-subject"] == "alice"
    assert [request.scopes for request in login.requests] == [("accounts:read",)]
    assert answers(stage) == [(ACCOUNTS, 401), (ACCOUNTS, 200)]


def test_step_up_keeps_the_scopes_and_the_body(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    http.get(ACCOUNTS, auth=auth)
    response = http.post(TRANSFERS, auth=auth, json={"amount": 10})
    assert response.json()["identity"]["x-stepup-acr"] == MFA
    assert response.json()["identity"]["x-stepup-scope"] == "accounts:read payments:write"
    assert [seen.body for seen in stage.seen[-2:]] == [b'{"amount":10}'] * 2
    assert len(login.requests) == 2
    demand = login.requests[1].demand
    assert (demand.acr_values, demand.max_age) == ((MFA,), 60)


def test_one_call_may_need_two_different_logins(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    assert http.post(TRANSFERS, auth=auth).status_code == 200
    assert [request.demand.error for request in login.requests] == [
        None,
        "insufficient_user_authentication",
    ]
    assert answers(stage) == [(TRANSFERS, 401), (TRANSFERS, 401), (TRANSFERS, 200)]


def test_better_token_serves_what_comes_and_the_weaker_one_where_it_sufficed(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    http.get(ACCOUNTS, auth=auth)
    http.post(TRANSFERS, auth=auth)
    stage.seen.clear()
    acrs = [
        http.request(method, path, auth=auth).json()["identity"]["x-stepup-acr"]
        for method, path in [("GET", ACCOUNTS), ("POST", TRANSFERS), ("GET", ACCOUNTS)]
    ]
    assert acrs == [PWD, MFA, PWD]
    assert answers(stage) == [(ACCOUNTS, 200), (TRANSFERS, 200), (ACCOUNTS, 200)]
    assert len(login.requests) == 2


def test_token_at_hand_is_tried_before_the_user_is_asked(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    http.get(ACCOUNTS, auth=auth)
    strong = Token(stage.server.mint({"acr": MFA, "scope": "payments:write"}), acr=MFA)
    weak = Token(stage.server.mint({"acr": PWD, "scope": "payments:write"}), acr=PWD)
    for token in (strong, weak):
        auth.keyring.add(stage.api, Token(token.access_token, "Bearer", ("payments:write",)))
    held = auth.keyring.wallet(stage.api)
    held.add(Token(strong.access_token, "Bearer", ("payments:write",), None, MFA, 2**40), DEMAND, 0)
    held.add(Token(weak.access_token, "Bearer", ("payments:write",), None, PWD), DEMAND, 0)
    stage.seen.clear()
    assert http.post(TRANSFERS, auth=auth).status_code == 200
    assert answers(stage) == [(TRANSFERS, 401), (TRANSFERS, 200)]
    assert len(login.requests) == 1


async def test_async_client_steps_up_with_a_blocking_login(
    async_http: httpx.AsyncClient, auth: StepUpAuth, login: Counted
) -> None:
    response = await async_http.post(TRANSFERS, auth=auth, json={})
    assert response.status_code == 200
    assert len(login.requests) == 2


async def test_async_client_steps_up_with_an_async_login(
    stage: ClientStage, async_http: httpx.AsyncClient
) -> None:
    async def login(request: LoginRequest) -> Token:
        await asyncio.sleep(0)
        token: Token = minting(stage)(request)
        return token

    response = await async_http.post(TRANSFERS, auth=StepUpAuth(login))
    assert response.status_code == 200


async def test_ten_concurrent_async_requests_share_one_login(
    stage: ClientStage, async_http: httpx.AsyncClient, login: Counted
) -> None:
    auth = StepUpAuth(login)
    calls = [async_http.get(ACCOUNTS, auth=auth) for _ in range(10)]
    responses = await asyncio.gather(*calls)
    assert [response.status_code for response in responses] == [200] * 10
    assert len(login.requests) == 1


def test_ten_concurrent_threads_share_one_login(
    stage: ClientStage, http: httpx.Client, login: Counted
) -> None:
    auth = StepUpAuth(login)
    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda _: http.get(ACCOUNTS, auth=auth).status_code, range(10)))
    assert statuses == [200] * 10
    assert len(login.requests) == 1


async def test_those_who_wait_for_a_login_share_its_failure(
    stage: ClientStage, async_http: httpx.AsyncClient
) -> None:
    barrier = asyncio.Event()
    asked: list[LoginRequest] = []

    async def refuse(request: LoginRequest) -> Token:
        asked.append(request)
        await barrier.wait()
        raise LoginCancelledError("no", "access_denied")

    auth = StepUpAuth(refuse)
    calls = [asyncio.create_task(async_http.get(ACCOUNTS, auth=auth)) for _ in range(5)]
    await until(lambda: len(stage.seen) == 5)
    barrier.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [LoginCancelledError] * 5
    assert len(asked) == 1
    # Later the user may think better of it.
    with pytest.raises(LoginCancelledError):
        await async_http.get(ACCOUNTS, auth=auth)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("claims", "token", "to_blame", "text"),
    [
        pytest.param({"acr": PWD}, {}, "unknown", "may ignore acr_values", id="acr-not-honoured"),
        pytest.param(
            {"acr": PWD}, {"acr": PWD, "auth_time": 2**40}, "authorization server",
            f"its ID token says acr {PWD}", id="id-token-shows-that-the-server-ignores-acr",
        ),
        pytest.param(
            {"acr": PWD}, {"acr": MFA, "auth_time": 2**40}, "API",
            "the access token does not carry it", id="id-token-shows-that-the-server-did-its-part",
        ),
        pytest.param(
            {"auth_time": 1000}, {"acr": MFA, "auth_time": 1000}, "authorization server",
            "does not honour max_age", id="max-age-not-honoured",
        ),
        pytest.param(
            {"auth_time": 1000}, {"acr": MFA, "auth_time": -70}, "API",
            "max_age is too short", id="max-age-too-short",
        ),
        pytest.param(
            {"scope": "accounts:read"}, {"scopes": ("accounts:read",)}, "authorization server",
            "did not grant the scope payments:write", id="scope-not-granted",
        ),
        pytest.param(
            {"aud": "https://other.example"}, {}, "API", "expects another audience",
            id="token-not-taken-at-all",
        ),
    ],
)  # fmt: skip
def test_same_challenge_again_is_refused_with_whom_to_blame(
    stage: ClientStage,
    http: httpx.Client,
    claims: dict[str, Any],
    token: dict[str, Any],
    to_blame: str,
    text: str,
) -> None:
    def bad_login(request: LoginRequest) -> Token:
        made: Token = minting(stage, **claims)(request)
        if token.get("auth_time", 0) < 0:  # before now
            token["auth_time"] += int(time.time())
        return Token(made.access_token, **({"scopes": request.scopes} | token))

    login = Counted(bad_login)
    auth = StepUpAuth(login)
    auth.keyring.add(stage.api, Token(stage.server.mint({"acr": PWD}), scopes=("accounts:read",)))
    with pytest.raises(LoopError, match=text) as caught:
        http.post(TRANSFERS, auth=auth)
    assert caught.value.to_blame == to_blame
    assert len(login.requests) == 1
    assert str(caught.value.came) in str(caught.value)
    assert str(caught.value.asked) in str(caught.value)


def test_cancelled_login_is_said(stage: ClientStage, http: httpx.Client) -> None:
    auth = StepUpAuth(loopback_login(stage, ScriptedBrowser(cancel=True)))
    with pytest.raises(LoginCancelledError, match="cancelled") as caught:
        http.get(ACCOUNTS, auth=auth)
    assert caught.value.error == "access_denied"


def test_user_without_second_factor_is_told(stage: ClientStage, http: httpx.Client) -> None:
    auth = StepUpAuth(loopback_login(stage, ScriptedBrowser("bob")))
    with pytest.raises(UnmetRequirementsError) as caught:
        http.post(TRANSFERS, auth=auth)
    assert caught.value.error == "unmet_authentication_requirements"


def test_redirect_that_never_comes_ends(stage: ClientStage, http: httpx.Client) -> None:
    auth = StepUpAuth(loopback_login(stage, lambda _: True, timeout_seconds=0.3))
    with pytest.raises(LoginTimeoutError, match=r"did not come back within 0\.3 s"):
        http.get(ACCOUNTS, auth=auth)


def test_browser_that_never_returns_does_not_hang_the_login(
    stage: ClientStage, http: httpx.Client
) -> None:
    release = threading.Event()
    auth = StepUpAuth(loopback_login(stage, lambda _: release.wait(30), timeout_seconds=0.3))
    with pytest.raises(LoginTimeoutError):
        http.get(ACCOUNTS, auth=auth)
    release.set()


def test_browser_that_cannot_be_opened_is_said_at_once(
    stage: ClientStage, http: httpx.Client
) -> None:
    def broken(url: str) -> None:
        raise OSError(url)

    auth = StepUpAuth(loopback_login(stage, broken, timeout_seconds=60))
    with pytest.raises(LoginError, match=r"cannot be opened: OSError$"):
        http.get(ACCOUNTS, auth=auth)


def test_async_login_is_nothing_for_a_sync_client(http: httpx.Client) -> None:
    async def login(request: LoginRequest) -> Token:
        raise AssertionError(request)

    with pytest.raises(StepUpError, match="cannot await"):
        http.get(ACCOUNTS, auth=StepUpAuth(login))


def test_taken_port_is_said(stage: ClientStage, http: httpx.Client) -> None:
    port = int(stage.issuer.rpartition(":")[2])
    auth = StepUpAuth(loopback_login(stage, ScriptedBrowser(), port=port))
    with pytest.raises(LoginError, match=f"port {port} .* cannot be had"):
        http.get(ACCOUNTS, auth=auth)


async def test_cancelled_request_ends_the_login_in_its_thread(
    stage: ClientStage, async_http: httpx.AsyncClient
) -> None:
    login = Counted(loopback_login(stage, lambda _: True, timeout_seconds=60))
    call = asyncio.create_task(async_http.get(ACCOUNTS, auth=StepUpAuth(login)))
    await until(lambda: bool(login.requests))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert login.requests[0].cancelled.is_set()


def chunks() -> Iterator[bytes]:
    yield b"{}"


def test_spent_stream_is_never_sent_again_but_the_token_is_kept(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    http.get(ACCOUNTS, auth=auth)
    with pytest.raises(ReplayError, match="build the request anew"):
        http.post(TRANSFERS, auth=auth, content=chunks())
    assert len(login.requests) == 2
    assert http.post(TRANSFERS, auth=auth, content=chunks()).status_code == 200
    assert len(login.requests) == 2


def test_buffered_stream_is_sent_again(
    stage: ClientStage, http: httpx.Client, login: Counted
) -> None:
    auth = StepUpAuth(login, buffer_bodies=True)
    assert http.post(TRANSFERS, auth=auth, content=chunks()).status_code == 200


async def test_buffered_async_stream_is_sent_again(
    async_http: httpx.AsyncClient, login: Counted
) -> None:
    async def async_chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    auth = StepUpAuth(login, buffer_bodies=True)
    response = await async_http.post(TRANSFERS, auth=auth, content=async_chunks())
    assert response.status_code == 200


def test_no_token_goes_to_another_origin(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth
) -> None:
    """The same server by another name: it sees no token, and its challenge is not believed."""
    http.get(ACCOUNTS, auth=auth)
    stage.seen.clear()
    other = stage.api.replace("localhost", "127.0.0.1")
    with pytest.raises(StepUpError), httpx.Client(verify=False) as client:
        client.get(f"{other}{ACCOUNTS}", auth=auth)
    assert [seen.authorization for seen in stage.seen] == [None]


def test_no_token_goes_over_the_network_without_tls(auth: StepUpAuth) -> None:
    with pytest.raises(StepUpError, match="https"), httpx.Client() as client:
        client.get("http://api.example.com/accounts", auth=auth)


def test_responses_without_a_challenge_for_us_are_the_callers(
    stage: ClientStage, http: httpx.Client, auth: StepUpAuth, login: Counted
) -> None:
    assert http.get("/health", auth=auth).status_code == 200
    assert http.get("/nothing", auth=auth).status_code in {403, 404}
    assert login.requests == []


def test_no_text_holds_a_token(stage: ClientStage, http: httpx.Client) -> None:
    steps: list[str] = []
    browser = ScriptedBrowser()
    keyring = Keyring(tell=steps.append)
    auth = StepUpAuth(loopback_login(stage, browser, tell=steps.append), keyring=keyring)
    http.post(TRANSFERS, auth=auth)
    held = keyring.wallet(stage.api).held
    secrets = [one.token.access_token for one in held]
    assert secrets
    texts = [*steps, repr(held), str(held)]
    assert not [secret for secret in secrets for text in texts if secret in text]
    assert len(steps) > 5
    assert browser.finished.wait(10)
    assert browser.last is not None
    assert "close this window" in browser.last.text
