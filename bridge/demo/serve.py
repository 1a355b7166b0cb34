"""One part of the demo as a process of its own, for `compose.yaml`.

    python -m bridge.demo.serve authorization-server --host 0.0.0.0

The containers share one network, so that each finds the others on loopback, and the issuer has the
same address for the bridge and for the browser. What the browser must reach gets `--host`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

from bridge.demo.authorization_server import AuthorizationServer
from bridge.demo.errors import DemoError
from bridge.demo.loopback import HOST, listening_socket, port_of, serving
from bridge.demo.page import PageSettings, page_app
from bridge.demo.policy import AUDIENCE, CALL_CLIENT, READ_SCOPE, STORY_CLIENT, page_client
from bridge.demo.run import BROWSER_PORTS, until_told
from bridge.demo.sample_api import sample_api

API_PORT = 8000
"""Where `envoy/envoy.yaml` looks for the API."""
GATEWAY = f"http://{HOST}:{BROWSER_PORTS.gateway}"
PAGE = f"http://{HOST}:{BROWSER_PORTS.page}"
ISSUER = f"http://{HOST}:{BROWSER_PORTS.authorization_server}"


@contextlib.asynccontextmanager
async def authorization_server(host: str) -> AsyncIterator[None]:
    """Serve the authorization server, for the page and for the story."""
    port = BROWSER_PORTS.authorization_server
    clients = [page_client(PAGE), STORY_CLIENT, CALL_CLIENT]
    async with AuthorizationServer(clients, AUDIENCE, port=port, host=host) as server:
        _check_port(port, int(server.issuer.rpartition(":")[2]))
        yield


@contextlib.asynccontextmanager
async def page(host: str) -> AsyncIterator[None]:
    """Serve the page that people walk through."""
    settings = PageSettings(PAGE, GATEWAY, ISSUER, page_client(PAGE).client_id, READ_SCOPE)
    listener = listening_socket(BROWSER_PORTS.page, host)
    async with serving(page_app(settings), listener):
        _check_port(BROWSER_PORTS.page, port_of(listener))
        yield


@contextlib.asynccontextmanager
async def api(host: str) -> AsyncIterator[None]:
    """Serve the API."""
    listener = listening_socket(API_PORT, host)
    async with serving(sample_api(), listener):
        _check_port(API_PORT, port_of(listener))
        yield


PARTS = {"authorization-server": authorization_server, "page": page, "sample-api": api}


def main() -> int:
    """Serve one part until SIGTERM, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bridge.demo.serve", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--host", default=HOST, help="the address to listen on (%(default)s)")
    options = parser.parse_args()
    try:
        return asyncio.run(until_told(_serve(options.part, options.host), interrupted=0))
    except DemoError as error:
        print(f"bridge.demo.serve: {error}", file=sys.stderr)
        return 1


async def _serve(part: str, host: str) -> None:
    async with PARTS[part](host):
        print(f"{part} is there", flush=True)
        await asyncio.Event().wait()


def _check_port(wanted: int, got: int) -> None:
    """Refuse another port than the one that the other parts know."""
    if wanted != got:
        raise DemoError(f"port {wanted} is taken")


if __name__ == "__main__":
    raise SystemExit(main())
