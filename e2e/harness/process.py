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
        stop_command: Ends it, where its own signal handling does not.
        environment: Variables beside ours.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        stop_command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = tuple(command)
        self._stop_command = tuple(stop_command)
        self._environment = {**os.environ, **(environment or {})}
        self.outputs = (directory / f"{name}.stdout", directory / f"{name}.stderr")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        stdout, stderr = self.outputs
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
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
        if self.running and self._stop_command:
            subprocess.run(
                self._stop_command,
                capture_output=True,
                timeout=60,
                env=self._environment,
                check=False,
            )
        elif self.running:
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
