"""All that the demo starts, in the order in which each needs the one before it."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from bridge.demo.authorization_server import AuthorizationServer
from bridge.demo.children import Child, Children
from bridge.demo.envoy import envoy_command, envoy_yaml, find_envoy
from bridge.demo.loopback import HOST, listening_socket, port_of, serving, usable_port
from bridge.demo.page import PageSettings, page_app
from bridge.demo.policy import (
    AUDIENCE,
    CALL_CLIENT,
    READ_SCOPE,
    STORY_CLIENT,
    bridge_yaml,
    page_client,
)
from bridge.demo.sample_api import sample_api

_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; for 0, and for one that is taken, a free one."""

    gateway: int = 0
    page: int = 0
    authorization_server: int = 0
    api: int = 0
    bridge_authz: int = 0
    bridge_admin: int = 0


class Stage:
    """The running demo, from `async with` to its end. Everything listens on loopback.

    Args:
        directory: For configurations and logs.
        max_age_seconds: Of a transfer.

    Attributes:
        addresses: By what is there, in the order to show them.
        gateway: Where Envoy is.
        issuer: Where the authorization server is.
        children: The processes: bridge and Envoy.

    Raises:
        DemoError: Something does not start.
    """

    def __init__(self, directory: Path, ports: Ports, max_age_seconds: int) -> None:
        self.addresses: dict[str, str] = {}
        self.gateway = ""
        self.issuer = ""
        self.children = Children(directory)
        self._directory = directory
        self._ports = ports
        self._max_age = max_age_seconds
        self._bridge_file = directory / "bridge.yaml"
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as starting:
            await self._start(starting)
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._running.aclose()

    async def change_max_age(self, max_age_seconds: int) -> None:
        """Give the bridge another configuration; it takes it over without a restart."""
        wait_for = self.children.wait_for
        before = await wait_for(self._bridge, "answer", self._loaded_timestamp)
        self._max_age = max_age_seconds
        self._write_bridge_yaml(self._authz_port, self._admin_port)
        self._bridge.process.send_signal(signal.SIGHUP)

        async def reloaded() -> bool | None:
            return await self._loaded_timestamp() > before or None

        await wait_for(self._bridge, "take over a new configuration", reloaded)

    async def _start(self, starting: contextlib.AsyncExitStack) -> None:
        envoy = find_envoy()
        self._http = await starting.enter_async_context(
            aiohttp.ClientSession(timeout=_PROBE_TIMEOUT)
        )
        # The page's origin is its redirect_uri, so it must be known first; it is served last.
        page_socket = listening_socket(self._ports.page)
        starting.callback(page_socket.close)
        if port_of(page_socket) != self._ports.page:
            # Another demo is there, perhaps about to start its children: no race for their ports.
            self._ports = Ports()
        page_origin = f"http://{HOST}:{port_of(page_socket)}"
        page = page_client(page_origin)
        server = AuthorizationServer(
            [page, STORY_CLIENT, CALL_CLIENT],
            AUDIENCE,
            port=self._ports.authorization_server,
        )
        self.issuer = (await starting.enter_async_context(server)).issuer
        api_socket = listening_socket(self._ports.api)
        await starting.enter_async_context(serving(sample_api(), api_socket))
        await starting.enter_async_context(self.children)
        await self._start_bridge()
        await self._start_envoy(envoy, port_of(api_socket), page_origin)
        settings = PageSettings(page_origin, self.gateway, self.issuer, page.client_id, READ_SCOPE)
        await starting.enter_async_context(serving(page_app(settings), page_socket))
        self.addresses = {
            "page": f"{page_origin}/",
            "Envoy": self.gateway,
            "authorization server": self.issuer,
            "bridge": f"http://{HOST}:{self._authz_port}",
            "bridge, for people": f"http://{HOST}:{self._admin_port}",
            "sample API": f"http://{HOST}:{port_of(api_socket)}",
            "configurations, logs": str(self._directory),
        }

    async def _start_bridge(self) -> None:
        self._write_bridge_yaml(
            usable_port(self._ports.bridge_authz), usable_port(self._ports.bridge_admin)
        )
        command = [sys.executable, "-m", "bridge", "serve", "--config", str(self._bridge_file)]
        self._bridge = await self.children.start("bridge", command)

        async def started() -> tuple[int, int] | None:
            return read_ports(self._bridge)

        async def ready() -> bool | None:
            return (await self._readiness())["ready"] or None

        wait_for = self.children.wait_for
        self._authz_port, self._admin_port = await wait_for(self._bridge, "listen", started)
        await wait_for(self._bridge, "get ready", ready)

    def _write_bridge_yaml(self, authz_port: int, admin_port: int) -> None:
        """Write a whole new file beside, and put it in place: nobody ever reads half of it."""
        new = self._bridge_file.with_suffix(".new")
        new.write_text(
            bridge_yaml(
                authz_port=authz_port,
                admin_port=admin_port,
                issuer=self.issuer,
                max_age_seconds=self._max_age,
            ),
            "utf-8",
        )
        new.replace(self._bridge_file)

    async def _readiness(self) -> Any:
        """Ask the bridge how it is (docs/operations.md, `/readyz`)."""
        async with self._http.get(f"http://{HOST}:{self._admin_port}/readyz") as response:
            return await response.json()

    async def _loaded_timestamp(self) -> float:
        timestamp: float = (await self._readiness())["config"]["loaded_timestamp"]
        return timestamp

    async def _start_envoy(self, binary: Path, api_port: int, page_origin: str) -> None:
        config, admin_address = self._directory / "envoy.yaml", self._directory / "envoy-admin"
        config.write_text(
            envoy_yaml(
                port=usable_port(self._ports.gateway),
                bridge_authz_port=self._authz_port,
                bridge_admin_port=self._admin_port,
                api_port=api_port,
                page_origin=page_origin,
            ),
            "utf-8",
        )
        child = await self.children.start("envoy", envoy_command(binary, config, admin_address))

        async def listening() -> int | None:
            """Give the listener's port once Envoy says that it is there."""
            if not admin_address.exists() or not (admin := admin_address.read_text("utf-8")):
                return None
            async with self._http.get(f"http://{admin}/ready") as response:
                if response.status != HTTPStatus.OK:
                    return None
            async with self._http.get(f"http://{admin}/listeners?format=json") as response:
                (listener,) = (await response.json(content_type=None))["listener_statuses"]
            port: int = listener["local_address"]["socket_address"]["port_value"]
            return port

        port = await self.children.wait_for(child, "listen", listening)
        self.gateway = f"http://{HOST}:{port}"


def read_ports(bridge: Child) -> tuple[int, int] | None:
    """Read from the bridge's log where it listens; None: it does not say so yet."""
    for line in bridge.log.read_text("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == "service_started":
                authz, admin = (int(event[name].rpartition(":")[2]) for name in ("authz", "admin"))
                return authz, admin
    return None
