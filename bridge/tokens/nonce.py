"""Nonces for DPoP proofs, made from a secret and the time, so that nobody keeps them. Pure."""

from __future__ import annotations

import hmac
from functools import lru_cache

from bridge.tokens.confirmation import base64url

STEP_SECONDS = 120
"""How long one nonce is given out; it is taken for as long again."""

_NONCE_BYTES = 18
_LABEL = b"stepup-bridge dpop nonce "


class Nonces:
    """The nonces of one secret, the same in every process that has it.

    Args:
        secret: At least 16 random bytes.

    Spec: RFC 9449 §8 (unpredictable), §9.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._of_step = lru_cache(maxsize=4)(self._make)

    def current(self, now: int) -> str:
        """Give the nonce that a client is told."""
        return self._of_step(now // STEP_SECONDS)

    def accepts(self, nonce: str, now: int) -> bool:
        """Tell whether a nonce is the current one, the one before, or of a clock that is ahead."""
        step = now // STEP_SECONDS
        given = nonce.encode()
        matches = [
            hmac.compare_digest(given, self._of_step(each).encode())
            for each in (step, step - 1, step + 1)
        ]
        return any(matches)

    def _make(self, step: int) -> str:
        digest = hmac.digest(self._secret, _LABEL + str(step).encode(), "sha256")
        return base64url(digest[:_NONCE_BYTES])
