"""The two requests that a client makes to the authorization server itself, by way of Authlib.

By its core alone: its own integration with httpx is deprecated in favour of another package.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from typing import Any

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client

from bridge.client.authorization_request import AuthorizationRequest
from bridge.client.demand import USE_DPOP_NONCE
from bridge.client.dpop import DPoPKey
from bridge.client.errors import LoginCancelledError, LoginError, UnmetRequirementsError
from bridge.client.origin import place_of
from bridge.client.token import Token, read_token

_MAX_TEXT = 200
# error, error_description: %x20-21 / %x23-5B / %x5D-7E  (RFC 6749 §5.2)
_NEVER = re.compile(r"[^ !#-\[\]-~]")


class ClientCredentials:
    """The client as it is registered at the authorization server.

    Args:
        client_secret: None: a public client (RFC 6749 §2.1), as programs on a desktop are.
    """

    def __init__(self, client_id: str, client_secret: str | None = None) -> None:
        method = "none" if client_secret is None else "client_secret_basic"
        self.client_id = client_id
        self._auth = ClientAuth(client_id, client_secret, method)

    def push(self, request: AuthorizationRequest, endpoint: str, http: httpx.Client) -> str:
        """Push an authorization request (RFC 9126 §2.1); give the URL for the browser.

        Raises:
            LoginError: It is refused, or there is no answer.
        """
        answer = self._post(endpoint, request.params, http)
        request_uri = answer.get("request_uri")
        if not isinstance(request_uri, str):
            raise LoginError("the authorization server's PAR answer has no request_uri")
        return request.pushed_url(request_uri)

    def redeem(
        self,
        code: str,
        request: AuthorizationRequest,
        token_endpoint: str,
        http: httpx.Client,
        dpop_key: DPoPKey | None = None,
    ) -> Token:
        """Exchange the code for a token (RFC 6749 §4.1.3).

        Raises:
            LoginError: It is refused, or there is no usable answer.
        """
        client = OAuth2Client(session=http, client_id=self.client_id)
        client.register_compliance_hook("access_token_response", _check)
        more = {name: request.params[name] for name in ("resource",) if name in request.params}
        try:
            answer = client.fetch_token(
                token_endpoint,
                grant_type="authorization_code",
                code=code,
                redirect_uri=request.params["redirect_uri"],
                code_verifier=request.code_verifier,
                auth=_Authentication(self._auth, dpop_key),
                **more,
            )
        except httpx.HTTPError as error:
            raise LoginError(f"the token endpoint: {type(error).__name__}") from None
        token = read_token(answer, request.scopes, time.time())
        if dpop_key is not None and token.token_type != "DPoP":
            raise LoginError("the authorization server gave a Bearer token for a DPoP proof")
        return token

    def _post(self, url: str, form: dict[str, str], http: httpx.Client) -> dict[str, Any]:
        try:
            response = _check(http.post(url, data=form, auth=_Authentication(self._auth, None)))
        except httpx.HTTPError as error:
            raise LoginError(f"the PAR endpoint: {type(error).__name__}") from None
        answer: dict[str, Any] = response.json()
        return answer


def login_error(error: object, description: object) -> LoginError:
    """Make the exception of an authorization server's error, with what it says of it."""
    code = _show(error) if isinstance(error, str) and error else "an error without a name"
    text = f"the authorization server answered {code}"
    if isinstance(description, str) and description:
        text = f"{text}: {_show(description)}"
    if code == "access_denied":
        return LoginCancelledError(f"the login was cancelled or refused; {text}", code)
    if code == "unmet_authentication_requirements":
        return UnmetRequirementsError(f"the user cannot log in as the API asks; {text}", code)
    return LoginError(text, code)


class _Authentication(httpx.Auth):
    """Authenticates the client, and proves the DPoP key (RFC 9449 §5, §8)."""

    requires_request_body = True
    requires_response_body = True

    def __init__(self, client_auth: ClientAuth, dpop_key: DPoPKey | None) -> None:
        self._client_auth = client_auth
        self._dpop_key = dpop_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        url, headers, body = self._client_auth.prepare(  # type: ignore[no-untyped-call]
            request.method, str(request.url), request.headers.copy(), request.content.decode()
        )
        headers.pop("content-length", None)
        request = httpx.Request(
            request.method, url, headers=headers, content=body, extensions=request.extensions
        )
        if self._dpop_key is None:
            yield request
            return
        request.headers["dpop"] = self._dpop_key.proof(request.method, url)
        response = yield request
        nonce = response.headers.get("dpop-nonce")
        error = (_read(response) or {}).get("error")
        if nonce is not None and response.is_client_error and error == USE_DPOP_NONCE:
            request.headers["dpop"] = self._dpop_key.proof(request.method, url, nonce=nonce)
            yield request


def _check(response: httpx.Response) -> httpx.Response:
    """Refuse what is no success with a JSON object; Authlib looks for `error` alone."""
    answer = _read(response)
    if answer is not None and "error" in answer:
        raise login_error(answer["error"], answer.get("error_description"))
    place = place_of(str(response.request.url))
    if not response.is_success:
        raise LoginError(f"{place} answered {response.status_code}")
    if answer is None:
        raise LoginError(f"{place} answered no JSON object")
    return response


def _read(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _show(text: str) -> str:
    return _NEVER.sub("?", text)[:_MAX_TEXT]
