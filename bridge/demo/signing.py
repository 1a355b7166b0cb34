"""The authorization server's keys: they sign its tokens, and are published as its key set."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ALGORITHM = "RS256"


def _new_private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class _Key:
    private: rsa.RSAPrivateKey = field(default_factory=_new_private_key, repr=False)
    kid: str = field(default_factory=lambda: secrets.token_urlsafe(6))


class SigningKeys:
    """An RSA key that signs, and those before it that are still published."""

    def __init__(self) -> None:
        self._keys = [_Key()]

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with a new key from now on; go on publishing the old ones, or withdraw them."""
        self._keys = [*(self._keys if keep_old else []), _Key()]

    def sign(self, claims: Mapping[str, object], *, typ: str) -> str:
        """Sign claims with the newest key.

        Args:
            typ: Media type in the header: `at+jwt` for access tokens (RFC 9068 §2.1).
        """
        key = self._keys[-1]
        headers = {"typ": typ, "kid": key.kid}
        return jwt.encode(dict(claims), key.private, algorithm=ALGORITHM, headers=headers)

    def jwks(self) -> dict[str, object]:
        """Give the public halves as a key set (RFC 7517 §5)."""
        return {
            "keys": [
                RSAAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
                | {"kid": key.kid, "use": "sig", "alg": ALGORITHM}
                for key in self._keys
            ]
        }
