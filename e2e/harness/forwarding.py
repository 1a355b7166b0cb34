"""What gateways have in common that tell the bridge of a request in headers."""

from __future__ import annotations

from e2e.harness.addresses import Tcp
from e2e.harness.gateway import Check
from e2e.harness.http1 import Request, exchange
from e2e.harness.runtime import Running
from e2e.harness.upstream import Received

# Client headers that the bridge gets along with those that it needs. Never credentials of another
# kind: those the configuration must take out.
_ALONG = frozenset(
    {
        "accept-encoding",
        "content-type",
        "referer",
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


def answers(address: Tcp, program: Running) -> bool:
    """Tell whether a gateway listens; it must not have ended."""
    assert program.running, f"it ended at once:\n{program.output()}"
    try:
        reply = exchange(address, Request(target="/", host="nobody.test").raw())
    except OSError:
        return False
    return reply is not None


def replace_once(text: str, old: str, new: str) -> str:
    """Replace what must be there exactly once, so that no test runs on something else."""
    assert text.count(old) == 1, f"{text.count(old)} times in the configuration: {old}"
    return text.replace(old, new)
