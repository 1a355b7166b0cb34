"""Containers for the suite: a thin layer over the docker SDK that leaves nothing behind."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from e2e.harness.addresses import LOOPBACK, Tcp
from e2e.harness.waiting import wait_until

if TYPE_CHECKING:
    from docker.models.containers import Container as SdkContainer

BRIDGE_IMAGE = os.environ.get("E2E_BRIDGE_IMAGE") or "stepup-bridge:dev"
ENVOY_IMAGE = os.environ.get("E2E_ENVOY_IMAGE") or "envoyproxy/envoy:v1.40.0"
KONG_IMAGE = os.environ.get("E2E_KONG_IMAGE") or "kong:3.9.1"

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_LABEL = "stepup-bridge.e2e"
_STOP_SECONDS = 15


class NoEngineError(Exception):
    """No container engine answers; the text says why."""


class Container:
    """A container that was started by `Engine.run`."""

    def __init__(self, container: SdkContainer) -> None:
        self._container = container

    @property
    def id(self) -> str:
        return str(self._container.id)

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine says of it now, as `docker inspect` prints it."""
        self._container.reload()
        return dict(self._container.attrs)

    @property
    def health(self) -> str:
        return str(self.facts["State"]["Health"]["Status"])

    @property
    def running(self) -> bool:
        return bool(self.facts["State"]["Running"])

    def ip(self, network: str) -> str:
        """Give its address in a network of the engine, for other containers."""
        return str(self.facts["NetworkSettings"]["Networks"][network]["IPAddress"])

    def published(self, port: int) -> Tcp:
        """Tell where this machine reaches a port that was given to `run`."""
        bindings = self.facts["NetworkSettings"]["Ports"][f"{port}/tcp"]
        return Tcp(int(bindings[0]["HostPort"]))

    def logs(self) -> str:
        """Give all it ever said, on both streams."""
        return self._container.logs().decode(errors="replace")

    def follow(self, file: Path) -> None:
        """Write all that it says from now on to a file, while it says it."""

        def write() -> None:
            with file.open("ab", buffering=0) as out:
                for said in self._container.logs(stream=True, follow=True):
                    out.write(said)

        threading.Thread(target=write, daemon=True).start()

    def stop(self) -> None:
        """Ask it to end, insist if it does not."""
        self._container.stop(timeout=_STOP_SECONDS)

    def execute(self, *command: str) -> tuple[int, str]:
        """Run a command inside, and give its exit status and what it said."""
        result = self._container.exec_run(list(command))
        assert isinstance(result.exit_code, int)
        assert isinstance(result.output, bytes)
        return result.exit_code, result.output.decode(errors="replace")

    def signal(self, name: str) -> None:
        self._container.kill(name)

    def wait(self, seconds: float = _STOP_SECONDS) -> int:
        """Wait until it has ended, and give its exit status."""
        wait_until(lambda: not self.running, seconds=seconds, what=f"the end of {self!r}")
        return int(self.facts["State"]["ExitCode"])

    def __repr__(self) -> str:
        return f"Container({self._container.name})"


class Engine:
    """The engine that answers, and all that this run has started on it.

    Raises:
        NoEngineError: None answers.
    """

    def __init__(self) -> None:
        try:
            _probe()
            self._client = docker.from_env(timeout=60)
        except (DockerException, OSError) as error:
            raise NoEngineError(f"no container engine: {error}") from None
        self._run = uuid.uuid4().hex[:12]
        try:
            self._client.ping()
        except (DockerException, OSError) as error:
            self._client.close()
            raise NoEngineError(f"the container engine does not answer: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def image(self, name: str) -> dict[str, Any] | None:
        """Give what the engine says of an image; None: it has none of that name."""
        try:
            return dict(self._client.images.get(name).attrs)
        except ImageNotFound:
            return None

    def network(self) -> str:
        """Make a network, and give its name."""
        name = f"{_LABEL}-{uuid.uuid4().hex[:12]}"
        self._client.networks.create(name, driver="bridge", labels={_LABEL: self._run})
        return name

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        network: str,
        files: Mapping[str, Path] | None = None,
        directories: Sequence[Path] = (),
        ports: Sequence[int] = (),
        **options: Any,
    ) -> Container:
        """Start a container; images are never pulled.

        Args:
            network: Of `network()`, or `host`, `none`, `container:<id>`.
            files: Files of this machine by where they are inside, read-only; world-readable, since
                the user inside is another one.
            directories: Of this machine, at the same place inside, writable.
            ports: To reach from this machine, on loopback, at a port that the engine chooses.
            options: Further ones of the SDK, such as `read_only`, `user`, `entrypoint`.
        """
        volumes = {
            str(file.resolve()): {"bind": inside, "mode": "ro"}
            for inside, file in (files or {}).items()
        }
        for directory in directories:
            volumes[str(directory)] = {"bind": str(directory), "mode": "rw"}
        container = self._client.containers.create(
            image,
            list(command) if command is not None else None,
            network=network,
            volumes=volumes,
            ports={f"{port}/tcp": (LOOPBACK, 0) for port in ports},
            labels={_LABEL: self._run},
            **options,
        )
        container.start()
        return Container(container)

    def close(self) -> None:
        """Remove what this run has made, by its label."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{_LABEL}={self._run}"}
        try:
            for container in self._client.containers.list(all=True, filters=mine):
                container.remove(force=True, v=True)
            for network in self._client.networks.list(filters=mine):
                network.remove()
        except (APIError, NotFound) as error:
            raise AssertionError(f"something of the run stays on the engine: {error}") from error
        finally:
            self._client.close()


def _probe() -> None:
    """Connect to the engine's Unix socket; the SDK leaves one open when nobody answers.

    Raises:
        OSError: Nobody does.
    """
    scheme, _, path = (os.environ.get("DOCKER_HOST") or _DEFAULT_HOST).partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
