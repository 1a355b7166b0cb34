"""What a connection of the authz listener says where no handler has answered."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from bridge.service.connection import AuthzServer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", (500, "RuntimeError"), id="defect"),
        pytest.param(b"marked-secret\r\n\r\n", (400, "BadHttpMethod"), id="no-http"),
    ],
)
async def test_failure_is_answered_by_the_owner_without_what_was_sent(
    sent: bytes, expected: tuple[int, str]
) -> None:
    failures = []

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        raise RuntimeError("marked-secret")

    def fail(status: int, defect: BaseException | None) -> web.StreamResponse:
        failures.append((status, type(defect).__name__))
        return web.Response(status=418)

    runner = web.ServerRunner(AuthzServer(answer, fail, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(sent)
    async with asyncio.timeout(10):
        came = await reader.read()  # to the end: the connection is closed
    writer.close()
    await runner.cleanup()
    assert failures == [expected]
    assert b" 418 " in came.partition(b"\r\n")[0]
    assert b"marked-secret" not in came
