"""What a check adds to a request, through real gateways, over TCP and over a Unix socket.

`make bench-gateways` prints the table. The same requests go through the same gateway without the
check first; what a row shows is what the check added to that: CPU of the gateway and of the bridge,
and the client's waiting time. Everything is on this machine, so the client and the API compete with
what is measured: the differences count, not the sums.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kong.certificates import make_certificates
from kong.gateways import StandIn

from e2e.harness.addresses import Address, Tcp, Unix, free_port
from e2e.harness.arrangement import Arrangement, Evidence
from e2e.harness.bridge import Bridge
from e2e.harness.envoy import EnvoyGateway, EnvoyOptions, versions
from e2e.harness.gateway import Wiring
from e2e.harness.issuer import Issuer
from e2e.harness.policy import configuration
from e2e.harness.waiting import wait_until

REQUESTS = 4_000
HOST = "api.test"
BODY = b'{"ok":true}'

_TICKS = os.sysconf("SC_CLK_TCK")
_WARM_UP_REQUESTS = 300
_REQUESTS_PER_CONNECTION = 500  # nginx closes a connection after 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: CPU microseconds of gateway and bridge, the client's waiting time."""

    gateway_us: float
    bridge_us: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Started:
    """A gateway that serves, and how to find its processes."""

    address: Tcp
    command: str


@contextmanager
def envoy(directory: Path, bridge: Bridge | None, api: Tcp) -> Iterator[Started]:
    """Run the newest Envoy as the project ships it; without a bridge its filter is switched off."""
    version = versions()[-1]
    authz: Address = Tcp(free_port()) if bridge is None else bridge.authz
    admin = Tcp(free_port()) if bridge is None else bridge.admin
    edits: tuple[Callable[[str], str], ...] = () if bridge else (_without_ext_authz,)
    gateway = EnvoyGateway(EnvoyOptions(version, edits=edits), Wiring(authz, admin, api, directory))
    gateway.start()
    try:
        yield Started(gateway.address, "envoy")
    finally:
        gateway.stop()


def _without_ext_authz(text: str) -> str:
    name = "- name: envoy.filters.http.ext_authz\n"
    (indent,) = re.findall(rf"^( *){re.escape(name)}", text, re.MULTILINE)
    return text.replace(name, f"{name}{indent}  disabled: true\n")


@contextmanager
def nginx_with_lua(directory: Path, bridge: Bridge | None, api: Tcp) -> Iterator[Started]:
    """Run the Kong plugin in the nginx that stands in for Kong; without a bridge no plugin runs."""
    prefix = Path(tempfile.mkdtemp(dir=directory))
    gateway = StandIn(prefix, make_certificates(prefix))
    url = "http://127.0.0.1:9" if bridge is None else _url(bridge.authz)
    gateway.start({HOST: {"url": url}}, api.port, with_plugin=bridge is not None)
    try:
        yield Started(Tcp(gateway.port), "nginx")
    finally:
        gateway.stop()


def _url(authz: Address) -> str:
    return f"unix:{authz.path}" if isinstance(authz, Unix) else f"http://{authz}"


GATEWAYS = {"nginx with Lua": nginx_with_lua, "Envoy": envoy}


def main() -> int:
    """Measure and print."""
    count = max(200, int(REQUESTS * float(os.environ.get("BENCH_SCALE", "1"))))
    print(f"what a check adds to a request, {count} requests, token seen before")
    print(
        f"{'gateway':16}{'bridge on':14}{'gateway CPU':>13}{'bridge CPU':>12}{'p50':>8}{'p99':>8}"
    )
    with tempfile.TemporaryDirectory() as name, _api() as api:
        directory = Path(name)
        arrangement = Arrangement(directory, Evidence())
        with closing(arrangement):
            issuer = arrangement.issuer()
            for gateway, start in GATEWAYS.items():
                if start is nginx_with_lua and (reason := StandIn.missing()):
                    print(f"{gateway:16}not measured: {reason}")
                    continue
                with start(directory, None, api) as started:
                    bare = _measure(started, None, issuer, count)
                for unix in (False, True):
                    bridge = arrangement.bridge(configuration(issuer), unix=unix)
                    with start(directory, bridge, api) as started:
                        cost = _measure(started, bridge, issuer, count)
                    bridge.stop()
                    _row(gateway, "Unix socket" if unix else "TCP", cost, bare)
                _row(gateway, "(no check)", bare, Cost(0, 0, 0, 0))
    print("microseconds; of the requests themselves in the rows without a check")
    return 0


def _row(gateway: str, bridge: str, cost: Cost, bare: Cost) -> None:
    print(
        f"{gateway:16}{bridge:14}{cost.gateway_us - bare.gateway_us:13.0f}"
        f"{cost.bridge_us - bare.bridge_us:12.0f}"
        f"{cost.p50_us - bare.p50_us:8.0f}{cost.p99_us - bare.p99_us:8.0f}"
    )


def _measure(started: Started, bridge: Bridge | None, issuer: Issuer, count: int) -> Cost:
    """Send requests through a gateway, after some that warm it up."""
    request = (
        f"GET /payments/profile HTTP/1.1\r\nhost: {HOST}\r\n"
        f"authorization: Bearer {issuer.mint()}\r\n\r\n"
    ).encode()
    _send(started.address, request, _WARM_UP_REQUESTS)
    gateway_before, bridge_before = _cpu(started.command), _cpu(_bridge(bridge))
    seconds = _send(started.address, request, count)
    return Cost(
        (_cpu(started.command) - gateway_before) / count * 1e6,
        (_cpu(_bridge(bridge)) - bridge_before) / count * 1e6,
        seconds[count // 2] * 1e6,
        seconds[count * 99 // 100] * 1e6,
    )


def _send(address: Tcp, request: bytes, count: int) -> list[float]:
    """Send requests one after another; give the seconds of each, in ascending order."""
    seconds: list[float] = []
    while len(seconds) < count:
        with address.connect(10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(min(_REQUESTS_PER_CONNECTION, count - len(seconds))):
                seconds.append(_exchange(connection, request))
    return sorted(seconds)


def _exchange(connection: socket.socket, request: bytes) -> float:
    started = time.perf_counter()
    connection.sendall(request)
    answer = connection.recv(65536)
    while BODY not in answer:
        more = connection.recv(65536)
        if not more:
            raise RuntimeError(answer.decode(errors="replace"))
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode(errors="replace"))
    return time.perf_counter() - started


def _bridge(bridge: Bridge | None) -> str:
    return "" if bridge is None else str(bridge.file)


def _cpu(words: str) -> float:
    """Give the CPU seconds of our descendants whose command line has these words; "": none."""
    if not words:
        return 0.0
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            parents[int(process.name)] = int(fields[1])
            if words in command:
                seconds[int(process.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
    return sum(used for pid, used in seconds.items() if _is_ours(pid, parents))


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


@contextmanager
def _api() -> Iterator[Tcp]:
    """Run an API that costs next to nothing."""
    address = Tcp(free_port())
    process = subprocess.Popen([sys.executable, __file__, "--api", str(address.port)])
    try:
        wait_until(lambda: _listens(address), seconds=15, what="the API")
        yield address
    finally:
        process.terminate()
        process.wait(15)


def _listens(address: Tcp) -> bool:
    with suppress(OSError), address.connect(1):
        return True
    return False


class _Answer(asyncio.Protocol):
    """Answers every head with the same response."""

    _response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(self._response)


async def _serve_api(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--api"]:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve_api(int(sys.argv[2])))
        sys.exit(0)
    sys.exit(main())
