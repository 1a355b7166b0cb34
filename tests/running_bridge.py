"""The bridge as its users run it, without a gateway: `python -m bridge serve` on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from e2e.harness.addresses import Address, Tcp, Unix
from e2e.harness.http1 import Connection, Reply, Request, get
from e2e.harness.process import Process
from e2e.harness.tokens import AUDIENCE, SigningKey, TokenSpec, mint
from e2e.harness.waiting import wait_until

ISSUER = "https://login.test"
DOWN_ISSUER = "https://down.test"
HOST = "api.test"
PWD, MFA, PHR = "urn:example:pwd", "urn:example:mfa", "urn:example:phr"
SECONDS = 40
"""How long a test waits for anything; far more than it ever takes."""

OPERATIONS: list[dict[str, Any]] = [
    {"name": "health", "methods": ["GET"], "paths": ["/health"], "public": True},
    {"name": "profile", "methods": ["GET"], "paths": ["/profile"]},
    {
        "name": "create-transfer",
        "methods": ["POST"],
        "paths": ["/transfers"],
        "require": {"scopes": ["payments:write"], "acr_values": [MFA, PHR], "max_age": "5m"},
    },
]


def api(name: str, **settings: Any) -> dict[str, Any]:
    base = {"hosts": [HOST], "base_path": f"/{name}", "issuers": [ISSUER]}
    return {"name": name, **base, "operations": OPERATIONS, **settings}


def policy(**top_level: Any) -> dict[str, Any]:
    """Write a configuration whose issuer has a key file, and whose other issuer has none."""
    audiences = {"audiences": [AUDIENCE]}
    return {
        "version": 1,
        "listen": {"authz": "127.0.0.1:0", "admin": "127.0.0.1:0"},
        "issuers": [{"issuer": ISSUER, "jwks_file": "keys.json", **audiences}],
        "assurance_levels": [PWD, MFA, PHR],
        "apis": [
            api("payments", resource=f"https://{HOST}/payments"),
            api("monitored", mode="monitor"),
            api("any-token", unmatched="require_token"),
        ],
        **top_level,
    }


def with_down_issuer(document: dict[str, Any]) -> dict[str, Any]:
    """Add an issuer whose key file is not there, with an API at `/down`."""
    issuer = {"issuer": DOWN_ISSUER, "audiences": [AUDIENCE], "jwks_file": "missing.json"}
    return {
        **document,
        "issuers": [*document["issuers"], issuer],
        "apis": [*document["apis"], api("down", issuers=[DOWN_ISSUER])],
    }


def write_config(file: Path, document: Mapping[str, Any] | str) -> Path:
    """Replace a configuration file as operators do: whole, by a rename."""
    text = document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)
    return file


def write_keys(directory: Path, *keys: SigningKey) -> None:
    fresh = directory / "keys.new"
    fresh.write_text(json.dumps({"keys": [key.jwk() for key in keys]}))
    fresh.replace(directory / "keys.json")


def bearer(key: SigningKey, spec: TokenSpec | None = None, issuer: str = ISSUER) -> str:
    """Give an `Authorization` value with a fresh token."""
    return f"Bearer {mint(spec or TokenSpec(), issuer, key)}"


def question(
    method: str = "GET", path: str = "/payments/profile", host: str = HOST, **headers: str
) -> dict[str, Any]:
    """Write a question for `/v1/check`; `_` in a header's name stands for `-`."""
    values = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {"method": method, "scheme": "https", "host": host, "path": path, "headers": values}


