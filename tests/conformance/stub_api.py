"""A small resource server that conforms, and can be given one fault at a time."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOST = "api.test"
RESOURCE = "https://api.test/accounts"
WELL_KNOWN = "/.well-known/oauth-protected-resource"
MFA, PHR = "urn:example:mfa", "urn:example:phr"
NAMES = (
    "good", "weak", "stale", "strong",
    "expired", "wrong_audience", "bad_signature", "insufficient_scope",
)  # fmt: skip
TOKENS = {
    ".".join(hashlib.sha256(f"{name}{part}".encode()).hexdigest() for part in range(3)): name
    for name in NAMES
}

Params = dict[str, str]


@dataclass(frozen=True)
class Asked:
    """A request, as the stub understands it.

    Attributes:
        token: Its name; None: no token.
        malformed: The `Authorization` header is none.
        again: The same request came before.
    """

    method: str
    path: str
    lines: tuple[str, ...]
    token: str | None = None
    malformed: bool = False
    in_query: bool = False
    again: bool = False

    @property
    def sensitive(self) -> bool:
        return self.path == "/transfers"


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        params: Of the Bearer challenge, quoted as they are; None: no challenge.
        line: The challenge as it is, instead.
    """

    status: int
    params: Params | None = None
    line: str | None = None
    cache_control: str | None = "no-store"
    exposed: str | None = "WWW-Authenticate"
    content_type: str = "application/json"
    body: bytes = b"{}"
    location: str | None = None

    def having(self, **params: str | None) -> Answer:
        """Give the same with other parameters; None takes one away."""
        merged = {**(self.params or {}), **params}
        return replace(self, params={key: v for key, v in merged.items() if v is not None})


Fault = Callable[[Asked, Answer], Answer | None]
"""Changes an answer; None: the connection is closed without one."""


def _none(_: Asked, answer: Answer) -> Answer:
    return answer


def metadata(**members: Any) -> dict[str, Any]:
    document = {
        "resource": RESOURCE,
        "authorization_servers": ["https://as.test"],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["accounts:read"],
    }
    return {key: value for key, value in {**document, **members}.items() if value != "LEFT OUT"}


def answer_of(asked: Asked) -> Answer:
    """Answer as the RFCs say."""
    if asked.path.startswith(WELL_KNOWN):
        found = asked.path == f"{WELL_KNOWN}/accounts"
        return Answer(200 if found else 404, body=json.dumps(metadata()).encode())
    link = f"https://{HOST}{WELL_KNOWN}/accounts"
    bare = Answer(401).having(realm="stub", resource_metadata=link)
    if asked.malformed:
        return replace(bare.having(error="invalid_request"), status=400)
    step_up = bare.having(
        error="insufficient_user_authentication", acr_values=f"{MFA} {PHR}", max_age="300"
    )
    match asked.token:
        case None:
            return bare
        case "strong":
            return Answer(200)
        case "insufficient_scope":
            return replace(
                bare.having(error="insufficient_scope", scope="accounts:read"), status=403
            )
        case "good" | "weak" | "stale":
            return step_up if asked.sensitive else Answer(200)
        case _:
            return bare.having(
                error="invalid_token",
                error_description="It is no good",
                error_uri="https://api.test/errors",
            )


@dataclass
class StubApi:
    """The server.

    Attributes:
        seen: Every request, in order.
    """

    fault: Fault = _none
    seen: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, target: str, lines: tuple[str, ...]) -> Answer | None:
        asked = understand(method, target, lines)
        if asked in self.seen:
            asked = replace(asked, again=True)
        self.seen.append(asked)
        return self.fault(asked, answer_of(asked))


def understand(method: str, target: str, lines: tuple[str, ...]) -> Asked:
    parts = urlsplit(target)
    asked = Asked(method, parts.path, lines, in_query="access_token" in parse_qs(parts.query))
    bearers = [line for line in lines if line.lower().split(" ")[0] == "bearer"]
    if not bearers:
        return asked
    credentials = bearers[0].partition(" ")[2]
    if len(lines) > 1 or not credentials or {" ", ","} & set(credentials):
        return replace(asked, malformed=True)
    return replace(asked, token=TOKENS.get(credentials, "garbage"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: StubApi

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        lines = tuple(self.headers.get_all("authorization", []))
        answer = self.api.answer(self.command, self.path, lines)
        self.close_connection = True
        if answer is not None:
            self._send(answer)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        line = answer.line
        if line is None and answer.params is not None:
            params = ", ".join(f'{name}="{value}"' for name, value in answer.params.items())
            line = f"Bearer {params}".rstrip()
        for name, value in (
            ("WWW-Authenticate", line),
            ("Cache-Control", answer.cache_control),
            ("Access-Control-Expose-Headers", answer.exposed),
            ("Location", answer.location),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
        ):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def serving(api: StubApi) -> Any:
    handler = type("Handler", (_Handler,), {"api": api})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        api.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


PROFILE = f"""\
resource: {RESOURCE}
host: {HOST}
ordinary:
  path: /accounts
sensitive:
  method: POST
  path: /transfers
  body: '{{"amount":1}}'
  acr_values: [{MFA}, {PHR}]
  max_age: 300
tokens:
"""


def write_profile(directory: Path, text: str = PROFILE) -> Path:
    """Write the profile of the stub, and its tokens beside it."""
    for token, name in TOKENS.items():
        (directory / f"{name}.txt").write_text(f"{token}\n")
        text += f"  {name}: {{file: {name}.txt}}\n"
    file = directory / "profile.yaml"
    file.write_text(text)
    return file
