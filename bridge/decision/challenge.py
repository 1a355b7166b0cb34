"""The challenge of a denial, in the words of RFC 9110 §11.6.1; `challenge_parser` reads it back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.decision.challenge_parser import (
    MAX_AGE_DIGITS,
    TOKEN,
    Challenge,
    ChallengeSyntaxError,
    parse_challenges,
)

__all__ = ["Challenge", "ChallengeSyntaxError", "build_challenge", "parse_challenges"]

# What may stand in our quoted-strings: SP / VCHAR. No HTAB, no obs-text.  (RFC 9110 §5.6.4)
_TEXT = re.compile(r"[ -~]*")

# error = 1*NQSCHAR; error_description likewise; NQSCHAR = %x20-21 / %x23-5B / %x5D-7E
# (RFC 6749 appendix A.7, A.8; RFC 6750 §3 forbids the rest)
_ERROR_TEXT = re.compile(r"[ !#-\[\]-~]+")

# scope = scope-token *( SP scope-token ); scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
# (RFC 6749 §3.3); acr_values and algs are lists of the same kind (RFC 9470 §3, RFC 9449 §7.1)
_MEMBERS = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")

_MAX_AGE_LIMIT: int = 10**MAX_AGE_DIGITS


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
    claims: str | None = None,
    algs: Sequence[str] = (),
) -> str:
    """Write one challenge: each parameter at most once, in this order, as a quoted-string.

    Args:
        scheme: `Bearer` or `DPoP`.
        realm: Any printable ASCII.
        error: Error code of RFC 6750 §3.1 or RFC 9470 §3; None where there were no credentials.
        error_description: A sentence for the client's developer.
        acr_values: Any of them will do, the preferred first. Empty: left out.
        max_age: Oldest acceptable authentication, seconds, >= 0; 0 is said.
        scope: All of them are needed. Empty: left out.
        resource_metadata: URL of the protected resource's metadata (RFC 9728 §5.1).
        claims: Microsoft's claims challenge, base64.
        algs: JWS algorithms of DPoP proofs (RFC 9449 §7.1). Empty: left out.

    Raises:
        ValueError: A character that the parameter cannot hold, or no parameter at all.

    Spec: RFC 9110 §11.6.1 and §5.6.4, RFC 6750 §3, RFC 9470 §3.
    """
    if not TOKEN.fullmatch(scheme):
        raise ValueError("scheme must be a token")
    params: list[str] = []
    if realm is not None:
        params.append(f'realm="{_escape("realm", realm)}"')
    if error is not None:
        params.append(f'error="{_check_error_text("error", error)}"')
    if error_description is not None:
        text = _check_error_text("error_description", error_description)
        params.append(f'error_description="{text}"')
    if acr_values:
        params.append(f'acr_values="{_join("acr_values", acr_values)}"')
    if max_age is not None:
        if isinstance(max_age, bool) or not 0 <= max_age < _MAX_AGE_LIMIT:
            raise ValueError(f"max_age must be a number of 1 to {MAX_AGE_DIGITS} digits")
        params.append(f'max_age="{max_age}"')
    if scope:
        params.append(f'scope="{_join("scope", scope)}"')
    if resource_metadata is not None:
        params.append(f'resource_metadata="{_escape("resource_metadata", resource_metadata)}"')
    if claims is not None:
        params.append(f'claims="{_escape("claims", claims)}"')
    if algs:
        params.append(f'algs="{_join("algs", algs)}"')
    if not params:
        raise ValueError("a challenge must have a parameter (RFC 6750 §3)")
    return f"{scheme} {', '.join(params)}"


def _escape(name: str, value: str) -> str:
    """Escape what must be, and nothing else (RFC 9110 §5.6.4)."""
    if not _TEXT.fullmatch(value):
        raise ValueError(f"{name} must be printable ASCII")
    if '"' in value or "\\" in value:
        return value.replace("\\", r"\\").replace('"', r"\"")
    return value


def _check_error_text(name: str, value: str) -> str:
    if not _ERROR_TEXT.fullmatch(value):
        raise ValueError(f"{name} must be printable ASCII without quote and backslash")
    return value


def _join(name: str, members: Sequence[str]) -> str:
    """Join a list; one look at the whole finds a member that would read as two, or as none."""
    value = " ".join(members)
    if (
        isinstance(members, str)
        or not _MEMBERS.fullmatch(value)
        or value.count(" ") != len(members) - 1
    ):
        raise ValueError(f"a member of {name} must be printable ASCII without space, quote, \\")
    return value
