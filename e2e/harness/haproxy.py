"""HAProxy with our Lua action, on the configuration that the project ships."""

from __future__ import annotations

from e2e.harness.addresses import Tcp, Unix, free_port
from e2e.harness.forwarding import (
    CONFIGURATIONS,
    ForwardingGateway,
    find_program,
    read_forward_auth,
    replace_once,
)
from e2e.harness.gateway import Capabilities, Wiring
from e2e.harness.runtime import Program

_DIRECTORY = CONFIGURATIONS / "haproxy"


class HaproxyGateway(ForwardingGateway):
    """Satisfies `Gateway`."""

    capabilities = Capabilities(
        read_check=read_forward_auth,
        relays_unavailable=True,
        absolute_form_wins=False,
        merges_equal_hosts=True,
        replaces_request_id=True,
        without_http2="HAProxy passes trailers on, and in HTTP/2 sees them too late to refuse",
    )

    def __init__(self, wiring: Wiring) -> None:
        address, checks = Tcp(free_port()), Tcp(free_port())
        name = f"haproxy-{address.port}"
        file = f"{name}.cfg"
        program = Program(
            kind="haproxy",
            name=name,
            directory=wiring.directory,
            files={file: _configuration(wiring, address, checks)},
            ports=(address.port, checks.port),
            binary=lambda: find_program("haproxy") or "haproxy",
            arguments=("-db", "-f", str(wiring.directory / file)),
            sources=(_DIRECTORY,),
        )
        super().__init__(address, program)


def _configuration(wiring: Wiring, address: Tcp, checks: Tcp) -> str:
    text = (_DIRECTORY / "haproxy.cfg").read_text()
    authz = wiring.authz
    server = f"unix@{authz.path}" if isinstance(authz, Unix) else str(authz)
    text = replace_once(text, "http://127.0.0.1:9190", f"http://{checks}")
    text = replace_once(text, "bind 127.0.0.1:9190", f"bind {checks}")
    text = replace_once(text, "server bridge 127.0.0.1:9191", f"server bridge {server}")
    text = replace_once(text, "server api 127.0.0.1:8000", f"server api {wiring.upstream}")
    text = replace_once(text, "bind 127.0.0.1:8080 ", f"bind {address} ")
    return replace_once(text, "lua-load stepup.lua", f"lua-load {_DIRECTORY / 'stepup.lua'}")
