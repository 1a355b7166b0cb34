"""A small authorization server that does what RFC 9470 §5 asks of one. For the demo and for tests.

It has users whose passwords are on its login page, keeps all in memory and is known on loopback:
nothing to put in front of people. It issues access tokens (RFC 9068), and ID tokens with the scope
`openid`. No refresh tokens, no client secrets, no consent page.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from bridge.demo.grants import Grant, Grants
from bridge.demo.interaction import Interaction
from bridge.demo.loopback import HOST, listening_socket, port_of, serving
from bridge.demo.oauth import (
    ACR_VALUES_SUPPORTED,
    ALICE,
    BOB,
    MFA,
    Client,
    OAuthError,
    User,
    read_form,
)
from bridge.demo.signing import ALGORITHM, SigningKeys

ACCESS_TOKEN_LIFETIME_SECONDS = 300
_MAX_FORM_BYTES = 64 * 1024

# For pages of other origins. `*` gives nobody anything: these answers do not depend on a cookie.
_CORS = {"access-control-allow-origin": "*"}
_PREFLIGHT = _CORS | {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "content-type, dpop",
}


class AuthorizationServer:
    """The server, from `async with` to its end.

    Args:
        clients: Who may ask.
        audience: `aud` of the access tokens (RFC 9068 §3).
        users: Who can log in.
        port: A free one where it is taken or 0.
        host: Where to listen; the issuer is on loopback all the same.
        clock: Current time, epoch seconds.

    Attributes:
        issuer: Its identifier, once it runs.
        keys: What it signs with.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        audience: str,
        *,
        users: Sequence[User] = (ALICE, BOB),
        port: int = 0,
        host: str = HOST,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = ""
        self.keys = SigningKeys()
        self._clients = {client.client_id: client for client in clients}
        self._audience = audience
        self._users = users
        self._port = port
        self._host = host
        self._clock = clock
        self._grants = Grants()
        self._running = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        listener = listening_socket(self._port, self._host)
        self.issuer = f"http://{HOST}:{port_of(listener)}"
        interaction = Interaction(self.issuer, self._clients, self._users, self._grants, self._now)
        app = web.Application(client_max_size=_MAX_FORM_BYTES)
        app.add_routes(interaction.routes())
        # One document at both places where clients look (RFC 8414 §3, OpenID Connect Discovery §4).
        app.router.add_get("/.well-known/oauth-authorization-server", self._metadata)
        app.router.add_get("/.well-known/openid-configuration", self._metadata)
        app.router.add_get("/jwks", self._jwks)
        app.router.add_post("/token", self._token)
        app.router.add_options("/token", self._preflight)
        await self._running.enter_async_context(serving(app, listener))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._running.aclose()

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; publish the old ones too, or withdraw them."""
        self.keys.rotate(keep_old=keep_old)

    def mint(self, claims: Mapping[str, object] | None = None, *, typ: str = "at+jwt") -> str:
        """Sign an access token without anybody logging in.

        Args:
            claims: What differs from a good token of alice at `urn:example:mfa`, just now; a claim
                that is None is left out.
        """
        client_id = next(iter(self._clients), "client")
        good = self._claims(ALICE.name, client_id, ("accounts:read",), MFA, self._now())
        wanted = good | dict(claims or {})
        return self.keys.sign({n: v for n, v in wanted.items() if v is not None}, typ=typ)

    def _now(self) -> int:
        return int(self._clock())

    def _claims(
        self, sub: str, client_id: str, scopes: Sequence[str], acr: str, auth_time: int
    ) -> dict[str, object]:
        """Fill in an access token (RFC 9068 §2.2)."""
        now = self._now()
        return {
            "iss": self.issuer,
            "sub": sub,
            "aud": self._audience,
            "client_id": client_id,
            "scope": " ".join(scopes),
            "acr": acr,
            "auth_time": auth_time,
            "iat": now,
            "exp": now + ACCESS_TOKEN_LIFETIME_SECONDS,
            "jti": secrets.token_urlsafe(12),
        }

    async def _metadata(self, _: web.Request) -> web.Response:
        """RFC 8414 §2, and what OpenID Connect Discovery §3 wants beside it."""
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "scopes_supported": sorted({s for c in self._clients.values() for s in c.scopes}),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            # Says that acr_values and max_age are understood (RFC 9470 §7).
            "acr_values_supported": list(ACR_VALUES_SUPPORTED),
            "prompt_values_supported": ["login", "none"],
            "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
        return web.json_response(document, headers=_CORS)

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self.keys.jwks(), headers=_CORS)

    async def _preflight(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)

    async def _token(self, request: web.Request) -> web.Response:
        """Redeem a code (RFC 6749 §4.1.3 to §5.2)."""
        headers = _CORS | {"cache-control": "no-store"}
        try:
            grant = self._redeem(await read_form(request))
        except OAuthError as refusal:
            document = {"error": refusal.error, "error_description": refusal.description}
            return web.json_response(document, status=400, headers=headers)
        return web.json_response(self._tokens(grant), headers=headers)

    def _redeem(self, form: Mapping[str, str]) -> Grant:
        if "client_id" in form and form["client_id"] not in self._clients:
            raise OAuthError("invalid_client", "The client is not registered here")
        return self._grants.redeem(form, self._now())

    def _tokens(self, grant: Grant) -> dict[str, object]:
        """Write the token response (RFC 6749 §5.1)."""
        claims = self._claims(grant.sub, grant.client_id, grant.scopes, grant.acr, grant.auth_time)
        answer: dict[str, object] = {
            "access_token": self.keys.sign(claims, typ="at+jwt"),
            "token_type": "Bearer",
            "expires_in": ACCESS_TOKEN_LIFETIME_SECONDS,
            "scope": claims["scope"],
        }
        if "openid" in grant.scopes:
            nonce = {} if grant.nonce is None else {"nonce": grant.nonce}
            names = ("iss", "sub", "acr", "auth_time", "iat", "exp")
            id_token = {name: claims[name] for name in names} | {"aud": grant.client_id} | nonce
            answer["id_token"] = self.keys.sign(id_token, typ="JWT")
        return answer
