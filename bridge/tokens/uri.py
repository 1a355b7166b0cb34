"""`htu` and the request's URI in one spelling, so that equal URIs are equal strings. Pure."""

from __future__ import annotations

import re

# scheme "://" host [ ":" port ] path [ "?" query ] [ "#" fragment ]; VCHAR only, no user name
_HTTP_URI = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]++\]|[^:/?#@\[\]]++)(?::(?P<port>[0-9]*+))?"
    r"(?P<path>/[^?#]*+|)(?:[?#].*+)?",
    re.IGNORECASE,
)
_VISIBLE = re.compile(r"[!-~]++")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def normalise(uri: str) -> str | None:
    """Normalise an absolute http or https URI by syntax and scheme, without query and fragment.

    Returns:
        None where it is no such URI.

    Spec: RFC 9449 §4.3 (9), RFC 3986 §6.2.2 and §6.2.3.
    """
    match = _HTTP_URI.fullmatch(uri)
    if match is None or not _VISIBLE.fullmatch(uri):
        return None
    path = normalise_path(match["path"])
    if path is None:
        return None
    scheme, host, port = match["scheme"].lower(), match["host"].lower(), match["port"]
    shown = "" if not port or port == _DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{host}{shown}{path}"


def normalise_path(path: str) -> str | None:
    """Normalise a path: escapes, then dot segments; None where an escape is broken."""
    if "%" in path:
        try:
            path = _PERCENT.sub(_one_escape, path)
        except ValueError:
            return None
    if "/." in path:
        path = _without_dot_segments(path)
    return path or "/"


def _one_escape(match: re.Match[str]) -> str:
    """Decode what need not be encoded, write the rest in upper case (RFC 3986 §6.2.2)."""
    if match[1] is None:
        raise ValueError("broken escape")
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dot_segments(path: str) -> str:
    """Remove dot segments (RFC 3986 §5.2.4); the path begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
