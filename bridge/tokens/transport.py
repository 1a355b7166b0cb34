"""Which URLs an issuer may be asked at."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult


def is_insecure(parts: SplitResult) -> bool:
    """Tell whether a URL is `http://` to another machine than loopback."""
    if parts.scheme != "http":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname != "localhost"
