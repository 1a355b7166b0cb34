"""Whom a token may be sent to: the origin it was made for, over TLS or on this machine. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def origin_of(url: str) -> str:
    """Give scheme, host and port (RFC 6454 §4).

    Raises:
        ValueError: Not an absolute http or https URL.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORTS or not host:
        raise ValueError("not an absolute http or https URL")
    port = _DEFAULT_PORTS[scheme] if parts.port is None else parts.port
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}"


def place_of(url: str) -> str:
    """Give a URL without user, query and fragment: to be shown, and to be compared."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}"


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def is_protected(url: str) -> bool:
    """Tell whether nobody can listen in: TLS (RFC 6750 §5.3), or this machine alone."""
    return urlsplit(url).scheme.lower() == "https" or is_loopback(url)
