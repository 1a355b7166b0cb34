"""A JWT access token, part by part: what is visible without a key, the signature, the claims.

RFC 7515, RFC 7519, RFC 9068 §4, RFC 8725. `now` is an argument; nothing here fetches or waits.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from bridge.errors import TokenError
from bridge.tokens import json_strict
from bridge.tokens.access_token import Claims, is_number
from bridge.tokens.confirmation import read_confirmation
from bridge.tokens.jwk import VerificationKey
from bridge.tokens.settings import IssuerSettings

CHECKS = (
    "format",
    "crit",
    "iss",
    "alg",
    "typ",
    "key",
    "signature",
    "exp",
    "nbf",
    "iat",
    "id_token",
    "required_claims",
    "cnf",
    "aud",
)
"""The checks of a token in the order in which they are made."""

REQUIRED_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")
"""RFC 9068 §2.2, demanded by `token_type: strict`."""

_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
_ACCESS_TOKEN_TYPE = "at+jwt"
_LENIENT_TYPES = frozenset({_ACCESS_TOKEN_TYPE, "jwt", None})

# BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature), RFC 7515 §7.1
COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")  # "!" is refused
# The last character of a canonical encoding has no stray bits (RFC 4648 §3.5).
_CANONICAL_LAST = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
_MAX_CACHED_HEADER = 512


@dataclass(frozen=True, slots=True)
class Header:
    """A JOSE header, as far as it is used; `jku`, `x5u`, `jwk` and `x5c` never are.

    Attributes:
        typ: Lower case, without `application/`; None where absent.
    """

    alg: str
    kid: str | None
    typ: str | None
    has_crit: bool


class UnverifiedJwt(NamedTuple):
    """A well-formed JWT of which nothing is verified."""

    header: Header
    claims: Claims
    signing_input: bytes
    signature: bytes


def read_jwt(token: str) -> UnverifiedJwt | None:
    """Take a token apart.

    Returns:
        None where the token is opaque: not three base64url parts, or the first no JSON object.

    Raises:
        TokenError: A JWT, but not a well-formed one.
    """
    parts = token.split(".", 3)
    if len(parts) != 3:  # noqa: PLR2004 header, claims, signature
        return None
    encoded_header, encoded_claims, encoded_signature = parts
    is_short = len(encoded_header) <= _MAX_CACHED_HEADER
    try:
        header = (_read_header_cached if is_short else _read_header)(encoded_header)
        if header is None:
            return None
        claims = json_strict.loads(decode_base64url(encoded_claims))
        signature = decode_base64url(encoded_signature)
    except ValueError:
        if COMPACT.fullmatch(token) is None:
            return None
        raise _malformed() from None
    if not isinstance(claims, dict):
        raise _malformed()
    signing_input = token[: -len(encoded_signature) - 1] if encoded_signature else token[:-1]
    return UnverifiedJwt(header, claims, signing_input.encode("ascii"), signature)


def _read_header(encoded: str) -> Header | None:
    """Read a header; None: no JSON object.

    Raises:
        ValueError: A JSON object, but a faulty one.
    """
    try:
        header = json_strict.loads(decode_base64url(encoded))
    except ValueError:
        if _is_object_at_least(encoded):
            raise
        return None
    if not isinstance(header, dict):
        return None
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if (
        not isinstance(alg, str)
        or not isinstance(kid, str | None)
        or not isinstance(typ, str | None)
        or ("typ" in header and typ is None)
        or ("kid" in header and kid is None)
    ):
        raise ValueError("a member of a wrong type")
    if typ is not None:
        typ = typ.lower().removeprefix("application/")
    return Header(alg, kid, typ, "crit" in header)


# An issuer signs all its tokens with the same few headers: decode each once.
_read_header_cached = lru_cache(maxsize=1024)(_read_header)


def _is_object_at_least(encoded: str) -> bool:
    """Tell a JWT with a faulty header from an opaque token with two dots."""
    try:
        padded = encoded.encode("ascii").translate(_TO_BASE64) + b"=" * (-len(encoded) % 4)
        return isinstance(json.loads(a2b_base64(padded).decode(), parse_int=str), dict)
    except RecursionError:  # nested too deeply to tell
        return True
    except ValueError:
        return False


def decode_base64url(encoded: str) -> bytes:
    """Decode base64url strictly: no padding, no stray bits (RFC 7515 §2, RFC 4648 §3.5).

    Raises:
        ValueError: It is none.
    """
    raw = encoded.encode("ascii")
    remainder = len(raw) % 4
    if remainder == 0:
        return a2b_base64(raw.translate(_TO_BASE64), strict_mode=True)
    if remainder == 1 or raw[-1] not in _CANONICAL_LAST[remainder]:
        raise ValueError("not canonical base64url")
    return a2b_base64(raw.translate(_TO_BASE64) + b"=" * (4 - remainder), strict_mode=True)


def check_header(header: Header, settings: IssuerSettings) -> None:
    """Check what needs no key: `crit`, `alg`, `typ`.

    Raises:
        TokenError: RFC 7515 §4.1.11 (no extension is understood), RFC 8725 §3.1 (the algorithm is
            the issuer's choice), RFC 9068 §4 (`typ`).
    """
    if header.has_crit:
        raise TokenError("crit", "token_crit_not_understood")
    if header.alg not in settings.algorithms:
        raise TokenError("alg", "token_alg_not_accepted")
    accepted = {_ACCESS_TOKEN_TYPE} if settings.token_type == "strict" else _LENIENT_TYPES
    if header.typ not in accepted:
        raise TokenError("typ", "token_typ_not_accepted")


def verify_signature(jwt: UnverifiedJwt, keys: Sequence[VerificationKey]) -> VerificationKey:
    """Find the key that signed the token.

    Args:
        keys: The issuer's keys with the token's kid, or all of them where it names none.

    Raises:
        TokenError: None of them did.
    """
    algorithm = jwt.header.alg
    for key in keys:
        if algorithm in key.algorithms and key.verify(algorithm, jwt.signing_input, jwt.signature):
            return key
    raise TokenError("signature", "token_signature_invalid")


def check_claims(
    claims: Claims, typ: str | None, settings: IssuerSettings, now: int
) -> tuple[str, ...]:
    """Check the claims that do not depend on the API.

    Args:
        typ: The header's `typ` as in `Header.typ`.
        now: Current time, epoch seconds.

    Returns:
        The token's audiences.

    Raises:
        TokenError: Expired, not yet valid, malformed, an ID token, or bound to what is not known.

    Does not check: `iss` (it chose the settings), whether the API takes the audience, whether the
    client has what the token is bound to (`tokens.confirmation`).
    Spec: RFC 7519 §4.1, RFC 9068 §2.2 and §4, RFC 9449 §7.2, RFC 8705 §3.
    """
    leeway = settings.leeway
    if now >= _time(claims, "exp", required=True) + leeway:
        raise TokenError("exp", "token_expired")
    if _time(claims, "nbf") > now + leeway:
        raise TokenError("nbf", "token_not_yet_valid")
    if _time(claims, "iat") > now + leeway:
        raise TokenError("iat", "token_issued_in_the_future")
    if (
        settings.id_token_claims == "refuse"
        and typ != _ACCESS_TOKEN_TYPE
        and any(name in claims for name in _ID_TOKEN_CLAIMS)
    ):
        raise TokenError("id_token", "token_is_an_id_token")
    if settings.token_type == "strict" and not _has_required_claims(claims):
        raise TokenError("required_claims", "token_lacks_required_claims")
    if "cnf" in claims:
        read_confirmation(claims["cnf"])
    return _audiences(claims.get("aud"))


def check_audience(
    aud: tuple[str, ...] | None, api_audiences: tuple[str, ...] | None, settings: IssuerSettings
) -> None:
    """Check that the token is meant for the API: any match will do (RFC 7519 §4.1.3).

    Args:
        aud: None: its issuer said that it is active, and named no audience (RFC 7662 §2.2).

    Raises:
        TokenError: It is for somebody else.
    """
    if aud is None:
        return
    accepted = settings.audiences if api_audiences is None else api_audiences
    for audience in aud:
        if audience in accepted:
            return
    raise TokenError("aud", "token_audience_not_accepted")


def _has_required_claims(claims: Claims) -> bool:
    """Tell whether none of `REQUIRED_CLAIMS` is missing, and what names something does so."""
    names = [claims.get(name) for name in ("sub", "client_id", "jti")]
    return claims.keys() >= set(REQUIRED_CLAIMS) and all(
        isinstance(name, str) and name for name in names
    )


def _audiences(aud: Any) -> tuple[str, ...]:
    if isinstance(aud, str):
        return (aud,)
    if isinstance(aud, list) and all(isinstance(member, str) for member in aud):
        return tuple(aud)
    raise TokenError("aud", "token_audience_not_accepted")


def _time(claims: Claims, name: str, *, required: bool = False) -> float:
    """Read a NumericDate; an optional one that is absent is the beginning of time."""
    if name not in claims and not required:
        return 0
    value: Any = claims.get(name)
    if not is_number(value):
        raise TokenError(name, f"token_{name}_malformed")
    number: float = value
    return number


def _malformed() -> TokenError:
    return TokenError("format", "token_malformed")
