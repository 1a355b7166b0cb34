"""Keycloak's distribution: from Maven Central by Maven as it is set up here, kept in `.cache`.

python -m e2e.keycloak.distribution      # fetch it if it is missing; 3: it cannot be had
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "26.7.3"
# Of the zip file.
_SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
_ARTIFACT = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
_CACHE = Path(__file__).parents[2] / ".cache"
_FETCH_SECONDS = 150


class UnavailableError(Exception):
    """Keycloak cannot be had here; says why."""


def find_distribution() -> Path:
    """Give the directory of Keycloak: `E2E_KEYCLOAK_HOME`, or fetched and unpacked.

    Raises:
        UnavailableError: No Java or no Maven, or it cannot be fetched.
    """
    find_java()
    if home := os.environ.get("E2E_KEYCLOAK_HOME"):
        return Path(home)
    target = _CACHE / f"keycloak-{VERSION}"
    if not target.exists():
        _CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as directory:
            archive = _fetch(Path(directory))
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(directory)
            (Path(directory) / target.name).rename(target)
    return target


def find_java() -> str:
    """Give the `java` to run it with: that of `JAVA_HOME`, or the one on the path."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java") if home else shutil.which("java")
    if java is None:
        raise UnavailableError("no Java; Keycloak needs 17 or newer")
    return java


def _fetch(directory: Path) -> Path:
    if (maven := shutil.which("mvn")) is None:
        raise UnavailableError("no Maven, which fetches it; or set E2E_KEYCLOAK_HOME")
    command = [maven, "--quiet", "--batch-mode", "dependency:copy"]
    command += [f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={directory}"]
    try:
        subprocess.run(command, check=True, timeout=_FETCH_SECONDS, cwd=directory)
    except subprocess.SubprocessError as error:
        raise UnavailableError(f"Maven did not fetch it: {type(error).__name__}") from error
    archive = directory / f"keycloak-quarkus-dist-{VERSION}.zip"
    with archive.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != _SHA256:
        raise ValueError(f"{archive.name} is not the one that these tests were written for")
    return archive


if __name__ == "__main__":
    try:
        print(find_distribution())
    except UnavailableError as reason:
        print(f"no Keycloak: {reason}", file=sys.stderr)
        raise SystemExit(3) from None
