"""Asking issuers about tokens, against real servers on loopback (RFC 7662, spec §5)."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm

from bridge.errors import IssuerError, TokenError
from bridge.tokens.access_token import AccessToken
from bridge.tokens.cache import TokenCache
from bridge.tokens.credentials import Credentials
from bridge.tokens.fetch import Fetcher
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.introspection import (
    HANGS_AFTER_SECONDS,
    HEAD_START_SECONDS,
    MAX_CALLS,
    Introspection,
    IntrospectionReport,
    ask_each,
)
from bridge.tokens.keys import KeySet, KeySource
from bridge.tokens.settings import IntrospectionSettings, IssuerSettings
from bridge.tokens.verifier import Issuer, TokenVerifier

from .tokens_issuer import Clock

AUD = "https://api.example.com"
SECRET = "s3cr3t:x7Gq"
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
IDENTITY = IdentityHeaders([("x-subject", "sub")])
WAIT_SECONDS = 10

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An authorization server: knows `tokens`, and behaves otherwise where it is told to."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.calls: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.behaviour: Behaviour | None = None
        self.metadata: dict[str, Any] = {}
        self.metadata_calls = 0
        self.metadata_hangs = False
        self.elsewhere = 0
        self.released = asyncio.Event()
        self.url = ""

    @property
    def endpoint(self) -> str:
        return f"{self.url}/introspect"

    @property
    def asked(self) -> list[str]:
        return [call["token"] for call in self.calls]

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        app.router.add_get("/.well-known/oauth-authorization-server", self._metadata)
        app.router.add_get("/keys", self._keys)
        app.router.add_route("*", "/elsewhere", self._elsewhere)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        host, port = self.runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        self.released.set()
        await self.runner.cleanup()

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.calls.append({name: str(value) for name, value in form.items()})
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.behaviour is not None:
            return await self.behaviour(request)
        answer = self.tokens.get(self.calls[-1]["token"])
        return web.json_response({"active": answer is not None, **(answer or {})})

    async def _metadata(self, _: web.Request) -> web.Response:
        self.metadata_calls += 1
        if self.metadata_hangs:
            await self.released.wait()
        return web.json_response({"issuer": self.url, **self.metadata})

    async def _keys(self, _: web.Request) -> web.Response:
        jwk = json.loads(ECAlgorithm.to_jwk(KEY.public_key()))
        return web.json_response({"keys": [{**jwk, "kid": "k"}]})

    async def _elsewhere(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response({"active": True})


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as started:
        yield started


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Server]:
    async with running() as started:
        yield started


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def settings_of(server: Server, *, tokens: str = "opaque", **changes: Any) -> IssuerSettings:
    """Describe a server; changes are of its introspection, but for `timeout`."""
    timeout = changes.pop("timeout", 10)
    introspection = IntrospectionSettings(
        client_id="bridge",
        auth="client_secret_basic",
        client_secret=SECRET,
        endpoint=server.endpoint,
    )
    return IssuerSettings(
        issuer=server.url,
        audiences=(AUD,),
        jwks_uri=f"{server.url}/keys",
        timeout=timeout,
        takes_jwt="jwt" in tokens,
        takes_opaque="opaque" in tokens,
        introspection=replace(introspection, **changes),
    )


class Bench:
    """Introspections and verifiers of one test, with what they reported."""

    def __init__(self) -> None:
        self.reports: list[IntrospectionReport] = []
        self._cleanup = AsyncExitStack()

    async def close(self) -> None:
        await self._cleanup.aclose()

    def introspection(self, settings: IssuerSettings) -> Introspection:
        introspection = Introspection(settings, self.reports.append)
        self._cleanup.push_async_callback(introspection.stop)
        return introspection

    async def issuer(self, settings: IssuerSettings) -> Issuer:
        keys = None
        if settings.takes_jwt:
            fetcher = await self._cleanup.enter_async_context(Fetcher())
            source = KeySource(settings.issuer, settings.jwks_uri, None, 2, False)
            keys = KeySet(source, fetcher, lambda _: None)
            await keys.start()
            self._cleanup.push_async_callback(keys.stop)
        introspection = self.introspection(settings) if settings.introspection else None
        return Issuer(settings, keys, IDENTITY, introspection)

    async def verifier(self, *settings: IssuerSettings) -> Verifier:
        return Verifier({each.issuer: await self.issuer(each) for each in settings})


class Verifier:
    """A `TokenVerifier` with the questions that tests ask."""

    def __init__(self, issuers: dict[str, Issuer], cache: TokenCache[Issuer] | None = None) -> None:
        self.issuers = issuers
        self.cache: TokenCache[Issuer] = cache or TokenCache(100, 300)
        self._verifier = TokenVerifier(issuers, self.cache)

    def find(self, token: str, *issuers: str, now: int | None = None) -> AccessToken | None:
        return self._verifier.find(
            Credentials("bearer", token), issuers or tuple(self.issuers), None, now or _now()
        )

    async def verify(self, token: str, *issuers: str, now: int | None = None) -> AccessToken:
        return await self._verifier.verify(
            Credentials("bearer", token), issuers or tuple(self.issuers), None, now or _now()
        )

    async def failure(self, token: str, *issuers: str) -> str:
        try:
            await self.verify(token, *issuers)
        except (TokenError, IssuerError) as failed:
            return f"{failed.__class__.__name__} {failed.reason}"
        return "verified"


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


def _now() -> int:
    return int(time.time())


def digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def mint(server: Server, **claims: Any) -> str:
    now = _now()
    base = {"iss": server.url, "aud": AUD, "exp": now + 300, "sub": "alice", "acr": "pwd"}
    return jwt.encode({**base, **claims}, KEY, "ES256", {"kid": "k", "typ": "at+jwt"})


async def ask(introspection: Introspection, token: str) -> Any:
    return await introspection.ask(token, digest(token))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 what happens at a server sets no event of ours
            await asyncio.sleep(0.01)


# --- the question


async def test_the_question_is_a_form_with_basic_credentials(server: Server, bench: Bench) -> None:
    server.tokens["t"] = {"sub": "alice"}
    assert await ask(bench.introspection(settings_of(server)), "t") == {"sub": "alice"}
    assert server.calls == [{"token": "t", "token_type_hint": "access_token"}]
    (headers,) = server.headers
    assert headers["accept"] == "application/json"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    encoded = base64.b64encode(b"bridge:s3cr3t%3Ax7Gq").decode()
    assert headers["authorization"] == f"Basic {encoded}"


async def test_the_secret_may_be_in_the_form(server: Server, bench: Bench) -> None:
    settings = settings_of(server, auth="client_secret_post")
    assert await ask(bench.introspection(settings), "t") is None
    assert server.calls == [
        {
            "token": "t",
            "token_type_hint": "access_token",
            "client_id": "bridge",
            "client_secret": SECRET,
        }
    ]
    assert "authorization" not in server.headers[0]


async def test_each_call_has_an_assertion_of_its_own(server: Server, bench: Bench) -> None:
    settings = settings_of(server, auth="private_key_jwt", client_secret="", private_key=PEM)
    introspection = bench.introspection(settings)
    await ask(introspection, "one")
    await ask(introspection, "two")
    claims = [
        jwt.decode(call["client_assertion"], KEY.public_key(), ["ES256"], audience=server.url)
        for call in server.calls
    ]
    assert claims[0]["jti"] != claims[1]["jti"]
    for each in claims:
        assert (each["iss"], each["sub"]) == ("bridge", "bridge")
        assert abs(each["iat"] - time.time()) < WAIT_SECONDS
        assert each["exp"] == each["iat"] + 60


def test_an_issuer_without_introspection_is_not_asked() -> None:
    with pytest.raises(ValueError, match="no introspection"):
        Introspection(IssuerSettings("i", ("a",)), lambda _: None)


# --- faults


def answering(
    status: int = 200, body: bytes = b'{"active":true}', headers: dict[str, str] | None = None
) -> Behaviour:
    async def behave(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return behave


async def _reset(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _stream(request: web.Request, chunk: bytes, pause_seconds: float) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(chunk)
        await asyncio.sleep(pause_seconds)  # the slowness itself


FAULTS: list[Any] = [
    pytest.param(answering(500), "status_500", id="500"),
    pytest.param(answering(503), "status_503", id="503"),
    pytest.param(answering(404), "status_404", id="404"),
    pytest.param(answering(204), "status_204", id="204"),
    pytest.param(answering(302, headers={"location": "/elsewhere"}), "status_302", id="redirect"),
    pytest.param(
        answering(307, headers={"location": "/elsewhere"}), "status_307", id="redirect-with-form"
    ),
    pytest.param(answering(401), "client_refused", id="401"),
    pytest.param(answering(403), "client_refused", id="403"),
    pytest.param(answering(body=b"<html>"), "not_json", id="html"),
    pytest.param(answering(body=b""), "not_json", id="empty"),
    pytest.param(answering(body=b"[]"), "not_an_object", id="list"),
    pytest.param(answering(body=b'{"active":"true"}'), "active_not_boolean", id="text"),
    pytest.param(answering(body=b'{"active":true,"exp":"1"}'), "time_not_a_number", id="exp"),
    pytest.param(answering(body=b" " * (1024 * 1024 + 1)), "too_large", id="too-large"),
    pytest.param(lambda r: _stream(r, b" " * 65536, 0), "too_large", id="endless"),
    pytest.param(lambda r: _stream(r, b" ", 0.1), "timeout", id="slow"),
    pytest.param(
        answering(200, gzip.compress(b'{"active":true}'), {"content-encoding": "gzip"}),
        "compressed",
        id="compressed",
    ),
    pytest.param(_reset, "bad_answer", id="reset"),
]


@pytest.mark.parametrize(("behaviour", "code"), FAULTS)
async def test_anything_but_a_proper_answer_is_a_fault_of_the_issuer(
    server: Server, bench: Bench, behaviour: Behaviour, code: str
) -> None:
    server.behaviour = behaviour
    seconds = 1 if code == "timeout" else 30
    verifier = await bench.verifier(settings_of(server, timeout=seconds))

    with pytest.raises(IssuerError) as fault:
        await verifier.verify("opaque")

    assert (fault.value.issuer, fault.value.reason) == (server.url, f"introspection_{code}")
    assert fault.value.retry_after_seconds >= 1
    assert bench.reports == [IntrospectionReport(server.url, code, changed=True)]
    assert SECRET not in str(fault.value)
    assert server.elsewhere == 0
    assert len(verifier.cache) == 0


async def test_an_endpoint_that_is_down_or_hangs_is_a_fault_within_the_time(
    server: Server, bench: Bench
) -> None:
    server.behaviour = _wait_for(server)
    silent = await bench.verifier(settings_of(server, timeout=1))
    began = time.monotonic()
    assert await silent.failure("opaque") == "IssuerError introspection_timeout"
    assert 0.9 < time.monotonic() - began < 1.8

    await server.stop()
    down = await bench.verifier(settings_of(server))
    assert await down.failure("opaque") == "IssuerError introspection_connection_failed"


def _wait_for(server: Server) -> Behaviour:
    async def behave(_: web.Request) -> web.Response:
        await server.released.wait()
        return web.json_response({"active": False})

    return behave


async def test_no_secret_goes_over_http_to_another_machine(server: Server, bench: Bench) -> None:
    settings = settings_of(server, endpoint="http://192.0.2.1/introspect")
    verifier = await bench.verifier(settings)
    assert await verifier.failure("opaque") == "IssuerError introspection_insecure_url"


async def test_a_connection_that_was_kept_for_too_long_is_no_fault(bench: Bench) -> None:
    """A server may close an idle connection just when a question is on its way."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        body = b'{"active":true}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.readuntil(b"\r\n\r\n")  # the next question, which is not answered
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    fake = Server()
    fake.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    introspection = bench.introspection(settings_of(fake))
    try:
        assert await ask(introspection, "one") == {}
        assert await ask(introspection, "two") == {}
        assert connections == 2
    finally:
        await introspection.stop()
        listener.close()
        await listener.wait_closed()


