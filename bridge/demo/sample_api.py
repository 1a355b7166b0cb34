"""The API behind the gateway. It trusts the identity headers: only the gateway may reach it."""

from __future__ import annotations

import json

from aiohttp import web

OPERATIONS = (("GET", "/accounts"), ("POST", "/transfers"), ("GET", "/health"))
IDENTITY_PREFIX = "x-stepup-"


def sample_api() -> web.Application:
    """Make an API that answers with what reached it."""
    app = web.Application()
    for method, path in OPERATIONS:
        app.router.add_route(method, path, _answer)
    return app


async def _answer(request: web.Request) -> web.Response:
    """Answer method, path and identity headers; never `Authorization`."""
    document = {
        "method": request.method,
        "path": request.path,
        "identity": {
            name.lower(): value
            for name, value in request.headers.items()
            if name.lower().startswith(IDENTITY_PREFIX)
        },
    }
    return web.json_response(document, dumps=lambda value: json.dumps(value, indent=2) + "\n")
