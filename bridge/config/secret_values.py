"""The secrets that the file names: by another file, or by an environment variable; never inline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import addresses
from bridge.config.places import Place
from bridge.errors import Problem
from bridge.tokens.client_authentication import read_private_key
from bridge.tokens.fingerprint import Fingerprint, fingerprint

MAX_SECRET_BYTES = 64 * 1024
MIN_NONCE_SECRET_BYTES = 16


@dataclass(slots=True)
class Secrets:
    """What was read.

    Attributes:
        values: By the path of the key that names it; as the file or the variable has it, but
            without line ends at the end.
        files: Files that were named, also those that cannot be read; as of `Config.files`.
        problems: Names, never values.
    """

    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: dict[Path, Fingerprint] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_secrets(root: Place, directory: Path, environ: Mapping[str, str]) -> Secrets:
    """Read every secret that a configuration names.

    Args:
        directory: Absolute; relative file names are relative to it.
    """
    secrets = Secrets()
    for place, is_file in _names(root):
        if not place.text:
            continue  # the models report it
        try:
            if is_file:
                file = directory / place.text
                secrets.files[file] = fingerprint(file)
                value = _read_file(file)
            else:
                value = _read_variable(place.text, environ)
            _check(place.path, value)
        except ValueError as error:
            secrets.problems.append(place.problem(str(error)))
        else:
            secrets.values[place.path] = value
    return secrets


def _names(root: Place) -> Iterator[tuple[Place, bool]]:
    """Find the keys that name a secret, and whether they name a file."""
    for issuer in root.items("issuers"):
        introspection = issuer.child("introspection")
        for key in ("client_secret_file", "client_secret_env", "private_key_file"):
            place = None if introspection is None else introspection.child(key)
            if place is not None:
                yield place, key.endswith("_file")
    dpop = root.child("dpop")
    replay = None if dpop is None else dpop.child("replay")
    for section, name in ((dpop, "nonce_secret"), (replay, "redis_url")):
        for kind in ("_file", "_env"):
            place = None if section is None else section.child(name + kind)
            if place is not None:
                yield place, kind == "_file"


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ValueError(f"names a file that cannot be read: {reason}") from None
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"names a file that is larger than {MAX_SECRET_BYTES >> 10} KiB")
    return content.rstrip(b"\r\n")


def _read_variable(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise ValueError("names an environment variable that is not set")
    return environ[name].encode("utf-8", "surrogateescape")


def _check(path: str, value: bytes) -> None:
    """Check a secret by what it is for: the key that names it."""
    key = path.rpartition(".")[2]
    if key == "private_key_file":
        read_private_key(value)
    elif key.startswith("redis_url"):
        addresses.redis_url(_text(value))
    elif key.startswith("nonce_secret"):
        if len(value) < MIN_NONCE_SECRET_BYTES:
            raise ValueError(f"names a secret of less than {MIN_NONCE_SECRET_BYTES} bytes")
    else:
        _check_client_secret(value)


def _check_client_secret(value: bytes) -> None:
    """Check a secret. Spec: RFC 6749 §A.2 (printable), in UTF-8 (§B)."""
    text = _text(value)
    if not text:
        raise ValueError("names a secret that is empty")
    if not text.isprintable():
        raise ValueError("names a secret with control characters, more than one line maybe")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("names a secret that is not UTF-8") from None
