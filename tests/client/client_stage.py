"""A real bridge behind a small gateway over TLS, the demo's authorization server and sample API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web
from kong.certificates import make_certificates

from bridge.demo.authorization_server import AuthorizationServer
from bridge.demo.children import Children
from bridge.demo.loopback import listening_socket, port_of, serving
from bridge.demo.oauth import Client
from bridge.demo.policy import AUDIENCE, bridge_yaml
from bridge.demo.sample_api import sample_api
from bridge.demo.stage import read_ports

CLIENT_ID = "cli"
_SCOPES = ("accounts:read", "payments:write", "openid")
_START_SECONDS = 60


@dataclass(frozen=True)
class Seen:
    """One request as the gateway saw it."""

    method: str
    path: str
    authorization: str | None
    status: int
    body: bytes


class LoopThread:
    """An event loop in a thread: servers that go on while a sync client blocks."""

    def __enter__(self) -> Self:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._running = contextlib.AsyncExitStack()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.run(self._running.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_START_SECONDS)

    def enter(self, manager: Any) -> Any:
        return self.run(self._running.enter_async_context(manager))

    def serve(self, app: web.Application, tls: ssl.SSLContext | None = None) -> int:
        """Serve an application on loopback; give the port."""
        listener = listening_socket(0)
        self.enter(serving(app, listener, tls))
        return port_of(listener)


class ClientStage:
    """All of it, from `with` to its end.

    Attributes:
        api: Where the API is, without a slash at the end.
        issuer: Where the authorization server is.
        tls: Trusts the gateway.
        authority: The same, as a PEM file.
        seen: What the gateway saw, oldest first.
        server: The authorization server.
    """

    def __init__(self, directory: Path, max_age_seconds: int = 60) -> None:
        self._directory = directory
        self._max_age = max_age_seconds
        self.seen: list[Seen] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            self.threads = starting.enter_context(LoopThread())
            certificates = make_certificates(self._directory)
            self.authority = certificates.authority
            self.tls = ssl.create_default_context(cafile=str(certificates.authority))
            server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            server_tls.load_cert_chain(certificates.server, certificates.server_key)
            client = Client(CLIENT_ID, ("http://127.0.0.1/callback",), _SCOPES)
            self.server = AuthorizationServer([client], AUDIENCE)
            self.threads.enter(self.server)
            self.issuer = self.server.issuer
            self._http = self.threads.run(self._session())
            self.threads.enter(self._http)
            upstream = self.threads.serve(sample_api())
            gateway = _Gateway(self._http, self.seen, f"http://127.0.0.1:{upstream}")
            port = self.threads.serve(gateway.app(), server_tls)
            self.api = f"https://localhost:{port}"
            children = self.threads.enter(Children(self._directory))
            gateway.bridge = self.threads.run(self._start_bridge(children))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._running.__exit__(*error)

    async def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def _start_bridge(self, children: Children) -> str:
        document = yaml.safe_load(
            bridge_yaml(
                authz_port=0, admin_port=0, issuer=self.issuer, max_age_seconds=self._max_age
            )
        )
        document["apis"][0]["resource"] = self.api
        file = self._directory / "bridge.yaml"
        file.write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "bridge", "serve", "--config", str(file)]
        child = await children.start("bridge", command)

        async def ready() -> int | None:
            ports = read_ports(child)
            if ports is None:
                return None
            async with self._http.get(f"http://127.0.0.1:{ports[1]}/readyz") as response:
                return ports[0] if response.status == 200 else None

        return f"http://127.0.0.1:{await children.wait_for(child, 'get ready', ready)}"


class _Gateway:
    """Asks the bridge by its native check, and does what it says."""

    def __init__(self, http: aiohttp.ClientSession, seen: list[Seen], upstream: str) -> None:
        self._http = http
        self._seen = seen
        self._upstream = upstream
        self.bridge = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/oauth-protected-resource", self._metadata)
        app.router.add_route("*", "/{path:.*}", self._check)
        return app

    async def _metadata(self, request: web.Request) -> web.Response:
        headers = {"host": request.host}
        async with self._http.get(self.bridge + request.path, headers=headers) as response:
            return web.Response(
                status=response.status,
                body=await response.read(),
                content_type="application/json",
            )

    async def _check(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        question = {
            "method": request.method,
            "scheme": "https",
            "host": request.host,
            "path": request.raw_path,
            "headers": headers,
        }
        async with self._http.post(f"{self.bridge}/v1/check", data=json.dumps(question)) as asked:
            answer = await asked.json()
        if answer["allow"]:
            url = self._upstream + request.raw_path
            sent = answer["upstream"]["set"]
            async with self._http.request(request.method, url, data=body, headers=sent) as passed:
                response = web.Response(
                    status=passed.status,
                    body=await passed.read(),
                    content_type="application/json",
                )
        else:
            denial = answer["response"]
            response = web.Response(status=denial["status"], text=denial["body"])
            for name, value in denial["headers"]:
                response.headers[name] = value
        self._seen.append(
            Seen(
                request.method,
                request.path,
                request.headers.get("authorization"),
                response.status,
                body,
            )
        )
        return response
