"""`x-forwarded-client-cert` in, the client certificate's digest out. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

MALFORMED = ""

# XFCC    = element *( "," element );  element = pair *( ";" pair );  pair = key "=" value
# value   = *( any but , ; " ) / DQUOTE *( any but " \ / "\" any ) DQUOTE
# (Envoy's documentation of the header; everything possessive, so that nothing is read twice)
_PAIR = r"""[A-Za-z]++=(?:"(?:[^"\\]|\\.)*+"|[^,;"]*+)"""
_ELEMENT = re.compile(rf"[ \t]*+({_PAIR}(?:;{_PAIR})*+)")
_PAIRS = re.compile(r"""([A-Za-z]++)=("(?:[^"\\]|\\.)*+"|[^,;"]*+);?""")
_SHA256_HEX = re.compile(r"[0-9A-Fa-f]{64}")


def read_xfcc(values: Sequence[str]) -> str | None:
    """Read the digest of the certificate that Envoy saw: the `Hash` of the last element.

    Args:
        values: One string for each header line, as they came.

    Returns:
        SHA-256, lower-case hex; None: there is no header; `MALFORMED`: what there is is none, is
        doubtful, or has no hash.

    Elements before the last are hearsay: the client, or a proxy before Envoy, wrote them.
    """
    if not values:
        return None
    if len(values) > 1:
        return MALFORMED
    last = _last_element(values[0])
    pairs: list[tuple[str, str]] = _PAIRS.findall(last or "")
    hashes = [value for key, value in pairs if key.lower() == "hash"]
    if len(hashes) != 1 or not _SHA256_HEX.fullmatch(hashes[0]):
        return MALFORMED
    return hashes[0].lower()


def _last_element(value: str) -> str | None:
    """Find the last element, if all before it are elements too."""
    position = 0
    while True:
        element = _ELEMENT.match(value, position)
        if element is None:
            return None
        position = element.end()
        if position == len(value):
            return element[1]
        if value[position] != ",":
            return None
        position += 1
