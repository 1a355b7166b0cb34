"""What the suite needs of a gateway, whichever it is and however it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from e2e.harness.addresses import Address, Tcp
from e2e.harness.http1 import Request
from e2e.harness.upstream import Received


@dataclass(frozen=True, slots=True)
class Check:
    """What the bridge was asked, whatever the language.

    Attributes:
        headers: Of the client's request, by lower-case name. Not the host.
        own: Names among them that the gateway adds, or passes on without need.
    """

    method: str
    target: str
    hosts: list[str]
    headers: Mapping[str, list[str]]
    own: frozenset[str] = frozenset()


def _never(_request: Request) -> int | None:
    return None


def _as_decided(target: str) -> str:
    return target


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What scenarios must know of a gateway to say what to expect.

    Attributes:
        read_check: Reads what was overheard between gateway and bridge.
        fault_status: What the client gets when the bridge gives no answer, or a 5xx.
        relays_unavailable: The bridge's own 503 with `Retry-After` reaches the client.
        own_fault: What the client gets instead, without `Retry-After`, when the bridge gives no
            answer at all; None: the same.
        gives_up_seconds: Within which it does so with a bridge that hangs.
        upstream_target: Gives what the upstream gets for a target that the bridge decided on.
        own_refusal: Gives the status with which it refuses a request itself, before the bridge is
            asked; None where it does not. Its log may quote such a request.
        absolute_form_wins: A target that names a host overrides `Host`; else two names are refused.
        checks_without_hop_by_hop: What `Connection` names is gone before the bridge is asked.
        merges_equal_hosts: Two `Host` lines that say the same are one to it.
        without_http2: Why its configuration does not offer HTTP/2 to clients; None where it does.
        http2_tolerated: What it lets pass, without harm, of `MALFORMED` in `test_http2.py`.
        joins_repeated: Lines of one name reach the bridge as one, with commas.
        replaces_request_id: The client's `x-request-id` is not the one of the check.
    """

    read_check: Callable[[Received], Check]
    fault_status: int = 503
    relays_unavailable: bool = False
    own_fault: int | None = None
    gives_up_seconds: float = 5
    upstream_target: Callable[[str], str] = _as_decided
    own_refusal: Callable[[Request], int | None] = _never
    absolute_form_wins: bool = True
    checks_without_hop_by_hop: bool = False
    merges_equal_hosts: bool = False
    without_http2: str | None = None
    http2_tolerated: frozenset[str] = frozenset()
    joins_repeated: bool = False
    replaces_request_id: bool = False


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
    def http2_address(self) -> Tcp:
        """The same for clients that speak HTTP/2 with prior knowledge."""

    @property
    def logs(self) -> tuple[Path, ...]:
        """Files with everything it says."""

    def start(self) -> None:
        """Start it and return when it serves."""

    def stop(self) -> None:
        """End it; harmless if it is not there."""


GatewayFactory = Callable[[Wiring], Gateway]
