"""A DPoP proof, check by check (RFC 9449 §4.3). Pure: `now` is an argument.

Whether it was used before is told by `tokens.replay`, by what `check_proof` gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa

from bridge.errors import ProofError, RequestError, TokenError
from bridge.tokens import json_strict
from bridge.tokens.access_token import is_number
from bridge.tokens.confirmation import base64url
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.jwk import PublicKey, read_public_key, verify
from bridge.tokens.jwt import COMPACT, decode_base64url
from bridge.tokens.nonce import Nonces
from bridge.tokens.uri import normalise

PROOF_CHECKS = (
    "proof",
    "format",
    "crit",
    "typ",
    "jwk",
    "alg",
    "jkt",
    "htm",
    "htu",
    "iat",
    "jti",
    "ath",
    "nonce",
    "signature",
    "replay",
)
"""The checks of a proof in the order in which they are made."""

MAX_PROOF_BYTES = 8 * 1024
MAX_JTI_LENGTH = 256
_MAX_CACHED_HEADER = 1024
_MAX_RSA_BITS = 8192
_MAX_RSA_EXPONENT = 2**32

# What a thumbprint is made of, in its order (RFC 7638 §3.2, RFC 8037 §2).
_THUMBPRINT_MEMBERS = {
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "OKP": ("crv", "kty", "x"),
}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_THUMBPRINT_TEXT = re.compile(r"[A-Za-z0-9_-]+")  # base64url, and the names of curves


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a proof: its algorithm, and its key with the thumbprint."""

    alg: str
    jkt: str
    key: PublicKey


class UsedProof(NamedTuple):
    """A proof that holds, if it was not used before.

    Attributes:
        jkt: Thumbprint of its key.
        jti: Its own name.
        iat: When it was issued, epoch seconds.
    """

    jkt: str
    jti: str
    iat: float


def require_one_proof(values: Sequence[str]) -> None:
    """Refuse more than one value of the `DPoP` header, before anything else is looked at.

    Args:
        values: One string for each header line, as they came.

    Raises:
        RequestError: Two of them, or a comma (gateways join lines with commas).

    Spec: RFC 9449 §4.3 (1).
    """
    if len(values) > 1 or (values and "," in values[0]):
        raise RequestError("dpop_repeated", "The request must have exactly one DPoP value")


def read_proof(values: Sequence[str]) -> str:
    """Read the proof from the values of the `DPoP` header, of which there is at most one.

    Raises:
        ProofError: None, or one that is too large.
    """
    require_one_proof(values)
    proof = values[0].strip(" \t") if values else ""
    if not proof:
        raise ProofError("proof", "dpop_proof_missing")
    if len(proof) > MAX_PROOF_BYTES:
        raise ProofError("proof", "dpop_proof_too_large")
    return proof


