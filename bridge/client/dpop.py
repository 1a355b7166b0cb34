"""DPoP proofs (RFC 9449 §4.2): the client shows that it holds the key of its token."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.client.origin import place_of


class DPoPKey:
    """A P-256 key that lives as long as the program.

    Attributes:
        thumbprint: `dpop_jkt` and `cnf.jkt` (RFC 7638).
    """

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        jwk: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        self._jwk = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
        canonical = json.dumps(self._jwk, separators=(",", ":"), sort_keys=True)
        self.thumbprint = _base64url_sha256(canonical)

    def proof(
        self,
        method: str,
        url: str,
        *,
        access_token: str | None = None,
        nonce: str | None = None,
    ) -> str:
        """Make the proof for one request.

        Args:
            url: Its query and fragment are left out.
            access_token: The token that goes with it, at an API.
            nonce: The last `DPoP-Nonce` of that server.
        """
        claims: dict[str, object] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": place_of(url),
            "iat": int(time.time()),
        }
        if access_token is not None:
            claims["ath"] = _base64url_sha256(access_token)
        if nonce is not None:
            claims["nonce"] = nonce
        headers = {"typ": "dpop+jwt", "jwk": self._jwk}
        return jwt.encode(claims, self._key, algorithm="ES256", headers=headers)


def _base64url_sha256(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
