"""A public OAuth client: authorization code with PKCE, against any real authorization server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.harness.upstream import RecordingUpstream

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization request, and what the client must remember of it."""

    url: str
    redirect_uri: str
    state: str
    code_verifier: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token endpoint's answer. Their text is a secret."""

    answer: Mapping[str, Any] = field(repr=False)

    @property
    def access_token(self) -> str:
        return str(self.answer["access_token"])

    @property
    def claims(self) -> dict[str, Any]:
        """Read the access token as its client should not: it is a JWT, unverified."""
        return payload_of(self.access_token)


class PublicClient:
    """One client of an authorization server.

    Args:
        landing: Serves the redirect URI, so that a browser has somewhere to land.
        scope: Asked for at every authorization.
    """

    def __init__(self, issuer: str, client_id: str, landing: RecordingUpstream, scope: str) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.redirect_uri = f"http://{landing.address}/landing"
        self.scope = scope
        self._metadata: Mapping[str, Any] = fetch_json(f"{issuer}/.well-known/openid-configuration")

    def authorization(self, **parameters: str) -> Authorization:
        """Write an authorization request, with further parameters or others instead."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": state,
            "nonce": secrets.token_urlsafe(16),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **parameters,
        }
        endpoint = self._metadata["authorization_endpoint"]
        url = f"{endpoint}?{urllib.parse.urlencode(query)}"
        return Authorization(url, self.redirect_uri, state, verifier)

    def redeem(
        self,
        authorization: Authorization,
        answer: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> Tokens:
        """Exchange the code that came with an authorization response."""
        assert answer.get("state") == authorization.state, f"got {sorted(answer)}"
        assert "code" in answer, answer.get("error")
        return self._ask(
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": authorization.redirect_uri,
                "code_verifier": authorization.code_verifier,
            },
            headers,
        )

    def refresh(self, tokens: Tokens) -> Tokens:
        return self._ask(
            {"grant_type": "refresh_token", "refresh_token": tokens.answer["refresh_token"]}, None
        )

    @property
    def token_endpoint(self) -> str:
        return str(self._metadata["token_endpoint"])

    def _ask(self, form: Mapping[str, str], headers: Mapping[str, str] | None) -> Tokens:
        form = {"client_id": self.client_id, **form}
        return Tokens(fetch_json(self.token_endpoint, form=form, headers=headers))


def step_up_parameters(challenge: str) -> dict[str, str]:
    """Give what a challenge asks the authorization request to say (RFC 9470 §4)."""
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    assert parameters["error"] == "insufficient_user_authentication"
    return {name: parameters[name] for name in ("acr_values", "max_age") if name in parameters}


def payload_of(token: str) -> dict[str, Any]:
    """Read a JWT's claims without verifying anything."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * 3))
    return decoded


def fetch_json(
    url: str,
    *,
    method: str | None = None,
    form: Mapping[str, str] | None = None,
    document: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Call an endpoint; give its JSON, None for an empty body.

    Raises:
        AssertionError: It answered with an error; says which, without the request.
    """
    data, fields = None, dict(headers or {})
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    elif document is not None:
        data, fields["Content-Type"] = json.dumps(document).encode(), "application/json"
    request = urllib.request.Request(url, data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            body = response.read()
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")
        raise AssertionError(f"{error.code} from {url}: {text[:300]}") from None
    return json.loads(body) if body else None