async def test_a_failed_endpoint_is_asked_again_without_any_request(
    server: Server, bench: Bench
) -> None:
    """Else a bridge that is not ready, and so gets no requests, would stay so for ever."""
    server.behaviour = answering(500)
    introspection = bench.introspection(settings_of(server))
    assert isinstance(await ask(introspection, "opaque"), IssuerError)
    assert introspection.error == "status_500"

    await eventually(lambda: len(server.calls) == 2)  # still failing
    server.behaviour = None
    await eventually(lambda: introspection.error is None)

    assert server.asked.count("opaque") == 1
    assert len(set(server.asked)) == 3
    assert [report.error for report in bench.reports] == ["status_500", "status_500", None]
    assert [report.changed for report in bench.reports] == [True, False, True]


async def test_too_many_calls_under_way_are_a_fault_at_once(server: Server, bench: Bench) -> None:
    server.behaviour = _wait_for(server)
    introspection = bench.introspection(settings_of(server, timeout=60))
    for number in range(MAX_CALLS):
        introspection.ask(f"t{number}", digest(f"t{number}"))
    with pytest.raises(IssuerError, match="introspection_overloaded"):
        introspection.ask("more", digest("more"))
    introspection.ask("t0", digest("t0"))  # joins


# --- one call for each token


async def test_all_who_wait_for_one_token_share_one_call(server: Server, bench: Bench) -> None:
    server.tokens["opaque"] = {"sub": "alice"}
    verifier = await bench.verifier(settings_of(server))
    tokens = await asyncio.gather(*(verifier.verify("opaque") for _ in range(50)))
    assert server.asked == ["opaque"]
    assert all(token == tokens[0] for token in tokens)
    assert len(verifier.cache) == 1


