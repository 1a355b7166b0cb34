"""What gateways have in common that tell the bridge of a request in headers."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from e2e.harness.addresses import Tcp
from e2e.harness.gateway import Check
from e2e.harness.http1 import Request, exchange
from e2e.harness.runtime import Program, prepare
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

CONFIGURATIONS = Path(__file__).parents[2] / "gateways"
_START_SECONDS = 30

# Client headers that the bridge gets along with those that it needs. Never credentials of another
# kind: those the configuration must take out.
_ALONG = frozenset(
    {
        "accept-encoding",
        "content-type",
        "referer",
        "traceparent",
        "user-agent",
        "x-api-key",
        "x-forwarded-client-cert",
        "x-stepup-subject",
    }
)
_OWN = frozenset({"accept", "connection", "x-request-id", "via"})


def read_forwarded_check(
    received: Received, path: str, method: str, target: str, host: str
) -> Check:
    """Read a check that tells the request line in headers of these names."""
    assert received.method == "GET"
    assert received.target == path, "the door's own path"
    assert received.body == b""
    headers: dict[str, list[str]] = {}
    for name, value in received.headers:
        headers.setdefault(name.lower(), []).append(value)
    del headers["host"]
    assert headers.pop("content-length", ["0"]) == ["0"]
    (told_method,), (told_target,) = headers.pop(method), headers.pop(target)
    hosts = headers.pop(host, [])
    forwarded = {name for name in headers if name.startswith("x-forwarded-")}
    return Check(told_method, told_target, hosts, headers, _OWN | _ALONG | forwarded)


def read_forward_auth(received: Received) -> Check:
    """Read what was asked at `/forward-auth`: the client's request in headers."""
    return read_forwarded_check(
        received, "/forward-auth", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-host"
    )


def refused_by_go(request: Request) -> int | None:
    """Tell what Go's parser refuses before a gateway written in Go asks: a broken `%`."""
    path = request.target.partition("?")[0]
    return 400 if re.search("%(?![0-9A-Fa-f]{2})", path) else None


def find_program(name: str) -> str | None:
    """Give a program that `NAME_BIN` names, or that is on the PATH, or in /usr/sbin."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return os.environ.get(f"{name.upper()}_BIN") or shutil.which(name, path=path)


def missing(name: str) -> str | None:
    """Say why a program cannot run here; None where it can."""
    if find_program(name) is None:
        return f"no {name}: set {name.upper()}_BIN, or install it (Debian: {name})"
    return None


class ForwardingGateway:
    """A gateway once its program is known.

    Args:
        address: Where clients connect.
        program: Its program.
        logs: Files with what it says elsewhere than on its standard streams.
    """

    def __init__(self, address: Tcp, program: Program, *logs: Path) -> None:
        self.address = self.http2_address = address
        self._name = program.kind
        self._program = prepare(program)
        self._logs = logs

    @property
    def logs(self) -> tuple[Path, ...]:
        return (*self._program.outputs, *self._logs)

    def start(self) -> None:
        self._program.start()
        wait_until(self._answers, seconds=_START_SECONDS, what=f"{self._name} serves")

    def stop(self) -> None:
        self._program.stop()

    def _answers(self) -> bool:
        assert self._program.running, f"{self._name} ended at once:\n{self._program.output()}"
        try:
            reply = exchange(self.address, Request(target="/", host="nobody.test").raw())
        except OSError:
            return False
        return reply is not None


def replace_once(text: str, old: str, new: str) -> str:
    """Replace what must be there exactly once, so that no test runs on something else."""
    assert text.count(old) == 1, f"{text.count(old)} times in the configuration: {old}"
    return text.replace(old, new)
