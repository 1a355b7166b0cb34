"""The authorization request that a challenge leads to (RFC 9470 §4). Pure but for random values."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from bridge.client.demand import Demand, demand_of, unite
from bridge.client.metadata import Server
from bridge.decision.challenge_parser import Challenge


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request to send the browser with, and what the answer is checked against.

    Attributes:
        params: All parameters.
        state: Must come back (RFC 6749 §10.12).
        code_verifier: For the token request (RFC 7636 §4.5).
        scopes: What was asked for.
    """

    authorization_endpoint: str
    params: dict[str, str] = field(repr=False)
    state: str = field(repr=False)
    code_verifier: str = field(repr=False)
    scopes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The URL for the browser, with everything in it."""
        return _with_query(self.authorization_endpoint, self.params)

    def pushed_url(self, request_uri: str) -> str:
        """Give the URL for the browser after the request was pushed (RFC 9126 §4)."""
        params = {"client_id": self.params["client_id"], "request_uri": request_uri}
        return _with_query(self.authorization_endpoint, params)


def authorization_request(
    challenge: Challenge | Demand,
    server: Server,
    *,
    client_id: str,
    redirect_uri: str,
    scopes: Iterable[str] = (),
    essential_acr: bool = False,
    resource: str | None = None,
    dpop_jkt: str | None = None,
    state: str | None = None,
    code_verifier: str | None = None,
) -> AuthorizationRequest:
    """Turn a challenge into an authorization request: code, PKCE, `acr_values`, `max_age`.

    Args:
        challenge: Of the API.
        scopes: Those of the token held: a step-up must not lose them. The challenge's are added.
        essential_acr: Ask for the acr as an essential claim of the ID token, which a server must
            not ignore as it may ignore `acr_values`. Adds the scope `openid`. The two are never
            sent together: what that means is not specified (OpenID Connect Core §5.5.1.1).
        resource: The API's identifier: the token shall be for it alone (RFC 8707 §2).
        dpop_jkt: Thumbprint of the DPoP key (RFC 9449 §10).
        state: Random where not given; `code_verifier` likewise.

    Raises:
        ChallengeError: The challenge cannot be followed.

    Does not do: the request that pushes it (PAR), see `token_endpoint`.
    Spec: RFC 9470 §4, RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1.
    """
    demand = challenge if isinstance(challenge, Demand) else demand_of(challenge)
    claims = essential_acr and bool(demand.acr_values)
    wanted = unite(("openid",) if claims else (), scopes, demand.scopes)
    state = secrets.token_urlsafe(24) if state is None else state
    code_verifier = secrets.token_urlsafe(48) if code_verifier is None else code_verifier
    params = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": code_challenge_of(code_verifier),
        "code_challenge_method": "S256",
    }
    if wanted:
        params["scope"] = " ".join(wanted)
    if claims:
        acr = {"essential": True, "values": list(demand.acr_values)}
        params["claims"] = json.dumps({"id_token": {"acr": acr}}, separators=(",", ":"))
    elif demand.acr_values:
        params["acr_values"] = " ".join(demand.acr_values)
    if demand.max_age is not None:
        params["max_age"] = str(demand.max_age)
    if resource is not None:
        params["resource"] = resource
    if dpop_jkt is not None:
        params["dpop_jkt"] = dpop_jkt
    return AuthorizationRequest(
        server.authorization_endpoint,
        params,
        state,
        code_verifier,
        wanted,
    )


def code_challenge_of(code_verifier: str) -> str:
    """Give the S256 challenge: BASE64URL(SHA256(code_verifier)), unpadded (RFC 7636 §4.2)."""
    digest = hashlib.sha256(code_verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _with_query(endpoint: str, params: dict[str, str]) -> str:
    separator = "&" if "?" in endpoint else "?"
    return f"{endpoint}{separator}{urlencode(params)}"
