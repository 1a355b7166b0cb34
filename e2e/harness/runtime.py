"""How gateways run: the one place that starts them. Another way to run them is a class here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from e2e.harness.process import Process


@dataclass(frozen=True, slots=True)
class Program:
    """A gateway ready to be started, whichever way.

    Attributes:
        kind: Which gateway: `envoy`, `kong`. What has images finds its image by this.
        name: Of this one instance, for its logs.
        directory: Holds its files, and receives its logs.
        files: Rendered configuration, names in `directory` with their text. They name each other,
            and `sources`, by absolute path, and addresses on loopback.
        ports: On which it will listen, on loopback.
        binary: Finds the program on this machine.
        arguments: Of the program.
        stop_arguments: Of the program, to end it; empty: SIGTERM does.
        sources: Directories of this checkout that it reads.
    """

    kind: str
    name: str
    directory: Path
    files: Mapping[str, str]
    ports: tuple[int, ...]
    binary: Callable[[], str]
    arguments: tuple[str, ...]
    stop_arguments: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Running(Protocol):
    """A program that a runtime starts and stops, maybe several times."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files with what it says on its standard streams."""

    @property
    def running(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> int | None: ...

    def output(self) -> str: ...


def prepare(program: Program) -> Running:
    """Write a program's files, and make what starts it here, as `E2E_RUNTIME` says."""
    for name, text in program.files.items():
        (program.directory / name).write_text(text)
    return RUNTIMES[runtime()](program)


def runtime() -> str:
    """Give the name of the runtime to use."""
    return os.environ.get("E2E_RUNTIME", "process")


def _process(program: Program) -> Running:
    binary = program.binary()
    stop = (binary, *program.stop_arguments) if program.stop_arguments else ()
    return Process(
        program.name,
        [binary, *program.arguments],
        program.directory,
        stop_command=stop,
        environment=program.environment,
    )


RUNTIMES: Mapping[str, Callable[[Program], Running]] = {"process": _process}
