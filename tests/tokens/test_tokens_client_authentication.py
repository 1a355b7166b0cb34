"""How the bridge authenticates at an issuer (RFC 6749 §2.3.1, RFC 7523)."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bridge.tokens.client_authentication import (
    private_key_jwt,
    read_private_key,
    secret_basic,
    secret_post,
)

NOW = 1_700_000_000
ISS = "https://login.example.com/realms/bank"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
NO_KEY = "must hold a private key: PEM without a passphrase, or a JWK"
NO_SIGNING_KEY = "must hold an RSA key of 2048 bits or more, an EC or an Ed25519 key"


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> bytes:
    raw: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return raw


def jwk(document: str | dict[str, Any], **more: Any) -> bytes:
    members = json.loads(document) if isinstance(document, str) else document
    return json.dumps({**members, **more}).encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b"", NO_KEY, id="empty"),
        pytest.param(b"secret", NO_KEY, id="text"),
        pytest.param(b"{", NO_KEY, id="no-json"),
        pytest.param(b"{}", NO_KEY, id="no-kty"),
        pytest.param(b'{"kty":"EC"}', NO_KEY, id="jwk-without-numbers"),
        pytest.param(b'{"kty":["RSA"]}', NO_KEY, id="kty-list"),
        pytest.param(b'{"kty":"oct","k":"AAAA"}', NO_KEY, id="symmetric"),
        pytest.param(pem(EC_KEY, BestAvailableEncryption(b"x")), NO_KEY, id="passphrase"),
        pytest.param(
            EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            NO_KEY,
            id="public-pem",
        ),
        pytest.param(jwk(ECAlgorithm.to_jwk(EC_KEY.public_key())), NO_SIGNING_KEY, id="public-jwk"),
        pytest.param(pem(rsa.generate_private_key(65537, 1024)), NO_SIGNING_KEY, id="rsa-1024"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256K1())), NO_SIGNING_KEY, id="secp256k1"),
        pytest.param(pem(dsa.generate_private_key(2048)), NO_SIGNING_KEY, id="dsa"),
        pytest.param(jwk(RSAAlgorithm.to_jwk(RSA_KEY), alg="none"), NO_SIGNING_KEY, id="alg-none"),
        pytest.param(jwk(RSAAlgorithm.to_jwk(RSA_KEY), alg="HS256"), NO_SIGNING_KEY, id="alg-hs"),
        pytest.param(
            jwk(RSAAlgorithm.to_jwk(RSA_KEY), alg="ES256"), NO_SIGNING_KEY, id="alg-of-ec"
        ),
        pytest.param(
            jwk(RSAAlgorithm.to_jwk(RSA_KEY), alg=["RS256"]), NO_SIGNING_KEY, id="alg-list"
        ),
    ],
)
def test_what_is_no_signing_key_is_refused_without_being_told(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match="must hold") as refused:
        read_private_key(raw)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("raw", "algorithm", "kid"),
    [
        pytest.param(pem(RSA_KEY), "RS256", None, id="rsa"),
        pytest.param(pem(EC_KEY), "ES256", None, id="p-256"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "ES384", None, id="p-384"),
        pytest.param(pem(ec.generate_private_key(ec.SECP521R1())), "ES512", None, id="p-521"),
        pytest.param(pem(ed25519.Ed25519PrivateKey.generate()), "EdDSA", None, id="ed25519"),
        pytest.param(pem(ed448.Ed448PrivateKey.generate()), "EdDSA", None, id="ed448"),
        pytest.param(jwk(RSAAlgorithm.to_jwk(RSA_KEY), alg="PS256"), "PS256", None, id="jwk-alg"),
        pytest.param(jwk(ECAlgorithm.to_jwk(EC_KEY), kid="k"), "ES256", "k", id="jwk-kid"),
        pytest.param(
            jwk(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1())), kid=7),
            "ES384",
            None,
            id="jwk-p-384-kid-number",
        ),
        pytest.param(
            b"\n " + jwk(OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate())),
            "EdDSA",
            None,
            id="jwk-okp",
        ),
    ],
)
def test_a_key_signs_with_the_algorithm_that_fits_it(
    raw: bytes, algorithm: str, kid: str | None
) -> None:
    key = read_private_key(raw)
    assert (key.algorithm, key.kid) == (algorithm, kid)
    assertion = private_key_jwt("bridge", key, ISS, NOW, "1")["client_assertion"]
    header = jwt.get_unverified_header(assertion)
    wanted = {"alg": algorithm, "typ": "client-authentication+jwt"}
    assert header == (wanted if kid is None else {**wanted, "kid": kid})
    jwt.decode(
        assertion,
        key.key.public_key(),
        algorithms=[algorithm],
        audience=ISS,
        options={"verify_exp": False},
    )


def test_an_assertion_says_who_for_whom_and_until_when() -> None:
    form = private_key_jwt("bridge", read_private_key(pem(EC_KEY)), ISS, NOW, "unique")
    assertion = form.pop("client_assertion")
    assert form == {
        "client_id": "bridge",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims == {
        "iss": "bridge",
        "sub": "bridge",
        "aud": ISS,
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "unique",
    }


@pytest.mark.parametrize(
    ("client_id", "secret", "pair"),
    [
        pytest.param("bridge", "s3cr3t", "bridge:s3cr3t", id="plain"),
        pytest.param("a:b", "c d%", "a%3Ab:c+d%25", id="colon-space-percent"),
        pytest.param("é", "ß/+", "%C3%A9:%C3%9F%2F%2B", id="non-ascii"),
    ],
)
def test_basic_credentials_are_form_encoded_first(client_id: str, secret: str, pair: str) -> None:
    encoded = base64.b64encode(pair.encode()).decode()
    assert secret_basic(client_id, secret) == {"authorization": f"Basic {encoded}"}


def test_post_credentials_are_form_members() -> None:
    assert secret_post("a b", "c&d") == {"client_id": "a b", "client_secret": "c&d"}


def test_a_key_does_not_show_itself() -> None:
    assert repr(read_private_key(pem(EC_KEY))) == "SigningKey(algorithm='ES256')"
