"""Where the metadata of a protected resource lives (RFC 9728 §3.1)."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

WELL_KNOWN_PATH = "/.well-known/oauth-protected-resource"


@lru_cache(maxsize=4096)
def metadata_url(resource: str) -> str:
    """Insert the well-known path between the host and the path of a resource identifier."""
    parts = urlsplit(resource)
    path = "" if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN_PATH}{path}{query}"
