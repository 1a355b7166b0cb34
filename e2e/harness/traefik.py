"""Traefik with ForwardAuth, on the dynamic configuration that the project ships."""

from __future__ import annotations

import yaml

from e2e.harness.addresses import Tcp, free_port
from e2e.harness.forwarding import (
    CONFIGURATIONS,
    ForwardingGateway,
    find_program,
    read_forward_auth,
    refused_by_go,
    replace_once,
)
from e2e.harness.gateway import Capabilities, Wiring
from e2e.harness.http1 import Request, exchange
from e2e.harness.runtime import Program


def missing() -> str | None:
    """Say why it cannot run here; None where it can."""
    if find_program("traefik") is None:
        return "no Traefik: set TRAEFIK_BIN, or put traefik on the PATH"
    return None


class TraefikGateway(ForwardingGateway):
    """Satisfies `Gateway`."""

    capabilities = Capabilities(
        read_check=read_forward_auth,
        relays_unavailable=True,
        own_fault=500,
        gives_up_seconds=35,
        own_refusal=refused_by_go,
        checks_without_hop_by_hop=True,
        http2_tolerated=frozenset({"underscore"}),
    )

    def __init__(self, wiring: Wiring) -> None:
        address = Tcp(free_port())
        name = f"traefik-{address.port}"
        static, dynamic = f"{name}.yml", f"{name}-dynamic.yml"
        program = Program(
            kind="traefik",
            name=name,
            directory=wiring.directory,
            files={
                static: _static(address, str(wiring.directory / dynamic)),
                dynamic: _dynamic(wiring),
            },
            ports=(address.port,),
            binary=lambda: find_program("traefik") or "traefik",
            arguments=(f"--configFile={wiring.directory / static}",),
        )
        super().__init__(address, program)

    def _answers(self) -> bool:
        """Tell whether it has read its routers; before that everything is 404."""
        probe = Request(target="/", host="nobody.test").raw()
        return (
            super()._answers()
            and (reply := exchange(self.address, probe)) is not None
            and (reply.status != 404)
        )


def _static(address: Tcp, dynamic: str) -> str:
    return yaml.safe_dump(
        {
            "entryPoints": {"websecure": {"address": str(address)}},
            "providers": {"file": {"filename": dynamic}},
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "INFO"},
        }
    )


def _dynamic(wiring: Wiring) -> str:
    text = (CONFIGURATIONS / "traefik" / "dynamic.yml").read_text()
    text = replace_once(text, "address: http://127.0.0.1:9191", f"address: http://{wiring.authz}")
    text = replace_once(text, "url: http://127.0.0.1:9191", f"url: http://{wiring.authz}")
    text = replace_once(text, "url: http://127.0.0.1:8000", f"url: http://{wiring.upstream}")
    # The suite speaks no TLS, and to every host.
    assert text.count("      tls: {}\n") == 2
    text = text.replace("      tls: {}\n", "")
    text = replace_once(text, "rule: Host(`api.example.com`)\n", "rule: PathPrefix(`/`)\n")
    return replace_once(text, "rule: Host(`api.example.com`) && ", "rule: ")
