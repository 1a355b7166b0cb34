"""What the configuration says about an issuer, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ClaimPath = tuple[str, ...]
"""Member names from the claims object inwards; a plain claim is a path of one."""

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Signature algorithms that an issuer may be configured with (RFC 7518 §3, RFC 8037)."""

DEFAULT_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
DEFAULT_DPOP_ALGORITHMS = ("ES256", "EdDSA", "RS256", "PS256")


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where an issuer puts what the decision needs: alternatives, the first one present wins."""

    acr: tuple[ClaimPath, ...] = (("acr",),)
    auth_time: tuple[ClaimPath, ...] = (("auth_time",),)
    scope: tuple[ClaimPath, ...] = (("scope",), ("scp",))


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One trusted issuer.

    Attributes:
        issuer: Exact `iss`.
        audiences: Any match of `aud` will do; never empty.
        algorithms: Accepted `alg` values; the token never chooses outside them.
        jwks_uri: Key set URL; None: from metadata (RFC 8414, then OIDC discovery).
        jwks_file: Key set file instead of any URL; absolute.
        token_type: `strict` demands RFC 9068's `typ` and claims.
        id_token_claims: `refuse` tokens that look like ID tokens.
        leeway: Clock skew tolerated, seconds.
        timeout: Bound of each call to this issuer, seconds.
        allow_insecure_http: `http://` to another machine than loopback is accepted.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    jwks_uri: str | None = None
    jwks_file: Path | None = None
    token_type: Literal["any", "strict"] = "any"
    id_token_claims: Literal["refuse", "ignore"] = "refuse"
    leeway: int = 5
    timeout: int = 2
    allow_insecure_http: bool = False
    claims: ClaimNames = ClaimNames()


@dataclass(frozen=True, slots=True)
class DpopSettings:
    """What DPoP proofs must be like, and where the used ones are remembered (RFC 9449).

    Attributes:
        iat_window: Oldest acceptable proof, seconds.
        leeway: Clock skew of clients that is tolerated at both ends of the window, seconds.
        nonce_secret: What nonces are made from; None: this start's own secret.
        redis_url: Where workers and replicas share used proofs; None: in memory.
        on_error: What becomes of proofs while Redis cannot be asked; `allow` falls back on memory.
        timeout: Bound of each call to Redis, seconds.
        max_entries: Most used proofs remembered in memory.
    """

    algorithms: tuple[str, ...] = DEFAULT_DPOP_ALGORITHMS
    iat_window: int = 60
    leeway: int = 10
    nonce: Literal["off", "required"] = "off"
    nonce_secret: bytes | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    on_error: Literal["refuse", "allow"] = "refuse"
    timeout: int = 1
    max_entries: int = 1_000_000

    @property
    def lifetime(self) -> int:
        """How long a proof can be used, seconds: from `leeway` before its `iat` to its end."""
        return self.iat_window + 2 * self.leeway
