"""A small OAuth client that plays the browser too: it fills in the login forms by itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from bridge.client.authorization_request import authorization_request
from bridge.client.errors import DiscoveryError
from bridge.client.metadata import Server, read_server
from bridge.decision.challenge import Challenge
from bridge.demo.errors import DemoError
from bridge.demo.oauth import Client, User

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MAX_HOPS = 10


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came back.

    Attributes:
        headers: Of the answer, with lower-case names.
        token: The access token that the request carried.
        of_api: The request went to the API, not to the authorization server.
    """

    method: str
    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    of_api: bool = False


@dataclass(slots=True)
class _Form:
    """The form of a page: where it goes, what it holds, and what it asks for."""

    action: str = ""
    values: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class StoryClient:
    """A public client with a user at hand, from `async with` to its end.

    Args:
        tell: Called with every request of it and its answer.
    """

    def __init__(
        self, client: Client, user: User, issuer: str, tell: Callable[[Exchange], None]
    ) -> None:
        self._client = client
        self._user = user
        self._issuer = issuer
        self._tell = tell

    async def __aenter__(self) -> Self:
        # `unsafe` keeps cookies of IP addresses too; ours is 127.0.0.1.
        jar = aiohttp.CookieJar(unsafe=True)
        self._session = aiohttp.ClientSession(cookie_jar=jar, timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def call(self, method: str, url: str, token: str | None = None) -> Exchange:
        """Call the API.

        Raises:
            DemoError: No answer.
        """
        return await self._send(method, url, token=token, of_api=True)

    async def authorize(self, challenge: Challenge, scopes: Iterable[str] = ()) -> str:
        """Let the user log in as a challenge asks (RFC 9470 §4); give the access token.

        Args:
            scopes: Those of the token held.

        Raises:
            DemoError: Anything else came than a token.
        """
        server = await self._find_server()
        redirect_uri = self._client.redirect_uris[0]
        request = authorization_request(
            challenge,
            server,
            client_id=self._client.client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
        )
        answer = await self._browse(request.url)
        if answer.get("state") != request.state or answer.get("iss") != self._issuer:
            raise DemoError("the authorization response is not the answer to the request")
        if "code" not in answer:
            raise DemoError(f"the authorization server answered {answer.get('error')}")
        form = {
            "grant_type": "authorization_code",
            "client_id": self._client.client_id,
            "redirect_uri": redirect_uri,
            "code": answer["code"],
            "code_verifier": request.code_verifier,
        }
        result = await self._send("POST", server.token_endpoint, form=form)
        token: object = json.loads(result.body).get("access_token")
        if not isinstance(token, str):
            raise DemoError(f"the token endpoint answered {result.status}")
        return token

    async def _find_server(self) -> Server:
        url = f"{self._issuer}/.well-known/oauth-authorization-server"
        try:
            return read_server((await self._send("GET", url)).body.encode(), self._issuer)
        except DiscoveryError as error:
            raise DemoError(str(error)) from None

    async def _browse(self, url: str) -> Mapping[str, str]:
        """Do what a browser and its user do, until the browser comes back to the client."""
        known = {
            "username": self._user.name,
            "password": self._user.password,
            "code": self._user.code or "",
        }
        exchange = await self._send("GET", url)
        for _ in range(_MAX_HOPS):
            location = exchange.headers.get("location")
            if location is not None:
                url = urljoin(exchange.url, location)
                if url.partition("?")[0] == self._client.redirect_uris[0]:
                    return dict(URL(url).query)
                exchange = await self._send("GET", url)
                continue
            form = _read_form(exchange.body)
            if exchange.status != HTTPStatus.OK or not form.action:
                raise DemoError(f"the authorization server answered {exchange.status} and no form")
            filled = form.values | {name: known.get(name, "") for name in form.asked}
            exchange = await self._send("POST", urljoin(exchange.url, form.action), form=filled)
        raise DemoError("the authorization server redirects without end")

    async def _send(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        token: str | None = None,
        of_api: bool = False,
    ) -> Exchange:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        try:
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, data=form, allow_redirects=False
            ) as response:
                received = {name.lower(): value for name, value in response.headers.items()}
                body = await response.text()
                reason = response.reason or ""
        except (aiohttp.ClientError, TimeoutError) as error:
            place = url.partition("?")[0]
            raise DemoError(f"{method} {place}: {str(error) or 'no answer in time'}") from None
        exchange = Exchange(method, url, response.status, reason, received, body, token, of_api)
        self._tell(exchange)
        return exchange


class _FormParser(HTMLParser):
    """Reads the one form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.form = _Form()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form.action = values.get("action", "")
        elif tag == "input" and values.get("type") == "hidden":
            self.form.values[values.get("name", "")] = values.get("value", "")
        elif tag == "input":
            self.form.asked.append(values.get("name", ""))


def _read_form(page: str) -> _Form:
    parser = _FormParser()
    parser.feed(page)
    parser.close()
    return parser.form


def peek(token: str) -> dict[str, Any]:
    """Read a token's claims without looking at its signature: for show, never to decide."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