async def test_a_waiter_that_goes_away_takes_the_call_from_nobody(
    server: Server, bench: Bench
) -> None:
    server.behaviour = _wait_for(server)
    verifier = await bench.verifier(settings_of(server))
    first = asyncio.create_task(verifier.verify("opaque"))
    second = asyncio.create_task(verifier.verify("opaque"))
    await eventually(lambda: server.asked == ["opaque"])

    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    server.tokens["opaque"] = {"sub": "alice"}
    server.behaviour = None
    server.released.set()

    with pytest.raises(TokenError, match="token_inactive"):  # as the call under way was answered
        await second
    assert server.asked == ["opaque"]


async def test_a_call_is_finished_though_all_have_gone_away(server: Server, bench: Bench) -> None:
    server.behaviour = _wait_for(server)
    introspection = bench.introspection(settings_of(server))
    waiter = asyncio.create_task(ask_each([introspection], "opaque", digest("opaque")))
    await eventually(lambda: server.asked == ["opaque"])
    waiter.cancel()
    await asyncio.wait([waiter])
    server.released.set()
    await eventually(lambda: introspection.is_known_inactive(digest("opaque")))
    assert bench.reports == [IntrospectionReport(server.url, None, changed=False)]


async def test_stopping_ends_the_calls_under_way(server: Server, bench: Bench) -> None:
    server.behaviour = _wait_for(server)
    introspection = bench.introspection(settings_of(server))
    task = introspection.ask("opaque", digest("opaque"))
    await eventually(lambda: len(server.calls) == 1)
    await introspection.stop()
    assert task.cancelled()
    with pytest.raises(IssuerError):
        introspection.ask("more", digest("more"))


