"""The configuration file as it is written: keys, types, defaults and descriptions.

Descriptions state unit and default; they become the JSON Schema. Cross-checks are in `checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.config import fields as f
from bridge.config.providers import Provider
from bridge.config.settings import DEFAULT_UPSTREAM_HEADERS
from bridge.tokens.dpop_settings import DEFAULT_DPOP_ALGORITHMS
from bridge.tokens.settings import DEFAULT_ALGORITHMS

DEFAULT_AUTHZ = "127.0.0.1:9191"
DEFAULT_ADMIN = "127.0.0.1:9192"
ALL_FORMATS = frozenset(("jwt", "opaque"))
SECRET_KEYS = ("client_secret_file", "client_secret_env", "private_key_file")
_DEFAULT_SCOPE: f.ClaimAsWritten = ["scope", "scp"]


class Section(BaseModel):
    """A mapping of the file. Unknown keys are errors, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class ListenSection(Section):
    """Where the bridge listens. A change needs a restart."""

    authz: f.Address = Field(
        default=DEFAULT_AUTHZ,
        description="Gateways talk to this one: host:port, [ipv6]:port or unix:/path."
        " Default 127.0.0.1:9191.",
    )
    admin: f.Address = Field(
        default=DEFAULT_ADMIN,
        description="People and scrapers talk to this one; never expose it: host:port, [ipv6]:port"
        " or unix:/path. Default 127.0.0.1:9192.",
    )


class ClaimsSection(Section):
    """Where an issuer puts what the decision needs.

    A name (dots mean nothing), or a list of alternatives, of which the first one present wins; an
    alternative that is a list is a path of member names.
    """

    acr: f.Claim = Field(
        default="acr", description="Claim of the authentication context. Default acr."
    )
    auth_time: f.Claim = Field(
        default="auth_time",
        description="Claim of the time of authentication, epoch seconds. Default auth_time.",
    )
    scope: f.Claim = Field(
        default=_DEFAULT_SCOPE, description="Claim of the granted scopes. Default [scope, scp]."
    )
    client_id: f.Claim = Field(
        default="client_id", description="Claim of the client's identifier. Default client_id."
    )


class IntrospectionSection(Section):
    """How an issuer is asked about its tokens (RFC 7662). One of the three keys names a secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key]} for key in SECRET_KEYS],
        }
    )

    endpoint: f.Url | None = Field(
        default=None, description="URL to ask at. Unset: from the issuer's metadata."
    )
    when: Literal["opaque", "always"] = Field(
        default="opaque",
        description="opaque: only about tokens that are no JWTs; always: JWTs are verified locally,"
        " then asked about too. Default opaque.",
    )
    client_id: f.Text = Field(description="The bridge's client_id at this issuer.")
    auth: Literal["client_secret_basic", "client_secret_post", "private_key_jwt"] | None = Field(
        default=None,
        description="How the bridge authenticates. Unset: client_secret_basic with a secret,"
        " private_key_jwt with a private_key_file.",
    )
    client_secret_file: f.FileName | None = Field(
        default=None,
        description="File that holds the client secret, watched; relative to this file."
        " Unset: none.",
    )
    client_secret_env: f.VariableName | None = Field(
        default=None, description="Environment variable that holds it instead. Unset: none."
    )
    private_key_file: f.FileName | None = Field(
        default=None,
        description="File with the private key for private_key_jwt, PEM or JWK, watched; relative"
        " to this file. Unset: none.",
    )
    cache_ttl: Annotated[int, *f.seconds(0, 86_400)] = Field(
        default=30,
        description="How long an answer is kept at most, a duration of at most 24h; never past"
        " exp. Default 30s.",
    )


class IssuerSection(Section):
    """One trusted issuer of access tokens."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["jwks_uri", "jwks_file"]}})

    issuer: f.Text = Field(description="Exact `iss` of its tokens.")
    audiences: Annotated[list[f.Text], *f.UNIQUE_LIST] = Field(
        description="Any match of the token's `aud` will do; at least one."
    )
    algorithms: Annotated[list[f.Algorithm], *f.UNIQUE_LIST] = Field(
        default=list(DEFAULT_ALGORITHMS),
        description="Accepted signature algorithms. Default [RS256, PS256, ES256, EdDSA].",
    )
    jwks_uri: f.Url | None = Field(
        default=None,
        description="URL of the key set. Unset: RFC 8414 metadata, then OIDC discovery.",
    )
    jwks_file: f.FileName | None = Field(
        default=None,
        description="File with the key set instead of any URL, watched; relative to this file."
        " Unset: none.",
    )
    token_type: Literal["any", "strict"] = Field(
        default="any",
        description="any: `typ` at+jwt, JWT or none; strict: RFC 9068 `typ` and required claims."
        " Default any.",
    )
    id_token_claims: Literal["refuse", "ignore"] = Field(
        default="refuse",
        description="What to do with tokens that look like ID tokens (`nonce`, `at_hash` or"
        " `c_hash` without `typ` at+jwt). Default refuse.",
    )
    leeway: Annotated[int, *f.seconds(0, 600)] = Field(
        default=5,
        description="Clock skew tolerated for exp, nbf, iat and auth_time, a duration of at most"
        " 10m. Default 5s.",
    )
    timeout: Annotated[int, *f.seconds(1, 60)] = Field(
        default=2,
        description="Bound of each call to this issuer, a duration of 1s to 1m. Default 2s.",
    )
    allow_insecure_http: bool = Field(
        default=False, description="Accept http:// to another machine than loopback. Default false."
    )
    claims: ClaimsSection = Field(
        default=ClaimsSection(), description="Where this issuer puts acr, auth_time and scope."
    )
    provider: Provider | None = Field(
        default=None,
        description="Start from what this authorization server is known to do; every key can be"
        " overridden. Unset: none.",
    )
    acr_map: dict[f.ScopeToken, f.ScopeToken] = Field(
        default={},
        json_schema_extra={"additionalProperties": False},
        description="The issuer's acr values by name, each with the policy's name for it."
        " Default {}: it uses the policy's names.",
    )
    insufficient_claims: bool = Field(
        default=False,
        description="Step-up challenges also speak Microsoft Entra's dialect: error"
        " insufficient_claims and a claims parameter. Default false.",
    )
    tokens: Annotated[list[f.TokenFormat], *f.UNIQUE_LIST] = Field(
        default=["jwt"],
        description="Formats of its access tokens. Default [jwt], with introspection"
        " [jwt, opaque].",
    )
    introspection: IntrospectionSection | None = Field(
        default=None, description="How it is asked about its tokens. Unset: it is not."
    )


