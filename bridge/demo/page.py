"""The browser page: a client of another origin than the gateway, as single-page clients are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

_DIRECTORY = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/step-up.js": ("step-up.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page must know.

    Attributes:
        origin: Where the page is; its `redirect_uri` is the origin and a slash.
        gateway: Where the API is.
        first_scope: What it asks for when no challenge told it.
    """

    origin: str
    gateway: str
    issuer: str
    client_id: str
    first_scope: str


def page_app(settings: PageSettings) -> web.Application:
    """Make the application that serves the page."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'; connect-src 'self' {settings.gateway} {settings.issuer}"
    )
    headers = {
        "cache-control": "no-store",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",  # the address may hold a code
        "x-content-type-options": "nosniff",
    }

    async def file(request: web.Request) -> web.Response:
        # Under another name (localhost) the page would be another origin than the one that the
        # gateway and the authorization server know.
        if f"http://{request.host}" != settings.origin:
            raise web.HTTPFound(settings.origin + "/")
        name, content_type = _FILES[request.path]
        text = (_DIRECTORY / name).read_text("utf-8")
        return web.Response(text=text, content_type=content_type, headers=headers)

    async def settings_json(_: web.Request) -> web.Response:
        document = {
            "gateway": settings.gateway,
            "issuer": settings.issuer,
            "client_id": settings.client_id,
            "redirect_uri": settings.origin + "/",
            "first_scope": settings.first_scope,
        }
        return web.json_response(document, headers=headers)

    app = web.Application()
    for path in _FILES:
        app.router.add_get(path, file)
    app.router.add_get("/settings.json", settings_json)
    return app
