"""What the configuration says about an issuer, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where an issuer puts what the decision needs: alternatives, the first one present wins."""

    acr: tuple[ClaimPath, ...] = (("acr",),)
    auth_time: tuple[ClaimPath, ...] = (("auth_time",),)
    scope: tuple[ClaimPath, ...] = (("scope",), ("scp",))
    client_id: tuple[ClaimPath, ...] = (("client_id",),)


@dataclass(frozen=True, slots=True)
class AcrNames:
    """What an issuer calls the acr values of the policy.

    Attributes:
        acr_map: Pairs of the issuer's name and the policy's.
    """

    acr_map: tuple[tuple[str, str], ...] = ()
    _to_policy: Mapping[str, str] = field(init=False, compare=False, repr=False)
    _to_issuer: Mapping[str, tuple[str, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        to_issuer: dict[str, tuple[str, ...]] = {}
        for issuers, policys in self.acr_map:
            to_issuer[policys] = (*to_issuer.get(policys, ()), issuers)
        object.__setattr__(self, "_to_policy", dict(self.acr_map))
        object.__setattr__(self, "_to_issuer", to_issuer)

    def to_policy(self, acr: Iterable[str]) -> tuple[str, ...]:
        """Translate a token's acr; a value that is not in the map means itself."""
        return tuple(self._to_policy.get(value, value) for value in acr)

    def to_issuer(self, acr_values: Iterable[str]) -> tuple[str, ...]:
        """Translate what an operation demands, in its order, into what to ask the issuer for."""
        names = (self._to_issuer.get(value, (value,)) for value in acr_values)
        return tuple(dict.fromkeys(name for several in names for name in several))


POLICY_NAMES = AcrNames()
"""An issuer that calls them what the policy does."""


@dataclass(frozen=True, slots=True)
class IntrospectionSettings:
    """How an issuer is asked about its tokens (RFC 7662).

    Attributes:
        client_id: The bridge's name at the issuer.
        auth: How the bridge proves to be that client.
        client_secret: For the methods with a secret.
        private_key: For `private_key_jwt`: PEM or JWK, as the file holds it.
        endpoint: URL; None: from metadata.
        when: `always`: JWTs too, after they were verified locally.
        cache_ttl: Longest life of an answer, seconds; 0: every check asks.
    """

    client_id: str
    auth: Literal["client_secret_basic", "client_secret_post", "private_key_jwt"]
    client_secret: str = field(default="", repr=False)
    private_key: bytes = field(default=b"", repr=False)
    endpoint: str | None = None
    when: Literal["opaque", "always"] = "opaque"
    cache_ttl: int = 30


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
        acr_names: What it calls the policy's acr values.
        insufficient_claims: Challenges to its tokens also speak Microsoft Entra's dialect.
        provider: The preset that its other settings started from.
        takes_jwt: JWTs are among its access tokens; otherwise no keys are needed.
        takes_opaque: So are tokens that only introspection can tell about.
        introspection: None: it is never asked about a token.
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
    acr_names: AcrNames = POLICY_NAMES
    insufficient_claims: bool = False
    provider: str | None = None
    takes_jwt: bool = True
    takes_opaque: bool = False
    introspection: IntrospectionSettings | None = None
