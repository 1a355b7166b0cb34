# ruff: noqa: E501 - tables, one case a line
"""What a configuration without problems becomes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from config_files import VALID, problems_of, replaced, with_line

from bridge import pip_install
from bridge.config.load import load_config
from bridge.config.settings import (
    Config,
    LogSettings,
    LoopGuardSettings,
    TcpAddress,
    TokenCacheSettings,
    UnixAddress,
)
from bridge.policy.operations import Api, Operation, PathRules, Policy
from bridge.policy.requirement import Requirement
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.settings import AcrNames, ClaimNames, IssuerSettings


def load(directory: Path, text: str) -> Config:
    file = directory / "bridge.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def test_what_is_left_out_has_the_defaults_of_the_plain_values(tmp_path: Path) -> None:
    issuer = "https://login.example.com"
    assert load(tmp_path, VALID) == Config(
        file=tmp_path / "bridge.yaml",
        files={},
        policy=Policy(
            (
                Api(
                    name="payments",
                    issuers=(issuer,),
                    realm="payments",
                    operations=(
                        Operation("read", ("/accounts",)),
                        Operation(
                            "pay",
                            ("/transfers",),
                            requirement=Requirement(scopes=("payments:write",)),
                        ),
                    ),
                ),
            )
        ),
        issuers=(IssuerSettings(issuer, ("https://api.example.com",)),),
    )


def test_every_key_reaches_its_plain_value(tmp_path: Path) -> None:
    text = """\
version: 1
listen: {authz: "unix:run/authz.sock", admin: "[::1]:9192"}
workers: 4
drain_timeout: 1m
unavailable_status: 403
issuers:
  - issuer: http://login.example.com
    audiences: [a, b]
    algorithms: [EdDSA]
    jwks_uri: http://login.example.com/keys
    token_type: strict
    id_token_claims: ignore
    leeway: 0
    timeout: 10
    allow_insecure_http: true
    claims: {acr: a.b, auth_time: [[c, d], e], scope: [scp]}
    tokens: [jwt]
  - {issuer: partner, audiences: [a], jwks_file: keys/partner.json}
assurance_levels: [pwd, mfa, phr]
apis:
  - name: payments
    hosts: [API.example.com., "*.Pay.example.com", "[::1]"]
    base_path: /payments/
    issuers: [partner]
    audiences: [c]
    realm: 'the "bank"'
    resource: https://api.example.com/payments
    external_origin: https://API.example.com:8443
    sender_constraint: any
    mode: monitor
    unmatched: require_token
    cors_preflight: check
    hint_requirements: true
    path:
      allow_semicolon: true
      allow_encoded_slash: true
      allow_double_slash: true
      allow_double_encoding: true
    operations:
      - {name: health, methods: [GET, HEAD], paths: [/health], public: true}
      - name: pay
        paths: ["/a;b/{id}", "/x/*.pdf", "/y/**"]
        require: {scopes: [p, q], min_acr: mfa, max_age: 0}
      - {name: other, paths: [/z], require: {acr_values: [phr, pwd], max_age: 1h}}
  - {name: stub}
unmatched_host: allow
doors: [nginx, forward_auth]
upstream_headers: {X-User: sub, x-mail: "https://example.com/mail"}
client_certificate: x-forwarded-client-cert
dpop:
  algorithms: [ES512]
  iat_window: 1m
  leeway: 0
  nonce: required
  replay: {redis_url: "redis://redis/1", on_error: allow, timeout: 2s, max_entries: 7}