class Service:
    """A running bridge; its ports are those that its `service_started` line names.

    Args:
        directory: For its configuration and its output; `keys.json` is looked for there.
        document: The configuration.
        file: Where it is written to instead.
        command: What runs instead of `python -m bridge`, before `serve --config FILE`.
        environment: Further variables.
        listening: Where it listens by its configuration, for a log that cannot be read as JSON.
    """

    def __init__(
        self,
        directory: Path,
        document: Mapping[str, Any] | str | None,
        *,
        file: Path | None = None,
        command: Sequence[str] = ("-m", "bridge"),
        environment: Mapping[str, str] | None = None,
        listening: tuple[Address, Address] | None = None,
    ) -> None:
        self.file = file or directory / "bridge.yaml"
        if document is not None:
            write_config(self.file, document)
        full = (sys.executable, *command, "serve", "--config", str(self.file))
        self.process = Process("bridge", full, directory, environment=environment)
        self.process.start()
        self.authz: Address
        self.admin: Address
        if listening is not None:
            self.authz, self.admin = listening
            wait_until(self._is_healthy, seconds=SECONDS, what="/healthz")
            return
        wait_until(self._has_started, seconds=SECONDS, what="service_started")
        started = next(self.events("service_started"))
        self.pid: int = started["pid"]
        self.authz = _address(started["authz"])
        self.admin = _address(started["admin"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    def _has_started(self) -> bool:
        assert self.process.running, f"the bridge ended:\n{self.process.output()}"
        return any(self.events("service_started"))

    def _is_healthy(self) -> bool:
        assert self.process.running, f"the bridge ended:\n{self.process.output()}"
        try:
            return self.page("/healthz").status == 200
        except OSError:
            return False

    def stdout(self) -> str:
        return self.process.outputs[0].read_text()

    def stderr(self) -> str:
        return self.process.outputs[1].read_text()

    def events(self, name: str) -> Iterator[dict[str, Any]]:
        """Give the log lines of an event so far, in order."""
        whole, _, _ = self.stdout().rpartition("\n")
        for line in whole.splitlines():
            event = json.loads(line)
            if event["event"] == name:
                yield event

    def wait_for_event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait until an event was logged that often, and give the last of these."""
        return wait_until(
            lambda: list(self.events(name))[count - 1 : count], seconds=SECONDS, what=name
        )[0]

    def checks(self) -> list[dict[str, Any]]:
        """Give the lines of all checks so far; each is out a moment after its answer."""
        count = self.metric("stepup_check_seconds_count")
        wait_until(
            lambda: len(list(self.events("check_decided"))) >= count,
            seconds=SECONDS,
            what="the lines of all checks",
        )
        return list(self.events("check_decided"))

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.page("/readyz").status == 200, seconds=SECONDS, what="/readyz")

    def send(self, request: Request | bytes) -> Reply:
        """Send a request to the authz listener; a connection closed without a response fails.

        It is the second one of a connection, as nearly all of a gateway's are: those are answered
        as they arrive.
        """
        raw = request if isinstance(request, bytes) else request.raw()
        with Connection(self.authz) as connection:
            connection.exchange(Request(target="/nowhere").raw())
            reply = connection.exchange(raw)
        assert reply is not None
        return reply

    def post(self, body: bytes) -> Reply:
        return self.send(Request("POST", "/v1/check", body=body))

    def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Ask `/v1/check` a well-formed question."""
        reply = self.post(json.dumps(asked).encode())
        assert (reply.status, reply.values("content-type")) == (200, ["application/json"])
        answer: dict[str, Any] = json.loads(reply.body)
        return answer

    def challenge(self) -> str:
        """Give the challenge of a question without a token; tells configurations apart."""
        headers: list[list[str]] = self.ask(question())["response"]["headers"]
        return next(value for name, value in headers if name == "www-authenticate")

    def page(self, target: str) -> Reply:
        return get(self.admin, target)

    def readiness(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.page("/readyz").body)
        return document

    def samples(self) -> dict[str, float]:
        """Give /metrics by sample with its labels, as it is written there."""
        lines = self.page("/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def metric(self, sample: str) -> float:
        return self.samples().get(sample, 0)


def _address(text: str) -> Address:
    if text.startswith("unix:"):
        return Unix(Path(text.removeprefix("unix:")))
    host, _, port = text.rpartition(":")
    return Tcp(int(port), host.strip("[]"))