def token_formats(section: IssuerSection) -> frozenset[str]:
    """Tell which access tokens an issuer has, with the default that depends on introspection."""
    if "tokens" not in section.model_fields_set and section.introspection is not None:
        return ALL_FORMATS
    return frozenset(section.tokens)


class RequireSection(Section):
    """What the access token of an operation must have. Without any: a valid token."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["acr_values", "min_acr"]}})

    scopes: Annotated[list[f.ScopeToken], *f.UNIQUE_LIST] | None = Field(
        default=None, description="All of them must be granted. Unset: none."
    )
    acr_values: Annotated[list[f.ScopeToken], *f.UNIQUE_LIST] | None = Field(
        default=None,
        description="Any one satisfies, in order of preference; exact, case-sensitive."
        " Unset: no demand.",
    )
    min_acr: f.ScopeToken | None = Field(
        default=None,
        description="Instead of acr_values: this one of `assurance_levels`, or any stronger one."
        " Unset: no demand.",
    )
    max_age: Annotated[int, *f.seconds(0, f.MAX_MAX_AGE)] | None = Field(
        default=None,
        description="Oldest acceptable authentication (`auth_time`), a duration; 0 is legal."
        " Unset: no demand.",
    )


class OperationSection(Section):
    """Methods and path templates that share one requirement."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {"required": ["public", "require"], "properties": {"public": {"const": True}}}
        }
    )

    name: f.Name = Field(description="Unique within its API: letters, digits, - and _.")
    methods: Annotated[list[f.Method], *f.UNIQUE_LIST] | None = Field(
        default=None, description="Upper-case HTTP methods. Unset: any method."
    )
    paths: Annotated[list[f.PathTemplate], *f.UNIQUE_LIST] = Field(
        description="Path templates below base_path: literal segments, {name}, * and a last **."
    )
    public: bool = Field(default=False, description="No token is looked at. Default false.")
    require: RequireSection | None = Field(
        default=None, description="What the token must have. Unset, and not public: a valid token."
    )


class PathSection(Section):
    """Ambiguous spellings of a path that the API tolerates; each is a risk."""

    allow_semicolon: bool = Field(default=False, description="Accept ; and %3b. Default false.")
    allow_encoded_slash: bool = Field(default=False, description="Accept %2f. Default false.")
    allow_double_slash: bool = Field(default=False, description="Accept //. Default false.")
    allow_double_encoding: bool = Field(
        default=False, description="Accept a percent sign that was encoded itself. Default false."
    )