async def test_retired_it_still_answers_the_checks_that_began_before(
    server: Server, bench: Bench
) -> None:
    server.behaviour = _wait_for(server)
    introspection = bench.introspection(settings_of(server))
    under_way = introspection.ask("opaque", digest("opaque"))
    await eventually(lambda: len(server.calls) == 1)
    await introspection.retire()
    joined = introspection.ask("opaque", digest("opaque"))
    server.released.set()
    assert joined is under_way
    assert await under_way is None
    server.behaviour = None
    server.tokens["late"] = {"sub": "alice"}
    for _ in range(2):
        assert (await ask(introspection, "late"))["sub"] == "alice"
    assert server.asked == ["opaque", "late", "late"]


async def test_retired_it_asks_no_more_by_itself(
    server: Server, bench: Bench, clock: Clock
) -> None:
    server.behaviour = answering(500)
    introspection = bench.introspection(settings_of(server))
    assert isinstance(await introspection.ask("opaque", digest("opaque")), IssuerError)
    await introspection.retire()
    for token in ("one", "two"):
        await clock.leap(5)  # the first probe would be due after a second
        assert isinstance(await introspection.ask(token, digest(token)), IssuerError)
    assert server.asked == ["opaque", "one", "two"]


# --- caches


async def test_an_active_token_is_found_until_its_time_is_over(
    server: Server, bench: Bench
) -> None:
    now = _now()
    server.tokens["opaque"] = {"sub": "alice", "exp": now + 20}
    verifier = await bench.verifier(settings_of(server, cache_ttl=30))
    assert verifier.find("opaque", now=now) is None
    token = await verifier.verify("opaque", now=now)
    assert token.upstream.set == (("x-subject", "alice"),)
    assert verifier.find("opaque", now=now + 19) is token
    assert verifier.find("opaque", now=now + 20) is None


