"""Finding the authorization server: what is fetched, from where, and what is not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from aiohttp import web

from bridge.client import discovery
from bridge.client.demand import Demand
from bridge.client.discovery import choose_issuer, find_resource, find_server
from bridge.client.errors import DiscoveryError
from bridge.client.flow import LoginRequest
from bridge.client.metadata import Resource

from .client_stage import LoopThread

API = "https://api.example/x"
ISSUER = "https://as.example"


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Documents that are none, each in its own way."""
    app = web.Application()

    async def html(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/html")

    async def huge(_: web.Request) -> web.Response:
        return web.Response(body=b" " * (discovery._MAX_BYTES + 1))

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def oidc(request: web.Request) -> web.Response:
        issuer = f"http://{request.host}/tenant"
        return web.json_response(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/a",
                "token_endpoint": f"{issuer}/t",
            }
        )

    for handler in (html, moved, huge, endless):
        app.router.add_get(f"/{handler.__name__}", handler)
    app.router.add_get("/tenant/.well-known/openid-configuration", oidc)
    with LoopThread() as threads:
        yield f"http://127.0.0.1:{threads.serve(app)}"


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=5, follow_redirects=True) as client:
        yield client


def request(url: str = API, metadata: str | None = None) -> LoginRequest:
    return LoginRequest(Demand(resource_metadata=metadata), (), url)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("/none", "/none answered 404", id="not-there"),
        pytest.param("/html", "no JSON object", id="html"),
        pytest.param("/moved", "/moved answered 302", id="redirect-is-not-followed"),
        pytest.param("/huge", "over 1048576 bytes", id="huge"),
        pytest.param("/endless", "no JSON object", id="empty"),
    ],
)
def test_metadata_that_is_none_is_said(
    origin: str, http: httpx.Client, path: str, text: str
) -> None:
    with pytest.raises(DiscoveryError, match=text):
        find_resource(request(f"{origin}/x", f"{origin}{path}?secret"), http)


def test_nobody_there_is_said(http: httpx.Client) -> None:
    with pytest.raises(DiscoveryError, match=r"http://127\.0\.0\.1:1/x: ConnectError$"):
        find_resource(request("http://127.0.0.1:1", "http://127.0.0.1:1/x?secret"), http)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        pytest.param("http://127.0.0.1:1/x", "is on this machine", id="loopback"),
        pytest.param("https://localhost/x", "is on this machine", id="localhost"),
        pytest.param("http://api.example/x", "is not https", id="plain-http"),
        pytest.param("file:///etc/passwd", "is no URL", id="file"),
        pytest.param("/x", "is no URL", id="relative"),
        pytest.param("https://[", "is no URL", id="broken"),
    ],
)
def test_far_api_chooses_no_url_on_this_machine(
    http: httpx.Client, metadata: str, text: str
) -> None:
    with pytest.raises(DiscoveryError, match=text):
        find_resource(request(metadata=metadata), http)
    with pytest.raises(DiscoveryError, match=text):
        choose_issuer(Resource(API, (metadata,)), request(), None)


def test_issuer_is_the_first_that_the_api_names_or_the_callers() -> None:
    resource = Resource(API, (ISSUER, "https://b.example"))
    assert choose_issuer(resource, request(), None) == ISSUER
    assert choose_issuer(resource, request(), "https://b.example") == "https://b.example"
    assert choose_issuer(None, request(), ISSUER) == ISSUER
    with pytest.raises(DiscoveryError, match="does not take tokens"):
        choose_issuer(resource, request(), "https://c.example")
    with pytest.raises(DiscoveryError, match="name the issuer"):
        choose_issuer(None, request(), None)


def test_challenge_without_metadata_is_nothing_to_fetch(http: httpx.Client) -> None:
    assert find_resource(request(), http) is None


def test_openid_configuration_is_found_where_rfc_8414_metadata_is_not(
    origin: str, http: httpx.Client
) -> None:
    server = find_server(f"{origin}/tenant", http)
    assert server.token_endpoint == f"{origin}/tenant/t"
    with pytest.raises(DiscoveryError, match="oauth-authorization-server/other answered 404"):
        find_server(f"{origin}/other", http)
