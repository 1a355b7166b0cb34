"""An issuer on loopback that answers as it is told, keys that sign, and time that leaps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from bridge.tokens.keys import FetchReport

PATIENCE_SECONDS = 5.0  # for what must come soon
NOW = 1_700_000_000

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Clock:
    """The loop's own time plus what a test leapt over; it runs on between leaps."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._leapt = 0.0

    def __call__(self) -> float:
        return self._time() + self._leapt

    async def leap(self, seconds: float) -> None:
        """Go forward, and let begin what has become due."""
        self._leapt += seconds
        for _ in range(10):
            await asyncio.sleep(0)


def raw(body: bytes | str, status: int = 200, **headers: str) -> Answer:
    """Answer with a body as it stands; `cache_control=` is the header `cache-control`."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body_bytes = body.encode() if isinstance(body, str) else body
        return web.Response(body=body_bytes, status=status, headers=named)

    return answer


def document(value: Any, **headers: str) -> Answer:
    return raw(json.dumps(value), 200, **headers)


@dataclass
class Gate:
    """An answer that waits until the test opens it."""

    behind: Answer
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.arrived.set()
        await self.opened.wait()
        return await self.behind(request)


@dataclass
class Trickle:
    """An answer whose head and first bytes come at once, and the rest never."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"keys":')
        self.arrived.set()
        await self.opened.wait()
        return response


class IssuerServer:
    """Answers by path; 404 where it was told nothing.

    Attributes:
        url: Its origin, which is also its `iss` unless a test says otherwise.
        answers: By path.
        asked: The paths that were asked for, in order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.requests: list[web.BaseRequest] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        self.requests.append(request)
        answer = self.answers.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)

    def publish(self, *keys: SigningKey, **headers: str) -> None:
        """Serve these keys at `/jwks`."""
        self.answers["/jwks"] = document({"keys": [key.jwk() for key in keys]}, **headers)

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/jwks"

    def release(self) -> None:
        """Let go of every request that still waits."""
        for answer in self.answers.values():
            if isinstance(answer, Gate | Trickle):
                answer.opened.set()


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[IssuerServer]:
    issuer = IssuerServer("")
    runner = web.ServerRunner(web.Server(issuer.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    issuer.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        issuer.release()
        await runner.cleanup()


@dataclass
class SigningKey:
    """A key of an issuer, with its private part."""

    kid: str | None = None
    private: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)

    def jwk(self) -> dict[str, Any]:
        public: dict[str, Any] = OKPAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        jwk = {name: public[name] for name in ("kty", "crv", "x")}
        return jwk if self.kid is None else {**jwk, "kid": self.kid}

    def token(self, iss: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Sign a good access token; a claim of None is left out, so is a header member."""
        members = {"iss": iss, "aud": "api", "sub": "alice", "exp": NOW + 600, **claims}
        head = {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid, **(header or {})}
        parts = (
            jwt.utils.base64url_encode(
                json.dumps(
                    {name: value for name, value in part.items() if value is not None}
                ).encode()
            )
            for part in (head, members)
        )
        signing_input = b".".join(parts)
        signature = jwt.utils.base64url_encode(self.private.sign(signing_input))
        return b".".join((signing_input, signature)).decode()


class Reports:
    """What became of the fetches, in order; a test waits for the next one."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[FetchReport] = asyncio.Queue()

    def add(self, report: FetchReport) -> None:
        self._waiting.put_nowait(report)

    async def next(self) -> FetchReport:
        return await asyncio.wait_for(self._waiting.get(), PATIENCE_SECONDS)

    @property
    def none_waits(self) -> bool:
        return self._waiting.empty()
