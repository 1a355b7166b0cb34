"""JSON that means one thing only. Python's `json` is laxer than what may decide about access."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import orjson

_CONTAINERS = (dict, list)
MAX_DEPTH = 64  # lists and objects within each other; no claim needs more than a few
_MAX_INT_DIGITS = 20  # refused before they are read: a quadratic cost
_64_BITS = range(-(2**63), 2**64)  # signed or not; more is no claim that anybody can mean


def loads(raw: bytes) -> Any:
    """Decode one JSON text.

    Raises:
        ValueError: Not UTF-8, not JSON, duplicate members (RFC 8725 §2.4), NaN or Infinity, numbers
            beyond 64 bits or the range of a float, nesting too deep, lone surrogates.
    """
    may_be_deep = raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
    try:
        value = orjson.loads(raw)
        if may_be_deep:
            _refuse_deep_nesting(value)  # `orjson.dumps` has a limit too
        # Written back it is the same: so nothing is in it twice, and nothing was made of it. Some
        # encoders, as Kong's, escape slashes.
        written = orjson.dumps(value)
        if written == raw or (b"\\" in raw and written == raw.replace(rb"\/", b"/")):
            return value
    except ValueError:
        pass
    text = raw.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError:  # a limit of Python's, which each version sets elsewhere, above ours
        raise _too_deep() from None
    if may_be_deep:
        _refuse_deep_nesting(value)
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _refuse_deep_nesting(value: Any) -> None:
    """Go down level by level: no recursion, so no limit but ours."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _CONTAINERS)
        ]
    if level:
        raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError("nested too deeply")


def _refuse_lone_surrogates(value: Any) -> None:
    r"""Refuse what `\ud800` decodes to: it breaks the header or log line it is written to."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # UnicodeEncodeError is a ValueError


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _int(digits: str) -> int:
    if len(digits) > _MAX_INT_DIGITS:
        raise ValueError("number too large")
    number = int(digits)
    if number not in _64_BITS:
        raise ValueError("number too large")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("number too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
)