token_cache: {max_entries: 5, ttl: 1h}
loop_guard: {action: forbid, limit: 2, window: 1m, max_entries: 7, shared: true}
log: {level: debug, format: console}
"""
    assert load(tmp_path, text) == Config(
        file=tmp_path / "bridge.yaml",
        files={},
        policy=Policy(
            (
                Api(
                    name="payments",
                    hosts=("api.example.com", "*.pay.example.com", "[::1]"),
                    base_path="/payments",
                    issuers=("partner",),
                    audiences=("c",),
                    realm='the "bank"',
                    resource="https://api.example.com/payments",
                    sender_constraint="any",
                    origin="https://api.example.com:8443",
                    dpop_algorithms=("ES512",),
                    mode="monitor",
                    unmatched="require_token",
                    cors_preflight="check",
                    hint_requirements=True,
                    path=PathRules(True, True, True, True),
                    operations=(
                        Operation("health", ("/health",), ("GET", "HEAD"), public=True),
                        Operation(
                            "pay",
                            ("/a;b/{id}", "/x/*.pdf", "/y/**"),
                            requirement=Requirement(("p", "q"), ("mfa", "phr"), 0),
                        ),
                        Operation(
                            "other", ("/z",), requirement=Requirement((), ("phr", "pwd"), 3600)
                        ),
                    ),
                ),
                Api(
                    "stub",
                    issuers=("http://login.example.com", "partner"),
                    realm="stub",
                    operations=(),
                ),
            ),
            unmatched_host="allow",
        ),
        issuers=(
            IssuerSettings(
                issuer="http://login.example.com",
                audiences=("a", "b"),
                algorithms=("EdDSA",),
                jwks_uri="http://login.example.com/keys",
                token_type="strict",
                id_token_claims="ignore",
                leeway=0,
                timeout=10,
                allow_insecure_http=True,
                claims=ClaimNames((("a.b",),), (("c", "d"), ("e",)), (("scp",),)),
            ),
            IssuerSettings("partner", ("a",), jwks_file=tmp_path / "keys/partner.json"),
        ),
        listen_authz=UnixAddress(tmp_path / "run/authz.sock"),
        listen_admin=TcpAddress("::1", 9192),
        doors=frozenset({"forward_auth", "nginx"}),
        workers=4,
        drain_timeout=60,
        unavailable_status=403,
        upstream_headers=(("x-user", "sub"), ("x-mail", "https://example.com/mail")),
        dpop=DpopSettings(
            algorithms=("ES512",),
            leeway=0,
            nonce="required",
            redis_url="redis://redis/1",
            on_error="allow",
            timeout=2,
            max_entries=7,
        ),
        trust_xfcc=True,
        token_cache=TokenCacheSettings(5, 3600),
        loop_guard=LoopGuardSettings("forbid", 2, 60, 7, "redis://redis/1", 2),
        log=LogSettings("debug", "console"),
    )


def _read(config: Config) -> Operation:
    return config.policy.apis[0].operations[0]


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        pytest.param(with_line("file", "listen: {authz: '127.0.0.1:0', admin: '127.0.0.1:0'}"), lambda c: (c.listen_authz, c.listen_admin), (TcpAddress("127.0.0.1", 0), TcpAddress("127.0.0.1", 0)), id="port-0-twice"),
        pytest.param(with_line("file", "listen: {authz: '[::]:9191', admin: '127.0.0.1:9191'}"), lambda c: (c.listen_authz, c.listen_admin), (TcpAddress("::", 9191), TcpAddress("127.0.0.1", 9191)), id="one-port-in-two-families"),
        pytest.param(with_line("file", f"listen: {{authz: 'unix:/{'a' * 106}'}}"), lambda c: c.listen_authz, UnixAddress(Path(f"/{'a' * 106}")), id="socket-path-of-107-bytes"),
        pytest.param(with_line("file", "upstream_headers: {}"), lambda c: c.upstream_headers, (), id="no-identity-headers"),
        pytest.param(with_line("file", "upstream_headers: {x.a: sub, y.a: sub}"), lambda c: c.upstream_headers, (("x.a", "sub"), ("y.a", "sub")), id="dots-in-header-names"),
        pytest.param(with_line("file", "unavailable_status: 400"), lambda c: c.unavailable_status, 400, id="status-400"),
        pytest.param(with_line("file", "unavailable_status: 499"), lambda c: c.unavailable_status, 499, id="status-499"),
        pytest.param(with_line("file", "drain_timeout: 3600"), lambda c: c.drain_timeout, 3600, id="drain-timeout-limit"),
        pytest.param(with_line("issuer", "leeway: 10m"), lambda c: c.issuers[0].leeway, 600, id="leeway-limit"),
        pytest.param(with_line("issuer", "timeout: 1"), lambda c: c.issuers[0].timeout, 1, id="timeout-limit"),
        pytest.param(replaced("https://login.example.com", "http://localhost:8080/realm"), lambda c: c.issuers[0].issuer, "http://localhost:8080/realm", id="http-to-localhost"),
        pytest.param(replaced("https://login.example.com", "http://127.9.9.9"), lambda c: c.issuers[0].issuer, "http://127.9.9.9", id="http-to-127"),
        pytest.param(replaced("https://login.example.com", "http://[::1]:80"), lambda c: c.issuers[0].issuer, "http://[::1]:80", id="http-to-ipv6-loopback"),
        pytest.param(replaced("https://login.example.com", "https://login.example.com/?a\n    jwks_file: k"), lambda c: c.issuers[0].issuer, "https://login.example.com/?a", id="query-with-keys"),
        pytest.param(with_line("api", "resource: http://127.0.0.1:8000/a"), lambda c: c.policy.apis[0].resource, "http://127.0.0.1:8000/a", id="http-resource-on-loopback"),
        pytest.param(with_line("api", "base_path: /~a.b/c=1,2"), lambda c: c.policy.apis[0].base_path, "/~a.b/c=1,2", id="base-path-of-plain-characters"),
        pytest.param(replaced("name: payments", f"name: {'a' * 64}"), lambda c: c.policy.apis[0].name, "a" * 64, id="name-of-64"),
        pytest.param(with_line("operation", "methods: [M-SEARCH]"), lambda c: _read(c).methods, ("M-SEARCH",), id="method-with-dash"),
        pytest.param(with_line("operation", "public: false\nrequire: {}"), lambda c: (_read(c).public, _read(c).requirement), (False, Requirement()), id="not-public-with-empty-require"),
        pytest.param(replaced("[/accounts]", "['/a/{id}', '/a/*.pdf', '/a/**', /a]"), lambda c: _read(c).paths, ("/a/{id}", "/a/*.pdf", "/a/**", "/a"), id="paths-of-different-rank"),
        pytest.param(replaced("[/accounts]", "[/transfers]\n        methods: [GET]"), lambda c: [(each.methods, each.paths) for each in c.policy.apis[0].operations], [(("GET",), ("/transfers",)), ((), ("/transfers",))], id="listed-method-beside-any"),
        pytest.param(replaced("[/accounts]", "['/a-*', '/b-*']"), lambda c: _read(c).paths, ("/a-*", "/b-*"), id="starred-paths-that-exclude-each-other"),
        pytest.param(with_line("require", "max_age: 87600h"), lambda c: c.policy.apis[0].operations[1].requirement.max_age, 87600 * 3600, id="max-age-limit"),
        pytest.param(with_line("require", "acr_values: ['!#[]~', '2']"), lambda c: c.policy.apis[0].operations[1].requirement.acr_values, ("!#[]~", "2"), id="acr-of-odd-characters"),
        pytest.param(VALID + "  - {name: other, base_path: /payments}\n", lambda c: [each.base_path for each in c.policy.apis], ["/", "/payments"], id="two-base-paths"),
        pytest.param(VALID + "  - {name: other, hosts: [a.example]}\n", lambda c: [each.hosts for each in c.policy.apis], [(), ("a.example",)], id="any-host-beside-one"),
    ],
)  # fmt: skip
def test_what_is_just_within_the_rules_is_loaded_as_it_is(
    tmp_path: Path, text: str, found: Callable[[Config], object], expected: object
) -> None:
    assert found(load(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("min_acr", "acr_values"),
    [
        pytest.param("pwd", ("pwd", "mfa", "phr"), id="weakest"),
        pytest.param("mfa", ("mfa", "phr"), id="middle"),
        pytest.param("phr", ("phr",), id="strongest"),
    ],
)
def test_min_acr_stands_for_itself_and_every_stronger_level(
    tmp_path: Path, min_acr: str, acr_values: tuple[str, ...]
) -> None:
    config = load(tmp_path, with_line("require", f"min_acr: {min_acr}"))
    assert config.policy.apis[0].operations[1].requirement.acr_values == acr_values


def test_names_are_relative_to_a_symbolic_link_not_to_where_it_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "bridge.yaml").write_text(with_line("issuer", "jwks_file: k.json"))
    (tmp_path / "bridge.yaml").symlink_to("mounted/bridge.yaml")
    monkeypatch.chdir(tmp_path)
    config = load_config("bridge.yaml")
    assert config.file == tmp_path / "bridge.yaml"
    assert config.issuers[0].jwks_file == tmp_path / "k.json"


def test_a_file_with_ten_thousand_operations_loads_in_seconds(tmp_path: Path) -> None:
    operations = "".join(
        f"      - name: op-{i}\n        methods: [GET]\n        paths: ['/a{i}/{{id}}', /b{i}]\n"
        "        require: {scopes: [a], max_age: 5m}\n"
        for i in range(10_000)
    )
    started = time.process_time()
    config = load(tmp_path, VALID + operations)
    assert time.process_time() - started < 20  # about 2 on a laptop
    assert len(config.policy.apis[0].operations) == 10_002


def test_many_equal_operations_are_reported_once_each_in_seconds(tmp_path: Path) -> None:
    line = "      - {name: a, paths: [/a]}\n"
    started = time.process_time()
    with pytest.raises(Exception, match="ties with") as refused:
        load(tmp_path, VALID + line * 3000)
    assert time.process_time() - started < 20
    assert len(str(refused.value).splitlines()) == 2 * 2999


@pytest.mark.parametrize(
    ("provider", "algorithms", "claims"),
    [
        pytest.param(
            "keycloak", None, ClaimNames(client_id=(("client_id",), ("azp",))), id="keycloak"
        ),
        pytest.param("pingone", ("RS256",), ClaimNames(), id="pingone"),
        pytest.param(
            "okta", ("RS256",), ClaimNames(scope=(("scp",),), client_id=(("cid",),)), id="okta"
        ),
        pytest.param(
            "entra",
            ("RS256",),
            ClaimNames(
                (("acrs",),), scope=(("scp",), ("roles",)), client_id=(("azp",), ("appid",))
            ),
            id="entra",
        ),
        pytest.param(
            "auth0", ("RS256",), ClaimNames(client_id=(("client_id",), ("azp",))), id="auth0"
        ),
    ],
)
def test_a_provider_presets_what_is_known_of_it(
    tmp_path: Path, provider: str, algorithms: tuple[str, ...] | None, claims: ClaimNames
) -> None:
    settings = load(tmp_path, with_line("issuer", f"provider: {provider}")).issuers[0]
    usual = load(tmp_path, VALID).issuers[0]
    assert settings == replace(
        usual, provider=provider, claims=claims, algorithms=algorithms or usual.algorithms
    )


def test_what_is_written_wins_over_the_preset(tmp_path: Path) -> None:
    lines = "provider: okta\nalgorithms: [ES256]\nclaims: {scope: scope, acr: x.y}"
    settings = load(tmp_path, with_line("issuer", lines)).issuers[0]
    assert settings.algorithms == ("ES256",)
    assert settings.claims == ClaimNames((("x.y",),), scope=(("scope",),), client_id=(("cid",),))


def test_an_issuer_may_name_levels_differently(tmp_path: Path) -> None:
    lines = 'acr_map: {"2": urn:example:mfa}\ninsufficient_claims: true'
    settings = load(tmp_path, with_line("issuer", lines)).issuers[0]
    assert settings.acr_names == AcrNames((("2", "urn:example:mfa"),))
    assert settings.insufficient_claims


@pytest.mark.parametrize("name", ["multi factor", "é", 'a"b'])
def test_what_an_issuer_calls_a_level_must_fit_into_a_challenge(tmp_path: Path, name: str) -> None:
    shown = json.dumps(name, ensure_ascii=False)
    lines = f"acr_map: {{{shown}: urn:example:mfa}}"
    (problem,) = problems_of(tmp_path, with_line("issuer", lines))
    assert problem == (
        f"bridge.yaml:5: issuers[0].acr_map.{shown}: must be printable ASCII without space, quote"
        " or backslash (anything else cannot stand in a challenge)"
    )


def test_many_starred_siblings_of_one_length_load_at_once(tmp_path: Path) -> None:
    lines = "".join(f"      - {{name: op-{n}, paths: ['/x{n:04}*']}}\n" for n in range(3000))
    started = time.process_time()
    assert len(load(tmp_path, VALID + lines).policy.apis[0].operations) == 3002
    assert time.process_time() - started < 2  # about 0.3 on a laptop


def test_many_starred_siblings_that_tie_are_reported_once_each(tmp_path: Path) -> None:
    lines = "".join(f"      - {{name: op-{n}, paths: ['/a*']}}\n" for n in range(3000))
    started = time.process_time()
    with pytest.raises(Exception, match="ties with") as refused:
        load(tmp_path, VALID + lines)
    assert time.process_time() - started < 2
    assert len(str(refused.value).splitlines()) == 2999


def test_sender_constraints_come_with_what_proofs_are_compared_with(tmp_path: Path) -> None:
    lines = "sender_constraint: required\nexternal_origin: HTTPS://API.Example.com:443/"
    (api,) = load(tmp_path, with_line("api", lines)).policy.apis
    assert (api.sender_constraint, api.origin) == ("required", "https://api.example.com")
    assert api.dpop_algorithms == ("ES256", "EdDSA", "RS256", "PS256")


def test_origin_of_proofs_is_the_resources_where_no_other_is_said(tmp_path: Path) -> None:
    lines = "sender_constraint: dpop\nresource: https://api.example.com:8443/payments"
    (api,) = load(tmp_path, with_line("api", lines)).policy.apis
    assert api.origin == "https://api.example.com:8443"


@pytest.mark.parametrize("constraint", ["none", "mtls"])
def test_api_without_dpop_needs_no_origin(tmp_path: Path, constraint: str) -> None:
    lines = f"sender_constraint: {constraint}"
    (api,) = load(tmp_path, with_line("api", lines)).policy.apis
    assert (api.sender_constraint, api.origin, api.dpop_algorithms) == (constraint, None, ())


def test_secrets_of_dpop_come_from_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "nonce").write_bytes(b"sixteen bytes ok\n")
    lines = "dpop: {nonce: required, nonce_secret_file: nonce, replay: {redis_url_env: REDIS}}"
    file = tmp_path / "bridge.yaml"
    file.write_text(with_line("file", lines))
    config = load_config(file, environ={"REDIS": "redis://:pass@redis.internal"})
    assert config.dpop.nonce_secret == b"sixteen bytes ok"
    assert config.dpop.redis_url == "redis://:pass@redis.internal"
    assert tuple(config.files) == (file, tmp_path / "nonce")
    assert "pass" not in repr(config)
    assert "sixteen" not in repr(config)


def test_secret_that_is_too_short_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nonce").write_bytes(b"fifteen bytes..\n")
    (tmp_path / "redis").write_bytes(b"\xff")
    lines = "dpop: {nonce_secret_file: nonce, replay: {redis_url_file: redis}}"
    assert problems_of(tmp_path, with_line("file", lines)) == [
        "bridge.yaml:1: dpop.nonce_secret_file: names a secret of less than 16 bytes",
        "bridge.yaml:1: dpop.replay.redis_url_file: names a secret that is not UTF-8",
    ]
    (tmp_path / "nonce").write_bytes(b"n" * (64 * 1024 + 1))
    assert problems_of(tmp_path, with_line("file", "dpop: {nonce_secret_file: nonce}")) == [
        "bridge.yaml:1: dpop.nonce_secret_file: names a file that is larger than 64 KiB"
    ]


def test_several_workers_need_a_redis_where_dpop_is_taken(tmp_path: Path) -> None:
    api = "sender_constraint: any\nexternal_origin: https://api.example.com"
    several = with_line("api", api).replace("# file\n", "workers: 2\n")
    assert problems_of(tmp_path, several) == [
        "bridge.yaml:1: workers: must be 1, or dpop.replay have a Redis,"
        " while apis[0].sender_constraint accepts DPoP:"
        " else a proof could be used once in each worker"
    ]
    shared = several.replace("workers: 2\n", "workers: 2\ndpop: {replay: {redis_url: redis://a}}\n")
    assert load(tmp_path, shared).dpop.redis_url == "redis://a"
    unbound = several.replace("sender_constraint: any", "sender_constraint: mtls")
    assert load(tmp_path, unbound).workers == 2


def test_redis_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.config.checks.find_spec", lambda _: None)
    lines = "dpop: {replay: {redis_url: redis://a}}"
    assert problems_of(tmp_path, with_line("file", lines)) == [
        f"bridge.yaml:1: dpop.replay.redis_url: needs the extra redis: {pip_install('redis')}"
    ]
