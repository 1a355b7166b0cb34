"""Which requests a connection answers as they arrive, and what it says where no handler answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.http import RawRequestMessage

from bridge.decision.response import Response
from bridge.service.connection import KNOWS_AIOHTTP, AuthzServer
from bridge.service.reply import Reply, in_bytes

SECONDS = 10
ONE = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OTHER = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
WITH_BODY = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


class Handlers:
    """Answers with how it was asked: `at once` or `in a task`, target and body.

    Args:
        declines: Targets that cannot be answered at once.
        begins: Of these, those of which something is begun.
    """

    def __init__(self, declines: tuple[str, ...] = (), begins: tuple[str, ...] = ()) -> None:
        self.declines = declines
        self.begins = begins
        self.failures: list[tuple[int, str]] = []
        self.held = asyncio.Event()
        self.held.set()

    def answer_at_once(self, message: RawRequestMessage, body: bytes) -> bytes | str | None:
        if message.path in self.declines:
            return f"begun {message.path}" if message.path in self.begins else None
        return in_bytes(Response(200, (), f"at once {message.path} {body.decode()};"))

    async def answer(self, request: web.BaseRequest, begun: str | None) -> web.StreamResponse:
        await self.held.wait()
        body = await request.read()
        how = "in a task" if begun is None else f"{begun} and finished in a task"
        return Reply(Response(200, (), f"{how} {request.raw_path} {body.decode()};"))

    def fail(self, status: int, defect: BaseException | None) -> web.StreamResponse:
        self.failures.append((status, type(defect).__name__))
        return web.Response(status=418)


@asynccontextmanager
async def connection(
    handlers: Handlers,
    *,
    answer: Callable[[web.BaseRequest, str | None], Awaitable[web.StreamResponse]] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    server: AuthzServer[str] = AuthzServer(
        answer or handlers.answer,
        handlers.answer_at_once,
        handlers.fail,
        access_log=None,
        **options,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.close()
        await runner.cleanup()


async def bodies(reader: asyncio.StreamReader, count: int) -> list[str]:
    """Read answers, and give their bodies."""
    found = []
    for _ in range(count):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        found.append((await reader.readexactly(int(length))).decode())
    return found


def test_the_installed_aiohttp_is_one_whose_requests_are_answered_at_once() -> None:
    assert KNOWS_AIOHTTP


async def test_whole_requests_one_after_the_other_are_answered_at_once() -> None:
    async with connection(Handlers()) as (reader, writer):
        for sent, expected in [
            (ONE, "at once /a ;"),
            (OTHER, "at once /b ;"),
            (WITH_BODY + b"body", "at once /a body;"),
            (ONE, "at once /a ;"),
        ]:
            writer.write(sent)
            assert await bodies(reader, 1) == [expected]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(ONE + OTHER, ["in a task /a ;", "in a task /b ;"], id="pipelined"),
        pytest.param(ONE.replace(b"1.1", b"1.0"), ["in a task /a ;"], id="http-1.0"),
        pytest.param(
            ONE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
            ["in a task /a ;"],
            id="close",
        ),
        pytest.param(
            b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            ["in a task /a ;"],
            id="upgrade",
        ),
    ],
)
async def test_other_requests_take_a_task(sent: bytes, expected: list[str]) -> None:
    async with connection(Handlers()) as (reader, writer):
        writer.write(sent)
        assert await bodies(reader, len(expected)) == expected


async def test_a_body_that_arrives_in_parts_takes_a_task() -> None:
    async with connection(Handlers()) as (reader, writer):
        writer.write(WITH_BODY + b"bo")
        await asyncio.sleep(0.1)
        writer.write(b"dy")
        assert await bodies(reader, 1) == ["in a task /a body;"]
        writer.write(ONE)
        assert await bodies(reader, 1) == ["at once /a ;"]


async def test_what_cannot_be_answered_at_once_keeps_its_body_and_its_turn() -> None:
    handlers = Handlers(declines=("/a",))
    async with connection(handlers) as (reader, writer):
        handlers.held.clear()
        writer.write(WITH_BODY + b"body")
        await asyncio.sleep(0.1)
        writer.write(OTHER)  # behind it, and so not before it
        await asyncio.sleep(0.1)
        handlers.held.set()
        assert await bodies(reader, 2) == ["in a task /a body;", "in a task /b ;"]
        writer.write(OTHER)
        assert await bodies(reader, 1) == ["at once /b ;"]


async def test_what_was_begun_is_finished_by_the_task_of_that_request_alone() -> None:
    handlers = Handlers(declines=("/a",), begins=("/a",))
    async with connection(handlers) as (reader, writer):
        handlers.held.clear()
        writer.write(ONE)
        await asyncio.sleep(0.1)
        writer.write(ONE + OTHER)  # nothing is begun of them: they wait
        await asyncio.sleep(0.1)
        handlers.held.set()
        assert await bodies(reader, 3) == [
            "begun /a and finished in a task /a ;",
            "in a task /a ;",
            "in a task /b ;",
        ]


async def test_with_another_aiohttp_every_request_takes_a_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.service.connection.KNOWS_AIOHTTP", False)
    async with connection(Handlers()) as (reader, writer):
        for sent, expected in [(ONE, "in a task /a ;"), (OTHER, "in a task /b ;")]:
            writer.write(sent)
            assert await bodies(reader, 1) == [expected]


async def test_a_head_that_arrives_byte_by_byte_is_one_request() -> None:
    async with connection(Handlers()) as (reader, writer):
        for byte in ONE:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await bodies(reader, 1) == ["at once /a ;"]


async def test_answers_that_nobody_fetches_are_not_piled_up() -> None:
    """The kernel's buffers fill, then a task waits for room, and at last reading stops."""

    class Large(Handlers):
        written = 0

        def large(self) -> Response:
            self.written += 1
            return Response(200, (), "x" * 2**20)

        def answer_at_once(self, message: RawRequestMessage, body: bytes) -> bytes | str | None:
            return in_bytes(self.large())

        async def answer(self, request: web.BaseRequest, begun: str | None) -> web.StreamResponse:
            return Reply(self.large())

    handlers = Large()
    async with connection(handlers) as (reader, writer):
        for _ in range(100):
            writer.write(ONE)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.2)
        assert handlers.written < 50
        assert [len(body) for body in await bodies(reader, 100)] == [2**20] * 100


async def test_an_idle_connection_is_closed_after_its_last_answer() -> None:
    async with connection(Handlers(), keepalive_timeout=0.6) as (reader, writer):
        for _ in range(4):  # longer than the time-out, but never idle for so long
            await asyncio.sleep(0.3)
            writer.write(ONE)
            assert await bodies(reader, 1) == ["at once /a ;"]
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(ONE, (500, "RuntimeError"), id="defect"),
        pytest.param(b"marked-secret\r\n\r\n", (400, "BadHttpMethod"), id="no-http"),
    ],
)
async def test_failure_is_answered_by_the_owner_without_what_was_sent(
    sent: bytes, expected: tuple[int, str]
) -> None:
    async def answer(_: web.BaseRequest, __: str | None) -> web.StreamResponse:
        raise RuntimeError("marked-secret")

    handlers = Handlers(declines=("/a",))
    async with connection(handlers, answer=answer) as (reader, writer):
        writer.write(sent)
        came = await reader.read()  # to the end: the connection is closed
    assert handlers.failures == [expected]
    assert b" 418 " in came.partition(b"\r\n")[0]
    assert b"marked-secret" not in came
