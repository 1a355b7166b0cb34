"""DPoP proofs to order: a client's key, and what to say in a proof (RFC 9449 §4.2)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_MEMBERS = {"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x"}


@dataclass(frozen=True, slots=True)
class ProofKey:
    """A client's key."""

    alg: str
    private: Any
    jwk: Mapping[str, str]

    @classmethod
    def generate(cls, alg: str = "ES256", bits: int = 2048) -> ProofKey:
        private: Any
        if alg == "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
            jwk = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        elif alg == "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
            jwk = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
            jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
            jwk = {name: jwk[name] for name in ("kty", "n", "e")}
        return cls(alg, private, jwk)

    @property
    def jkt(self) -> str:
        members = {name: self.jwk[name] for name in _MEMBERS[self.jwk["kty"]].split()}
        return base64url(hashlib.sha256(_json(members)).digest())

    @property
    def cnf(self) -> dict[str, str]:
        """The confirmation of a token that is bound to it."""
        return {"jkt": self.jkt}


@dataclass(frozen=True, slots=True)
class ProofSpec:
    """What a proof says; everything but what is under test is good.

    Attributes:
        age: Seconds since it was issued, negative for the future.
        claims: Further claims, or others instead; None leaves one out. So for the header.
        signed_by: Instead of the key in the header.
    """

    age: float = 0
    claims: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    signed_by: ProofKey | None = None


GOOD = ProofSpec()


def prove(
    key: ProofKey,
    method: str,
    uri: str,
    token: str,
    spec: ProofSpec = GOOD,
    now: int | None = None,
) -> str:
    """Write a proof for a request; no two are equal."""
    instant = int(time.time()) if now is None else now
    claims = {
        "jti": secrets.token_urlsafe(12),
        "htm": method,
        "htu": uri,
        "iat": instant - spec.age,
        "ath": base64url(hashlib.sha256(token.encode()).digest()),
        **spec.claims,
    }
    header = {"typ": "dpop+jwt", "alg": key.alg, "jwk": dict(key.jwk), **spec.header}
    parts = [
        base64url(_json({name: value for name, value in part.items() if value is not None}))
        for part in (header, claims)
    ]
    signer = spec.signed_by or key
    signing_input = ".".join(parts)
    signature = jwt.get_algorithm_by_name(signer.alg).sign(signing_input.encode(), signer.private)
    return f"{signing_input}.{base64url(signature)}"


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
