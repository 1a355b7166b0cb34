"""A child process: its output goes to files, it is ended by its pid, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """One program that may be started several times; its output files grow.

    Args:
        name: Stem of the output files.
        directory: Where these go.
    """

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        self.name = name
        self._command = tuple(command)
        self.outputs = (directory / f"{name}.stdout", directory / f"{name}.stderr")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        stdout, stderr = self.outputs
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was never started"
        self._process.send_signal(number)

    def peak_memory_bytes(self) -> int:
        """Give the largest resident memory it ever had (Linux)."""
        assert self._process is not None, f"{self.name} was never started"
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        kibibytes = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(kibibytes.split()[1]) * 1024

    def stop(self, seconds: float = 15) -> int | None:
        """Ask it to end, insist if it does not; give the exit status, None if it was not there."""
        if self._process is None:
            return None
        if self.running:
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(seconds)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        if self.running:
            assert self._process is not None
            self._process.kill()
            self._process.wait(10)

    def output(self) -> str:
        """Give all it ever said, stdout before stderr."""
        return "".join(file.read_text(errors="replace") for file in self.outputs if file.exists())