@pytest.mark.parametrize(
    ("ttl", "later", "found"),
    [
        pytest.param(30, 29, True, id="one-below"),
        pytest.param(30, 30, False, id="at"),
        pytest.param(0, 0, False, id="zero"),
    ],
)
async def test_an_answer_without_exp_lives_for_cache_ttl(
    server: Server, bench: Bench, ttl: int, later: int, found: bool
) -> None:
    now = _now()
    server.tokens["opaque"] = {}
    verifier = await bench.verifier(settings_of(server, cache_ttl=ttl))
    await verifier.verify("opaque", now=now)
    assert (verifier.find("opaque", now=now + later) is not None) is found


async def test_an_inactive_token_is_asked_about_once_in_a_while(
    server: Server, bench: Bench
) -> None:
    verifier = await bench.verifier(settings_of(server))
    for _ in range(3):
        assert await verifier.failure("unknown") == "TokenError token_inactive"
    assert server.asked == ["unknown"]
    always = await bench.verifier(settings_of(server, cache_ttl=0))
    for _ in range(2):
        assert await always.failure("unknown") == "TokenError token_inactive"
    assert server.asked == ["unknown"] * 3


async def test_made_up_tokens_drive_no_good_one_out(server: Server, bench: Bench) -> None:
    server.tokens["good"] = {}
    verifier = Verifier(
        {server.url: await bench.issuer(settings_of(server))}, TokenCache(max_entries=1, ttl=300)
    )
    await verifier.verify("good")
    for number in range(20):
        await verifier.failure(f"made-up-{number}")
    assert verifier.find("good") is not None


async def test_an_active_token_that_is_refused_is_not_kept(server: Server, bench: Bench) -> None:
    server.tokens["opaque"] = {"exp": _now() - 60}
    verifier = await bench.verifier(settings_of(server))
    assert await verifier.failure("opaque") == "TokenError token_expired"
    assert len(verifier.cache) == 0


async def test_a_reload_voids_what_the_issuer_said_before(server: Server, bench: Bench) -> None:
    server.tokens["opaque"] = {}
    before = await bench.verifier(settings_of(server))
    await before.verify("opaque")
    issuer = await bench.issuer(settings_of(server, client_secret="changed"))
    after = Verifier({server.url: issuer}, before.cache)
    assert before.find("opaque") is not None
    assert after.find("opaque") is None


async def test_audience_is_checked_at_every_find_where_there_is_one(
    server: Server, bench: Bench
) -> None:
    server.tokens["other"] = {"aud": "https://other.example.com"}
    server.tokens["none"] = {}
    verifier = await bench.verifier(settings_of(server))
    assert await verifier.failure("other") == "TokenError token_audience_not_accepted"
    with pytest.raises(TokenError, match="token_audience_not_accepted"):
        verifier.find("other")
    await verifier.verify("none")
    assert verifier.find("none") is not None


