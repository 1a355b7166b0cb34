"""The profile: what it may say, what is wrong with it, and the tokens that come of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from bridge.conformance.profile import read_profile
from bridge.conformance.tokens import read_tokens
from bridge.errors import ConfigError

OPERATIONS = """\
ordinary: {path: /accounts}
sensitive: {method: POST, path: /transfers, acr_values: [urn:mfa, urn:phr], max_age: 300}
"""
MINT = """\
mint:
  issuer: https://as.test
  key_file: key.pem
  kid: one
  audience: https://api.test
  claims: {sub: alice, acr: urn:pwd, scope: a b}
"""
KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def write(directory: Path, text: str) -> Path:
    file = directory / "profile.yaml"
    file.write_text(text)
    return file


def write_key(directory: Path, algorithm: str = "ES256") -> Any:
    key: Any = KEYS[algorithm]()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(pem)
    return key.public_key()


def tokens_of(file: Path, environ: dict[str, str] | None = None) -> dict[str, str]:
    profile, top = read_profile(file)
    return read_tokens(file, profile, top, environ=environ or {})


def problems_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        tokens_of(file)
    return [problem.render("p") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("ordinary: {path: /a}", "p:1: sensitive: is missing", id="an-operation"),
        pytest.param(
            OPERATIONS.replace("/accounts", "accounts"),
            "p:1: ordinary.path: must be an absolute path, with / first and no #",
            id="relative-path",
        ),
        pytest.param(
            OPERATIONS.replace("/accounts", "//accounts"),
            "p:1: ordinary.path: must be an absolute path, with / first and no #",
            id="another-authority",
        ),
        pytest.param(
            OPERATIONS.replace("POST", "post"),
            "p:2: sensitive.method: must be a method in upper case",
            id="method",
        ),
        pytest.param(
            f'{OPERATIONS}host: "a\\r\\nx: y"',
            "p:3: host: must be a host, maybe with a port",
            id="host",
        ),
        pytest.param(
            f"{OPERATIONS}resource: http://api.test",
            "p:3: resource: must be an https URL without fragment",
            id="resource",
        ),
        pytest.param(
            OPERATIONS.replace("path: /accounts", "path: /accounts, accepted: [200, 401]"),
            "p:1: ordinary: accepted must not list 401 or 403: they are denials",
            id="a-denial-as-acceptance",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{file: a, env: B}}}}",
            "p:3: tokens.good: must have one of file, env, command, claims",
            id="two-sources",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{god: {{file: a}}}}",
            "p:3: tokens.god: is not a known key; did you mean good?",
            id="unknown-token",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{claims: {{}}}}}}",
            "p:3: tokens.good: claims need mint, which says who signs them",
            id="claims-without-mint",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{file: missing.txt}}}}",
            "p:3: tokens.good: the file cannot be read: No such file or directory",
            id="file",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{env: NOT_SET}}}}",
            "p:3: tokens.good: the environment variable is not set",
            id="environment",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{command: [sh, -c, exit 3]}}}}",
            "p:3: tokens.good: the command ended with 3",
            id="command",
        ),
        pytest.param(
            f"{OPERATIONS}tokens: {{good: {{command: [echo, secret secret]}}}}",
            "p:3: tokens.good: what came is no token",
            id="no-token",
        ),
        pytest.param(
            OPERATIONS + MINT,
            "p:3: mint: the file cannot be read: No such file or directory",
            id="key",
        ),
    ],
)
def test_profile_that_cannot_be_used_says_where(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_of(write(tmp_path, text)) == [problem]


def test_key_file_without_a_key_says_so(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("secret")

    assert problems_of(write(tmp_path, OPERATIONS + MINT)) == [
        "p:3: mint: key_file holds no private key in PEM, without a password"
    ]


def test_tokens_come_from_files_variables_and_commands(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("from.a.file\n")
    sources = (
        "tokens: {good: {file: good.txt}, weak: {env: WEAK}, strong: {command: [cat, good.txt]}}"
    )

    tokens = tokens_of(write(tmp_path, OPERATIONS + sources), {"WEAK": "from.a.variable"})

    assert tokens == {
        "good": "from.a.file",
        "weak": "from.a.variable",
        "strong": "from.a.file",
    }


@pytest.mark.parametrize("algorithm", KEYS)
def test_minted_tokens_are_what_their_names_say(tmp_path: Path, algorithm: str) -> None:
    public = write_key(tmp_path, algorithm)
    before = int(time.time())

    tokens = tokens_of(write(tmp_path, OPERATIONS + MINT))

    assert jwt.get_unverified_header(tokens["good"]) == {
        "alg": algorithm,
        "typ": "at+jwt",
        "kid": "one",
    }
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tokens.pop("bad_signature"), public, [algorithm], audience="https://api.test")
    claims = {
        name: jwt.decode(
            token, public, [algorithm], options={"verify_aud": False, "verify_exp": False}
        )
        for name, token in tokens.items()
    }
    good = claims.pop("good")
    assert {k: v for k, v in good.items() if k not in {"iat", "exp", "auth_time", "jti"}} == {
        "iss": "https://as.test",
        "aud": "https://api.test",
        "sub": "alice",
        "client_id": "conformance",
        "acr": "urn:pwd",
        "scope": "a b",
    }
    assert good["exp"] == good["iat"] + 600
    assert before <= good["auth_time"] == good["iat"]
    assert len({each["jti"] for each in [good, *claims.values()]}) == len(claims) + 1
    assert claims["weak"]["acr"] == "urn:pwd"
    assert claims["strong"]["acr"] == claims["stale"]["acr"] == "urn:mfa"
    assert claims["stale"]["auth_time"] < before - 300
    assert claims["expired"]["exp"] < before
    assert claims["wrong_audience"]["aud"] == "https://conformance.invalid"
    assert "scope" not in claims["insufficient_scope"]
    assert set(claims) == {
        "weak", "stale", "strong", "expired", "wrong_audience", "insufficient_scope",
    }  # fmt: skip


def test_what_an_api_does_not_demand_is_not_minted(tmp_path: Path) -> None:
    write_key(tmp_path)
    text = "ordinary: {path: /a}\nsensitive: {path: /b}\n" + MINT.replace(", scope: a b", "")

    tokens = tokens_of(write(tmp_path, text))

    assert set(tokens) == {"good", "strong", "expired", "wrong_audience", "bad_signature"}


def test_claims_of_a_token_come_before_all_others(tmp_path: Path) -> None:
    public = write_key(tmp_path)
    own = "tokens: {strong: {claims: {acr: urn:phr, sub: null, amr: [hwk]}}}"

    token = tokens_of(write(tmp_path, OPERATIONS + MINT + own))["strong"]

    claims = jwt.decode(token, public, ["ES256"], audience="https://api.test")
    assert (claims["acr"], claims["amr"], claims.get("sub")) == ("urn:phr", ["hwk"], None)