def check_proof(
    proof: str,
    settings: DpopSettings,
    *,
    jkt: str,
    method: str,
    origin: str,
    path: str,
    token: str,
    now: int,
    nonces: Nonces | None = None,
) -> UsedProof:
    """Check everything of a proof but whether it was used before.

    Args:
        proof: As of `read_proof`.
        jkt: Thumbprint of the key that the access token is bound to.
        method: Of the request, as sent.
        origin: Scheme, host and port of the API as its clients know it, normalised.
        path: Of the request, raw, without the query.
        token: The access token, as presented.
        now: Current time, epoch seconds.
        nonces: What the proof must hold one of; None: no demand.

    Raises:
        ProofError: The check that failed, and why.
        TokenError: A good key, but not the one that the token is bound to.

    Spec: RFC 9449 §4.3 (2) to (12), in an order that does what is costly last.
    """
    match = COMPACT.fullmatch(proof)
    if match is None:
        raise ProofError("format", "dpop_proof_malformed")
    encoded_header, encoded_claims, encoded_signature = match.groups()
    if len(encoded_header) <= _MAX_CACHED_HEADER:
        header = _read_header_cached(encoded_header)
    else:
        header = _read_header(encoded_header)
    if header.alg not in settings.algorithms:
        raise ProofError("alg", "dpop_alg_not_accepted")
    if header.jkt != jkt:  # RFC 9449 §7.1 calls this an invalid token: "Invalid DPoP key binding"
        raise TokenError("jkt", "dpop_key_mismatch")
    claims = _read_object(encoded_claims)
    if claims.get("htm") != method:
        raise ProofError("htm", "dpop_htm_mismatch")
    _check_htu(claims.get("htu"), origin + path)
    iat = _check_iat(claims.get("iat"), settings, now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
        raise ProofError("jti", "dpop_jti_malformed")
    if claims.get("ath") != base64url(sha256(token.encode()).digest()):
        raise ProofError("ath", "dpop_ath_mismatch")
    if nonces is not None:
        _check_nonce(claims.get("nonce"), nonces, now)
    signing_input = proof[: len(proof) - len(encoded_signature) - 1].encode("ascii")
    signature = _decode(encoded_signature)
    if not verify(header.alg, header.key, signing_input, signature):
        raise ProofError("signature", "dpop_signature_invalid")
    return UsedProof(jkt, jti, iat)


def describe_proof(values: Sequence[str]) -> dict[str, Any]:
    """Show what of a proof helps to understand a decision, unverified."""
    match = COMPACT.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
    if match is None:
        return {"format": "not one JWT"}
    try:
        header, claims = _read_object(match[1]), _read_object(match[2])
    except ProofError:
        return {"format": "malformed JWT"}
    jwk = header.get("jwk")
    shown = {name: header.get(name) for name in ("typ", "alg")}
    shown["jkt"] = thumbprint(jwk) if isinstance(jwk, dict) else None
    return shown | {name: claims.get(name) for name in ("htm", "htu", "iat", "ath")}


def thumbprint(jwk: dict[str, Any]) -> str | None:
    """Compute the SHA-256 thumbprint of a key; None where a member that it needs is malformed.

    Spec: RFC 7638 §3.
    """
    names = _THUMBPRINT_MEMBERS.get(str(jwk.get("kty")), ())
    members = [(name, jwk.get(name)) for name in names]
    for _, value in members:
        if not isinstance(value, str) or not _THUMBPRINT_TEXT.fullmatch(value):
            return None
    if not members:
        return None
    text = ",".join(f'"{name}":"{value}"' for name, value in members)
    return base64url(sha256(f"{{{text}}}".encode("ascii")).digest())


def _read_header(encoded: str) -> _Header:
    """Read a header that does not depend on who sends it when.

    Raises:
        ProofError: Checks (4) to (7) but the configured algorithms.
    """
    header = _read_object(encoded)
    if "crit" in header:  # no extension is understood (RFC 7515 §4.1.11)
        raise ProofError("crit", "dpop_crit_not_understood")
    typ, alg, jwk = header.get("typ"), header.get("alg"), header.get("jwk")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != "dpop+jwt":
        raise ProofError("typ", "dpop_typ_not_accepted")
    if not isinstance(jwk, dict):
        raise ProofError("jwk", "dpop_jwk_missing")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ProofError("jwk", "dpop_jwk_not_public")
    jkt = thumbprint(jwk)
    key, algorithms = read_public_key(jwk)
    if jkt is None or key is None or not algorithms or _is_costly(key):
        raise ProofError("jwk", "dpop_jwk_not_usable")
    if not isinstance(alg, str) or alg not in algorithms or jwk.get("alg", alg) != alg:
        raise ProofError("alg", "dpop_alg_not_of_key")
    return _Header(alg, jkt, key)


def _is_costly(key: PublicKey) -> bool:
    """Tell a key that was made to keep us busy. Too short ones fit no algorithm anyway."""
    return isinstance(key, rsa.RSAPublicKey) and (
        key.key_size > _MAX_RSA_BITS or key.public_numbers().e > _MAX_RSA_EXPONENT
    )


# A client sends the same header with each of its proofs: read each once.
_read_header_cached = lru_cache(maxsize=4096)(_read_header)


def _read_object(encoded: str) -> dict[str, Any]:
    try:
        document = json_strict.loads(decode_base64url(encoded))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ProofError("format", "dpop_proof_malformed")
    return document


def _decode(encoded: str) -> bytes:
    try:
        return decode_base64url(encoded)
    except ValueError:
        raise ProofError("format", "dpop_proof_malformed") from None


def _check_htu(htu: Any, uri: str) -> None:
    """Compare with the URI of the request, by normalised spelling where they differ."""
    if htu == uri:
        return
    if not isinstance(htu, str) or len(htu) > MAX_PROOF_BYTES:
        raise ProofError("htu", "dpop_htu_malformed")
    given = normalise(htu)
    if given is None or given != normalise(uri):
        raise ProofError("htu", "dpop_htu_mismatch")


def _check_iat(iat: Any, settings: DpopSettings, now: int) -> float:
    if not is_number(iat):
        raise ProofError("iat", "dpop_iat_malformed")
    if iat > now + settings.leeway:
        raise ProofError("iat", "dpop_issued_in_the_future")
    if iat < now - settings.iat_window - settings.leeway:
        raise ProofError("iat", "dpop_proof_too_old")
    instant: float = iat
    return instant


def _check_nonce(nonce: Any, nonces: Nonces, now: int) -> None:
    if nonce is None:
        raise ProofError("nonce", "dpop_nonce_missing", nonces.current(now))
    if not isinstance(nonce, str) or not nonces.accepts(nonce, now):
        raise ProofError("nonce", "dpop_nonce_not_accepted", nonces.current(now))
