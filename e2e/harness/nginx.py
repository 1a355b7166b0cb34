"""nginx with `auth_request`, on the configuration that the project ships."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from e2e.harness.addresses import Tcp, free_port
from e2e.harness.forwarding import answers, read_forwarded_check, replace_once
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.http1 import Request
from e2e.harness.runtime import Program, prepare
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

CONFIGURATION = Path(__file__).parents[2] / "gateways" / "nginx" / "nginx.conf"
_START_SECONDS = 30


def find_binary() -> str | None:
    """Give nginx: `NGINX_BIN`, or `nginx` on the PATH or in /usr/sbin."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return os.environ.get("NGINX_BIN") or shutil.which("nginx", path=path)


def missing() -> str | None:
    """Say why nginx cannot run here; None where it can."""
    if find_binary() is None:
        return "no nginx: set NGINX_BIN, or install it (Debian: nginx)"
    return None


def read_check(received: Received) -> Check:
    """Read what nginx asked: the client's request in headers."""
    return read_forwarded_check(
        received, "/nginx", "x-original-method", "x-original-uri", "x-original-host"
    )


def own_refusal(request: Request) -> int | None:
    """Tell what nginx refuses before it asks: broken `%`, NUL, two `Authorization` lines."""
    path = request.target.partition("?")[0]
    lines = [name for name, _ in request.headers if name.lower() == "authorization"]
    broken = re.search("%(?![0-9A-Fa-f]{2})|%00", path)
    return 400 if broken or len(lines) > 1 else None


CAPABILITIES = Capabilities(
    read_check=read_check,
    relays_unavailable=True,
    own_refusal=own_refusal,
    absolute_form_wins=False,
    replaces_request_id=True,
    http2_tolerated=frozenset({"connection", "underscore"}),
)


class NginxGateway:
    """Satisfies `Gateway`."""

    capabilities = CAPABILITIES

    def __init__(self, wiring: Wiring) -> None:
        self.address, self.http2_address = Tcp(free_port()), Tcp(free_port())
        name = f"nginx-{self.address.port}"
        prefix = wiring.directory / f"{name}-prefix"
        (prefix / "temp").mkdir(parents=True)
        self._error_log = prefix / "error.log"
        self._access_log = prefix / "access.log"
        file = f"{name}.conf"
        directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        directives += f" pid {prefix / 'nginx.pid'};"
        self._program = prepare(
            Program(
                kind="nginx",
                name=name,
                directory=wiring.directory,
                files={file: self._configuration(wiring, prefix)},
                ports=(self.address.port, self.http2_address.port),
                binary=lambda: find_binary() or "nginx",
                arguments=(
                    *("-p", str(prefix), "-e", str(self._error_log)),
                    *("-c", str(wiring.directory / file), "-g", directives),
                ),
            )
        )

    def _configuration(self, wiring: Wiring, prefix: Path) -> str:
        text = CONFIGURATION.read_text()
        text = replace_once(text, "server 127.0.0.1:9191;", f"server {wiring.authz};")
        text = replace_once(text, "server 127.0.0.1:8000;", f"server {wiring.upstream};")
        text = replace_once(
            text,
            "listen 127.0.0.1:8080;",
            f"listen {self.address}; listen {self.http2_address} http2;",
        )
        text = replace_once(text, "/var/log/nginx/error.log", str(self._error_log))
        text = replace_once(text, "/var/log/nginx/access.log", str(self._access_log))
        temporary = "".join(
            f"{each}_temp_path {prefix / 'temp' / each};\n"
            for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return replace_once(text, "\nhttp {\n", f"\nhttp {{\n{temporary}")

    @property
    def logs(self) -> tuple[Path, ...]:
        return (*self._program.outputs, self._error_log, self._access_log)

    def start(self) -> None:
        self._program.start()
        wait_until(
            lambda: answers(self.address, self._program),
            seconds=_START_SECONDS,
            what="nginx serves",
        )

    def stop(self) -> None:
        self._program.stop()