# --- several issuers


async def test_the_first_issuer_that_says_active_wins_and_no_other_is_asked(
    server: Server, other: Server, bench: Bench
) -> None:
    server.tokens["both"] = other.tokens["both"] = other.tokens["second"] = {}
    verifier = await bench.verifier(settings_of(server), settings_of(other))
    assert (await verifier.verify("both")).iss == server.url
    assert other.asked == []
    assert (await verifier.verify("second")).iss == other.url
    assert server.asked == ["both", "second"]
    assert other.asked == ["second"]


async def test_a_token_is_invalid_when_all_say_that_it_is_not_active(
    server: Server, other: Server, bench: Bench
) -> None:
    verifier = await bench.verifier(settings_of(server), settings_of(other))
    assert await verifier.failure("unknown") == "TokenError token_inactive"
    assert (server.asked, other.asked) == (["unknown"], ["unknown"])


async def test_a_fault_of_one_is_a_fault_unless_another_says_active(
    server: Server, other: Server, bench: Bench
) -> None:
    server.behaviour = answering(500)
    other.tokens["good"] = {}
    verifier = await bench.verifier(settings_of(server), settings_of(other))
    assert (await verifier.verify("good")).iss == other.url
    assert await verifier.failure("unknown") == "IssuerError introspection_status_500"
    assert await verifier.failure("unknown", other.url) == "TokenError token_inactive"


async def test_what_one_issuer_said_does_not_count_for_an_api_of_another(
    server: Server, other: Server, bench: Bench
) -> None:
    server.tokens["opaque"] = {"sub": "alice"}
    verifier = await bench.verifier(settings_of(server), settings_of(other))
    await verifier.verify("opaque", server.url)
    assert verifier.find("opaque", other.url) is None
    assert await verifier.failure("opaque", other.url) == "TokenError token_inactive"
    assert other.asked == ["opaque"]
    assert verifier.find("opaque", server.url) is not None


ORDERS = [(0,), (1,), (0, 1), (1, 0)]


@pytest.mark.parametrize("asked_before", ORDERS)
@pytest.mark.parametrize("asked_now", ORDERS)
async def test_what_one_api_asked_decides_nothing_for_another(
    server: Server,
    other: Server,
    bench: Bench,
    asked_before: tuple[int, ...],
    asked_now: tuple[int, ...],
) -> None:
    server.tokens = {"first": {}, "both": {}}
    other.tokens = {"second": {}, "both": {}}
    servers = (server, other)
    settings = [settings_of(each) for each in servers]

    async def answer(verifier: Verifier, token: str, order: tuple[int, ...]) -> str:
        issuers = [servers[number].url for number in order]
        found = verifier.find(token, *issuers)
        return found.iss if found is not None else await verifier.failure(token, *issuers)

    for token in ("first", "second", "both", "none"):
        warm, cold = await bench.verifier(*settings), await bench.verifier(*settings)
        await answer(warm, token, asked_before)
        for verifier in (warm, cold):
            await answer(verifier, token, asked_now)
        assert await answer(warm, token, asked_now) == await answer(cold, token, asked_now)


async def test_a_reload_of_the_issuer_that_is_asked_first_voids_what_the_second_said(
    server: Server, other: Server, bench: Bench
) -> None:
    other.tokens["opaque"] = {}
    second = await bench.issuer(settings_of(other))
    first = await bench.issuer(settings_of(server))
    before = Verifier({server.url: first, other.url: second})
    await before.verify("opaque")
    changed = await bench.issuer(settings_of(server, client_secret="changed"))
    after = Verifier({server.url: changed, other.url: second}, before.cache)
    assert before.find("opaque") is not None
    assert after.find("opaque") is None


async def test_one_token_of_two_issuers_is_kept_for_each(
    server: Server, other: Server, bench: Bench
) -> None:
    server.tokens["opaque"] = {"sub": "alice"}
    other.tokens["opaque"] = {"sub": "bob"}
    verifier = await bench.verifier(settings_of(server), settings_of(other))
    for name in (server.url, other.url):
        await verifier.verify("opaque", name)
    found = [verifier.find("opaque", name) for name in (server.url, other.url)]
    assert [token and token.upstream.set[0][1] for token in found] == ["alice", "bob"]


