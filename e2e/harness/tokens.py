"""Access tokens to order: keys, and what to say in a token."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

AUDIENCE = "https://api.test"


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What a token says; everything but the field under test is good.

    Attributes:
        acr: Value of the claim; None leaves it out. So for every other claim.
        auth_age: Seconds since the user authenticated.
        expires_in: Seconds from now, negative for the past.
        claims: Further claims, or others instead of those above.
        header: Further header members.
        signed_by: The issuer's newest key, the one before, or one that it never published.
        kid: Instead of the key's own; None leaves it out.
    """

    subject: str | None = "alice"
    acr: Any = "urn:example:pwd"
    auth_age: float | None = 30
    scope: str | None = "accounts:read payments:write"
    client_id: str | None = "app"
    audience: str | None = AUDIENCE
    expires_in: float = 600
    claims: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    signed_by: Literal["newest", "previous", "stranger"] = "newest"
    kid: str | None = "of-the-key"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An ES256 key with its kid."""

    kid: str
    private: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(secrets.token_hex(8), ec.generate_private_key(ec.SECP256R1()))

    def jwk(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "kid": self.kid,
            "use": "sig",
            "alg": "ES256",
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }


def claims_of(spec: TokenSpec, issuer: str) -> dict[str, Any]:
    """Write down what a token of an issuer says; no two are equal."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": spec.subject,
        "aud": spec.audience,
        "iat": now,
        "exp": int(now + spec.expires_in),
        "jti": secrets.token_hex(8),
        "client_id": spec.client_id,
        "acr": spec.acr,
        "auth_time": None if spec.auth_age is None else int(now - spec.auth_age),
        "scope": spec.scope,
        **spec.claims,
    }
    return {name: value for name, value in claims.items() if value is not None}


def mint(spec: TokenSpec, issuer: str, key: SigningKey) -> str:
    """Sign a token of an issuer; no two are equal."""
    header = {"typ": "at+jwt", "kid": key.kid if spec.kid == "of-the-key" else spec.kid}
    return jwt.encode(
        claims_of(spec, issuer),
        key.private,
        algorithm="ES256",
        headers={name: value for name, value in {**header, **spec.header}.items() if value},
    )


def unsigned(spec: TokenSpec, issuer: str) -> str:
    """Write a token with `alg: none`."""
    claims = {"iss": issuer, "sub": spec.subject, "aud": spec.audience, "exp": 2**33}
    parts = [{"typ": "at+jwt", "alg": "none"}, claims]
    return ".".join([*(_base64url(json.dumps(part).encode()) for part in parts), ""])


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
