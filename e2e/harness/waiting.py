"""Waiting that ends: poll a condition until a deadline. The suite's only way to wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_POLL_SECONDS = 0.02


T = TypeVar("T")


def wait_until(check: Callable[[], T], *, seconds: float, what: str) -> T:
    """Poll until `check` gives something true, and return that.

    Raises:
        AssertionError: It did not within `seconds`; says `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {result!r}")
        time.sleep(_POLL_SECONDS)
