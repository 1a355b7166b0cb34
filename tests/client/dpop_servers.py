"""A small API and authorization server that want DPoP, PAR and nonces, over plain loopback."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
from aiohttp import web

from bridge.client.authorization_request import code_challenge_of


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638, by hand: the client's code is on trial."""
    text = '{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}'.format(**jwk)
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@dataclass
class DPoPServers:
    """Both in one application; `origin` is set once it is served.

    Attributes:
        nonce: The one that a proof must carry; changed by tests.
        pushed: Authorization requests by request_uri.
        proofs: All good ones, with where they were shown.
        iss: What the authorization response says; None: nothing.
        token_type: Of the token response.
    """

    origin: str = ""
    nonce: str = "nonce-1"
    proofs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    iss: str | None = "self"
    token_type: str = "DPoP"
    endless_nonces: bool = False
    refuse_par: bool = False
    secret: str | None = None
    broken: tuple[int, str] | None = None

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/api", self._api),
                web.get("/moved", self._moved),
                web.get("/.well-known/oauth-protected-resource", self._resource),
                web.get("/.well-known/openid-configuration", self._metadata),
                web.post("/par", self._par),
                web.get("/authorize", self._authorize),
                web.post("/token", self._token),
            ]
        )
        return app

    async def _resource(self, _: web.Request) -> web.Response:
        return web.json_response({"resource": self.origin, "authorization_servers": [self.origin]})

    async def _metadata(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.origin,
                "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/token",
                "pushed_authorization_request_endpoint": f"{self.origin}/par",
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _par(self, request: web.Request) -> web.Response:
        form = await self._read_form(request)
        if self.refuse_par:
            return web.json_response({"error": "invalid_scope"}, status=400)
        request_uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_hex(4)}"
        self.pushed[request_uri] = form
        return web.json_response({"request_uri": request_uri, "expires_in": 60}, status=201)

    async def _authorize(self, request: web.Request) -> web.Response:
        assert set(request.query) == {"client_id", "request_uri"}
        pushed = self.pushed[request.query["request_uri"]]
        code = secrets.token_hex(4)
        self.codes[code] = pushed
        answer = {"code": code, "state": pushed["state"]}
        if self.iss is not None:
            answer["iss"] = self.origin if self.iss == "self" else self.iss
        raise web.HTTPSeeOther(f"{pushed['redirect_uri']}?{urlencode(answer)}")

    async def _token(self, request: web.Request) -> web.Response:
        form = await self._read_form(request)
        proof = self._check_proof(request)
        if proof is None:
            return web.json_response(
                {"error": "use_dpop_nonce"}, status=400, headers={"dpop-nonce": self.nonce}
            )
        if self.broken is not None:
            return web.Response(status=self.broken[0], text=self.broken[1])
        pushed = self.codes.pop(form["code"])
        assert self.secret is not None or form["client_id"] == pushed["client_id"]
        assert form["redirect_uri"] == pushed["redirect_uri"]
        assert form["resource"] == pushed["resource"] == self.origin
        assert code_challenge_of(form["code_verifier"]) == pushed["code_challenge"]
        assert pushed["dpop_jkt"] == thumbprint(proof["jwk"])
        token = secrets.token_hex(8)
        self.tokens[token] = pushed["dpop_jkt"]
        return web.json_response(
            {"access_token": token, "token_type": self.token_type, "scope": "a"}
        )

    async def _read_form(self, request: web.Request) -> dict[str, str]:
        """Read a client's own request, and see that it is the client."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        if self.secret is None:
            assert "authorization" not in request.headers
        else:
            expected = aiohttp.encode_basic_auth("app", self.secret)
            assert request.headers["authorization"] == expected
        return form

    async def _api(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        metadata = f'resource_metadata="{self.origin}/.well-known/oauth-protected-resource"'
        if scheme != "DPoP" or token not in self.tokens:
            challenge = f'DPoP algs="ES256", scope="a", {metadata}'
            return web.Response(status=401, headers={"www-authenticate": challenge})
        proof = self._check_proof(request)
        if proof is None or self.endless_nonces:
            headers = {
                "www-authenticate": 'DPoP error="use_dpop_nonce", algs="ES256"',
                "dpop-nonce": self.nonce,
            }
            return web.Response(status=401, headers=headers)
        digest = hashlib.sha256(token.encode()).digest()
        assert proof["ath"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert thumbprint(proof["jwk"]) == self.tokens[token]
        return web.json_response({"ok": True})

    async def _moved(self, request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(request.query["to"])

    def _check_proof(self, request: web.Request) -> dict[str, Any] | None:
        """Check a proof (RFC 9449 §4.3); None: the nonce is missing or old."""
        (text,) = request.headers.getall("dpop")
        header = jwt.get_unverified_header(text)
        assert header["typ"] == "dpop+jwt"
        assert set(header["jwk"]) == {"kty", "crv", "x", "y"}
        key = jwt.PyJWK.from_dict({**header["jwk"], "alg": "ES256"})
        claims = jwt.decode(text, key, algorithms=["ES256"])
        assert claims["htm"] == request.method
        assert claims["htu"] == f"{self.origin}{request.path}"
        assert isinstance(claims["iat"], int)
        assert claims["jti"] not in {proof["jti"] for _, proof in self.proofs}
        claims["jwk"] = header["jwk"]
        self.proofs.append((request.path, claims))
        return claims if claims.get("nonce") == self.nonce else None
