"""What the suite needs of a gateway, whichever it is and however it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from e2e.harness.addresses import Address, Tcp


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What scenarios must know of a gateway to say what to expect.

    Attributes:
        fault_status: What the client gets when the bridge gives no answer, or a 5xx.
        relays_unavailable: The bridge's own 503 with `Retry-After` reaches the client.
        normalises_paths: Bridge and upstream see a cleaned path, not the client's.
    """

    fault_status: int
    relays_unavailable: bool
    normalises_paths: bool


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a gateway is connected to.

    Attributes:
        authz: The bridge's authz listener, or a tap before it.
        bridge_admin: Where the bridge says whether it is ready.
        directory: For generated configuration and logs.
    """

    authz: Address
    bridge_admin: Tcp
    upstream: Tcp
    directory: Path


class Gateway(Protocol):
    """A gateway that asks the bridge. A process, or a container."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def address(self) -> Tcp:
        """Where clients connect; known after `start`."""

    @property
    def admin(self) -> Tcp:
        """Where its operators look."""

    @property
    def logs(self) -> tuple[Path, ...]:
        """Files with everything it says."""

    def start(self) -> None:
        """Start it and return when it serves."""

    def stop(self) -> None:
        """End it; harmless if it is not there."""
