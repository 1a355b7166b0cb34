"""The models → the plain values that the rest of the bridge uses. Last step of loading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bridge.config import addresses, model, values
from bridge.config.providers import PRESETS
from bridge.config.secret_values import Secrets
from bridge.config.settings import (
    Config,
    LogSettings,
    LoopGuardSettings,
    TokenCacheSettings,
)
from bridge.policy.operations import Api, Operation, PathRules, Policy
from bridge.policy.requirement import NO_REQUIREMENT, Requirement
from bridge.tokens.confirmation import TAKES_DPOP
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.fingerprint import Fingerprint
from bridge.tokens.settings import (
    POLICY_NAMES,
    AcrNames,
    ClaimNames,
    IntrospectionSettings,
    IssuerSettings,
)
from bridge.tokens.uri import normalise


def translate(
    section: model.FileSection, file: Path, files: Mapping[Path, Fingerprint], secrets: Secrets
) -> Config:
    """Translate a configuration without problems.

    Args:
        section: Validated and cross-checked.
        file: Absolute; relative names are relative to its directory.
        files: As of `Config.files`.
        secrets: All that the file names.
    """
    issuers = tuple(
        _issuer(each, file.parent, f"issuers[{index}]", secrets)
        for index, each in enumerate(section.issuers)
    )
    levels = tuple(section.assurance_levels or ())
    names = tuple(issuer.issuer for issuer in issuers)
    dpop = _dpop(section.dpop, secrets)
    return Config(
        file=file,
        files=files,
        policy=Policy(
            apis=tuple(_api(each, names, levels, section.dpop) for each in section.apis),
            unmatched_host=section.unmatched_host,
        ),
        issuers=issuers,
        listen_authz=addresses.listen_address(section.listen.authz, file.parent),
        listen_admin=addresses.listen_address(section.listen.admin, file.parent),
        doors=frozenset(section.doors or ()),
        workers=section.workers,
        drain_timeout=section.drain_timeout,
        unavailable_status=section.unavailable_status,
        upstream_headers=tuple(section.upstream_headers.items()),
        dpop=dpop,
        trust_xfcc=section.client_certificate == "x-forwarded-client-cert",
        token_cache=TokenCacheSettings(
            max_entries=section.token_cache.max_entries, ttl=section.token_cache.ttl
        ),
        loop_guard=_loop_guard(section.loop_guard, dpop),
        log=LogSettings(level=section.log.level, format=section.log.format),
    )


def _with_preset(section: model.IssuerSection) -> model.IssuerSection:
    """Fill in what is known of the provider, where the file says nothing."""
    if section.provider is None:
        return section
    preset = dict(PRESETS[section.provider])
    claims = section.claims
    known: dict[str, Any] = preset.pop("claims", {})
    preset["claims"] = claims.model_copy(
        update={key: known[key] for key in known.keys() - claims.model_fields_set}
    )
    unwritten = preset.keys() - section.model_fields_set | {"claims"}
    return section.model_copy(update={key: preset[key] for key in unwritten})


def _issuer(
    section: model.IssuerSection, directory: Path, path: str, secrets: Secrets
) -> IssuerSettings:
    introspection = section.introspection
    formats = model.token_formats(section)
    section = _with_preset(section)
    jwks_file = None if section.jwks_file is None else directory / section.jwks_file
    return IssuerSettings(
        issuer=section.issuer,
        audiences=tuple(section.audiences),
        algorithms=tuple(section.algorithms),
        jwks_uri=section.jwks_uri,
        jwks_file=jwks_file,
        token_type=section.token_type,
        id_token_claims=section.id_token_claims,
        leeway=section.leeway,
        timeout=section.timeout,
        allow_insecure_http=section.allow_insecure_http,
        claims=ClaimNames(
            acr=values.claim_paths(section.claims.acr),
            auth_time=values.claim_paths(section.claims.auth_time),
            scope=values.claim_paths(section.claims.scope),
            client_id=values.claim_paths(section.claims.client_id),
        ),
        acr_names=AcrNames(tuple(section.acr_map.items())) if section.acr_map else POLICY_NAMES,
        insufficient_claims=section.insufficient_claims,
        provider=section.provider,
        takes_jwt="jwt" in formats,
        takes_opaque="opaque" in formats,
        introspection=(
            None
            if introspection is None
            else _introspection(introspection, f"{path}.introspection", secrets)
        ),
    )


def _introspection(
    section: model.IntrospectionSection, path: str, secrets: Secrets
) -> IntrospectionSettings:
    values_of = secrets.values
    private_key = values_of.get(f"{path}.private_key_file", b"")
    secret = values_of.get(f"{path}.client_secret_file") or values_of.get(
        f"{path}.client_secret_env", b""
    )
    return IntrospectionSettings(
        client_id=section.client_id,
        auth=section.auth or ("private_key_jwt" if private_key else "client_secret_basic"),
        client_secret=secret.decode(),
        private_key=private_key,
        endpoint=section.endpoint,
        when=section.when,
        cache_ttl=section.cache_ttl,
    )


def _loop_guard(section: model.LoopGuardSection, dpop: DpopSettings) -> LoopGuardSettings:
    return LoopGuardSettings(
        action=section.action,
        limit=section.limit,
        window=section.window,
        max_entries=section.max_entries,
        redis_url=dpop.redis_url if section.shared else None,
        redis_timeout=dpop.timeout,
    )


def _dpop(section: model.DpopSection, secrets: Secrets) -> DpopSettings:
    replay, values_of = section.replay, secrets.values
    nonce_secret = values_of.get("dpop.nonce_secret_file") or values_of.get("dpop.nonce_secret_env")
    redis_url = values_of.get("dpop.replay.redis_url_file") or values_of.get(
        "dpop.replay.redis_url_env"
    )
    return DpopSettings(
        algorithms=tuple(section.algorithms),
        iat_window=section.iat_window,
        leeway=section.leeway,
        nonce=section.nonce,
        nonce_secret=nonce_secret,
        redis_url=replay.redis_url if redis_url is None else redis_url.decode(),
        on_error=replay.on_error,
        timeout=replay.timeout,
        max_entries=replay.max_entries,
    )


def _api(
    section: model.ApiSection,
    issuers: tuple[str, ...],
    levels: tuple[str, ...],
    dpop: model.DpopSection,
) -> Api:
    takes_dpop = section.sender_constraint in TAKES_DPOP
    return Api(
        name=section.name,
        issuers=issuers if section.issuers is None else tuple(section.issuers),
        operations=tuple(_operation(each, levels) for each in section.operations),
        hosts=tuple(section.hosts or ()),
        base_path=section.base_path,
        audiences=None if section.audiences is None else tuple(section.audiences),
        realm=section.name if section.realm is None else section.realm,
        resource=section.resource,
        sender_constraint=section.sender_constraint,
        origin=_origin(section),
        dpop_algorithms=tuple(dpop.algorithms) if takes_dpop else (),
        mode=section.mode,
        unmatched=section.unmatched,
        cors_preflight=section.cors_preflight,
        hint_requirements=section.hint_requirements,
        machine_tokens=section.machine_tokens,
        path=PathRules(
            allow_semicolon=section.path.allow_semicolon,
            allow_encoded_slash=section.path.allow_encoded_slash,
            allow_double_slash=section.path.allow_double_slash,
            allow_double_encoding=section.path.allow_double_encoding,
        ),
    )


def _origin(section: model.ApiSection) -> str | None:
    """Give the origin as `htu` is compared with it: normalised, no slash at the end."""
    known = section.external_origin or section.resource
    if known is None:
        return None
    parts = urlsplit(known)
    whole = normalise(f"{parts.scheme}://{parts.netloc}/")
    return None if whole is None else whole.removesuffix("/")


def _operation(section: model.OperationSection, levels: tuple[str, ...]) -> Operation:
    return Operation(
        name=section.name,
        paths=tuple(section.paths),
        methods=tuple(section.methods or ()),
        public=section.public,
        requirement=_requirement(section.require, levels),
    )


def _requirement(section: model.RequireSection | None, levels: tuple[str, ...]) -> Requirement:
    if section is None:
        return NO_REQUIREMENT
    acr_values = tuple(section.acr_values or ())
    if section.min_acr is not None:
        acr_values = levels[levels.index(section.min_acr) :]
    return Requirement(
        scopes=tuple(section.scopes or ()), acr_values=acr_values, max_age=section.max_age
    )
