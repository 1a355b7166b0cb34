# ruff: noqa: E501 - tables, one refusal a line
"""Introspection in the configuration: what is refused, and how secrets come in (spec §3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from config_files import VALID, problems_of, with_line
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ConfigError
from bridge.tokens.settings import IntrospectionSettings, IssuerSettings

SECRET = "s3cr3t-x7Gq"
PLACE = "issuers[0].introspection"
INSECURE = "must be https:// (http:// only to loopback, or with allow_insecure_http: true)"
NO_SECRET = (
    "must have client_secret_file, client_secret_env or private_key_file:"
    " the issuer tells nothing to strangers (RFC 7662 §2.1)"
)
PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
LOCKED_PEM = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "key.pem").write_bytes(PEM)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "lines").write_text(f"{SECRET}\nmore\n")
    (tmp_path / "binary").write_bytes(b"\xff" + SECRET.encode())
    (tmp_path / "large").write_bytes(b"x" * (64 * 1024 + 1))
    (tmp_path / "locked.pem").write_bytes(LOCKED_PEM)


def load(directory: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    file = directory / "bridge.yaml"
    file.write_text(text)
    return load_config(file, environ=os.environ if environ is None else environ)


def issuer_of(directory: Path, lines: str, environ: dict[str, str] | None = None) -> IssuerSettings:
    return load(directory, with_line("issuer", lines), environ).issuers[0]


def refuse(keys: str, *expected: str, name: str) -> object:
    return pytest.param(f"introspection: {{{keys}}}", list(expected), id=name)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        refuse("client_secret_file: secret", f"5: {PLACE}.client_id: is missing", name="no-client-id"),
        refuse("client_id: a", f"5: {PLACE}: {NO_SECRET}", name="no-secret"),
        refuse("client_id: a, client_secret: b", f"5: {PLACE}: {NO_SECRET}", f"5: {PLACE}.client_secret: is not a known key; did you mean client_secret_env?", name="inline"),
        refuse("client_id: a, client_secret_file: gone", f"5: {PLACE}.client_secret_file: names a file that cannot be read: No such file or directory", name="file-missing"),
        refuse("client_id: a, client_secret_file: .", f"5: {PLACE}.client_secret_file: names a file that cannot be read: Is a directory", name="directory"),
        refuse("client_id: a, client_secret_file: empty", f"5: {PLACE}.client_secret_file: names a secret that is empty", name="file-empty"),
        refuse("client_id: a, client_secret_file: large", f"5: {PLACE}.client_secret_file: names a file that is larger than 64 KiB", name="file-large"),
        refuse("client_id: a, client_secret_file: binary", f"5: {PLACE}.client_secret_file: names a secret that is not UTF-8", name="file-binary"),
        refuse("client_id: a, client_secret_file: lines", f"5: {PLACE}.client_secret_file: names a secret with control characters, more than one line maybe", name="file-with-two-lines"),
        refuse("client_id: a, client_secret_env: SURELY_NOT_SET", f"5: {PLACE}.client_secret_env: names an environment variable that is not set", name="variable-missing"),
        refuse("client_id: a, client_secret_env: not a name", f"5: {PLACE}.client_secret_env: must be the name of an environment variable, such as CLIENT_SECRET", f"5: {PLACE}.client_secret_env: names an environment variable that is not set", name="variable-name"),
        refuse("client_id: a, private_key_file: gone", f"5: {PLACE}.private_key_file: names a file that cannot be read: No such file or directory", name="key-missing"),
        refuse("client_id: a, private_key_file: secret", f"5: {PLACE}.private_key_file: must hold a private key: PEM without a passphrase, or a JWK", name="key-malformed"),
        refuse("client_id: a, private_key_file: locked.pem", f"5: {PLACE}.private_key_file: must hold a private key: PEM without a passphrase, or a JWK", name="key-with-passphrase"),
        refuse("client_id: a, client_secret_file: secret, private_key_file: key.pem", f"5: {PLACE}.private_key_file: must not stand beside client_secret_file", name="two-secrets"),
        refuse("client_id: a, client_secret_file: secret, client_secret_env: PATH", f"5: {PLACE}.client_secret_env: must not stand beside client_secret_file", name="file-and-variable"),
        refuse("client_id: a, client_secret_file: secret, auth: private_key_jwt", f"5: {PLACE}.auth: needs private_key_file", name="jwt-without-key"),
        refuse("client_id: a, private_key_file: key.pem, auth: client_secret_post", f"5: {PLACE}.auth: must be private_key_jwt, or have a secret instead of private_key_file", name="post-with-key"),
        refuse("client_id: a, client_secret_file: secret, auth: tls_client_auth", f"5: {PLACE}.auth: must be client_secret_basic, client_secret_post or private_key_jwt", name="auth-unknown"),
        refuse("client_id: a, client_secret_file: secret, when: never", f"5: {PLACE}.when: must be opaque or always", name="when-unknown"),
        refuse("client_id: a, client_secret_file: secret, cache_ttl: -1", f"5: {PLACE}.cache_ttl: must be a whole number of seconds or a duration such as 5m", name="ttl-negative"),
        refuse("client_id: a, client_secret_file: secret, cache_ttl: 25h", f"5: {PLACE}.cache_ttl: must be a duration from 0s to 24h", name="ttl-too-long"),
        refuse("client_id: a, client_secret_file: secret, endpoint: 'http://as.example/i'", f"5: {PLACE}.endpoint: {INSECURE}", name="endpoint-over-http"),
        refuse("client_id: a, client_secret_file: secret, endpoint: 'https://a:b@as.example/i'", f"5: {PLACE}.endpoint: must not hold a user name or password", name="endpoint-with-password"),
        pytest.param("introspection: bridge", [f"5: {PLACE}: must be a mapping of keys to values"], id="no-mapping"),
        pytest.param("introspection:", [f"5: {PLACE}: must have a value; leave it out for the default"], id="no-value"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_place_and_reason(
    tmp_path: Path, lines: str, expected: list[str]
) -> None:
    problems = problems_of(tmp_path, with_line("issuer", lines))
    assert problems == [f"bridge.yaml:{each}" for each in expected]
    assert SECRET not in str(problems)


@pytest.mark.parametrize(
    ("lines", "lacking"),
    [
        pytest.param("", "a jwks_uri or jwks_file and an introspection.endpoint", id="both"),
        pytest.param("jwks_file: keys.json", "an introspection.endpoint", id="endpoint"),
        pytest.param("tokens: [opaque]", "an introspection.endpoint", id="endpoint-only-opaque"),
    ],
)
def test_an_issuer_that_is_no_url_has_no_metadata(tmp_path: Path, lines: str, lacking: str) -> None:
    text = with_line(
        "issuer", f"introspection: {{client_id: a, client_secret_file: secret}}\n{lines}"
    ).replace("issuer: https://login.example.com", "issuer: bank")
    assert problems_of(tmp_path, text) == [
        "bridge.yaml:3: issuers[0].issuer: must be an absolute URL such as"
        f" https://login.example.com/keys, or have {lacking}"
    ]


def test_an_issuer_of_opaque_tokens_with_an_endpoint_may_have_any_name(tmp_path: Path) -> None:
    text = with_line(
        "issuer",
        "introspection: {client_id: a, client_secret_file: secret, endpoint: https://as.example/i}\n"
        "tokens: [opaque]",
    ).replace("issuer: https://login.example.com", "issuer: bank")
    issuer = load(tmp_path, text).issuers[0]
    assert (issuer.takes_jwt, issuer.takes_opaque) == (False, True)


def test_what_is_left_out_has_its_default_and_the_secret_is_without_its_line_end(
    tmp_path: Path,
) -> None:
    issuer = issuer_of(tmp_path, "introspection: {client_id: a, client_secret_file: secret}")
    assert issuer.introspection == IntrospectionSettings(
        client_id="a",
        auth="client_secret_basic",
        client_secret=SECRET,
        private_key=b"",
        endpoint=None,
        when="opaque",
        cache_ttl=30,
    )
    assert (issuer.takes_jwt, issuer.takes_opaque) == (True, True)


def test_introspection_that_nothing_uses_yet_is_no_fault(tmp_path: Path) -> None:
    issuer = issuer_of(
        tmp_path, "introspection: {client_id: a, client_secret_file: secret}\ntokens: [jwt]"
    )
    assert issuer.introspection is not None
    assert (issuer.takes_jwt, issuer.takes_opaque) == (True, False)


def test_every_key_reaches_its_plain_value(tmp_path: Path) -> None:
    issuer = issuer_of(
        tmp_path,
        "introspection:\n  endpoint: http://127.0.0.1:1/i\n  when: always\n  client_id: a b\n"
        "  auth: client_secret_post\n  client_secret_env: THE_SECRET\n  cache_ttl: 1m\n"
        "tokens: [jwt]",
        {"THE_SECRET": SECRET},
    )
    assert issuer.introspection == IntrospectionSettings(
        client_id="a b",
        auth="client_secret_post",
        client_secret=SECRET,
        endpoint="http://127.0.0.1:1/i",
        when="always",
        cache_ttl=60,
    )
    assert (issuer.takes_jwt, issuer.takes_opaque) == (True, False)


def test_a_private_key_alone_means_private_key_jwt(tmp_path: Path) -> None:
    issuer = issuer_of(tmp_path, "introspection: {client_id: a, private_key_file: key.pem}")
    assert issuer.introspection is not None
    assert issuer.introspection.auth == "private_key_jwt"
    assert issuer.introspection.private_key == PEM.rstrip()


def test_without_introspection_there_are_only_jwts(tmp_path: Path) -> None:
    issuer = load(tmp_path, VALID).issuers[0]
    assert (issuer.takes_jwt, issuer.takes_opaque, issuer.introspection) == (True, False, None)


def test_secrets_files_are_watched_also_those_that_are_missing(tmp_path: Path) -> None:
    text = with_line("issuer", "introspection: {client_id: a, client_secret_file: secret}")
    assert tuple(load(tmp_path, text).files) == (tmp_path / "bridge.yaml", tmp_path / "secret")
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text.replace("_file: secret", "_file: gone"))
    assert refused.value.files[tmp_path / "gone"] is None


def test_a_changed_secret_makes_other_settings(tmp_path: Path) -> None:
    text = "introspection: {client_id: a, client_secret_file: secret}"
    before = issuer_of(tmp_path, text)
    assert issuer_of(tmp_path, text) == before
    (tmp_path / "secret").write_text("another")
    assert issuer_of(tmp_path, text) != before


def test_no_secret_is_in_the_settings_as_text(tmp_path: Path) -> None:
    config = load(
        tmp_path, with_line("issuer", "introspection: {client_id: a, client_secret_file: secret}")
    )
    assert SECRET not in repr(config)
    key = issuer_of(tmp_path, "introspection: {client_id: a, private_key_file: key.pem}")
    assert "PRIVATE KEY" not in repr(key)
