"""A configuration file in, a `Config` or all its problems out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from bridge.config.checks import cross_checks
from bridge.config.messages import empty_values, schema_problems
from bridge.config.model import FileSection
from bridge.config.places import Place
from bridge.config.secret_values import read_secrets
from bridge.config.settings import Config
from bridge.config.translate import translate
from bridge.config.yaml_marks import UnreadableYamlError, read_yaml
from bridge.errors import ConfigError
from bridge.tokens.fingerprint import fingerprint

MAX_FILE_BYTES = 16 * 1024 * 1024


def load_config(file: str | Path, *, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file.

    Args:
        file: As the operator named it, which is how problems name it.
        environ: Where secrets named by environment variable are looked up.

    Raises:
        ConfigError: Holds every problem of the file.
    """
    path = Path(file).absolute()  # not resolved: a symbolic link may be swapped before a reload
    files = {path: fingerprint(path)}
    try:
        root, problems = read_yaml(read_text(file))
    except UnreadableYamlError as error:
        raise ConfigError(file, [error.problem], files) from None
    top = Place(root, line=root.line)
    problems += empty_values(top)
    try:
        section = FileSection.model_validate(root.plain())
    except ValidationError as error:
        problems += schema_problems(root, error)
    problems += cross_checks(top, path.parent)
    secrets = read_secrets(top, path.parent, environ)
    problems += secrets.problems
    files |= secrets.files
    if problems:
        found = list(dict.fromkeys(problems))  # two checks may agree
        raise ConfigError(file, found, files)
    return translate(section, path, files, secrets)


def read_text(file: str | Path) -> str:
    """Read a file that an operator wrote, bounded.

    Raises:
        UnreadableYamlError: It cannot be read, is too large, or is not UTF-8.
    """
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise UnreadableYamlError(0, f"cannot be read: {reason}") from None
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableYamlError(0, f"is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableYamlError(line, "is not UTF-8") from None
