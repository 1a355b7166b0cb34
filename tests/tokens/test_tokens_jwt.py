"""JWT access tokens, part by part (spec §5; RFC 7515, RFC 7519, RFC 8725, RFC 9068)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import TokenError
from bridge.tokens.jwk import VerificationKey, read_key_set
from bridge.tokens.jwt import (
    CHECKS,
    REQUIRED_CLAIMS,
    Header,
    UnverifiedJwt,
    check_audience,
    check_claims,
    check_header,
    read_jwt,
    verify_signature,
)
from bridge.tokens.settings import ALGORITHMS, IssuerSettings

NOW = 1_700_000_000
ISS = "https://login.example.com"
SETTINGS = IssuerSettings(ISS, ("https://api.example.com",))
CLAIMS: dict[str, Any] = {
    "iss": ISS,
    "aud": "https://api.example.com",
    "exp": NOW + 300,
    "iat": NOW - 10,
    "sub": "alice",
    "client_id": "app",
    "jti": "1",
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int, length: int) -> str:
    return b64(value.to_bytes(length, "big"))


RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
ED448_KEY = ed448.Ed448PrivateKey.generate()
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def rsa_jwk(key: rsa.RSAPrivateKey, **more: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    size = key.key_size // 8
    return {"kty": "RSA", "n": number(numbers.n, size), "e": number(numbers.e, 3), **more}


def ec_jwk(key: ec.EllipticCurvePrivateKey, **more: str) -> dict[str, str]:
    point = key.public_key().public_numbers()
    size = (key.key_size + 7) // 8
    curve = f"P-{key.key_size}"
    coordinates = {"x": number(point.x, size), "y": number(point.y, size)}
    return {"kty": "EC", "crv": curve, **coordinates, **more}


def okp_jwk(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey, **more: str) -> dict[str, str]:
    curve = "Ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "Ed448"
    return {"kty": "OKP", "crv": curve, "x": b64(key.public_key().public_bytes_raw()), **more}


def keys_of(*jwks: dict[str, str]) -> tuple[VerificationKey, ...]:
    return read_key_set(json.dumps({"keys": jwks}).encode())


RSA_KEYS = keys_of(rsa_jwk(RSA_KEY))
ALL_KEYS = keys_of(
    rsa_jwk(OTHER_RSA_KEY),
    rsa_jwk(RSA_KEY),
    *(ec_jwk(key) for key in EC_KEYS.values()),
    okp_jwk(ED25519_KEY),
    okp_jwk(ED448_KEY),
)


def sign_rsa(algorithm: str, signing_input: bytes) -> bytes:
    kind = HASHES[algorithm[2:]]
    if algorithm.startswith("RS"):
        return RSA_KEY.sign(signing_input, padding.PKCS1v15(), kind)
    pss = padding.PSS(padding.MGF1(kind), padding.PSS.DIGEST_LENGTH)
    return RSA_KEY.sign(signing_input, pss, kind)


def sign_ec(algorithm: str, signing_input: bytes) -> bytes:
    key = EC_KEYS[algorithm]
    r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(HASHES[algorithm[2:]])))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def sign(algorithm: str, signing_input: bytes) -> bytes:
    """Sign by the algorithms' definitions, without the JOSE library that verifies."""
    if algorithm == "EdDSA":
        return ED25519_KEY.sign(signing_input)
    return (sign_ec if algorithm.startswith("ES") else sign_rsa)(algorithm, signing_input)


def make_token(
    header: dict[str, Any] | bytes | None = None,
    claims: dict[str, Any] | bytes | None = None,
    signer: Callable[[bytes], bytes] = lambda signing_input: sign("EdDSA", signing_input),
) -> str:
    header = {"alg": "EdDSA", "typ": "at+jwt"} if header is None else header
    claims = CLAIMS if claims is None else claims
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)
    ]
    signing_input = b".".join(b64(part).encode() for part in parts)
    return f"{signing_input.decode()}.{b64(signer(signing_input))}"


def read(token: str) -> UnverifiedJwt:
    jwt = read_jwt(token)
    assert jwt is not None
    return jwt


def check(token: str, keys: tuple[VerificationKey, ...] = ALL_KEYS) -> tuple[str, ...]:
    """Make every pure check of a token in the order of the verifier."""
    jwt = read(token)
    check_header(jwt.header, SETTINGS)
    verify_signature(jwt, keys)
    aud = check_claims(jwt.claims, jwt.header.typ, SETTINGS, NOW)
    check_audience(aud, None, SETTINGS)
    return aud


def failure(action: Callable[[], object]) -> tuple[str, str]:
    """Give the check that failed and its reason."""
    with pytest.raises(TokenError) as invalid:
        action()
    assert invalid.value.check in CHECKS
    return invalid.value.check, invalid.value.reason


