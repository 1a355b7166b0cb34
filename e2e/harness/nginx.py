"""nginx with `auth_request`, on the configuration that the project ships."""

from __future__ import annotations

import os
import re
from pathlib import Path

from e2e.harness.addresses import Tcp, free_port
from e2e.harness.forwarding import (
    CONFIGURATIONS,
    ForwardingGateway,
    find_program,
    read_forwarded_check,
    replace_once,
)
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.http1 import Request
from e2e.harness.runtime import Program
from e2e.harness.upstream import Received


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


class NginxGateway(ForwardingGateway):
    """Satisfies `Gateway`."""

    capabilities = Capabilities(
        read_check=read_check,
        relays_unavailable=True,
        own_refusal=own_refusal,
        absolute_form_wins=False,
        replaces_request_id=True,
        http2_tolerated=frozenset({"connection", "underscore"}),
    )

    def __init__(self, wiring: Wiring) -> None:
        address, http2_address = Tcp(free_port()), Tcp(free_port())
        name = f"nginx-{address.port}"
        prefix = wiring.directory / f"{name}-prefix"
        (prefix / "temp").mkdir(parents=True)
        file = f"{name}.conf"
        error_log = prefix / "error.log"
        directives = f"daemon off; pid {prefix / 'nginx.pid'};"
        if os.geteuid() == 0:  # a worker of another user could not write in there
            directives += " user root;"
        program = Program(
            kind="nginx",
            name=name,
            directory=wiring.directory,
            files={file: _configuration(wiring, prefix, address, http2_address)},
            ports=(address.port, http2_address.port),
            binary=lambda: find_program("nginx") or "nginx",
            arguments=(
                *("-p", str(prefix), "-e", str(error_log)),
                *("-c", str(wiring.directory / file), "-g", directives),
            ),
        )
        super().__init__(address, program, error_log, prefix / "access.log")
        self.http2_address = http2_address


def _configuration(wiring: Wiring, prefix: Path, address: Tcp, http2_address: Tcp) -> str:
    text = (CONFIGURATIONS / "nginx" / "nginx.conf").read_text()
    text = replace_once(text, "server 127.0.0.1:9191;", f"server {wiring.authz};")
    text = replace_once(text, "server 127.0.0.1:8000;", f"server {wiring.upstream};")
    listen = f"listen {address}; listen {http2_address} http2;"
    text = replace_once(text, "listen 127.0.0.1:8080;", listen)
    for log in ("error.log", "access.log"):
        text = replace_once(text, f"/var/log/nginx/{log}", str(prefix / log))
    temporary = "".join(
        f"{each}_temp_path {prefix / 'temp' / each};\n"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return replace_once(text, "\nhttp {\n", f"\nhttp {{\n{temporary}")
