"""Builds stacks, remembers everything that they said, and takes them down again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.harness.bridge import Bridge
from e2e.harness.gateway import Gateway, GatewayFactory, Wiring
from e2e.harness.introspection import IntrospectingIssuer
from e2e.harness.issuer import Issuer
from e2e.harness.policy import configuration
from e2e.harness.stack import Stack
from e2e.harness.tap import Tap
from e2e.harness.upstream import RecordingUpstream

_PAGES = ("/", "/metrics", "/readyz")


@dataclass(slots=True)
class Evidence:
    """Everything that bridges and gateways of this run said, for the search for secrets.

    Attributes:
        logs: Files that may still grow.
        pages: Of bridges that ended.
        issuers: Their tokens are secrets.
    """

    logs: list[Path] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    issuers: list[Issuer] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)

    def collect(self, bridge: Bridge) -> None:
        """Read the pages of a bridge, if it still answers."""
        if not bridge.running:
            return
        for page in _PAGES:
            reply = bridge.page(page)
            headers = "\n".join(f"{name}: {value}" for name, value in reply.headers)
            self.pages.append(f"{headers}\n{reply.body.decode(errors='replace')}")


class Arrangement:
    """Builds parts in one directory; `close` ends them in reverse order."""

    def __init__(self, directory: Path, evidence: Evidence) -> None:
        self.directory = directory
        self._evidence = evidence
        self._cleanup = ExitStack()
        self._bridges = 0

    def close(self) -> None:
        self._cleanup.close()

    def issuer(self, *, running: bool = True) -> Issuer:
        issuer = Issuer()
        if running:
            issuer.start()
        self._keep(issuer)
        return issuer

    def introspecting_issuer(self) -> IntrospectingIssuer:
        issuer = IntrospectingIssuer()
        issuer.start()
        self._keep(issuer)
        return issuer

    def _keep(self, issuer: Issuer) -> None:
        self._cleanup.callback(issuer.stop)
        self._evidence.issuers.append(issuer)

    def upstream(self) -> RecordingUpstream:
        upstream = RecordingUpstream()
        upstream.start()
        self._cleanup.callback(upstream.stop)
        return upstream

    def bridge(
        self, policy: Mapping[str, Any], *, unix: bool = False, ready: bool = True
    ) -> Bridge:
        """Start a bridge.

        Args:
            ready: Wait until it has the keys of all issuers.
        """
        self._bridges += 1
        bridge = Bridge(f"bridge{self._bridges}", policy, self.directory, unix=unix)
        self._evidence.logs += bridge.logs
        self._evidence.bridges.append(bridge)
        self._cleanup.callback(bridge.stop)
        self._cleanup.callback(self._evidence.collect, bridge)
        bridge.start(ready=ready)
        return bridge

    def tap(self, bridge: Bridge) -> Tap:
        tap = Tap(bridge.authz)
        tap.start()
        self._cleanup.callback(tap.stop)
        return tap

    def gateway(
        self,
        factory: GatewayFactory,
        bridge: Bridge,
        upstream: RecordingUpstream,
        tap: Tap | None = None,
    ) -> Gateway:
        authz = bridge.authz if tap is None else tap.address
        gateway = factory(Wiring(authz, bridge.admin, upstream.address, self.directory))
        self._evidence.logs += gateway.logs
        self._cleanup.callback(gateway.stop)
        gateway.start()
        return gateway

    def stack(self, factory: GatewayFactory, *, unix: bool = False, **top_level: Any) -> Stack:
        """Build a stack of its own, with the usual policy and further keys of it."""
        issuer, upstream = self.issuer(), self.upstream()
        bridge = self.bridge(configuration(issuer, **top_level), unix=unix)
        return Stack(issuer, upstream, bridge, self.gateway(factory, bridge, upstream))
