"""Hosts, base paths, URLs and listen addresses as the operator writes them, read and checked."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from bridge.config.settings import TcpAddress, UnixAddress
from bridge.tokens.transport import is_insecure

# pchar (RFC 3986 §3.3) without percent-encoding, `*` and `;`
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()+,=:@-]+)+/?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_HOST_LENGTH = 253
_MAX_PORT = 65535
_MAX_SOCKET_PATH_BYTES = 107  # sun_path less its final NUL (unix(7))
_MAX_URL_LENGTH = 2048


def host(text: str) -> str:
    """Bring a host or `*.` wildcard into the form that requests are compared in.

    Returns:
        Lower case, without one trailing dot.
    """
    given = text.lower().removesuffix(".")
    if not given.isascii():
        raise ValueError("must be ASCII: write international names as xn--…")
    if given == "*":
        raise ValueError("must be a host name; leave out hosts for any host")
    if given.startswith("[") and given.endswith("]") and _is_ip(given[1:-1], version=6):
        return given
    if "/" in given or ":" in given:
        raise ValueError("must be a host name without scheme, port and path")
    labels = given.removeprefix("*.").split(".")
    if len(given) > _MAX_HOST_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be a host name such as api.example.com or *.example.com")
    return given


def base_path(text: str) -> str:
    """Check a base path: it is compared with the raw path, so it is one plain spelling.

    Returns:
        Without a trailing slash, but `/` for the root.
    """
    if text == "/":
        return text
    if not text.startswith("/"):
        raise ValueError("must start with /")
    if not _BASE_PATH.fullmatch(text) or any(s in (".", "..") for s in text.split("/")):
        raise ValueError(
            "must be plain segments such as /payments/v1"
            " (no wildcard, {name}, percent-encoding, ; or //)"
        )
    return text.removesuffix("/")


def url(text: str) -> str:
    """Check an absolute http or https URL without credentials and fragment."""
    split_url(text)
    return text


def split_url(text: str) -> SplitResult:
    """Check an absolute http or https URL, and give its parts."""
    message = "must be an absolute URL such as https://login.example.com/keys"
    if len(text) > _MAX_URL_LENGTH or not re.fullmatch(r"[!#-\[\]-~]+", text):
        raise ValueError(message)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(message) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(message)
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if "#" in text:
        raise ValueError("must not have a fragment")
    return parts


def resource(text: str) -> str:
    """Check a resource identifier. Spec: RFC 9728 §1.2 (https, no fragment)."""
    if is_insecure(split_url(text)):
        raise ValueError("must be an https:// URL (RFC 9728 §1.2); http:// only on loopback")
    return text


def origin(text: str) -> str:
    """Check an origin: scheme, host and port, and nothing else. Spec: RFC 6454 §4."""
    parts = split_url(text)
    if parts.path not in ("", "/") or "?" in text:
        raise ValueError("must be an origin such as https://api.example.com, without a path")
    if is_insecure(parts):
        raise ValueError("must be an https:// origin; http:// only on loopback")
    return text


def redis_url(text: str) -> str:
    """Check the URL of a Redis; what it holds is never repeated.

    No query: its options would override the bridge's own, which never send a command twice.
    """
    message = "must be a URL such as redis://redis.internal:6379/0, rediss://… or unix:///path"
    if len(text) > _MAX_URL_LENGTH or not re.fullmatch(r"[!#-\[\]-~]+", text):
        raise ValueError(message)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(message) from None
    if parts.scheme == "unix":
        is_whole = bool(parts.path) and not parts.hostname
    else:
        is_whole = bool(parts.hostname) and bool(re.fullmatch(r"(?:/[0-9]*)?", parts.path))
    if parts.scheme not in ("redis", "rediss", "unix") or not is_whole or port == 0:
        raise ValueError(message)
    if "?" in text or "#" in text:
        raise ValueError("must have no query and no fragment: the bridge sets the options itself")
    return text


def redis_url_without_password(text: str) -> str:
    """Check the URL of a Redis that stands in the file itself."""
    parts = urlsplit(redis_url(text))
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password: use redis_url_file or _env")
    return text


def address(text: str) -> TcpAddress | UnixAddress:
    """Read `host:port`, `[::1]:port` or `unix:/path`; a relative path stays relative."""
    if text.startswith("unix:"):
        return _unix_address(text.removeprefix("unix:"))
    given, colon, port = text.rpartition(":")
    if not (colon and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= _MAX_PORT):
        raise ValueError(
            "must be host:port, [ipv6]:port or unix:/path, such as 127.0.0.1:9191; port 0 to 65535"
        )
    if given.startswith("[") and given.endswith("]") and _is_ip(given[1:-1], version=6):
        return TcpAddress(given[1:-1].lower(), int(port))
    labels = given.lower().split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must name a host before the port, such as 127.0.0.1 or 0.0.0.0 or [::1]")
    if labels[-1].isdigit() and not _is_ip(given, version=4):
        raise ValueError("must have a whole IPv4 address or a host name before the port")
    return TcpAddress(given.lower(), int(port))


def _unix_address(path: str) -> UnixAddress:
    if path.startswith("//"):
        raise ValueError("must be unix:/path, with one slash")
    if not path or not path.isprintable():
        raise ValueError("must name a socket, such as unix:/run/bridge/authz.sock")
    return UnixAddress(Path(path))


def listen_address(text: str, directory: Path) -> TcpAddress | UnixAddress:
    """Read an address, and make a socket's path absolute."""
    given = address(text)
    if isinstance(given, TcpAddress):
        return given
    path = directory / given.path
    if len(str(path).encode()) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"must be a socket path of at most {_MAX_SOCKET_PATH_BYTES} bytes")
    return UnixAddress(path)


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False