class ApiSection(Section):
    """One protected API: where it lives, whose tokens it takes, what its operations demand."""

    name: f.Name = Field(description="Unique: letters, digits, - and _.")
    hosts: Annotated[list[f.Host], *f.UNIQUE_LIST] | None = Field(
        default=None, description="Host names and *. wildcards, without port. Unset: any host."
    )
    base_path: f.BasePath = Field(
        default="/", description="Literal prefix of its paths, whole segments. Default /."
    )
    issuers: Annotated[list[f.Text], *f.UNIQUE_LIST] | None = Field(
        default=None, description="Whose tokens it takes, by `issuer`. Unset: all of the file's."
    )
    audiences: Annotated[list[f.Text], *f.UNIQUE_LIST] | None = Field(
        default=None,
        description="Accepted `aud` values instead of the issuer's. Unset: the issuer's.",
    )
    realm: f.Realm | None = Field(
        default=None, description="realm of its challenges. Unset: the name."
    )
    resource: f.Resource | None = Field(
        default=None, description="RFC 9728 resource identifier, an https URL. Unset: none."
    )
    external_origin: f.Origin | None = Field(
        default=None,
        description="Origin by which clients know it, such as https://api.example.com: the htu of"
        " DPoP proofs is compared with it. Unset: the resource's.",
    )
    sender_constraint: Literal["none", "any", "dpop", "mtls", "required"] = Field(
        default="none",
        description="none: bound tokens are refused; any: a bound token must prove it; dpop, mtls:"
        " tokens must be bound that way, and prove it; required: one way or the other."
        " Default none.",
    )
    mode: Literal["enforce", "monitor"] = Field(
        default="enforce", description="monitor: never deny, log what would be. Default enforce."
    )
    unmatched: Literal["deny", "require_token", "allow"] = Field(
        default="deny",
        description="What happens to requests that match no operation. Default deny.",
    )
    cors_preflight: Literal["allow", "check"] = Field(
        default="allow",
        description="allow: CORS preflights pass; check: they are requests like any other."
        " Default allow.",
    )
    hint_requirements: bool = Field(
        default=False,
        description="Name acr_values and max_age to requests without a token. Default false.",
    )
    machine_tokens: Literal["challenge", "forbid"] = Field(
        default="challenge",
        description="What a token gets that stands for no user where acr or max_age is not met:"
        " the challenge, or forbid: 403, since it can never step up. Default challenge.",
    )
    path: PathSection = Field(
        default=PathSection(), description="Ambiguous spellings that are tolerated."
    )
    operations: list[OperationSection] = Field(
        default=[], description="What can be done with it. Default none."
    )


REDIS_KEYS = ("redis_url", "redis_url_file", "redis_url_env")
NONCE_SECRET_KEYS = ("nonce_secret_file", "nonce_secret_env")


class ReplaySection(Section):
    """Where used DPoP proofs are remembered: in Redis, which workers and replicas share, or here.

    At most one of the three keys names a Redis; without any it is this process's memory.
    """

    redis_url: f.RedisUrl | None = Field(
        default=None,
        description="URL of a Redis without a password: redis://, rediss:// or unix://."
        " Unset: none.",
    )
    redis_url_file: f.FileName | None = Field(
        default=None,
        description="File that holds the URL, watched; relative to this file. Unset: none.",
    )
    redis_url_env: f.VariableName | None = Field(
        default=None, description="Environment variable that holds the URL. Unset: none."
    )
    on_error: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="What becomes of proofs while Redis does not answer: refuse them with 503, or"
        " allow those that this process has not seen itself. Default refuse.",
    )
    timeout: Annotated[int, *f.seconds(1, 60)] = Field(
        default=1, description="Bound of each call to Redis, a duration of 1s to 1m. Default 1s."
    )
    max_entries: Annotated[int, *f.whole_number(1, 10_000_000)] = Field(
        default=1_000_000,
        description="Most proofs remembered in memory; beyond it new ones are refused."
        " Default 1000000.",
    )


class DpopSection(Section):
    """What DPoP proofs must be like (RFC 9449)."""

    algorithms: Annotated[list[f.Algorithm], *f.UNIQUE_LIST] = Field(
        default=list(DEFAULT_DPOP_ALGORITHMS),
        description="Accepted signature algorithms. Default [ES256, EdDSA, RS256, PS256].",
    )
    iat_window: Annotated[int, *f.seconds(1, 600)] = Field(
        default=60,
        description="Oldest acceptable proof, by its iat, a duration of 1s to 10m. Default 60s.",
    )
    leeway: Annotated[int, *f.seconds(0, 60)] = Field(
        default=10,
        description="Clock skew of clients tolerated at both ends of the window, a duration of at"
        " most 1m. Default 10s.",
    )
    nonce: Literal["off", "required"] = Field(
        default="off",
        description="required: a proof must hold the nonce that the bridge gave. Default off.",
    )
    nonce_secret_file: f.FileName | None = Field(
        default=None,
        description="File with a secret of at least 16 bytes that nonces are made from, watched;"
        " the same for all replicas. Unset: a secret of each start.",
    )
    nonce_secret_env: f.VariableName | None = Field(
        default=None, description="Environment variable with that secret instead. Unset: none."
    )
    replay: ReplaySection = Field(
        default=ReplaySection(), description="Where used proofs are remembered."
    )


