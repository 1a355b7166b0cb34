"""Key sets (RFC 7517) in, prepared verification keys out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWTError, get_algorithm_by_name
from jwt.algorithms import Algorithm

from bridge.tokens import json_strict
from bridge.tokens.settings import ALGORITHMS

MIN_RSA_BITS = 2048  # RFC 7518 §3.3, §3.5
PublicKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)

_IMPLEMENTATIONS: dict[str, Algorithm] = {name: get_algorithm_by_name(name) for name in ALGORITHMS}
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")  # the usual one first
ALGORITHM_OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ECDSA = {
    "ES256": (32, ec.ECDSA(hashes.SHA256())),
    "ES384": (48, ec.ECDSA(hashes.SHA384())),
    "ES512": (66, ec.ECDSA(hashes.SHA512())),
}
PARSER_OF_KEY_TYPE = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}  # any of its algorithms does


@dataclass(slots=True, eq=False)
class VerificationKey:
    """A public key, ready to verify with.

    Attributes:
        kid: Key id, or None where the set gives none.
        algorithms: What the key may verify: by its type, its curve and its `alg`.
        public_key: The key.
        fingerprint: Equal for equal keys; two fetches of one set give equal fingerprints.
        retired: True once the issuer has removed the key; tokens that it verified are void.
    """

    kid: str | None
    algorithms: frozenset[str]
    public_key: PublicKey
    fingerprint: tuple[object, ...]
    retired: bool = False

    def verify(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this key's.

        Args:
            algorithm: One of `algorithms`; the caller has checked it against the issuer's list.
            signing_input: `header.payload`, as received (RFC 7515 §5.2).
        """
        return verify(algorithm, self.public_key, signing_input, signature)


def read_key_set(raw: bytes) -> tuple[VerificationKey, ...]:
    """Parse a JWK set and prepare every key that can verify an access token.

    Keys that cannot (unknown type, symmetric, for encryption, RSA under 2048 bits, broken, or
    published with their private part) are left out.

    Raises:
        ValueError: No JWK set, or not one usable key.
    """
    document = json_strict.loads(raw)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWK set")
    keys = tuple(_usable(document["keys"]))
    if not keys:
        raise ValueError("no usable key")
    return keys


def _usable(jwks: Iterable[Any]) -> Iterable[VerificationKey]:
    for jwk in jwks:
        key = _read_key(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            yield key


def _read_key(jwk: dict[str, Any]) -> VerificationKey | None:
    kid, alg, operations = jwk.get("kid"), jwk.get("alg"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str | None) or not isinstance(alg, str | None) or "d" in jwk:
        return None
    if jwk.get("use", "sig") != "sig":  # RFC 7517 §4.2
        return None
    if not isinstance(operations, list) or "verify" not in operations:  # RFC 7517 §4.3
        return None
    public_key, algorithms = read_public_key(jwk)
    if alg is not None:
        algorithms &= {alg}
    if public_key is None or not algorithms:
        return None
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(kid, algorithms, public_key, (kid, algorithms, der))


def read_public_key(jwk: dict[str, Any]) -> tuple[PublicKey | None, frozenset[str]]:
    """Give the key of a JWK and the algorithms that it may verify; none of either where unusable.

    Does not check: private members, `use`, `key_ops`, `alg`.
    """
    public_key = _load(jwk)
    return public_key, _fitting_algorithms(public_key)


def verify(algorithm: str, public_key: PublicKey, signing_input: bytes, signature: bytes) -> bool:
    """Tell whether a signature is a key's; `algorithm` is one of those that fit it."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _verify_ecdsa(*_ECDSA[algorithm], public_key, signing_input, signature)
    return _IMPLEMENTATIONS[algorithm].verify(signing_input, public_key, signature)


def _verify_ecdsa(
    size: int,
    hashed: ec.ECDSA,
    public_key: ec.EllipticCurvePublicKey,
    signing_input: bytes,
    signature: bytes,
) -> bool:
    """Verify `r || s` (RFC 7518 §3.4); PyJWT takes a tenth more."""
    if len(signature) != 2 * size:
        return False
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    try:
        public_key.verify(encode_dss_signature(r, s), signing_input, hashed)
    except InvalidSignature:
        return False
    return True


def _load(jwk: dict[str, Any]) -> PublicKey | None:
    parser = PARSER_OF_KEY_TYPE.get(str(jwk.get("kty")))
    if parser is None:
        return None
    try:
        key = _IMPLEMENTATIONS[parser].from_jwk(jwk)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        return None  # PyJWT lets the last four through for members of wrong types
    return key if isinstance(key, PublicKey) else None


def _fitting_algorithms(key: PublicKey | None) -> frozenset[str]:
    """Give the algorithms that a key's type and size allow (RFC 8725 §3.1)."""
    match key:
        case rsa.RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return frozenset(RSA_ALGORITHMS)
        case ec.EllipticCurvePublicKey() if key.curve.name in ALGORITHM_OF_CURVE:
            return frozenset({ALGORITHM_OF_CURVE[key.curve.name]})
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return frozenset({"EdDSA"})
        case _:
            return frozenset()
