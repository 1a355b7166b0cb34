"""How gateways run: the one place that starts them, as processes or as containers.

`E2E_RUNTIME` says which: `process`, `docker` (what has no image is skipped), or `auto`: a container
where an engine answers and has the image, a process otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from e2e.harness.containers import ENVOY_IMAGE, KONG_IMAGE, Container, Engine, NoEngineError
from e2e.harness.process import Process

RUNTIMES = ("auto", "process", "docker")


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
        version: Which one, where that matters.
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
    version: str = ""


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
    image = find_image(program.kind, program.version)
    if image is not None:
        return ContainerRun(program, image)
    binary = program.binary()
    stop = (binary, *program.stop_arguments) if program.stop_arguments else ()
    return Process(
        program.name,
        [binary, *program.arguments],
        program.directory,
        stop_command=stop,
        environment=program.environment,
    )


def runtime() -> str:
    """Give the name of the runtime to use."""
    return os.environ.get("E2E_RUNTIME", "auto")


def missing(kind: str, no_binary: str | None, version: str = "") -> str | None:
    """Say why a program cannot run here; None where it can.

    Args:
        no_binary: Why it cannot run as a process; None where it can.
    """
    if find_image(kind, version) is not None:
        return None
    if runtime() != "docker":
        return no_binary
    why = _why_no_image(kind, version)
    if kind != "kong":
        return why
    # Its image can be made from no packages: a Kong that is here does as well.
    return None if no_binary is None else f"{why}, and {no_binary}"


def find_image(kind: str, version: str = "") -> str | None:
    """Give the image that a program runs in; None where it is to be a process."""
    if runtime() == "process" or (found := engine()) is None:
        return None
    image = _images(version).get(kind)
    return image if image is not None and found.image(image) is not None else None


def _images(version: str) -> dict[str, str]:
    repository, _, _ = ENVOY_IMAGE.rpartition(":")
    return {"envoy": f"{repository}:v{version}", "kong": KONG_IMAGE}


def _why_no_image(kind: str, version: str) -> str:
    image = _images(version).get(kind)
    if image is None:
        return "the suite has no image of it"
    return f"no image {image}" if engine() is not None else "no container engine answers"


@lru_cache(maxsize=1)
def engine() -> Engine | None:
    """Give the engine that answers; None where there is none."""
    try:
        return Engine()
    except NoEngineError:
        return None


def close_engine() -> None:
    """Remove what the run has left on the engine."""
    if engine.cache_info().currsize and (found := engine()) is not None:
        found.close()
        engine.cache_clear()


class ContainerRun:
    """A program in a container that sees this host's network and the program's files as they are.

    It runs as the user of the suite, so that both can read what the other writes.
    """

    def __init__(self, program: Program, image: str) -> None:
        self._program = program
        self._image = image
        self._container: Container | None = None
        self.outputs = (program.directory / f"{program.name}.out",)

    @property
    def running(self) -> bool:
        return self._container is not None and self._container.running

    def start(self) -> None:
        found = engine()
        assert found is not None
        self._container = found.run(
            self._image,
            self._program.arguments,
            entrypoint=[self._program.kind],
            network="host",
            directories=(self._program.directory, *self._program.sources),
            user=f"{os.getuid()}:{os.getgid()}",
            environment=dict(self._program.environment),
        )
        self._container.follow(self.outputs[0])

    def stop(self) -> int | None:
        if self._container is None:
            return None
        self._container.stop()
        return self._container.wait()

    def output(self) -> str:
        return "".join(file.read_text(errors="replace") for file in self.outputs if file.exists())
