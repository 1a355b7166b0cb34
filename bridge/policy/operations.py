"""The policy as plain values: APIs and their operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.policy.requirement import NO_REQUIREMENT, Requirement


@dataclass(frozen=True, slots=True)
class PathRules:
    """Ambiguous spellings of a path that an API tolerates; each is a risk (docs/security.md)."""

    allow_semicolon: bool = False
    allow_encoded_slash: bool = False
    allow_double_slash: bool = False
    allow_double_encoding: bool = False


STRICT_PATH_RULES = PathRules()


@dataclass(frozen=True, slots=True)
class Operation:
    """Methods and path templates that share one requirement.

    Attributes:
        name: Unique within its API.
        methods: Case-sensitive HTTP methods; empty: any method.
        paths: Path templates below the API's base path, as configured (see `policy.templates`).
        public: No token is looked at.
        requirement: What the token must have; the empty one where `public`.
    """

    name: str
    paths: tuple[str, ...]
    methods: tuple[str, ...] = ()
    public: bool = False
    requirement: Requirement = NO_REQUIREMENT


@dataclass(frozen=True, slots=True)
class Api:
    """One protected API: where it lives, whose tokens it takes, what its operations demand.

    Attributes:
        hosts: Lower-case names and `*.` wildcards; empty: any host.
        base_path: `/` or plain segments without a trailing slash, e.g. `/payments`.
        issuers: Exact `iss` values whose tokens are taken; never empty.
        audiences: Accepted `aud` values; None: those of the token's issuer.
        realm: The `realm` of its challenges (RFC 9110 §11.5).
        resource: RFC 9728 resource identifier, or None.
        sender_constraint: What tokens must be bound to; see `tokens.confirmation`.
        origin: Scheme, host and port as its clients know them, normalised; None: unknown.
        dpop_algorithms: Of the DPoP proofs that it takes; empty: it takes none.
        machine_tokens: What a token gets that no user stands behind and that does not meet acr or
            max_age: the `challenge` all the same, or `forbid`.
    """

    name: str
    issuers: tuple[str, ...]
    operations: tuple[Operation, ...]
    hosts: tuple[str, ...] = ()
    base_path: str = "/"
    audiences: tuple[str, ...] | None = None
    realm: str = ""
    resource: str | None = None
    mode: Literal["enforce", "monitor"] = "enforce"
    unmatched: Literal["deny", "require_token", "allow"] = "deny"
    cors_preflight: Literal["allow", "check"] = "allow"
    hint_requirements: bool = False
    machine_tokens: Literal["challenge", "forbid"] = "challenge"
    path: PathRules = STRICT_PATH_RULES
    sender_constraint: Literal["none", "any", "dpop", "mtls", "required"] = "none"
    origin: str | None = None
    dpop_algorithms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides which API and operation a request addresses."""

    apis: tuple[Api, ...]
    unmatched_host: Literal["deny", "allow"] = "deny"
