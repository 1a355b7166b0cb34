"""How servers read a path differently: every reading that a by-pass could count on."""

from __future__ import annotations

import itertools
from urllib.parse import unquote_to_bytes

_ROUNDS = 3


def readings(target: str) -> set[str]:
    """Give the paths that some server would understand by a raw target, lower case.

    Each of the lenient steps is done or left out, in every combination, up to three times over:
    percent-decoding, `\\` as `/`, `;parameters` cut, `//` merged, NUL and what follows cut, and at
    last dot segments resolved or not.
    """
    path = target.partition("?")[0].partition("#")[0]
    seen = {path}
    for _ in range(_ROUNDS):
        seen |= {step(known) for known, step in itertools.product(seen, _STEPS)}
    return {reading.lower() for reading in seen | {_resolve(known) for known in seen}}


def reaches(target: str, tree: str) -> bool:
    """Tell whether any reading of a raw target lies in a tree such as `/protected`."""
    return any(path == tree or path.startswith(f"{tree}/") for path in readings(target))


def _decode(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1", "replace")).decode("latin-1")


def _backslashes(path: str) -> str:
    return path.replace("\\", "/")


def _without_parameters(path: str) -> str:
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def _merge(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


def _cut_at_nul(path: str) -> str:
    return path.partition("\0")[0]


def _without_authority(path: str) -> str:
    """Read `//host/path` and `scheme://host/path` as a URL (CVE-2026-26205)."""
    _, slashes, rest = path.partition("//")
    return "/" + rest.partition("/")[2] if slashes else path


def _resolve(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


_STEPS = (
    _decode,
    _backslashes,
    _without_parameters,
    _merge,
    _cut_at_nul,
    _without_authority,
    _resolve,
)
