"""Tokens in a file: nobody else reads them, and no half of them is ever there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bridge.client.demand import Demand
from bridge.client.errors import StepUpError
from bridge.client.file_store import FileStore
from bridge.client.keyring import Keyring
from bridge.client.token import Token
from bridge.client.wallet import Held

HELD = Held(
    Token("secret-token", "Bearer", ("a", "b"), 5.0, "mfa", 7),
    Demand(acr_values=("mfa",), max_age=60, scopes=("a", "b")),
    1000.0,
)
ORIGIN = "https://api.example:443"


def view(held: Held) -> tuple[Token, Demand, float]:
    return held.token, held.asked, held.obtained_at


@pytest.fixture
def file(tmp_path: Path) -> Path:
    FileStore(tmp_path / "tokens").save({ORIGIN: (HELD,)})
    return tmp_path / "tokens"


def test_what_is_saved_is_loaded(file: Path) -> None:
    (loaded,) = FileStore(file).load()[ORIGIN]
    assert view(loaded) == view(HELD)
    assert (
        Keyring(store=FileStore(file)).wallet("https://api.example/x").held[0].token == HELD.token
    )


def test_no_file_is_no_token(tmp_path: Path) -> None:
    assert FileStore(tmp_path / "none").load() == {}


def test_mode_is_0600_whatever_umask_and_old_file_say(file: Path) -> None:
    file.chmod(0o644)
    umask = os.umask(0)
    try:
        FileStore(file).save({ORIGIN: (HELD,)})
    finally:
        os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_file_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(StepUpError, match="0600"):
        FileStore(file).load()


def test_link_and_directory_and_pipe_are_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "."):
        with pytest.raises(StepUpError):
            FileStore(tmp_path / name).load()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"\xff", b'{"version": 2, "tokens": {}}',
        b'{"version": 1, "tokens": []}', b'{"version": 1, "tokens": {"x": [{}]}}',
        b'{"version": 1, "tokens": {"x": 5}}',
    ],
)  # fmt: skip
def test_what_is_no_token_store_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(StepUpError, match=r"token store|version"):
        FileStore(file).load()


def test_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StepUpError, match="cannot be written"):
        FileStore(tmp_path / "none" / "tokens").save({ORIGIN: (HELD,)})


def test_dpop_token_is_not_kept_since_its_key_is_not(file: Path) -> None:
    bound = Held(Token("t", "DPoP"), Demand(), 0.0)
    FileStore(file).save({ORIGIN: (HELD, bound)})
    assert len(FileStore(file).load()[ORIGIN]) == 1
