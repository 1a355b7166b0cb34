"""One `WWW-Authenticate` challenge, written; the grammar both ways is RFC 9110 §11.6.1's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.decision.challenge_parser import Challenge, ChallengeSyntaxError, parse_challenges

__all__ = ["Challenge", "ChallengeSyntaxError", "build_challenge", "parse_challenges"]

# auth-scheme = token (RFC 9110 §11.1, §5.6.2)
_SCHEME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# between the quotes, before escaping: qdtext and quoted-pair, less HTAB and obs-text
_TEXT = re.compile(r"[\x20-\x7e]*")
# scope-token = 1*( %x21 / %x23-5B / %x5D-7E )  (RFC 6749 §3.3); an acr value likewise
_MEMBER = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def build_challenge(
    scheme: str,
    *,
    realm: str | None = None,
    error: str | None = None,
    error_description: str | None = None,
    acr_values: Sequence[str] = (),
    max_age: int | None = None,
    scope: Sequence[str] = (),
    resource_metadata: str | None = None,
    algs: Sequence[str] = (),
) -> str:
    """Write one challenge; parameters come in this order, each once, quoted.

    Args:
        acr_values: In order of preference (RFC 9470 §3); empty: left out.
        max_age: Seconds, >= 0 (RFC 9470 §3).
        scope: RFC 6750 §3; empty: left out.
        resource_metadata: URL (RFC 9728 §5.1).
        algs: RFC 9449 §7.1; empty: left out.

    Raises:
        ValueError: A value that cannot stand in a challenge, or nothing to say at all.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ValueError("the scheme must be a token")
    if max_age is not None and max_age < 0:
        raise ValueError("max_age must not be negative")
    params = (
        ("realm", realm),
        ("error", error),
        ("error_description", error_description),
        ("acr_values", _joined("acr_values", acr_values)),
        ("max_age", None if max_age is None else str(max_age)),
        ("scope", _joined("scope", scope)),
        ("resource_metadata", resource_metadata),
        ("algs", _joined("algs", algs)),
    )
    written = ", ".join(
        f"{name}={_quoted(name, text)}" for name, text in params if text is not None
    )
    if not written:
        raise ValueError("a challenge must have a parameter (RFC 6750 §3)")
    return f"{scheme} {written}"


def _joined(name: str, members: Sequence[str]) -> str | None:
    if not members:
        return None
    for member in members:
        if not _MEMBER.fullmatch(member):
            raise ValueError(f"a value of {name} has a character that cannot stand there")
    return " ".join(members)


def _quoted(name: str, text: str) -> str:
    """Write a quoted-string (RFC 9110 §5.6.4): only `"` and the backslash are escaped."""
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{name} has a character that cannot stand in a header")
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