MALFORMED = ("format", "token_malformed")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("opaque", id="no-dot"),
        pytest.param("a.b", id="two-parts"),
        pytest.param(".".join(["e30"] * 4), id="four-parts"),
        pytest.param(".".join(["e30"] * 5), id="five-parts-as-of-an-encrypted-jwt"),
        pytest.param(".e30.c2ln", id="first-part-empty"),
        pytest.param("e30..c2ln", id="second-part-empty"),
        pytest.param("e30=.e30.c2ln", id="padding"),
        pytest.param("e3+.e30.c2ln", id="base64-that-is-not-base64url"),
        pytest.param("e30 .e30.c2ln", id="space-inside"),
        pytest.param(" " + make_token(), id="space-before"),
        pytest.param(make_token() + "\n", id="line-break-after"),
        pytest.param(make_token() + ".", id="trailing-dot-envoy-27877"),
        pytest.param(make_token() + " junk", id="trailing-junk-after-a-space"),
        pytest.param(make_token() + ",", id="trailing-comma"),
        pytest.param(make_token() + "=", id="trailing-padding"),
        pytest.param(make_token() + "é", id="trailing-non-ascii"),
        pytest.param(b64(b"[]") + ".e30.c2ln", id="header-list"),
        pytest.param(b64(b"null") + ".e30.c2ln", id="header-null"),
        pytest.param(b64(b'"x"') + ".e30.c2ln", id="header-string"),
        pytest.param(b64(b"\xff\xfe") + ".e30.c2ln", id="header-no-utf-8"),
        pytest.param(b64(b'{"alg":"\xff"}') + ".e30.c2ln", id="header-object-no-utf-8"),
        pytest.param("abc.def.ghi", id="header-no-json"),
        pytest.param(b64(b"{not json") + ".e30.c2ln", id="header-brace-and-no-json"),
        pytest.param(make_token(b'{"alg":"EdDSA"'), id="header-cut-off"),
        pytest.param(make_token(b'{"alg":"EdDSA",}'), id="header-trailing-comma"),
        pytest.param(make_token(b'{"alg":"EdDSA"} x'), id="header-junk"),
        pytest.param("A" + make_token(b'{"alg":"EdDSA"}'), id="header-of-an-impossible-length"),
        pytest.param("a.b.c", id="header-of-one-character"),
        pytest.param("mfa.session.7", id="words-with-dots"),
    ],
)
def test_token_that_is_not_three_base64url_parts_with_an_object_first_is_opaque(token: str) -> None:
    assert read_jwt(token) is None


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(make_token(b'{"alg":"EdDSA","alg":"EdDSA"}'), id="header-duplicate-member"),
        pytest.param(
            make_token(b'{"alg":"none","\\u0061lg":"EdDSA"}'), id="header-duplicate-escaped"
        ),
        pytest.param(make_token(b'{"alg":"EdDSA","x":NaN}'), id="header-nan"),
        pytest.param(make_token(b'{"alg":"EdDSA","kid":"\\ud800"}'), id="header-lone-surrogate"),
        pytest.param(
            make_token(b'{"alg":"EdDSA","x":' + b"9" * 5000 + b"}"), id="header-huge-number"
        ),
        pytest.param(
            make_token(b'{"alg":"EdDSA","x":' + b"[" * 5000 + b"]" * 5000 + b"}"), id="header-deep"
        ),
        pytest.param(make_token(b' \t\r\n{"alg":1}'), id="header-whitespace-first"),
        pytest.param(make_token({}), id="no-alg"),
        pytest.param(make_token({"alg": None}), id="alg-null"),
        pytest.param(make_token({"alg": ["EdDSA"]}), id="alg-list"),
        pytest.param(make_token({"alg": 1}), id="alg-number"),
        pytest.param(make_token({"alg": {}}), id="alg-object"),
        pytest.param(make_token({"alg": "EdDSA", "typ": 1}), id="typ-number"),
        pytest.param(make_token({"alg": "EdDSA", "typ": None}), id="typ-null"),
        pytest.param(make_token({"alg": "EdDSA", "typ": ["JWT"]}), id="typ-list"),
        pytest.param(make_token({"alg": "EdDSA", "kid": 1}), id="kid-number"),
        pytest.param(make_token({"alg": "EdDSA", "kid": None}), id="kid-null"),
        pytest.param(make_token({"alg": "EdDSA", "kid": ["a"]}), id="kid-list"),
        pytest.param(make_token({"alg": "EdDSA", "kid": {"a": 1}}), id="kid-object"),
        pytest.param(make_token(None, b"x"), id="claims-no-json"),
        pytest.param(make_token(None, b"[]"), id="claims-list"),
        pytest.param(make_token(None, b"null"), id="claims-null"),
        pytest.param(make_token(None, b'"x"'), id="claims-string"),
        pytest.param(make_token(None, b"1"), id="claims-number"),
        pytest.param(make_token(None, b"\xff"), id="claims-no-utf-8"),
        pytest.param(
            make_token(None, json.dumps(CLAIMS).encode() + b"{}"), id="claims-two-objects"
        ),
        pytest.param(make_token(None, b'{"exp":1,"exp":2}'), id="claims-duplicate-member"),
        pytest.param(make_token(None, b'{"a":{"b":1,"b":1}}'), id="claims-duplicate-inside"),
        pytest.param(make_token(None, b'{"exp":NaN}'), id="claims-nan"),
        pytest.param(make_token(None, b'{"exp":Infinity}'), id="claims-infinity"),
        pytest.param(make_token(None, b'{"auth_time":-Infinity}'), id="claims-minus-infinity"),
        pytest.param(make_token(None, b'{"exp":1e999}'), id="claims-number-too-large"),
        pytest.param(make_token(None, b'{"exp":' + b"9" * 5000 + b"}"), id="claims-huge-number"),
        pytest.param(make_token(None, b'{"a":' + b"[" * 5000), id="claims-deep-and-open"),
        pytest.param(
            make_token(None, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), id="claims-deep"
        ),
        pytest.param(make_token(None, b'{"sub":"\\udfff"}'), id="claims-lone-surrogate"),
        pytest.param(make_token(None, b'{"\\ud800":1}'), id="claims-lone-surrogate-in-a-name"),
    ],
)
def test_jwt_that_is_not_well_formed_is_an_invalid_token(token: str) -> None:
    assert failure(lambda: read_jwt(token)) == MALFORMED


