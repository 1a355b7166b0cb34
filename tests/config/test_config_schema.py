# ruff: noqa: E501 - tables, one case a line
"""The JSON Schema: an editor must not refuse what the loader accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_files import VALID, with_line
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]

from bridge.config.load import load_config
from bridge.config.schema import json_schema
from bridge.config.yaml_marks import read_yaml
from bridge.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "bridge.yaml"
VALIDATOR = Draft202012Validator(json_schema())


def errors_of(text: str) -> list[str]:
    root, _ = read_yaml(text)
    return [error.json_path for error in VALIDATOR.iter_errors(root.plain())]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(with_line("file", "worker: 1"), "$", id="unknown-key"),
        pytest.param(with_line("file", "workers: 0"), "$.workers", id="too-few"),
        pytest.param(with_line("file", "log: {level: loud}"), "$.log.level", id="enum"),
        pytest.param(with_line("file", "unavailable_status: 401"), "$.unavailable_status", id="401"),
        pytest.param(with_line("file", "listen: {authz: localhost}"), "$.listen.authz", id="address"),
        pytest.param(with_line("file", "upstream_headers: {x_a: b}"), "$.upstream_headers", id="header"),
        pytest.param(with_line("file", "drain_timeout: soon"), "$.drain_timeout", id="duration"),
        pytest.param(with_line("issuer", "jwks_uri:"), "$.issuers[0].jwks_uri", id="without-value"),
        pytest.param(with_line("issuer", "jwks_uri: https://a\njwks_file: b"), "$.issuers[0]", id="two-sources-of-keys"),
        pytest.param(with_line("issuer", "tokens: [paseto]"), "$.issuers[0].tokens[0]", id="token-format"),
        pytest.param(with_line("issuer", "introspection: {client_id: a}"), "$.issuers[0].introspection", id="no-secret"),
        pytest.param(with_line("issuer", "introspection: {client_id: a, client_secret_env: A, private_key_file: b}"), "$.issuers[0].introspection", id="two-secrets"),
        pytest.param(with_line("issuer", "introspection: {client_id: a, client_secret_env: my secret}"), "$.issuers[0].introspection.client_secret_env", id="variable-name"),
        pytest.param(with_line("api", "hosts: []"), "$.apis[0].hosts", id="empty-list"),
        pytest.param(with_line("require", "max_age: -1"), "$.apis[0].operations[1].require.max_age", id="negative"),
        pytest.param(with_line("require", "acr_values: [a]\nmin_acr: pwd"), "$.apis[0].operations[1].require", id="acr-twice"),
        pytest.param(with_line("operation", "public: true\nrequire: {}"), "$.apis[0].operations[0]", id="public-with-require"),
    ],
)  # fmt: skip
def test_the_schema_finds_what_an_editor_can_find(text: str, place: str) -> None:
    assert errors_of(text) == [place]


def test_the_schema_is_a_schema_and_json() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_the_schema_accepts_the_example() -> None:
    assert errors_of(EXAMPLE.read_text(encoding="utf-8")) == []


def test_every_mapping_is_closed_and_every_key_described() -> None:
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        assert section["additionalProperties"] is False
        for name, key in section["properties"].items():
            assert "description" in key or "$ref" in key, name


# Values for a key of the file: often good, often not quite.
VALUES: dict[str, list[object]] = {
    "version": [1, 2],
    "doors": [["nginx"], ["forward_auth", "nginx"], ["envoy"], []],
    "workers": [1, 256, "1"],
    "drain_timeout": [0, "1h", "61m", "0000s", 3601],
    "unavailable_status": [503, 400, 404, 407, 500],
    "unmatched_host": ["deny", "allow", "DENY"],
    "listen": [{}, {"authz": "unix:a"}, {"authz": "[::1]:0"}, {"authz": "h:1", "admin": "H:2"}],
    "upstream_headers": [{}, {"X-A": "a b"}, {"x.y": "z"}, {"te": "a"}, {"": "a"}],
    "token_cache": [{}, {"ttl": "24h", "max_entries": 1}],
    "loop_guard": [{}, {"action": "forbid", "window": "24h"}, {"limit": 1}, {"shared": True}],
    "log": [{}, {"level": "error"}],
    "client_certificate": ["none", "x-forwarded-client-cert"],
    "dpop": [
        {},
        {"algorithms": ["ES512"], "iat_window": "10m", "leeway": 0, "nonce": "required"},
        {"replay": {"redis_url": "rediss://a:1/2", "on_error": "allow", "timeout": 60}},
        {"replay": {"redis_url": "unix:///a"}},
        {"replay": {"redis_url": "REDIS://a"}},
        {"nonce_secret_file": "random.yaml", "replay": {"max_entries": 1}},
    ],
    "assurance_levels": [["a"], ["pwd", "mfa", "~"], ["a", "a"]],
}
ISSUER_VALUES: dict[str, list[object]] = {
    "algorithms": [["ES512"], ["none"]],
    "jwks_uri": ["HTTPS://a.example", "http://127.0.0.1/k?x=1", "https://a/%zz"],
    "jwks_file": ["a b", "/k", "é"],
    "token_type": ["strict"],
    "leeway": [0, "600s", "10m"],
    "timeout": ["1s", 60],
    "allow_insecure_http": [True, False, "no"],
    "claims": [{}, {"acr": "a"}, {"acr": ["a", ["b", "c"]]}, {"scope": [[]]}],
    "tokens": [["jwt"], ["opaque"], ["opaque", "jwt"]],
    "introspection": [
        {"client_id": "a", "client_secret_env": "PATH"},
        {"client_id": "é", "client_secret_env": "PATH", "when": "always", "cache_ttl": 0},
        {"client_id": "a", "client_secret_env": "PATH", "auth": "client_secret_post"},
        {"client_id": "a", "client_secret_env": "no name"},
        {"client_id": "a", "endpoint": "http://localhost/i", "client_secret_env": "PATH"},
    ],
}
API_VALUES: dict[str, list[object]] = {
    "hosts": [["A.b."], ["*.a"], ["[::1]"], ["A", "a"]],
    "base_path": ["/", "/a/", "/a=b@c:d", "/a%20"],
    "issuers": [["https://login.example.com"]],
    "audiences": [["é ü"]],
    "realm": ['"', "a b", "é"],
    "resource": ["https://a", "HTTP://localhost", "http://a"],
    "external_origin": ["https://a", "HTTPS://A:8443/", "http://127.0.0.1:8080", "http://a"],
    "sender_constraint": ["none", "any", "dpop", "mtls", "required"],
    "mode": ["monitor"],
    "unmatched": ["require_token"],
    "cors_preflight": ["check"],
    "hint_requirements": [True],
    "path": [{}, {"allow_semicolon": True}],
}
OPERATION_VALUES: dict[str, list[object]] = {
    "methods": [["GET", "M-SEARCH"], ["`"], ["get"]],
    "paths": [["/"], ["/a b/é/{x}/**"], ["/*.*"], ["/a*b"], [""]],
    "public": [True, False],
    "require": [{}, {"scopes": ["!"]}, {"acr_values": ["~"]}, {"min_acr": "pwd", "max_age": "0h"}],
}


def some_of(values: dict[str, list[object]]) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(choices) for key, choices in values.items()}
    )


ALONE = [
    pytest.param({where: {key: choice}}, id=f"{where}-{key}-{number}")
    for where, values in (
        ("top", VALUES),
        ("issuer", ISSUER_VALUES),
        ("api", API_VALUES),
        ("operation", OPERATION_VALUES),
    )
    for key, choices in values.items()
    for number, choice in enumerate(choices)
]


def text_with(
    top: dict[str, object] | None = None,
    issuer: dict[str, object] | None = None,
    api: dict[str, object] | None = None,
    operation: dict[str, object] | None = None,
) -> str:
    document: dict[str, Any] = yaml.safe_load(VALID) | (top or {})
    document["issuers"][0] |= issuer or {}
    document["apis"][0] |= api or {}
    document["apis"][0]["operations"][0] |= operation or {}
    return yaml.safe_dump(document, allow_unicode=True)


@pytest.mark.parametrize("parts", ALONE)
def test_the_schema_never_refuses_a_value_that_the_loader_accepts(
    tmp_path: Path, parts: dict[str, dict[str, object]]
) -> None:
    text = text_with(**parts)
    if loads(tmp_path / "alone.yaml", text):
        assert errors_of(text) == []


def loads(file: Path, text: str) -> bool:
    file.write_text(text, encoding="utf-8")
    try:
        load_config(file)
    except ConfigError:
        return False
    return True


@given(some_of(VALUES), some_of(ISSUER_VALUES), some_of(API_VALUES), some_of(OPERATION_VALUES))
def test_the_schema_never_refuses_what_the_loader_accepts(
    tmp_path_factory: pytest.TempPathFactory,
    top: dict[str, object],
    issuer: dict[str, object],
    api: dict[str, object],
    operation: dict[str, object],
) -> None:
    text = text_with(top, issuer, api, operation)
    if loads(tmp_path_factory.getbasetemp() / "random.yaml", text):
        assert errors_of(text) == []