class TokenCacheSection(Section):
    """Bounds of each worker's cache of verified tokens."""

    max_entries: Annotated[int, *f.whole_number(1, 10_000_000)] = Field(
        default=100_000, description="Entries. Default 100000."
    )
    ttl: Annotated[int, *f.seconds(1, 86_400)] = Field(
        default=300,
        description="How long an entry lives at most, a duration of 1s to 24h; never past exp."
        " Default 5m.",
    )


class LoopGuardSection(Section):
    """What becomes of step-ups that lead nowhere: new logins, and still not what was asked for."""

    action: Literal["report", "forbid"] = Field(
        default="report",
        description="report: say so in the challenge, the log and a metric; forbid: also answer 403"
        " with Retry-After from the limit on. Default report.",
    )
    limit: Annotated[int, *f.whole_number(2, 100)] = Field(
        default=3, description="New logins in vain within the window before 403. Default 3."
    )
    window: Annotated[int, *f.seconds(1, 86_400)] = Field(
        default=600, description="How long each counts, a duration of 1s to 24h. Default 10m."
    )
    max_entries: Annotated[int, *f.whole_number(1, 1_000_000)] = Field(
        default=10_000,
        description="Operations of users that each worker remembers. Default 10000.",
    )
    shared: bool = Field(
        default=False,
        description="Count in the Redis of dpop.replay, which workers and replicas share."
        " Default false.",
    )


class LogSection(Section):
    """What is logged on stdout, and how. A change needs a restart."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged. Default info."
    )
    format: Literal["json", "console"] = Field(
        default="json", description="json: for machines; console: for people. Default json."
    )


class FileSection(Section):
    """The configuration of stepup-bridge."""

    version: f.Version = Field(default=1, description="Version of this format. Default 1.")
    listen: ListenSection = Field(default=ListenSection(), description="Where the bridge listens.")
    doors: Annotated[list[Literal["forward_auth", "nginx"]], *f.UNIQUE_LIST] | None = Field(
        default=None,
        description="Endpoints that believe forwarded headers: forward_auth is /forward-auth for"
        " Traefik, Caddy and HAProxy, nginx is /nginx for auth_request. Unset: none.",
    )
    workers: Annotated[int, *f.whole_number(1, 256)] = Field(
        default=1,
        description="Processes sharing the authz port. A change needs a restart. Default 1.",
    )
    drain_timeout: Annotated[int, *f.seconds(0, 3600)] = Field(
        default=10,
        description="How long requests in hand are given after SIGTERM, a duration of at most 1h."
        " A change needs a restart. Default 10s.",
    )
    unavailable_status: f.UnavailableStatus = Field(
        default=503,
        description="Status when an issuer is at fault: 503, or a 4xx but not 401 and 407."
        " Default 503.",
    )
    issuers: Annotated[list[IssuerSection], Field(min_length=1)] = Field(
        description="Whose access tokens are trusted; at least one."
    )
    assurance_levels: Annotated[list[f.ScopeToken], *f.UNIQUE_LIST] | None = Field(
        default=None, description="acr values, weakest first, for min_acr. Unset: none."
    )
    apis: Annotated[list[ApiSection], Field(min_length=1)] = Field(
        description="The protected APIs; at least one."
    )
    unmatched_host: Literal["deny", "allow"] = Field(
        default="deny", description="What happens to requests that match no API. Default deny."
    )
    upstream_headers: dict[f.HeaderName, f.Text] = Field(
        default=dict(DEFAULT_UPSTREAM_HEADERS),
        json_schema_extra={"additionalProperties": False},
        description="Header name and claim: set on allow, or removed when the token lacks it."
        " Default: the x-stepup-… headers.",
    )
    dpop: DpopSection = Field(
        default=DpopSection(), description="DPoP proofs, where an API's sender_constraint allows."
    )
    client_certificate: Literal["none", "x-forwarded-client-cert"] = Field(
        default="none",
        description="What Envoy tells of the client's certificate: nothing, or the last element of"
        " that header, which Envoy must write itself. Default none.",
    )
    token_cache: TokenCacheSection = Field(
        default=TokenCacheSection(), description="The cache of verified tokens."
    )
    loop_guard: LoopGuardSection = Field(
        default=LoopGuardSection(), description="What becomes of step-ups that lead nowhere."
    )
    log: LogSection = Field(default=LogSection(), description="What is logged on stdout, and how.")