async def test_an_opaque_token_is_invalid_where_no_issuer_of_the_api_has_any(
    server: Server, other: Server, bench: Bench
) -> None:
    jwts = settings_of(other, tokens="jwt", when="always")
    verifier = await bench.verifier(settings_of(server), jwts)
    assert await verifier.failure("opaque", other.url) == "TokenError token_opaque"
    assert (server.asked, other.asked) == ([], [])


async def test_an_issuer_that_hangs_does_not_slow_another_ones_tokens(
    server: Server, other: Server, bench: Bench
) -> None:
    server.behaviour = _wait_for(server)
    other.tokens = {f"t{number}": {} for number in range(200)}
    hanging = settings_of(server, timeout=60)
    verifier = await bench.verifier(hanging, settings_of(other))
    waiting = [asyncio.create_task(verifier.verify(f"h{n}", server.url)) for n in range(300)]
    await eventually(lambda: len(server.calls) >= 50)
    await asyncio.sleep(HANGS_AFTER_SECONDS)  # it has been hanging for a while

    async def seconds_of(*issuers: str, first: int) -> float:
        began = time.monotonic()
        for number in range(first, first + 50):
            await verifier.verify(f"t{number}", *issuers)
        return time.monotonic() - began

    alone = await seconds_of(other.url, first=0)
    beside = await seconds_of(server.url, other.url, first=50)

    assert beside < 2 * alone + 0.5  # 50 head starts would be 5 s
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_the_first_token_of_all_does_not_wait_for_a_hanging_issuer_to_the_end(
    server: Server, other: Server, bench: Bench
) -> None:
    server.behaviour = _wait_for(server)
    other.tokens["good"] = {}
    verifier = await bench.verifier(settings_of(server, timeout=60), settings_of(other))
    began = time.monotonic()
    assert (await verifier.verify("good")).iss == other.url
    assert time.monotonic() - began < HANGS_AFTER_SECONDS + 0.5


async def test_an_issuer_that_is_slow_is_still_the_first(
    server: Server, other: Server, bench: Bench
) -> None:
    async def slowly(_: web.Request) -> web.Response:
        await server.released.wait()
        return web.json_response({"active": True})

    server.behaviour = slowly
    other.tokens["both"] = {}
    verifier = await bench.verifier(settings_of(server, timeout=60), settings_of(other))
    verified = asyncio.create_task(verifier.verify("both"))
    await eventually(lambda: len(other.calls) == 1)  # it is asked, and knows the token
    await asyncio.sleep(HEAD_START_SECONDS)
    assert not verified.done()
    server.released.set()
    assert (await verified).iss == server.url


async def test_a_fault_at_once_is_no_reason_not_to_ask_the_next(
    server: Server, other: Server, bench: Bench
) -> None:
    other.tokens["good"] = {}
    first, second = (bench.introspection(settings_of(each)) for each in (server, other))
    await first.stop()
    assert (await ask_each([first, second], "good", digest("good")))[0] is second
    with pytest.raises(IssuerError):
        await ask_each([second, first], "unknown", digest("unknown"))


# --- JWTs


async def test_jwts_are_not_introspected_unless_always(server: Server, bench: Bench) -> None:
    verifier = await bench.verifier(settings_of(server, tokens="jwt opaque"))
    assert (await verifier.verify(mint(server))).introspected is False
    assert server.asked == []


async def test_always_asks_about_a_jwt_too_and_the_answer_wins(
    server: Server, bench: Bench
) -> None:
    token = mint(server)
    server.tokens[token] = {"acr": "mfa", "auth_time": 1_000}
    verifier = await bench.verifier(settings_of(server, tokens="jwt", when="always"))
    now = _now()
    verified = await verifier.verify(token, now=now)
    assert (verified.acr, verified.auth_time) == (("mfa",), 1_000)
    assert verified.upstream.set == (("x-subject", "alice"),)
    assert verifier.find(token, now=now + 29) is verified
    assert verifier.find(token, now=now + 30) is None


