"""Key sets: only keys that can verify an access token are used (spec §5, RFC 7517, RFC 7518)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bridge.tokens.jwk import MIN_RSA_BITS, VerificationKey, read_key_set

ALL_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


def number(value: int, length: int | None = None) -> str:
    raw = value.to_bytes(length or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public(algorithm: Any, key: Any) -> dict[str, Any]:
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in made.items() if name != "key_ops"}


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA = public(RSAAlgorithm, RSA_KEY)
EC = public(ECAlgorithm, EC_KEY)
EC384 = public(ECAlgorithm, ec.generate_private_key(ec.SECP384R1()))
EC521 = public(ECAlgorithm, ec.generate_private_key(ec.SECP521R1()))
ED25519 = public(OKPAlgorithm, ED_KEY)
ED448 = public(OKPAlgorithm, ed448.Ed448PrivateKey.generate())
_x25519 = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
X25519 = {**ED25519, "crv": "X25519", "x": base64.urlsafe_b64encode(_x25519).rstrip(b"=").decode()}
_point = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
SECP256K1 = {**EC, "crv": "secp256k1", "x": number(_point.x, 32), "y": number(_point.y, 32)}


def read(*jwks: Any) -> tuple[VerificationKey, ...]:
    return read_key_set(json.dumps({"keys": jwks}).encode())


def bits(length: int) -> dict[str, Any]:
    """Make an RSA key whose modulus has this many bits; nobody has its private part."""
    return {"kty": "RSA", "n": number((1 << (length - 1)) | 1), "e": "AQAB"}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="no-json"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{}", id="no-keys"),
        pytest.param(b'{"keys":null}', id="keys-null"),
        pytest.param(b'{"keys":{}}', id="keys-object"),
        pytest.param(b'{"keys":[]}', id="empty-set"),
        pytest.param(b'{"keys":[],"keys":[' + json.dumps(RSA).encode() + b"]}", id="duplicate"),
        pytest.param(b'{"keys":[null,1,"x",[],{}]}', id="no-objects"),
        pytest.param(json.dumps(RSA).encode(), id="a-key-and-no-set"),
        pytest.param(json.dumps([RSA]).encode(), id="a-list-of-keys-and-no-set"),
    ],
)
def test_what_is_no_key_set_or_an_empty_one_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a kind of it, whatever its text
        read_key_set(raw)


UNUSABLE = [
    pytest.param({}, id="empty"),
    pytest.param({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, id="symmetric"),
    pytest.param({"kty": "oct", "k": "c2VjcmV0"}, id="symmetric-without-alg"),
    pytest.param({**RSA, "kty": "rsa"}, id="type-in-another-case"),
    pytest.param({**RSA, "kty": None}, id="type-null"),
    pytest.param({**RSA, "kty": ["RSA"]}, id="type-list"),
    pytest.param({**RSA, "kty": "EC"}, id="rsa-called-ec"),
    pytest.param({**EC, "kty": "OKP"}, id="ec-called-okp"),
    pytest.param({**RSA, "use": "enc"}, id="for-encryption"),
    pytest.param({**RSA, "use": "SIG"}, id="use-in-another-case"),
    pytest.param({**RSA, "use": None}, id="use-null"),
    pytest.param({**RSA, "use": ["sig"]}, id="use-list"),
    pytest.param({**RSA, "key_ops": ["encrypt"]}, id="to-encrypt"),
    pytest.param({**RSA, "key_ops": ["sign"]}, id="to-sign"),
    pytest.param({**RSA, "key_ops": []}, id="for-no-operation"),
    pytest.param({**RSA, "key_ops": "verify"}, id="key-ops-string"),
    pytest.param({**RSA, "key_ops": None}, id="key-ops-null"),
    pytest.param({**RSA, "kid": 1}, id="kid-number"),
    pytest.param({**RSA, "kid": ["a"]}, id="kid-list"),
    pytest.param({**RSA, "alg": "HS256"}, id="rsa-for-hs256"),
    pytest.param({**RSA, "alg": "none"}, id="rsa-for-none"),
    pytest.param({**RSA, "alg": "RSA-OAEP"}, id="rsa-for-encryption"),
    pytest.param({**RSA, "alg": "ES256"}, id="rsa-for-es256"),
    pytest.param({**RSA, "alg": "rs256"}, id="alg-in-another-case"),
    pytest.param({**RSA, "alg": ["RS256"]}, id="alg-list"),
    pytest.param({**EC, "alg": "ES384"}, id="p-256-for-es384"),
    pytest.param({**EC384, "alg": "ES256"}, id="p-384-for-es256"),
    pytest.param({**EC, "alg": "ES256K"}, id="p-256-for-es256k"),
    pytest.param({**EC, "alg": "ECDH-ES"}, id="p-256-for-encryption"),
    pytest.param({**ED25519, "alg": "ES256"}, id="ed25519-for-es256"),
    pytest.param(RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), id="private-rsa"),
    pytest.param(
        {**RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True), "key_ops": ["verify"]},
        id="private-rsa-that-claims-to-verify",
    ),
    pytest.param({**ECAlgorithm.to_jwk(EC_KEY, as_dict=True)}, id="private-ec"),
    pytest.param({**OKPAlgorithm.to_jwk(ED_KEY, as_dict=True)}, id="private-ed25519"),
    pytest.param({**RSA, "d": ""}, id="private-part-empty"),
    pytest.param({**RSA, "d": None}, id="private-part-null"),
    pytest.param(bits(512), id="rsa-of-512-bits"),
    pytest.param(bits(1024), id="rsa-of-1024-bits"),
    pytest.param(bits(2047), id="rsa-one-bit-below-2048"),
    pytest.param({"kty": "RSA"}, id="rsa-without-members"),
    pytest.param({"kty": "RSA", "n": RSA["n"]}, id="rsa-without-exponent"),
    pytest.param({**RSA, "e": "AQ"}, id="rsa-exponent-one"),
    pytest.param({**RSA, "e": "Ag"}, id="rsa-exponent-even"),
    pytest.param({**RSA, "e": ""}, id="rsa-exponent-empty"),
    pytest.param({**RSA, "n": ""}, id="rsa-modulus-empty"),
    pytest.param({**RSA, "n": 65537}, id="rsa-modulus-number"),
    pytest.param({**RSA, "n": None}, id="rsa-modulus-null"),
    pytest.param({**RSA, "n": "!"}, id="rsa-modulus-no-base64"),
    pytest.param({**RSA, "n": "é"}, id="rsa-modulus-non-ascii"),
    pytest.param({**RSA, "oth": []}, id="rsa-of-many-primes-and-no-private-part"),
    pytest.param({"kty": "EC"}, id="ec-without-members"),
    pytest.param({**EC, "crv": "P-384"}, id="ec-on-another-curve"),
    pytest.param({**EC, "crv": "P-192"}, id="ec-on-an-unknown-curve"),
    pytest.param({**EC, "crv": 256}, id="ec-curve-number"),
    pytest.param({**EC, "x": EC["y"], "y": EC["x"]}, id="ec-point-off-the-curve"),
    pytest.param({**EC, "x": "AAAA"}, id="ec-coordinate-too-short"),
    pytest.param({**EC, "x": number(0, 32), "y": number(0, 32)}, id="ec-point-at-infinity"),
    pytest.param({**EC, "y": None}, id="ec-coordinate-null"),
    pytest.param(SECP256K1, id="secp256k1"),
    pytest.param({"kty": "OKP"}, id="okp-without-members"),
    pytest.param({**ED25519, "x": "AAAA"}, id="ed25519-too-short"),
    pytest.param({**ED25519, "x": 1}, id="ed25519-number"),
    pytest.param({**ED25519, "crv": "Ed448"}, id="ed25519-called-ed448"),
    pytest.param({**ED25519, "crv": None}, id="okp-curve-null"),
    pytest.param(X25519, id="x25519-for-agreement"),
]


@pytest.mark.parametrize(
    "jwk", [param for param in UNUSABLE if param.id != "rsa-of-many-primes-and-no-private-part"]
)
def test_set_of_a_key_that_cannot_be_used_is_a_set_without_a_usable_key(jwk: Any) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        read(jwk)


@pytest.mark.parametrize("jwk", UNUSABLE)
def test_key_that_cannot_be_used_is_left_out_of_its_set(jwk: Any) -> None:
    kids = [key.kid for key in read(jwk, {**ED25519, "kid": "good"}, jwk)]
    assert "good" in kids


@pytest.mark.parametrize(
    ("jwk", "kid", "algorithms"),
    [
        pytest.param(RSA, None, ALL_RSA, id="rsa"),
        pytest.param({**RSA, "kid": "a"}, "a", ALL_RSA, id="kid"),
        pytest.param({**RSA, "kid": ""}, "", ALL_RSA, id="kid-empty"),
        pytest.param(
            {**RSA, "kid": "../../etc/passwd"}, "../../etc/passwd", ALL_RSA, id="kid-path"
        ),
        pytest.param({**RSA, "alg": "PS256"}, None, frozenset({"PS256"}), id="rsa-for-ps256"),
        pytest.param({**RSA, "alg": "RS512"}, None, frozenset({"RS512"}), id="rsa-for-rs512"),
        pytest.param({**RSA, "alg": None}, None, ALL_RSA, id="alg-null"),
        pytest.param({**RSA, "use": "sig"}, None, ALL_RSA, id="for-signatures"),
        pytest.param({**RSA, "key_ops": ["sign", "verify"]}, None, ALL_RSA, id="to-verify"),
        pytest.param({**RSA, "x5c": ["junk"], "x5t": 1, "x": 2}, None, ALL_RSA, id="more-members"),
        pytest.param(bits(2048), None, ALL_RSA, id="rsa-of-2048-bits"),
        pytest.param(bits(2049), None, ALL_RSA, id="rsa-one-bit-above-2048"),
        pytest.param(EC, None, frozenset({"ES256"}), id="p-256"),
        pytest.param(EC384, None, frozenset({"ES384"}), id="p-384"),
        pytest.param(EC521, None, frozenset({"ES512"}), id="p-521"),
        pytest.param({**EC, "alg": "ES256"}, None, frozenset({"ES256"}), id="p-256-for-es256"),
        pytest.param(ED25519, None, frozenset({"EdDSA"}), id="ed25519"),
        pytest.param(ED448, None, frozenset({"EdDSA"}), id="ed448"),
        pytest.param({**ED25519, "alg": "EdDSA"}, None, frozenset({"EdDSA"}), id="ed25519-eddsa"),
    ],
)
def test_key_verifies_what_its_type_its_curve_and_its_alg_allow(
    jwk: dict[str, Any], kid: str | None, algorithms: frozenset[str]
) -> None:
    (key,) = read(jwk)
    assert (key.kid, key.algorithms, key.retired) == (kid, algorithms, False)
    assert MIN_RSA_BITS == 2048


def test_keys_keep_their_order_and_their_doubles() -> None:
    keys = read({**RSA, "kid": "a"}, {"kty": "?"}, {**EC, "kid": "b"}, {**ED25519, "kid": "a"})
    assert [key.kid for key in keys] == ["a", "b", "a"]


def test_two_readings_of_one_set_have_equal_fingerprints_and_nothing_else_has() -> None:
    other_rsa = bits(2048)
    jwks = [RSA, other_rsa, {**RSA, "kid": "a"}, {**RSA, "alg": "RS256"}, EC, EC384, ED25519]
    first, second = read(*jwks), read(*jwks)
    assert [key.fingerprint for key in first] == [key.fingerprint for key in second]
    assert len({key.fingerprint for key in first}) == len(jwks)


def test_a_key_is_equal_to_itself_alone() -> None:
    (first,), (second,) = read(RSA), read(RSA)
    assert first != second


_members = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.lists(st.text(), max_size=2),
    st.binary(max_size=70).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
    st.sampled_from(["RSA", "EC", "OKP", "P-256", "P-521", "Ed25519", "Ed448", "X25519", "sig"]),
)


@given(
    base=st.sampled_from([{}, RSA, EC, EC521, ED25519, ED448]),
    changes=st.dictionaries(
        st.sampled_from(["kty", "n", "e", "crv", "x", "y", "kid", "alg", "use", "key_ops", "oth"]),
        _members,
        max_size=3,
    ),
)
@example(base=RSA, changes={"e": number(1 << 4000)})
@settings(max_examples=300, deadline=None)
def test_whatever_a_key_set_holds_it_is_read_or_refused(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    try:
        keys = read({**base, **changes})
    except ValueError:
        return
    for key in keys:
        assert key.algorithms
        assert key.kid == {**base, **changes}.get("kid")


@given(st.binary())
@settings(deadline=None)
def test_any_bytes_as_a_key_set_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a kind of it, whatever its text
        read_key_set(raw)


PUBLISHED = [
    pytest.param(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        "ES256",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        id="rfc-7515-a-3",
    ),
    pytest.param(
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        "EdDSA",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        id="rfc-8037-a-4",
    ),
]


@pytest.mark.parametrize(("jwk", "algorithm", "signing_input", "signature"), PUBLISHED)
def test_published_signature_is_verified_and_a_changed_one_is_not(
    jwk: dict[str, str], algorithm: str, signing_input: str, signature: str
) -> None:
    (key,) = read(jwk)
    raw = base64.urlsafe_b64decode(signature + "==")
    assert key.verify(algorithm, signing_input.encode(), raw)
    assert not key.verify(algorithm, signing_input.encode() + b"x", raw)
    assert not key.verify(algorithm, signing_input.encode(), raw[:-1] + bytes([raw[-1] ^ 1]))
