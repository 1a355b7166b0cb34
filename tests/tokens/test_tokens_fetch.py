"""One GET to an issuer is bounded in time, size and destination (spec §5)."""

from __future__ import annotations

import asyncio
import gzip
import socket

import pytest
from aiohttp import web

from bridge.tokens.fetch import MAX_ANSWER_BYTES, Document, Fetcher, FetchError

from .tokens_issuer import PATIENCE_SECONDS, Answer, Clock, Gate, IssuerServer, Trickle, raw

TIMEOUT_SECONDS = 2.0


async def fetch(fetcher: Fetcher, url: str, *, allow_insecure_http: bool = False) -> Document:
    return await fetcher.get(
        url, timeout_seconds=TIMEOUT_SECONDS, allow_insecure_http=allow_insecure_http
    )


async def refusal(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(FetchError) as refused:
        await fetch(fetcher, url)
    return str(refused.value)


def chunked(size: int) -> Answer:
    """Answer with so many bytes without saying how many will come."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * size)
        return response

    return answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(raw("{}", 500), "status_500", id="500"),
        pytest.param(raw("{}", 404), "status_404", id="404"),
        pytest.param(raw("{}", 203), "status_203", id="another-2xx"),
        pytest.param(raw("{}", 304), "status_304", id="not-modified"),
        pytest.param(raw("x" * (MAX_ANSWER_BYTES + 1)), "too_large", id="one-byte-over-1-mib"),
        pytest.param(chunked(MAX_ANSWER_BYTES + 1), "too_large", id="one-byte-over-in-chunks"),
        pytest.param(
            raw(gzip.compress(b"{}"), content_encoding="gzip"), "compressed", id="compressed"
        ),
    ],
)
async def test_answer_that_is_not_a_plain_document_is_refused(
    issuer: IssuerServer, fetcher: Fetcher, answer: Answer, error: str
) -> None:
    issuer.answers["/jwks"] = answer
    assert await refusal(fetcher, issuer.jwks_uri) == error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_refused_and_not_followed(
    issuer: IssuerServer, fetcher: Fetcher, status: int
) -> None:
    issuer.answers["/jwks"] = raw("{}", status, location="/elsewhere")
    issuer.answers["/elsewhere"] = raw("{}")
    assert await refusal(fetcher, issuer.jwks_uri) == f"status_{status}"
    assert issuer.asked == ["/jwks"]


@pytest.mark.parametrize("answer", [raw("x" * MAX_ANSWER_BYTES), chunked(MAX_ANSWER_BYTES)])
async def test_answer_of_1_mib_is_taken(
    issuer: IssuerServer, fetcher: Fetcher, answer: Answer
) -> None:
    issuer.answers["/jwks"] = answer
    document = await fetch(fetcher, issuer.jwks_uri)
    assert document == Document(b"x" * MAX_ANSWER_BYTES, "")


@pytest.mark.parametrize("stuck", ["before-the-head", "in-the-body"])
async def test_whole_answer_must_come_in_time(
    issuer: IssuerServer, fetcher: Fetcher, clock: Clock, stuck: str
) -> None:
    answer = Gate(raw("{}")) if stuck == "before-the-head" else Trickle()
    issuer.answers["/jwks"] = answer
    waiting = asyncio.create_task(refusal(fetcher, issuer.jwks_uri))
    await asyncio.wait_for(answer.arrived.wait(), PATIENCE_SECONDS)
    await clock.leap(TIMEOUT_SECONDS / 2)
    assert not waiting.done()
    await clock.leap(TIMEOUT_SECONDS / 2)
    assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == "timeout"


async def test_nobody_listening_is_a_failed_connection(fetcher: Fetcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # without listen: refused, and nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/jwks"
        assert await refusal(fetcher, url) == "connection_failed"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", id="cut-off"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n{}", id="no-length"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_answer_that_is_no_http_is_refused(fetcher: Fetcher, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await refusal(fetcher, f"http://127.0.0.1:{port}/jwks") == "bad_answer"


async def test_a_fetch_is_one_request_also_where_the_connection_is_closed(
    issuer: IssuerServer, fetcher: Fetcher
) -> None:
    async def close(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    issuer.answers["/jwks"] = raw("{}")
    await fetch(fetcher, issuer.jwks_uri)
    issuer.answers["/jwks"] = close
    assert await refusal(fetcher, issuer.jwks_uri) == "bad_answer"
    assert issuer.asked == ["/jwks"] * 2


@pytest.mark.parametrize(
    ("url", "error"),
    [
        pytest.param("http://login.example.invalid/jwks", "insecure_url", id="http"),
        pytest.param("HTTP://login.example.invalid/jwks", "insecure_url", id="http-upper-case"),
        pytest.param("http://[::1/jwks", "bad_answer", id="no-url"),
        pytest.param("jwks.json", "bad_answer", id="relative"),
        pytest.param("file:///etc/passwd", "bad_answer", id="file"),
    ],
)
async def test_url_that_may_not_be_asked_is_refused(fetcher: Fetcher, url: str, error: str) -> None:
    assert await refusal(fetcher, url) == error


async def test_http_to_another_machine_is_asked_only_where_it_is_allowed(
    issuer: IssuerServer, fetcher: Fetcher
) -> None:
    issuer.answers["/jwks"] = raw("{}")
    url = issuer.jwks_uri.replace("127.0.0.1", "0.0.0.0")  # no loopback address, yet it leads home
    assert await refusal(fetcher, url) == "insecure_url"
    assert issuer.asked == []
    assert await fetch(fetcher, url, allow_insecure_http=True) == Document(b"{}", "")


async def test_request_asks_for_json_as_it_is_and_returns_no_cookie(
    issuer: IssuerServer, fetcher: Fetcher
) -> None:
    issuer.answers["/jwks"] = raw("{}", set_cookie="session=1; Path=/")
    await fetch(fetcher, issuer.jwks_uri)
    await fetch(fetcher, issuer.jwks_uri)
    for request in issuer.requests:
        assert request.method == "GET"
        assert request.headers["accept"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert "cookie" not in request.headers


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["max-age=60"], "max-age=60", id="one"),
        pytest.param(["public", "max-age=60"], "public, max-age=60", id="two-lines-are-one-list"),
    ],
)
async def test_cache_control_is_given_whole(
    issuer: IssuerServer, fetcher: Fetcher, lines: list[str], value: str
) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(text="{}")
        for line in lines:
            response.headers.add("cache-control", line)
        return response

    issuer.answers["/jwks"] = answer
    assert await fetch(fetcher, issuer.jwks_uri) == Document(b"{}", value)


async def test_times_of_an_answer_are_given(issuer: IssuerServer, fetcher: Fetcher) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    issuer.answers["/jwks"] = raw("{}", date=date, age="60")
    fetched = await fetch(fetcher, issuer.jwks_uri)
    assert (fetched.date, fetched.age) == (date, "60")
    issuer.answers["/jwks"] = raw("{}", date="", age="")
    fetched = await fetch(fetcher, issuer.jwks_uri)
    assert (fetched.date, fetched.age) == ("", "")