def respelled(part: str) -> str:
    """Give another base64url spelling of the same bytes: a stray bit in the last character."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4
    other = part[:-1] + alphabet[alphabet.index(part[-1]) + 1]
    padded = "=" * (-len(part) % 4)
    assert base64.urlsafe_b64decode(other + padded) == base64.urlsafe_b64decode(part + padded)
    return other


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
@pytest.mark.parametrize("length", [1, 2], ids=["one-byte-over", "two-bytes-over"])
def test_base64url_that_is_not_canonical_is_refused(part: int, length: int) -> None:
    parts = [b'{"alg":"EdDSA"}', json.dumps(CLAIMS).encode(), b"s" * 64]
    parts[part] += (b" " if part < 2 else b"s") * ((length - len(parts[part])) % 3)
    encoded = [b64(raw) for raw in parts]
    assert read_jwt(".".join(encoded)) is not None
    encoded[part] = respelled(encoded[part])
    assert failure(lambda: read_jwt(".".join(encoded))) == MALFORMED


@pytest.mark.parametrize("part", [1, 2], ids=["claims", "signature"])
def test_base64url_of_an_impossible_length_is_refused(part: int) -> None:
    encoded = make_token(b'{"alg":"EdDSA"}', b'{"a": 123456}').split(".")
    encoded[part] += "A" * ((1 - len(encoded[part])) % 4)
    assert len(encoded[part]) % 4 == 1
    assert failure(lambda: read_jwt(".".join(encoded))) == MALFORMED


def test_jwt_is_taken_apart() -> None:
    token = make_token({"alg": "EdDSA", "kid": "k", "typ": "JWT"})
    signing_input, _, signature = token.rpartition(".")
    assert read_jwt(token) == UnverifiedJwt(
        Header("EdDSA", "k", "jwt", False),
        CLAIMS,
        signing_input.encode(),
        base64.urlsafe_b64decode(signature + "=="),
    )


def test_jwt_without_a_signature_is_taken_apart_and_verifies_with_no_key() -> None:
    token = make_token(signer=lambda _: b"")
    jwt = read(token)
    assert (jwt.signature, jwt.signing_input) == (b"", token[:-1].encode())
    assert failure(lambda: verify_signature(jwt, ALL_KEYS)) == (
        "signature",
        "token_signature_invalid",
    )


@pytest.mark.parametrize(
    ("typ", "read_as"),
    [
        pytest.param("at+jwt", "at+jwt", id="access-token"),
        pytest.param("AT+JWT", "at+jwt", id="in-any-case"),
        pytest.param("application/at+jwt", "at+jwt", id="media-type"),
        pytest.param("Application/At+Jwt", "at+jwt", id="media-type-in-any-case"),
        pytest.param("application/application/jwt", "application/jwt", id="prefix-goes-once"),
        pytest.param("", "", id="empty"),
    ],
)
def test_typ_is_read_in_any_case_and_with_its_prefix(typ: str, read_as: str) -> None:
    assert read(make_token({"alg": "EdDSA", "typ": typ})).header.typ == read_as


@pytest.mark.parametrize("size", [10, 2000], ids=["short-header", "long-header"])
def test_header_is_read_alike_whatever_its_length_and_however_often(size: int) -> None:
    token = make_token({"alg": "EdDSA", "kid": "k" * size})
    for _ in range(2):
        assert read(token).header == Header("EdDSA", "k" * size, None, False)
    broken = make_token(b'{"alg":"EdDSA","kid":1,"x":"' + b"x" * size + b'"}')
    for _ in range(2):
        assert failure(lambda: read_jwt(broken)) == MALFORMED


@pytest.mark.parametrize(
    "kid",
    [
        pytest.param("../../../../dev/null", id="path"),
        pytest.param("' OR '1'='1", id="sql"),
        pytest.param("https://evil.example/key", id="url"),
        pytest.param("\x00", id="nul"),
        pytest.param("", id="empty"),
        pytest.param("k" * 10_000, id="long"),
    ],
)
def test_kid_is_a_name_and_nothing_else(kid: str) -> None:
    token = make_token({"alg": "EdDSA", "kid": kid})
    assert read(token).header.kid == kid
    assert check(token) == ("https://api.example.com",)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param({"crit": ["exp"]}, ("crit", "token_crit_not_understood"), id="crit"),
        pytest.param({"crit": []}, ("crit", "token_crit_not_understood"), id="crit-empty"),
        pytest.param({"crit": None}, ("crit", "token_crit_not_understood"), id="crit-null"),
        pytest.param({"crit": "b64"}, ("crit", "token_crit_not_understood"), id="crit-string"),
        pytest.param(
            {"crit": ["b64"], "b64": False},
            ("crit", "token_crit_not_understood"),
            id="crit-cve-2026-32597",
        ),
        pytest.param({"alg": "none"}, ("alg", "token_alg_not_accepted"), id="none"),
        pytest.param({"alg": "None"}, ("alg", "token_alg_not_accepted"), id="none-in-another-case"),
        pytest.param({"alg": ""}, ("alg", "token_alg_not_accepted"), id="alg-empty"),
        pytest.param({"alg": "HS256"}, ("alg", "token_alg_not_accepted"), id="hs256"),
        pytest.param({"alg": "RS512"}, ("alg", "token_alg_not_accepted"), id="not-configured"),
        pytest.param({"alg": "es256"}, ("alg", "token_alg_not_accepted"), id="in-another-case"),
        pytest.param({"alg": "ES256K"}, ("alg", "token_alg_not_accepted"), id="es256k"),
        pytest.param({"alg": "RSA-OAEP"}, ("alg", "token_alg_not_accepted"), id="encryption"),
        pytest.param({"typ": "logout+jwt"}, ("typ", "token_typ_not_accepted"), id="logout"),
        pytest.param({"typ": "dpop+jwt"}, ("typ", "token_typ_not_accepted"), id="dpop-proof"),
        pytest.param({"typ": "secevent+jwt"}, ("typ", "token_typ_not_accepted"), id="event"),
        pytest.param(
            {"typ": "application/LOGOUT+JWT"}, ("typ", "token_typ_not_accepted"), id="case"
        ),
        pytest.param({"typ": "id+jwt"}, ("typ", "token_typ_not_accepted"), id="id-token"),
        pytest.param({"typ": "JWE"}, ("typ", "token_typ_not_accepted"), id="encrypted"),
        pytest.param({"typ": "at+jwt "}, ("typ", "token_typ_not_accepted"), id="space-after"),
        pytest.param({"typ": "text/jwt"}, ("typ", "token_typ_not_accepted"), id="other-media-type"),
        pytest.param({"typ": ""}, ("typ", "token_typ_not_accepted"), id="typ-empty"),
    ],
)
def test_header_that_no_access_token_has_is_refused_before_any_key_is_looked_at(
    header: dict[str, Any], expected: tuple[str, str]
) -> None:
    jwt = read(make_token({"alg": "EdDSA", "typ": "at+jwt", **header}))
    assert failure(lambda: check_header(jwt.header, SETTINGS)) == expected


@pytest.mark.parametrize(
    ("typ", "token_type", "accepted"),
    [
        pytest.param("jwt", "strict", False, id="strict-jwt"),
        pytest.param(None, "strict", False, id="strict-none"),
        pytest.param("at+jwt", "strict", True, id="strict-at-jwt"),
        pytest.param("at+jwt", "any", True, id="any-at-jwt"),
        pytest.param("jwt", "any", True, id="any-jwt"),
        pytest.param(None, "any", True, id="any-none"),
    ],
)
def test_typ_is_what_the_token_type_wants(
    typ: str | None, token_type: Literal["any", "strict"], accepted: bool
) -> None:
    configured = IssuerSettings(ISS, ("a",), token_type=token_type)
    header = Header("RS256", None, typ, False)
    if accepted:
        check_header(header, configured)
    else:
        assert failure(lambda: check_header(header, configured)) == (
            "typ",
            "token_typ_not_accepted",
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_algorithm_is_the_issuers_choice_and_never_the_tokens(algorithm: str) -> None:
    only = IssuerSettings(ISS, ("a",), algorithms=(algorithm,))
    others = IssuerSettings(ISS, ("a",), algorithms=tuple(a for a in ALGORITHMS if a != algorithm))
    header = Header(algorithm, None, None, False)
    check_header(header, only)
    assert failure(lambda: check_header(header, others)) == ("alg", "token_alg_not_accepted")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signature_of_the_right_key_is_found_among_all(algorithm: str) -> None:
    token = make_token({"alg": algorithm}, signer=lambda raw: sign(algorithm, raw))
    key = verify_signature(read(token), ALL_KEYS)
    assert algorithm in key.algorithms
    others = tuple(other for other in ALL_KEYS if other is not key)
    assert failure(lambda: verify_signature(read(token), others)) == (
        "signature",
        "token_signature_invalid",
    )


def test_signature_of_ed448_is_found_too() -> None:
    token = make_token({"alg": "EdDSA"}, signer=ED448_KEY.sign)
    assert verify_signature(read(token), ALL_KEYS).fingerprint == (
        keys_of(okp_jwk(ED448_KEY))[0].fingerprint
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
def test_a_token_changed_anywhere_is_not_what_was_signed(algorithm: str, part: int) -> None:
    token = make_token({"alg": algorithm}, signer=lambda raw: sign(algorithm, raw))
    parts = token.split(".")
    if part == 2:
        parts[2] = ("B" if parts[2][0] == "A" else "A") + parts[2][1:]
    else:
        changed: dict[str, Any] = (
            {"alg": algorithm, "x": 1} if part == 0 else {**CLAIMS, "sub": "bob"}
        )
        parts[part] = b64(json.dumps(changed).encode())
    assert failure(lambda: verify_signature(read(".".join(parts)), ALL_KEYS)) == (
        "signature",
        "token_signature_invalid",
    )


def public_forms(key: rsa.RSAPrivateKey) -> list[bytes]:
    public = key.public_key()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    spki, pkcs1 = (
        serialization.PublicFormat.SubjectPublicKeyInfo,
        serialization.PublicFormat.PKCS1,
    )
    spki_pem = public.public_bytes(pem, spki)
    return [
        spki_pem,
        spki_pem.strip(),
        public.public_bytes(der, spki),
        public.public_bytes(pem, pkcs1),
        json.dumps(rsa_jwk(key)).encode(),
    ]


@pytest.mark.parametrize("form", range(5))
@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_mac_made_with_the_public_key_is_no_signature(form: int, alg: str) -> None:
    secret = public_forms(RSA_KEY)[form]
    token = make_token(
        {"alg": alg}, signer=lambda raw: hmac.new(secret, raw, hashlib.sha256).digest()
    )
    with pytest.raises(TokenError):
        check(token)
    jwt = read(token)
    assert failure(lambda: verify_signature(jwt, ALL_KEYS)) == (
        "signature",
        "token_signature_invalid",
    )


@pytest.mark.parametrize("alg", ["none", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_unsigned_token_is_refused_twice(alg: str, signature: bytes) -> None:
    jwt = read(make_token({"alg": alg}, signer=lambda _: signature))
    assert failure(lambda: check_header(jwt.header, SETTINGS)) == ("alg", "token_alg_not_accepted")
    assert failure(lambda: verify_signature(jwt, ALL_KEYS)) == (
        "signature",
        "token_signature_invalid",
    )


@pytest.mark.parametrize(
    ("claimed", "made"),
    [
        pytest.param("PS256", "RS256", id="pkcs1-called-pss"),
        pytest.param("RS256", "PS256", id="pss-called-pkcs1"),
        pytest.param("RS512", "RS256", id="another-hash"),
        pytest.param("ES256", "ES384", id="another-curve"),
        pytest.param("ES256", "RS256", id="rsa-called-ec"),
        pytest.param("RS256", "ES256", id="ec-called-rsa"),
        pytest.param("EdDSA", "ES256", id="ec-called-eddsa"),
    ],
)
def test_signature_by_another_algorithm_than_the_header_says_is_none(
    claimed: str, made: str
) -> None:
    jwt = read(make_token({"alg": claimed}, signer=lambda raw: sign(made, raw)))
    assert failure(lambda: verify_signature(jwt, ALL_KEYS)) == (
        "signature",
        "token_signature_invalid",
    )


def test_key_that_is_for_one_algorithm_verifies_no_other() -> None:
    """The algorithm list is not by-passed by a key (CVE-2026-48523)."""
    keys = keys_of(rsa_jwk(RSA_KEY, alg="PS256"))
    pkcs1 = read(make_token({"alg": "RS256"}, signer=lambda raw: sign("RS256", raw)))
    pss = read(make_token({"alg": "PS256"}, signer=lambda raw: sign("PS256", raw)))
    assert failure(lambda: verify_signature(pkcs1, keys))[0] == "signature"
    assert verify_signature(pss, keys) is keys[0]


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 96, 132, 255, 256, 257, 1000])
@pytest.mark.parametrize("byte", [b"\x00", b"\xff"], ids=["zeros", "ones"])
def test_signature_of_any_length_that_nobody_made_is_invalid(
    alg: str, length: int, byte: bytes
) -> None:
    jwt = read(make_token({"alg": alg}, signer=lambda _: byte * length))
    assert failure(lambda: verify_signature(jwt, ALL_KEYS))[0] == "signature"


def test_signature_in_der_is_no_jws_signature() -> None:
    jwt = read(
        make_token(
            {"alg": "ES256"},
            signer=lambda raw: EC_KEYS["ES256"].sign(raw, ec.ECDSA(hashes.SHA256())),
        )
    )
    assert failure(lambda: verify_signature(jwt, ALL_KEYS))[0] == "signature"


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"jwk": okp_jwk(ED25519_KEY)}, id="jwk"),
        pytest.param({"jku": "https://evil.example/keys"}, id="jku"),
        pytest.param({"x5u": "https://evil.example/cert"}, id="x5u"),
        pytest.param({"x5c": ["MIIB"]}, id="x5c"),
        pytest.param({"jwk": 1, "jku": None, "x5u": {}, "x5c": "x"}, id="of-wrong-types"),
    ],
)
def test_key_that_the_token_brings_along_is_ignored(header: dict[str, Any]) -> None:
    own = make_token({"alg": "EdDSA", **header}, signer=ED25519_KEY.sign)
    assert failure(lambda: verify_signature(read(own), RSA_KEYS))[0] == "signature"
    assert check(own) == ("https://api.example.com",)


def test_no_key_verifies_nothing() -> None:
    assert failure(lambda: verify_signature(read(make_token()), ())) == (
        "signature",
        "token_signature_invalid",
    )


def claims_check(
    changes: dict[str, Any],
    typ: str | None = "at+jwt",
    configured: IssuerSettings = SETTINGS,
    without: str = "",
) -> tuple[str, ...]:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if name != without}
    return check_claims(claims, typ, configured, NOW)


@pytest.mark.parametrize(
    ("exp", "leeway"),
    [
        pytest.param(NOW - 6, 5, id="one-above-the-leeway"),
        pytest.param(NOW - 5, 5, id="at-the-leeway"),
        pytest.param(NOW - 5.0, 5, id="float-at-the-leeway"),
        pytest.param(NOW, 0, id="at-now-without-leeway"),
        pytest.param(NOW - 1, 0, id="past-without-leeway"),
        pytest.param(0, 5, id="zero"),
        pytest.param(-(2**63), 5, id="negative"),
    ],
)
def test_expired_token_is_refused(exp: float, leeway: int) -> None:
    configured = IssuerSettings(ISS, ("a",), leeway=leeway)
    assert failure(lambda: claims_check({"exp": exp}, configured=configured)) == (
        "exp",
        "token_expired",
    )


@pytest.mark.parametrize(
    ("exp", "leeway"),
    [
        pytest.param(NOW - 4, 5, id="one-below-the-leeway"),
        pytest.param(NOW - 4.5, 5, id="float-below-the-leeway"),
        pytest.param(NOW + 1, 0, id="one-second-left"),
        pytest.param(10**19, 0, id="far-future"),
        pytest.param(1e308, 0, id="far-future-as-a-float"),
    ],
)
def test_token_that_has_not_expired_is_accepted(exp: float, leeway: int) -> None:
    configured = IssuerSettings(ISS, ("a",), leeway=leeway)
    assert claims_check({"exp": exp}, configured=configured) == ("https://api.example.com",)


def test_token_without_exp_is_refused() -> None:
    assert failure(lambda: claims_check({}, without="exp")) == ("exp", "token_exp_malformed")


MALFORMED_TIMES = [
    pytest.param(None, id="null"),
    pytest.param(True, id="bool"),
    pytest.param(str(NOW + 300), id="string"),
    pytest.param("2033-01-01T00:00:00Z", id="date"),
    pytest.param([NOW + 300], id="list"),
    pytest.param({}, id="object"),
    pytest.param(float("nan"), id="nan"),
    pytest.param(float("inf"), id="infinity"),
]


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", MALFORMED_TIMES)
def test_time_that_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    assert failure(lambda: claims_check({name: value})) == (name, f"token_{name}_malformed")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("nbf", "token_not_yet_valid", id="nbf"),
        pytest.param("iat", "token_issued_in_the_future", id="iat"),
    ],
)
@pytest.mark.parametrize(
    ("ahead", "leeway", "accepted"),
    [
        pytest.param(6, 5, False, id="one-above-the-leeway"),
        pytest.param(5.5, 5, False, id="a-fraction-above-the-leeway"),
        pytest.param(1, 0, False, id="one-above-without-leeway"),
        pytest.param(NOW * 999, 5, False, id="milliseconds"),
        pytest.param(5, 5, True, id="at-the-leeway"),
        pytest.param(4, 5, True, id="one-below-the-leeway"),
        pytest.param(0, 0, True, id="now"),
        pytest.param(-NOW, 0, True, id="the-beginning-of-time"),
    ],
)
def test_nbf_and_iat_are_not_in_the_future(
    name: str, reason: str, ahead: float, leeway: int, accepted: bool
) -> None:
    configured = IssuerSettings(ISS, ("a",), leeway=leeway)
    if accepted:
        claims_check({name: NOW + ahead}, configured=configured)
    else:
        assert failure(lambda: claims_check({name: NOW + ahead}, configured=configured)) == (
            name,
            reason,
        )


def test_nbf_and_iat_are_optional() -> None:
    assert claims_check({}, without="iat") == ("https://api.example.com",)


@pytest.mark.parametrize("claim", ["nonce", "at_hash", "c_hash"])
@pytest.mark.parametrize("value", ["x", None, ""])
@pytest.mark.parametrize("typ", ["jwt", None])
def test_id_token_is_refused_by_its_tell_tales(claim: str, value: Any, typ: str | None) -> None:
    assert failure(lambda: claims_check({claim: value}, typ)) == (
        "id_token",
        "token_is_an_id_token",
    )


@pytest.mark.parametrize("claim", ["nonce", "at_hash", "c_hash"])
def test_tell_tales_in_what_is_typed_as_an_access_token_are_none(claim: str) -> None:
    assert claims_check({claim: "x"}, "at+jwt") == ("https://api.example.com",)


@pytest.mark.parametrize("claim", ["nonce", "at_hash", "c_hash"])
@pytest.mark.parametrize("typ", ["jwt", None])
def test_tell_tales_are_ignored_where_the_issuer_is_configured_so(
    claim: str, typ: str | None
) -> None:
    configured = IssuerSettings(ISS, ("a",), id_token_claims="ignore")
    assert claims_check({claim: "x"}, typ, configured) == ("https://api.example.com",)


STRICT = IssuerSettings(ISS, ("a",), token_type="strict")


def test_strict_token_type_demands_the_claims_of_rfc_9068() -> None:
    assert set(REQUIRED_CLAIMS) == {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"}
    assert claims_check({}, configured=STRICT) == ("https://api.example.com",)


@pytest.mark.parametrize("name", ["sub", "client_id", "iat", "jti", "iss", "aud"])
def test_strict_token_type_refuses_a_token_that_lacks_a_required_claim(name: str) -> None:
    assert failure(lambda: claims_check({}, configured=STRICT, without=name)) == (
        "required_claims",
        "token_lacks_required_claims",
    )


@pytest.mark.parametrize("value", [None, "", 7, True, ["a"], {}])
@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
def test_strict_token_type_refuses_a_required_claim_that_names_nothing(
    name: str, value: object
) -> None:
    assert failure(lambda: claims_check({name: value}, configured=STRICT)) == (
        "required_claims",
        "token_lacks_required_claims",
    )


@pytest.mark.parametrize("name", ["sub", "client_id", "iat", "jti"])
def test_any_token_type_does_not_demand_them(name: str) -> None:
    assert claims_check({}, without=name) == ("https://api.example.com",)


@pytest.mark.parametrize(
    "cnf",
    [
        pytest.param({"jwk": {}}, id="key"),
        pytest.param({}, id="empty"),
        pytest.param(None, id="null"),
        pytest.param("x", id="string"),
    ],
)
def test_token_bound_to_what_is_not_checked_is_refused(cnf: Any) -> None:
    assert failure(lambda: claims_check({"cnf": cnf})) == ("cnf", "token_binding_not_supported")


@pytest.mark.parametrize(
    "aud",
    [
        pytest.param(None, id="null"),
        pytest.param(1, id="number"),
        pytest.param(True, id="bool"),
        pytest.param({"https://api.example.com": 1}, id="object"),
        pytest.param(["https://api.example.com", 1], id="list-with-a-number"),
        pytest.param(["https://api.example.com", None], id="list-with-null"),
        pytest.param([["https://api.example.com"]], id="list-of-a-list"),
    ],
)
def test_malformed_audience_is_refused(aud: Any) -> None:
    assert failure(lambda: claims_check({"aud": aud})) == ("aud", "token_audience_not_accepted")


def test_token_without_audience_is_refused() -> None:
    assert failure(lambda: claims_check({}, without="aud")) == (
        "aud",
        "token_audience_not_accepted",
    )


@pytest.mark.parametrize(
    ("aud", "read_as"),
    [
        pytest.param("a", ("a",), id="string"),
        pytest.param("a b", ("a b",), id="a-string-is-not-split"),
        pytest.param(["a", "b"], ("a", "b"), id="list"),
        pytest.param([], (), id="empty-list"),
    ],
)
def test_audience_is_a_string_or_a_list(aud: Any, read_as: tuple[str, ...]) -> None:
    assert claims_check({"aud": aud}) == read_as


@pytest.mark.parametrize(
    ("aud", "api_audiences", "accepted"),
    [
        pytest.param((), None, False, id="none"),
        pytest.param(("x",), None, False, id="another"),
        pytest.param(("A",), None, False, id="in-another-case"),
        pytest.param(("a/",), None, False, id="with-a-slash"),
        pytest.param(("",), None, False, id="empty"),
        pytest.param(("a",), ("c",), False, id="the-issuers-where-the-api-narrows"),
        pytest.param(("a",), (), False, id="an-api-that-takes-none"),
        pytest.param(("a",), None, True, id="first-of-the-issuer"),
        pytest.param(("b",), None, True, id="second-of-the-issuer"),
        pytest.param(("x", "b"), None, True, id="any-match"),
        pytest.param(("c",), ("c", "d"), True, id="of-the-api"),
    ],
)
def test_any_audience_of_the_api_or_else_of_the_issuer_will_do(
    aud: tuple[str, ...], api_audiences: tuple[str, ...] | None, accepted: bool
) -> None:
    configured = IssuerSettings(ISS, ("a", "b"))
    if accepted:
        check_audience(aud, api_audiences, configured)
    else:
        assert failure(lambda: check_audience(aud, api_audiences, configured)) == (
            "aud",
            "token_audience_not_accepted",
        )


def test_where_the_issuer_named_no_audience_none_is_checked() -> None:
    check_audience(None, ("a",), IssuerSettings(ISS, ("b",)))


def test_checks_are_named_in_the_order_in_which_they_are_made() -> None:
    assert (
        *("format", "crit", "iss", "alg", "typ", "key", "signature"),
        *("exp", "nbf", "iat", "id_token", "required_claims", "cnf", "aud"),
    ) == CHECKS
    every_fault = {
        "exp": NOW - 100,
        "nbf": NOW + 100,
        "iat": NOW + 100,
        "nonce": "x",
        "cnf": {},
        "aud": None,
    }
    found = []
    claims = {name: value for name, value in {**CLAIMS, **every_fault}.items() if name != "sub"}
    repairs: list[dict[str, Any]] = [
        *({"exp": NOW + 100}, {"nbf": NOW}, {"iat": NOW}),
        *({"nonce": None}, {"sub": "x"}, {"cnf": None}),
    ]
    configured = IssuerSettings(ISS, ("a",), token_type="strict")
    for repair in [{}, *repairs]:
        claims.update(repair)
        for name in ("nonce", "cnf"):
            if name in repair:
                del claims[name]
        found.append(failure(lambda: check_claims(claims, "jwt", configured, NOW))[0])
    assert found == ["exp", "nbf", "iat", "id_token", "required_claims", "cnf", "aud"]
    assert [name for name in CHECKS if name in found] == found


def test_valid_token_passes_every_check() -> None:
    for alg in ("RS256", "PS256", "ES256", "EdDSA"):
        for typ in ("at+jwt", "JWT", "application/at+jwt"):
            token = make_token(
                {"alg": alg, "typ": typ},
                signer=lambda raw, alg=alg: sign(alg, raw),  # type: ignore[misc]
            )
            assert check(token) == ("https://api.example.com",)


_part = st.one_of(
    st.binary(max_size=40).map(b64),
    st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "exp", "aud"]),
        st.none()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["EdDSA", "RS256", "none", "at+jwt", "JWT"])
        | st.lists(st.text(max_size=3), max_size=2),
    ).map(lambda value: b64(json.dumps(value).encode())),
    st.text("AZaz09-_=+/. é\ud800", max_size=8),
)


@given(st.one_of(st.text(), st.lists(_part, max_size=4).map(".".join)))
@example("e30.e30.")
@example("eyJ.e30.")
@example("e" * 513 + ".e30.c2ln")
@settings(max_examples=400, deadline=None)
def test_any_text_is_opaque_or_a_jwt_or_an_invalid_token(token: str) -> None:
    with contextlib.suppress(TokenError):
        jwt = read_jwt(token)
        if jwt is not None:
            check_header(jwt.header, SETTINGS)
            verify_signature(jwt, ALL_KEYS)
            pytest.fail("nobody has signed this")


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_valid_token_with_any_one_character_changed_is_refused(data: st.DataObject) -> None:
    token = make_token({"alg": "EdDSA", "typ": "at+jwt"})
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("ABCDabcd0189-_.=+/ ")) + token[at + 1 :]
    if changed == token:
        return
    with contextlib.suppress(TokenError):
        jwt = read_jwt(changed)
        if jwt is not None:
            verify_signature(jwt, ALL_KEYS)
            pytest.fail("nobody has signed this")
