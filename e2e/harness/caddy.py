"""Caddy with `forward_auth`, on the configuration that the project ships."""

from __future__ import annotations

from e2e.harness.addresses import Tcp, Unix, free_port
from e2e.harness.forwarding import (
    CONFIGURATIONS,
    ForwardingGateway,
    find_program,
    read_forward_auth,
    refused_by_go,
    replace_once,
)
from e2e.harness.gateway import Capabilities, Wiring
from e2e.harness.runtime import Program


class CaddyGateway(ForwardingGateway):
    """Satisfies `Gateway`."""

    capabilities = Capabilities(
        read_check=read_forward_auth,
        relays_unavailable=True,
        own_refusal=refused_by_go,
        checks_without_hop_by_hop=True,
        http2_tolerated=frozenset({"underscore"}),
    )

    def __init__(self, wiring: Wiring) -> None:
        address = Tcp(free_port())
        name = f"caddy-{address.port}"
        file = f"{name}.Caddyfile"
        path = str(wiring.directory / file)
        home = str(wiring.directory / f"{name}-home")
        program = Program(
            kind="caddy",
            name=name,
            directory=wiring.directory,
            files={file: _configuration(wiring, address)},
            ports=(address.port,),
            binary=lambda: find_program("caddy") or "caddy",
            arguments=("run", "--adapter", "caddyfile", "--config", path),
            # Where it keeps certificates and its last configuration.
            environment={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
        )
        super().__init__(address, program)


def _configuration(wiring: Wiring, address: Tcp) -> str:
    text = (CONFIGURATIONS / "caddy" / "Caddyfile").read_text()
    authz = wiring.authz
    dial = f"unix/{authz.path}" if isinstance(authz, Unix) else str(authz)
    text = replace_once(text, "forward_auth 127.0.0.1:9191", f"forward_auth {dial}")
    text = replace_once(text, "@metadata 127.0.0.1:9191", f"@metadata {dial}")
    text = replace_once(text, "reverse_proxy 127.0.0.1:8000", f"reverse_proxy {wiring.upstream}")
    text = replace_once(text, "http://:8080", f"http://:{address.port}")
    # HTTP/2 without TLS is for tests.
    return replace_once(text, "\tservers {\n", "\tservers {\n\t\tprotocols h1 h2 h2c\n")
