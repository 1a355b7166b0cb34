"""HAProxy with our Lua action, on the configuration that the project ships."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.harness.addresses import Tcp, Unix, free_port
from e2e.harness.forwarding import answers, read_forwarded_check, replace_once
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.runtime import Program, prepare
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

DIRECTORY = Path(__file__).parents[2] / "gateways" / "haproxy"
_START_SECONDS = 30


def find_binary() -> str | None:
    """Give HAProxy: `HAPROXY_BIN`, or `haproxy` on the PATH or in /usr/sbin."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return os.environ.get("HAPROXY_BIN") or shutil.which("haproxy", path=path)


def missing() -> str | None:
    """Say why HAProxy cannot run here; None where it can."""
    if find_binary() is None:
        return "no HAProxy: set HAPROXY_BIN, or install it (Debian: haproxy)"
    return None


def read_check(received: Received) -> Check:
    """Read what our action asked: the client's request in headers."""
    return read_forwarded_check(
        received, "/forward-auth", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"
    )


CAPABILITIES = Capabilities(
    read_check=read_check,
    relays_unavailable=True,
    absolute_form_wins=False,
    merges_equal_hosts=True,
    replaces_request_id=True,
    without_http2="HAProxy passes trailers on, and in HTTP/2 sees them too late to refuse",
)


class HaproxyGateway:
    """Satisfies `Gateway`."""

    capabilities = CAPABILITIES

    def __init__(self, wiring: Wiring) -> None:
        self.address = self.http2_address = Tcp(free_port())
        self._checks = Tcp(free_port())
        name = f"haproxy-{self.address.port}"
        file = f"{name}.cfg"
        self._program = prepare(
            Program(
                kind="haproxy",
                name=name,
                directory=wiring.directory,
                files={file: self._configuration(wiring)},
                ports=(self.address.port, self._checks.port),
                binary=lambda: find_binary() or "haproxy",
                arguments=("-db", "-f", str(wiring.directory / file)),
                sources=(DIRECTORY,),
            )
        )

    def _configuration(self, wiring: Wiring) -> str:
        text = (DIRECTORY / "haproxy.cfg").read_text()
        authz = wiring.authz
        server = f"unix@{authz.path}" if isinstance(authz, Unix) else str(authz)
        text = replace_once(text, "http://127.0.0.1:9190", f"http://{self._checks}")
        text = replace_once(text, "bind 127.0.0.1:9190", f"bind {self._checks}")
        text = replace_once(text, "server bridge 127.0.0.1:9191", f"server bridge {server}")
        text = replace_once(text, "server api 127.0.0.1:8000", f"server api {wiring.upstream}")
        text = replace_once(text, "bind 127.0.0.1:8080 ", f"bind {self.address} ")
        return replace_once(text, "lua-load stepup.lua", f"lua-load {DIRECTORY / 'stepup.lua'}")

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._program.outputs

    def start(self) -> None:
        self._program.start()
        wait_until(
            lambda: answers(self.address, self._program),
            seconds=_START_SECONDS,
            what="HAProxy serves",
        )

    def stop(self) -> None:
        self._program.stop()
