"""The request's host, in the one form that configuration and request share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from bridge.errors import RequestError

# uri-host [ ":" port ] (RFC 9110 §7.2) without userinfo and sub-delims; labels of DNS, or an IP.
_HOST = re.compile(
    r"(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\.?(?::[0-9]{0,5})?"
    r"|(?P<ip6>\[[0-9a-f:.]+\])(?::[0-9]{0,5})?",
    re.ASCII,
)
_MAX_HOST_LENGTH = 261  # 253 of a DNS name, a dot, a colon, five digits


def read_host(values: Sequence[str]) -> str:
    """Bring the request's host into the form that policies use.

    Args:
        values: Every `Host` value of the request, exactly as they came.

    Returns:
        Lower case, without port and without one trailing dot.

    Raises:
        RequestError: None or several, empty, with userinfo, or no host name at all.
    """
    if len(values) != 1:
        raise RequestError("host_not_single", "The request must have exactly one host")
    host = values[0]
    name = _read(host) if len(host) <= _MAX_HOST_LENGTH else None
    if name is None:
        raise RequestError("host_malformed", "The request host is malformed")
    return name


@lru_cache(maxsize=1024)  # the same few hosts, at every request
def _read(host: str) -> str | None:
    # Not ASCII: the Kelvin sign would become a k in lower case.
    match = _HOST.fullmatch(host.lower()) if host.isascii() else None
    return None if match is None else match["name"] or match["ip6"]
