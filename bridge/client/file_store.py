"""Tokens in a file that only its owner may read."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.client.demand import Demand
from bridge.client.errors import LoginError, StepUpError
from bridge.client.token import Token
from bridge.client.wallet import Held

_VERSION = 1


class FileStore:
    """A token store of mode 0600. It is replaced as a whole: nobody ever reads half of it.

    Args:
        path: The file; made by the first login.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, tuple[Held, ...]]:
        """Give the tokens by origin; none where there is no file.

        Raises:
            StepUpError: The file is not ours alone, or no token store.
        """
        try:
            # What is opened is what is checked: the path could be another file a moment later.
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StepUpError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            self._check(os.fstat(handle))
        except BaseException:
            os.close(handle)
            raise
        with os.fdopen(handle, "rb") as file:
            content = file.read()
        try:
            document = json.loads(content)
            if document["version"] != _VERSION:
                raise StepUpError(f"{self._path} is of another version of this program")
            return {
                origin: tuple(_read_held(one) for one in held)
                for origin, held in document["tokens"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, LoginError):
            raise StepUpError(f"{self._path} is no token store") from None

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise StepUpError(f"{self._path} is no file of this user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise StepUpError(f"{self._path} may be read by others: its mode must be 0600")

    def save(self, held: Mapping[str, tuple[Held, ...]]) -> None:
        """Write all tokens but DPoP tokens: their key does not outlive the program.

        Raises:
            StepUpError: The file cannot be written.
        """
        tokens = {
            origin: [_write_held(one) for one in some if one.token.token_type == "Bearer"]
            for origin, some in held.items()
        }
        try:
            # mkstemp makes it 0600, whatever the umask is.
            handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump({"version": _VERSION, "tokens": tokens}, file)
                Path(name).replace(self._path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise StepUpError(f"{self._path} cannot be written: {error.strerror}") from None


def _write_held(held: Held) -> dict[str, Any]:
    token, asked = held.token, held.asked
    return {
        "access_token": token.access_token,
        "token_type": token.token_type,
        "scopes": token.scopes,
        "expires_at": token.expires_at,
        "acr": token.acr,
        "auth_time": token.auth_time,
        "asked_acr_values": asked.acr_values,
        "asked_max_age": asked.max_age,
        "obtained_at": held.obtained_at,
    }


def _read_held(one: Mapping[str, Any]) -> Held:
    token = Token(
        one["access_token"],
        one["token_type"],
        tuple(one["scopes"]),
        one["expires_at"],
        one["acr"],
        one["auth_time"],
    )
    asked = Demand(
        acr_values=tuple(one["asked_acr_values"]),
        max_age=one["asked_max_age"],
        scopes=token.scopes,
    )
    return Held(token, asked, float(one["obtained_at"]))
