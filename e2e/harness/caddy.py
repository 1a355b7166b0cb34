"""Caddy with `forward_auth`, on the configuration that the project ships."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from e2e.harness.addresses import Tcp, Unix, free_port
from e2e.harness.forwarding import answers, read_forwarded_check, replace_once
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.http1 import Request
from e2e.harness.runtime import Program, prepare
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

CONFIGURATION = Path(__file__).parents[2] / "gateways" / "caddy" / "Caddyfile"
_START_SECONDS = 30


def find_binary() -> str | None:
    """Give Caddy: `CADDY_BIN`, or `caddy` on the PATH."""
    return os.environ.get("CADDY_BIN") or shutil.which("caddy")


def missing() -> str | None:
    """Say why Caddy cannot run here; None where it can."""
    if find_binary() is None:
        return "no Caddy: set CADDY_BIN, or install it (Debian: caddy)"
    return None


def read_check(received: Received) -> Check:
    """Read what Caddy asked: the client's request in headers."""
    return read_forwarded_check(
        received, "/forward-auth", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"
    )


def own_refusal(request: Request) -> int | None:
    """Tell what Go's parser refuses before Caddy asks: a broken `%`."""
    path = request.target.partition("?")[0]
    return 400 if re.search("%(?![0-9A-Fa-f]{2})", path) else None


CAPABILITIES = Capabilities(
    read_check=read_check,
    relays_unavailable=True,
    own_refusal=own_refusal,
    checks_without_hop_by_hop=True,
    http2_tolerated=frozenset({"underscore"}),
)


class CaddyGateway:
    """Satisfies `Gateway`."""

    capabilities = CAPABILITIES

    def __init__(self, wiring: Wiring) -> None:
        self.address = self.http2_address = Tcp(free_port())
        name = f"caddy-{self.address.port}"
        file = f"{name}.Caddyfile"
        home = str(wiring.directory / f"{name}-home")
        self._program = prepare(
            Program(
                kind="caddy",
                name=name,
                directory=wiring.directory,
                files={file: self._configuration(wiring)},
                ports=(self.address.port,),
                binary=lambda: find_binary() or "caddy",
                arguments=(
                    *("run", "--adapter", "caddyfile"),
                    *("--config", str(wiring.directory / file)),
                ),
                # Where it keeps certificates and its last configuration.
                environment={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
            )
        )

    def _configuration(self, wiring: Wiring) -> str:
        text = CONFIGURATION.read_text()
        authz = wiring.authz
        dial = f"unix/{authz.path}" if isinstance(authz, Unix) else str(authz)
        text = replace_once(text, "forward_auth 127.0.0.1:9191", f"forward_auth {dial}")
        text = replace_once(text, "@metadata 127.0.0.1:9191", f"@metadata {dial}")
        text = replace_once(
            text, "\treverse_proxy 127.0.0.1:8000", f"\treverse_proxy {wiring.upstream}"
        )
        text = replace_once(text, "http://:8080", f"http://:{self.address.port}")
        # HTTP/2 without TLS is for tests.
        return replace_once(text, "\tservers {\n", "\tservers {\n\t\tprotocols h1 h2 h2c\n")

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._program.outputs

    def start(self) -> None:
        self._program.start()
        wait_until(
            lambda: answers(self.address, self._program),
            seconds=_START_SECONDS,
            what="Caddy serves",
        )

    def stop(self) -> None:
        self._program.stop()
