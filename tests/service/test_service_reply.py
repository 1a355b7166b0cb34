"""Replies written in one piece are what aiohttp would have written, to every kind of connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bridge.decision.response import Response
from bridge.service.reply import Reply

HEADERS = (("www-authenticate", 'Bearer realm="a"'), ("content-type", "application/json"))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Serve what the target names: a status, and its headers with or without a line break."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        status = int(request.raw_path[1:4])
        if request.raw_path.endswith("split"):
            return Reply(Response(status, (("x-a", "b\r\nx-forged: c"),), ""))
        return Reply(Response(status, HEADERS, '{"a":1}' if status != 200 else ""))

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    yield int(address[1])
    await runner.cleanup()


async def ask(port: int, *heads: str) -> tuple[str, bool]:
    """Send requests on one connection; give all that came back, and whether it was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(head + "\r\n\r\n" for head in heads).encode())
    came = b""
    closed = False
    try:
        while True:
            async with asyncio.timeout(0.5):
                data = await reader.read(65536)
            closed = not data
            if closed:
                break
            came += data
    except TimeoutError:
        pass
    writer.close()
    return came.decode(), closed


DATE = r"date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"


async def test_a_reply_is_whole_and_the_connection_stays_open(port: int) -> None:
    came, closed = await ask(port, "GET /401 HTTP/1.1\r\nhost: a", "GET /200 HTTP/1.1\r\nhost: a")
    fields = 'www-authenticate: Bearer realm="a"\r\ncontent-type: application/json\r\n'
    assert re.fullmatch(
        f"HTTP/1.1 401 Unauthorized\r\n{fields}content-length: 7\r\n{DATE}"
        'server: stepup-bridge\r\n\r\n\\{"a":1\\}'
        f"HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n{DATE}"
        "server: stepup-bridge\r\n\r\n",
        came,
    )
    assert not closed


@pytest.mark.parametrize(
    ("head", "connection", "closes"),
    [
        pytest.param(
            "GET /200 HTTP/1.1\r\nhost: a\r\nconnection: close", "close", True, id="asked-to-close"
        ),
        pytest.param("GET /200 HTTP/1.0\r\nhost: a", "close", True, id="http-1.0"),
        pytest.param(
            "GET /200 HTTP/1.0\r\nhost: a\r\nconnection: keep-alive",
            "keep-alive",
            False,
            id="http-1.0-keep-alive",
        ),
    ],
)
async def test_a_reply_says_what_becomes_of_the_connection(
    port: int, head: str, connection: str, closes: bool
) -> None:
    came, closed = await ask(port, head)
    assert f"\r\nconnection: {connection}\r\n" in came
    assert closed is closes


async def test_a_status_without_a_name_is_sent(port: int) -> None:
    came, _ = await ask(port, "GET /499 HTTP/1.1\r\nhost: a")
    assert came.startswith("HTTP/1.1 499 \r\n")


async def test_a_header_never_becomes_two(port: int) -> None:
    came, _ = await ask(port, "GET /200split HTTP/1.1\r\nhost: a")
    assert "x-forged" not in came


async def test_a_gateway_that_has_gone_is_no_defect() -> None:
    class Gone:
        transport = None
        keep_alive = True

    reply = Reply(Response(200, (), ""))
    await reply.prepare(Gone())  # type: ignore[arg-type]
    with pytest.raises(ConnectionResetError):
        await reply.write_eof()
