"""The bridge as its users run it: `python -m bridge serve --config FILE`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.harness.addresses import Address, Tcp, Unix, free_port
from e2e.harness.http1 import Reply, get
from e2e.harness.process import Process
from e2e.harness.waiting import wait_until

_START_SECONDS = 30


class Bridge:
    """One bridge with its configuration file.

    Args:
        name: Stem of its files.
        policy: The configuration without `listen`.
        unix: Listen for gateways on a Unix socket instead of TCP.
    """

    def __init__(
        self, name: str, policy: Mapping[str, Any], directory: Path, *, unix: bool = False
    ) -> None:
        self.file = directory / f"{name}.yaml"
        self.authz: Address = Unix(directory / f"{name}.sock") if unix else Tcp(free_port())
        self.admin = Tcp(free_port())
        self.write(policy)
        command = shlex.split(os.environ.get("E2E_BRIDGE", "")) or [sys.executable, "-m", "bridge"]
        self._process = Process(
            name,
            [*command, "serve", "--config", str(self.file)],
            directory,
            environment={"PYTHONUNBUFFERED": "1"},
        )

    def write(self, policy: Mapping[str, Any]) -> None:
        """Replace the configuration file as operators do: whole, by a rename."""
        listen = {"authz": str(self.authz), "admin": str(self.admin)}
        self.write_text(yaml.safe_dump({**policy, "listen": listen}, sort_keys=False))

    def write_text(self, text: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    @property
    def logs(self) -> tuple[Path, ...]:
        return self._process.outputs

    def start(self, *, ready: bool = True) -> None:
        """Start it and wait until it serves, and unless told otherwise until it has all keys."""
        self._process.start()
        page = "/readyz" if ready else "/healthz"
        wait_until(lambda: self.answers(page), seconds=_START_SECONDS, what=f"{page} of {self!r}")

    def answers(self, page: str) -> bool:
        """Tell whether a page of the admin listener is there and says 200."""
        assert self._process.running, f"the bridge ended:\n{self._process.output()}"
        try:
            return self.page(page).status == 200
        except OSError:
            return False

    def page(self, target: str) -> Reply:
        return get(self.admin, target)

    def metric(self, sample: str) -> float:
        """Give a sample of /metrics, named with its labels as there; 0 where it is missing."""
        for line in self.page("/metrics").body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0

    def reload(self) -> None:
        self._process.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        self._process.signal(number)

    def peak_memory_bytes(self) -> int:
        return self._process.peak_memory_bytes()

    def stop(self) -> int | None:
        """Ask it to end, wait, and give its exit status."""
        return self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    @property
    def running(self) -> bool:
        return self._process.running

    def output(self) -> str:
        return self._process.output()

    def __repr__(self) -> str:
        return f"Bridge({self.file.stem})"
