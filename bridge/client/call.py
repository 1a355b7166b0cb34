"""`stepup-bridge call`: one request to a protected API, with every login that it takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from bridge.client.dpop import DPoPKey
from bridge.client.errors import LoginError, StepUpError
from bridge.client.file_store import FileStore
from bridge.client.flow import LoginRequest
from bridge.client.httpx_auth import StepUpAuth
from bridge.client.keyring import Keyring
from bridge.client.login import Login
from bridge.client.loopback_login import LoopbackLogin, open_browser_or_print, print_url
from bridge.client.origin import place_of
from bridge.client.token import Token

_HTTP_TIMEOUT_SECONDS = 30.0
_NOT_PRINTABLE = re.compile(r"[^\t -~]")


@dataclass(frozen=True, slots=True)
class Call:
    """What the command line asks for.

    Attributes:
        headers: Beside the token's own.
        client_id: None: only an API that wants no login can be called.
        issuer: None: as the API says.
        scopes: To ask for, beside those of challenges.
        port: Where the browser comes back; 0: a free one.
        timeout_seconds: How long the user may take.
        browser: Open one; else print the URL.
        token_file: None: tokens are kept in memory.
        dpop: Bind tokens to a key of this run.
        include: Print status and headers too.
        quiet: Say no steps.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    client_id: str | None = None
    issuer: str | None = None
    scopes: tuple[str, ...] = ()
    port: int = 0
    timeout_seconds: float = 300.0
    browser: bool = True
    token_file: Path | None = None
    dpop: bool = False
    include: bool = False
    quiet: bool = False


def run_call(call: Call) -> bool:
    """Make the call: the response goes to stdout, the steps to stderr.

    Returns:
        Whether a response below 400 came.
    """
    try:
        response = _send(call)
    except StepUpError as error:
        _say(f"stepup-bridge call: {error}")
        return False
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _say(f"stepup-bridge call: {place_of(call.url)}: {type(error).__name__}: {error}")
        return False
    except KeyboardInterrupt:
        _say("stepup-bridge call: cancelled")
        return False
    _print(response, include=call.include)
    return response.status_code < HTTPStatus.BAD_REQUEST


def _send(call: Call) -> httpx.Response:
    def tell(step: str) -> None:
        if not call.quiet:
            _say(f"* {step}")

    def tell_request(request: httpx.Request) -> None:
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        with_token = f", with a {scheme} token" if scheme else ""
        tell(f"{request.method} {place_of(str(request.url))}{with_token}")

    def tell_response(response: httpx.Response) -> None:
        tell(f"{response.status_code} {response.reason_phrase}")
        for line in response.headers.get_list("www-authenticate"):
            tell(f"  www-authenticate: {line}")

    keyring = Keyring(
        DPoPKey() if call.dpop else None,
        FileStore(call.token_file) if call.token_file else None,
        tell,
    )
    with httpx.Client(
        timeout=_HTTP_TIMEOUT_SECONDS,
        event_hooks={"request": [tell_request], "response": [tell_response]},
    ) as http:
        return http.request(
            call.method,
            call.url,
            headers=list(call.headers),
            content=call.body,
            auth=StepUpAuth(_login(call, tell), keyring=keyring),
        )


def _login(call: Call, tell: Callable[[str], None]) -> Login:
    if call.client_id is None:
        return _refuse
    return LoopbackLogin(
        call.client_id,
        issuer=call.issuer,
        scopes=call.scopes,
        port=call.port,
        timeout_seconds=call.timeout_seconds,
        open_browser=open_browser_or_print if call.browser else print_url,
        tell=tell,
    )


def _refuse(_: LoginRequest) -> Token:
    raise LoginError(
        "the API asks for a login: give --client-id, as registered at its authorization server"
    )


def _print(response: httpx.Response, *, include: bool) -> None:
    if include:
        print(f"{response.http_version} {response.status_code} {response.reason_phrase}")
        for name, value in response.headers.multi_items():
            print(f"{name}: {_printable(value)}")
        print(flush=True)
    sys.stdout.buffer.write(response.content)
    sys.stdout.buffer.flush()


def _say(line: str) -> None:
    print(_printable(line), file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """Replace what could command a terminal: servers wrote some of it."""
    return _NOT_PRINTABLE.sub("?", text)
