"""A login for desktop programs: the system's browser, and a redirect to loopback (RFC 8252)."""

from __future__ import annotations

import ssl
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping

import httpx

from bridge.client.authorization_request import AuthorizationRequest, authorization_request
from bridge.client.demand import unite
from bridge.client.discovery import choose_issuer, find_resource, find_server
from bridge.client.errors import LoginError
from bridge.client.flow import LoginRequest
from bridge.client.metadata import Server
from bridge.client.redirect_listener import RedirectListener
from bridge.client.token import Token
from bridge.client.token_endpoint import ClientCredentials, login_error

_HTTP_TIMEOUT_SECONDS = 10.0


def open_browser_or_print(url: str) -> None:
    """Open the system's browser, or ask the user to, on stderr."""
    if not webbrowser.open(url):
        print_url(url)


def print_url(url: str) -> None:
    """Ask the user, on stderr, to open a URL."""
    print(f"open this in a browser: {url}", file=sys.stderr, flush=True)


class LoopbackLogin:
    """A login callback. It blocks until the user is back; an async client runs it in a thread.

    Args:
        client_id: As registered, with the redirect URI `http://127.0.0.1/callback`, any port.
        issuer: The one to trust; None: the first that the API names (RFC 9728 §2).
        scopes: Always asked for, beside those of the challenge.
        client_secret: None for a public client.
        port: Where the browser comes back; 0: a free one. Only for servers that do not ignore it.
        path: Of the redirect URI.
        timeout_seconds: How long the user may take.
        open_browser: Called with the URL, in a thread of its own.
        essential_acr: Ask by the `claims` parameter, see `authorization_request`.
        tell: Called with each step, a line for a person, without secrets.
        verify: For TLS; None: the system's authorities.

    Spec: RFC 8252 §7.3, §8.1; RFC 9207 §2.4; RFC 9700 §4.4 (mix-up).
    """

    def __init__(
        self,
        client_id: str,
        *,
        issuer: str | None = None,
        scopes: Iterable[str] = (),
        client_secret: str | None = None,
        port: int = 0,
        path: str = "/callback",
        timeout_seconds: float = 300.0,
        open_browser: Callable[[str], object] = open_browser_or_print,
        essential_acr: bool = False,
        tell: Callable[[str], None] = lambda _: None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._credentials = ClientCredentials(client_id, client_secret)
        self._issuer = issuer
        self._scopes = tuple(scopes)
        self._port = port
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._open_browser = open_browser
        self._essential_acr = essential_acr
        self._tell = tell
        self._verify: ssl.SSLContext | bool = True if verify is None else verify

    def __call__(self, request: LoginRequest) -> Token:
        """Log the user in as a challenge asks.

        Raises:
            StepUpError: No token; the text says why.
        """
        with (
            RedirectListener(self._port, self._path) as listener,
            httpx.Client(verify=self._verify, timeout=_HTTP_TIMEOUT_SECONDS) as http,
        ):
            server, wanted = self._prepare(request, listener.redirect_uri, http)
            url = self._push(wanted, server, http)
            listener.expect(wanted.state)
            self._tell("waiting for the browser to come back from the login")
            # It may block as long as the browser is open.
            threading.Thread(target=self._open, args=(url, listener), daemon=True).start()
            answer = listener.wait(self._timeout_seconds, request.cancelled)
            code = _read_answer(answer, server)
            token = self._credentials.redeem(
                code, wanted, server.token_endpoint, http, request.dpop_key
            )
        self._tell(f"logged in: {token.token_type} token, scope {' '.join(token.scopes) or '-'}")
        return token

    def _prepare(
        self, request: LoginRequest, redirect_uri: str, http: httpx.Client
    ) -> tuple[Server, AuthorizationRequest]:
        resource = find_resource(request, http)
        if resource is not None:
            issuers = ", ".join(resource.authorization_servers)
            self._tell(f"resource {resource.resource} takes tokens of {issuers}")
        server = find_server(choose_issuer(resource, request, self._issuer), http)
        self._tell(f"logging in at {server.issuer} for: {request.demand}")
        scopes = unite(self._scopes, request.scopes)
        if not scopes and resource is not None:
            scopes = resource.scopes_supported
        return server, authorization_request(
            request.demand,
            server,
            client_id=self._credentials.client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            essential_acr=self._essential_acr,
            resource=None if resource is None else resource.resource,
            dpop_jkt=None if request.dpop_key is None else request.dpop_key.thumbprint,
        )

    def _open(self, url: str, listener: RedirectListener) -> None:
        try:
            self._open_browser(url)
        except Exception as error:
            text = f"the browser cannot be opened: {type(error).__name__}"
            listener.give_up(LoginError(text))

    def _push(self, wanted: AuthorizationRequest, server: Server, http: httpx.Client) -> str:
        """Push the request where the server takes such (RFC 9126); give the browser's URL."""
        endpoint = server.pushed_authorization_request_endpoint
        if endpoint is None:
            return wanted.url
        self._tell("pushing the authorization request (PAR)")
        return self._credentials.push(wanted, endpoint, http)


def _read_answer(answer: Mapping[str, str], server: Server) -> str:
    """Read an authorization response whose state is known to be right; give the code."""
    iss = answer.get("iss")
    if (iss is None and server.says_iss) or (iss is not None and iss != server.issuer):
        raise LoginError("the authorization response is of another issuer (RFC 9207 §2.4)")
    if "error" in answer:
        raise login_error(answer["error"], answer.get("error_description"))
    if not answer.get("code"):
        raise LoginError("the authorization response has neither code nor error")
    return answer["code"]
