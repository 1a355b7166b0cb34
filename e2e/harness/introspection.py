"""An authorization server that is asked about its tokens (RFC 7662), and misbehaves on demand."""

from __future__ import annotations

import json
import secrets
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from e2e.harness.http1 import read_exactly, read_head
from e2e.harness.issuer import Behaviour, Issuer, send
from e2e.harness.tokens import TokenSpec, claims_of
from e2e.harness.upstream import Received, parse_head

CLIENT_ID = "bridge"


class IntrospectingIssuer(Issuer):
    """An issuer of opaque tokens too; `introspection` is how it behaves when asked about one."""

    def __init__(self) -> None:
        super().__init__()
        self.introspection: Behaviour = "ok"
        self.active: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.secret = ""
        self.change_secret()

    def change_secret(self) -> None:
        """Take another client secret from now on; both are searched for in all that is said."""
        self.secret = secrets.token_hex(32)
        self._basic = b64encode(f"{CLIENT_ID}:{self.secret}".encode()).decode()
        self.minted += [self.secret, self._basic]

    def metadata(self) -> dict[str, str]:
        return {**super().metadata(), "introspection_endpoint": f"{self.url}/introspect"}

    def mint_opaque(self, spec: TokenSpec | None = None) -> str:
        token = secrets.token_urlsafe(48)
        self.active[token] = claims_of(spec or TokenSpec(), self.url)
        self.minted.append(token)
        return token

    def mint(self, spec: TokenSpec | None = None) -> str:
        token = super().mint(spec)
        self.active[token] = {}
        return token

    def entry(self, directory: Path, **settings: Any) -> dict[str, Any]:
        """Describe how the bridge asks; `settings` are of `introspection`."""
        file = directory / "introspection-secret"
        file.write_text(f"{self.secret}\n")
        return {"client_id": CLIENT_ID, "client_secret_file": str(file), **settings}

    def serve(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while (head := read_head(connection, buffer)) is not None:
            request = parse_head(head)
            if request.method == "POST":
                (length,) = request.values("content-length")
                form = read_exactly(connection, buffer, int(length))
                goes_on = self._introspect(connection, request, form)
            else:
                self.fetches.append(request.target)
                goes_on = self.answer(connection, self.behaviour, self._document(request.target))
            if not goes_on:
                return

    def _introspect(self, connection: socket.socket, request: Received, form: bytes) -> bool:
        members = parse_qs(form.decode(), strict_parsing=True)
        if request.values("authorization") != [f"Basic {self._basic}"]:
            send(connection, 401, b'{"error":"invalid_client"}')
            return True
        (token,) = members["token"]
        self.asked.append(token)
        known = self.active.get(token)
        answer = {"active": False} if known is None else {"active": True, **known}
        return self.answer(connection, self.introspection, json.dumps(answer).encode())
