"""How the bridge proves to an authorization server which client it is (RFC 6749 §2.3, RFC 7523)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bridge.tokens import json_strict
from bridge.tokens.jwk import (
    ALGORITHM_OF_CURVE,
    MIN_RSA_BITS,
    PARSER_OF_KEY_TYPE,
    RSA_ALGORITHMS,
)

ASSERTION_LIFETIME_SECONDS = 60
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TYP = "client-authentication+jwt"  # RFC 7523bis §4

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
Form = dict[str, str]
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A client's private key; `kid` None: its file names none."""

    key: PrivateKey
    algorithm: str
    kid: str | None

    def __repr__(self) -> str:
        return f"SigningKey(algorithm={self.algorithm!r})"


def read_private_key(raw: bytes) -> SigningKey:
    """Read a private key: PEM without a passphrase, or one JWK.

    Raises:
        ValueError: Neither, of a kind that signs nothing here, or RSA under 2048 bits.
            `str()` says so, without anything of the key.
    """
    jwk: Any = {}
    try:
        if raw.lstrip().startswith(b"{"):
            jwk = json_strict.loads(raw)
            key: object = jwt.get_algorithm_by_name(PARSER_OF_KEY_TYPE[jwk["kty"]]).from_jwk(jwk)
        else:
            key = load_pem_private_key(raw, password=None)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("must hold a private key: PEM without a passphrase, or a JWK") from None
    algorithms = _fitting_algorithms(key)
    algorithm = jwk.get("alg", algorithms[0] if algorithms else None)
    if not isinstance(key, PrivateKey) or algorithm not in algorithms:
        raise ValueError("must hold an RSA key of 2048 bits or more, an EC or an Ed25519 key")
    kid = jwk.get("kid")
    return SigningKey(key, algorithm, kid if isinstance(kid, str) else None)


def _fitting_algorithms(key: object) -> tuple[str, ...]:
    """Give what a private key can sign with, the usual one first."""
    match key:
        case rsa.RSAPrivateKey() if key.key_size >= MIN_RSA_BITS:
            return RSA_ALGORITHMS
        case ec.EllipticCurvePrivateKey() if key.curve.name in ALGORITHM_OF_CURVE:
            return (ALGORITHM_OF_CURVE[key.curve.name],)
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return ("EdDSA",)
        case _:
            return ()


def secret_basic(client_id: str, secret: str) -> Headers:
    """Write the header of `client_secret_basic`.

    Spec: RFC 6749 §2.3.1: both are form-encoded before they are joined.
    """
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def secret_post(client_id: str, secret: str) -> Form:
    """Write the form members of `client_secret_post`. Spec: RFC 6749 §2.3.1."""
    return {"client_id": client_id, "client_secret": secret}


def private_key_jwt(client_id: str, key: SigningKey, issuer: str, now: int, jti: str) -> Form:
    """Write the form members of `private_key_jwt`.

    Args:
        issuer: The assertion's only audience: a token endpoint as audience lets one server use an
            assertion at another (RFC 7523bis).
        now: Current time, epoch seconds.
        jti: Never used before.

    Spec: RFC 7523 §2.2 and §3, OpenID Connect Core §9.
    """
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": now,
        "exp": now + ASSERTION_LIFETIME_SECONDS,
        "jti": jti,
    }
    headers = {"typ": _TYP} if key.kid is None else {"typ": _TYP, "kid": key.kid}
    assertion = jwt.encode(claims, key.key, key.algorithm, headers)
    return {
        "client_id": client_id,
        "client_assertion_type": _ASSERTION_TYPE,
        "client_assertion": assertion,
    }
