"""`StepUpMiddleware` against the real bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bridge.client.aiohttp_middleware import StepUpMiddleware
from bridge.client.errors import LoopError, ReplayError
from bridge.client.flow import LoginRequest
from bridge.client.token import Token
from bridge.demo.oauth import MFA, PWD

from .client_stage import ClientStage


class MintingLogin:
    def __init__(self, stage: ClientStage) -> None:
        self.stage = stage
        self.acr: str | None = None
        self.calls = 0

    async def __call__(self, request: LoginRequest) -> Token:
        self.calls += 1
        await asyncio.sleep(0)
        acr = self.acr or (request.demand.acr_values or (PWD,))[0]
        token = self.stage.server.mint({"acr": acr, "scope": " ".join(request.scopes)})
        return Token(token, scopes=request.scopes)


@pytest.fixture
def login(stage: ClientStage) -> MintingLogin:
    return MintingLogin(stage)


@pytest.fixture
async def session(stage: ClientStage, login: MintingLogin) -> AsyncIterator[aiohttp.ClientSession]:
    middleware = StepUpMiddleware(stage.api, login)
    connector = aiohttp.TCPConnector(ssl=stage.tls)
    async with aiohttp.ClientSession(
        stage.api, connector=connector, middlewares=(middleware,)
    ) as made:
        yield made


async def test_it_steps_up_and_sends_the_body_again(
    stage: ClientStage, session: aiohttp.ClientSession, login: MintingLogin
) -> None:
    async with session.post("/transfers", json={"amount": 10}) as response:
        assert response.status == 200
        assert (await response.json())["identity"]["x-stepup-acr"] == MFA
    assert login.calls == 2
    assert [seen.body for seen in stage.seen] == [b'{"amount": 10}'] * 3


async def test_concurrent_requests_share_one_login(
    session: aiohttp.ClientSession, login: MintingLogin
) -> None:
    async def call() -> int:
        async with session.get("/accounts") as response:
            return response.status

    assert await asyncio.gather(*(call() for _ in range(10))) == [200] * 10
    assert login.calls == 1


async def test_loop_is_refused(session: aiohttp.ClientSession, login: MintingLogin) -> None:
    login.acr = PWD
    with pytest.raises(LoopError):
        await session.post("/transfers")


async def test_stream_is_not_sent_again(
    session: aiohttp.ClientSession, login: MintingLogin
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    with pytest.raises(ReplayError):
        await session.post("/transfers", data=chunks())
    assert login.calls == 1


async def test_other_origins_pass_untouched(
    stage: ClientStage, session: aiohttp.ClientSession, login: MintingLogin
) -> None:
    async with session.get("/accounts"):
        pass
    stage.seen.clear()
    other = stage.api.replace("localhost", "127.0.0.1")
    async with session.get(f"{other}/accounts", ssl=False) as response:
        assert response.status == 401
    assert [seen.authorization for seen in stage.seen] == [None]
    assert login.calls == 1
