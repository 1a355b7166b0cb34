"""A browser with a person in front of it, for the demo's authorization server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from bridge.client.authorization_request import code_challenge_of
from bridge.demo.authorization_server import AuthorizationServer
from bridge.demo.oauth import Client

AUDIENCE = "https://bank.example.com"
REDIRECT_URI = "http://127.0.0.1/back"
VERIFIER = "v" * 43
CLIENT = Client("app", (REDIRECT_URI,), ("accounts:read", "payments:write", "openid"))
OTHER_CLIENT = Client("other", (REDIRECT_URI,), ("accounts:read",))
GOOD_REQUEST = {
    "response_type": "code",
    "client_id": CLIENT.client_id,
    "redirect_uri": REDIRECT_URI,
    "scope": "accounts:read",
    "state": "xyz",
    "code_challenge": code_challenge_of(VERIFIER),
    "code_challenge_method": "S256",
}
TITLE = re.compile(r"<title>([^<]*) - ")
ACTION = re.compile(r'<form method="post" action="([^"]*)"')
HIDDEN = re.compile(r'name="request" value="([^"]*)"')


@dataclass(frozen=True)
class Page:
    """What the browser shows, or where it was sent: `answer` is what the client gets."""

    status: int
    text: str
    url: str
    answer: Mapping[str, str] | None
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        found = TITLE.search(self.text)
        return found[1] if found else ""


class Browser:
    def __init__(self, session: aiohttp.ClientSession, server: AuthorizationServer) -> None:
        self.session = session
        self.issuer = server.issuer

    async def authorize(self, **changes: str | None) -> Page:
        """Send a good authorization request, with some changes; None leaves a parameter out."""
        query = {n: v for n, v in (GOOD_REQUEST | changes).items() if v is not None}
        return await self._show("GET", str(URL(f"{self.issuer}/authorize").with_query(query)))

    async def submit(self, page: Page, **fields: str) -> Page:
        """Fill in the form of a page and send it."""
        action, hidden = ACTION.search(page.text), HIDDEN.search(page.text)
        assert action is not None
        assert hidden is not None
        form = {"request": unescape(hidden[1]), **fields}
        return await self._show("POST", urljoin(page.url, action[1]), form)

    async def password(self, page: Page, user: str = "alice", password: str = "wonderland") -> Page:
        return await self.submit(page, username=user, password=password)

    async def code(self, page: Page, code: str = "492817") -> Page:
        return await self.submit(page, code=code)

    async def redeem(self, page: Page, **changes: str | None) -> tuple[int, dict[str, str]]:
        """Exchange the code that a page ended with; give status and JSON."""
        assert page.answer is not None
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT.client_id,
            "redirect_uri": REDIRECT_URI,
            "code": page.answer["code"],
            "code_verifier": VERIFIER,
        } | changes
        sent = {name: value for name, value in form.items() if value is not None}
        async with self.session.post(f"{self.issuer}/token", data=sent) as response:
            assert response.headers["cache-control"] == "no-store"
            return response.status, await response.json()

    async def _show(self, method: str, url: str, form: Mapping[str, str] | None = None) -> Page:
        async with self.session.request(
            method, URL(url, encoded=True), data=form, allow_redirects=False
        ) as response:
            location = response.headers.get("location")
            answer = None
            if location is not None:
                assert location.startswith(f"{REDIRECT_URI}?")
                assert response.status == 303
                answer = dict(URL(location).query)
            return Page(response.status, await response.text(), url, answer, response.headers)