async def test_always_refuses_a_revoked_jwt_and_faults_where_it_cannot_tell(
    server: Server, bench: Bench
) -> None:
    verifier = await bench.verifier(settings_of(server, tokens="jwt", when="always"))
    assert await verifier.failure(mint(server)) == "TokenError token_inactive"
    server.behaviour = answering(500)
    assert await verifier.failure(mint(server, jti="2")) == "IssuerError introspection_status_500"
    assert len(verifier.cache) == 0


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"exp": 1}, "token_expired", id="expired"),
        pytest.param({"aud": "other"}, "token_audience_not_accepted", id="audience"),
    ],
)
async def test_nobody_is_asked_about_a_jwt_that_is_no_good_anyway(
    server: Server, bench: Bench, claims: dict[str, Any], reason: str
) -> None:
    verifier = await bench.verifier(settings_of(server, tokens="jwt", when="always"))
    assert await verifier.failure(mint(server, **claims)) == f"TokenError {reason}"
    assert server.asked == []


async def test_the_audience_of_the_answer_counts_too(server: Server, bench: Bench) -> None:
    token = mint(server)
    server.tokens[token] = {"aud": "other"}
    verifier = await bench.verifier(settings_of(server, tokens="jwt", when="always"))
    assert await verifier.failure(token) == "TokenError token_audience_not_accepted"


async def test_an_issuer_of_opaque_tokens_has_no_jwts(server: Server, bench: Bench) -> None:
    verifier = await bench.verifier(settings_of(server))
    assert await verifier.failure(mint(server)) == "TokenError token_jwt_not_accepted"
    assert server.asked == []


# --- metadata


async def test_the_endpoint_is_found_in_the_metadata_once(server: Server, bench: Bench) -> None:
    server.metadata = {"introspection_endpoint": server.endpoint}
    introspection = bench.introspection(settings_of(server, endpoint=None))
    assert await asyncio.gather(*(ask(introspection, f"t{n}") for n in range(20))) == [None] * 20
    assert server.metadata_calls == 1
    assert len(server.calls) == 20


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        pytest.param({}, "metadata_without_introspection_endpoint", id="without"),
        pytest.param(
            {"introspection_endpoint": 1}, "metadata_without_introspection_endpoint", id="no-text"
        ),
        pytest.param({"issuer": "https://b"}, "metadata_of_another_issuer", id="of-another-issuer"),
        pytest.param(
            {"introspection_endpoint": "http://192.0.2.1/i"}, "insecure_url", id="over-http"
        ),
        pytest.param({"introspection_endpoint": "http://["}, "bad_answer", id="no-url"),
        pytest.param({"introspection_endpoint": "ftp://a"}, "bad_answer", id="no-http"),
    ],
)
async def test_metadata_without_a_usable_endpoint_is_a_fault(
    server: Server, bench: Bench, metadata: dict[str, Any], code: str
) -> None:
    server.metadata = metadata
    verifier = await bench.verifier(settings_of(server, endpoint=None))
    assert await verifier.failure("opaque") == f"IssuerError introspection_{code}"
    assert server.asked == []


async def test_an_endpoint_that_could_not_be_found_is_found_later(
    server: Server, bench: Bench
) -> None:
    introspection = bench.introspection(settings_of(server, endpoint=None))
    assert isinstance(await ask(introspection, "opaque"), IssuerError)
    assert isinstance(await ask(introspection, "opaque"), IssuerError)
    assert server.metadata_calls == 1
    server.metadata = {"introspection_endpoint": server.endpoint}
    await eventually(lambda: introspection.error is None)
    assert await ask(introspection, "opaque") is None


async def test_the_time_of_a_call_includes_the_metadata(server: Server, bench: Bench) -> None:
    server.metadata_hangs = True
    verifier = await bench.verifier(settings_of(server, endpoint=None, timeout=1))
    began = time.monotonic()
    assert await verifier.failure("opaque") == "IssuerError introspection_timeout"
    assert time.monotonic() - began < 1.8  # two places to look at would be 2 s
