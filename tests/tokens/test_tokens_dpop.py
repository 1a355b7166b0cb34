"""A DPoP proof, check by check (RFC 9449 §4.3); each test changes one thing in a good one."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProofError, RequestError, TokenError
from bridge.tokens.dpop import (
    MAX_JTI_LENGTH,
    MAX_PROOF_BYTES,
    PROOF_CHECKS,
    UsedProof,
    check_proof,
    describe_proof,
    read_proof,
    require_one_proof,
    thumbprint,
)
from bridge.tokens.dpop_settings import DpopSettings
from bridge.tokens.nonce import STEP_SECONDS, Nonces
from e2e.harness.proofs import ProofKey, ProofSpec, base64url, prove

NOW = 1_700_000_000
TOKEN = "a.b.c"
ORIGIN = "https://api.example.com"
KEY = ProofKey.generate()
STRANGER = ProofKey.generate()
SETTINGS = DpopSettings()
NONCES = Nonces(b"a secret of the test")

# RFC 9449 §7.1, figure 13: the request to a protected resource; §6.1: the thumbprint of its key.
RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUk"
    "lDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUw"
    "Q2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1Ijoia"
    "HR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjo"
    "iZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRi"
    "mPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
RFC_NOW = 1_562_262_618
# RFC 9449 §4.1, figure 2: the proof of a token request, so without `ath`.
RFC_TOKEN_REQUEST_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUk"
    "lDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUw"
    "Q2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6I"
    "mh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A"
    "0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)


def check(proof: str, **changes: Any) -> UsedProof:
    asked: dict[str, Any] = {
        "jkt": KEY.jkt,
        "method": "POST",
        "origin": ORIGIN,
        "path": "/transfers",
        "token": TOKEN,
        "now": NOW,
        **changes,
    }
    settings = asked.pop("settings", SETTINGS)
    return check_proof(proof, settings, **asked)


def proof(spec: ProofSpec | None = None, key: ProofKey = KEY) -> str:
    return prove(key, "POST", f"{ORIGIN}/transfers", TOKEN, spec or ProofSpec(), NOW)


def refusal(proof: str, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ProofError) as refused:
        check(proof, **changes)
    assert refused.value.check in PROOF_CHECKS
    return refused.value.check, refused.value.reason


def test_example_of_the_rfc_holds() -> None:
    used = check(
        RFC_PROOF,
        jkt=RFC_JKT,
        method="GET",
        origin="https://resource.example.org",
        path="/protectedresource",
        token=RFC_TOKEN,
        now=RFC_NOW,
    )
    assert used == UsedProof(RFC_JKT, "e1j3V_bKic8-LAEB", RFC_NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"method": "get"}, "dpop_htm_mismatch", id="method"),
        pytest.param({"path": "/protectedresourc"}, "dpop_htu_mismatch", id="path"),
        pytest.param({"origin": "http://resource.example.org"}, "dpop_htu_mismatch", id="scheme"),
        pytest.param({"token": RFC_TOKEN + "x"}, "dpop_ath_mismatch", id="token"),
        pytest.param({"now": RFC_NOW + 71}, "dpop_proof_too_old", id="later"),
        pytest.param({"now": RFC_NOW - 11}, "dpop_issued_in_the_future", id="earlier"),
    ],
)
def test_example_of_the_rfc_holds_for_nothing_else(change: dict[str, Any], reason: str) -> None:
    asked = {
        "jkt": RFC_JKT,
        "method": "GET",
        "origin": "https://resource.example.org",
        "path": "/protectedresource",
        "token": RFC_TOKEN,
        "now": RFC_NOW,
    }
    assert refusal(RFC_PROOF, **{**asked, **change})[1] == reason


def test_proof_of_a_token_request_is_none_of_a_token() -> None:
    asked = {"jkt": RFC_JKT, "origin": "https://server.example.com", "path": "/token"}
    assert refusal(RFC_TOKEN_REQUEST_PROOF, **asked, now=RFC_NOW) == ("ath", "dpop_ath_mismatch")


# RFC 7638 §3.1 and RFC 8037 appendix A.3
@pytest.mark.parametrize(
    ("jwk", "jkt"),
    [
        pytest.param(
            {
                "kty": "RSA",
                "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuh"
                "DR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4"
                "QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI"
                "SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kE"
                "gU8awapJzKnqDKgw",
                "e": "AQAB",
                "alg": "RS256",
                "kid": "2011-04-29",
            },
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            id="RFC-7638",
        ),
        pytest.param(
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            },
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            id="RFC-8037",
        ),
    ],
)
def test_thumbprint_is_that_of_the_rfc(jwk: dict[str, str], jkt: str) -> None:
    assert thumbprint(jwk) == jkt


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param({}, id="empty"),
        pytest.param({"kty": "oct", "k": "AA"}, id="symmetric"),
        pytest.param({"kty": "OKP", "crv": "Ed25519"}, id="member-missing"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": 1}, id="member-of-another-type"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": 'AA","y":"'}, id="member-with-a-quote"),
    ],
)
def test_broken_key_has_no_thumbprint(jwk: dict[str, Any]) -> None:
    assert thumbprint(jwk) is None


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(["a.b.c", "d.e.f"], id="two-lines"),
        pytest.param(["a.b.c,d.e.f"], id="joined-by-a-gateway"),
        pytest.param([",a.b.c"], id="leading-comma"),
    ],
)
def test_more_than_one_proof_is_a_malformed_request(values: list[str]) -> None:
    for read in (require_one_proof, read_proof):
        with pytest.raises(RequestError) as fault:
            read(values)
        assert fault.value.reason == "dpop_repeated"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param([], "dpop_proof_missing", id="none"),
        pytest.param([" \t"], "dpop_proof_missing", id="blank"),
        pytest.param(
            ["a" * (MAX_PROOF_BYTES + 1)], "dpop_proof_too_large", id="one-byte-too-large"
        ),
    ],
)
def test_proof_that_is_no_proof_is_refused(values: list[str], reason: str) -> None:
    require_one_proof(values)
    with pytest.raises(ProofError) as refused:
        read_proof(values)
    assert (refused.value.check, refused.value.reason) == ("proof", reason)


def test_proof_is_read_without_the_space_around_it() -> None:
    largest = "a" * MAX_PROOF_BYTES
    assert (read_proof([" a.b.c\t"]), read_proof([largest])) == ("a.b.c", largest)


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256", "PS256"])
def test_proof_of_each_default_algorithm_holds(alg: str) -> None:
    key = ProofKey.generate(alg)
    assert check(proof(key=key), jkt=key.jkt).jkt == key.jkt


def test_proof_with_a_long_header_holds() -> None:
    assert check(proof(ProofSpec(header={"kid": "k" * 1200}))).jkt == KEY.jkt


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a.b", id="two-parts"),
        pytest.param("a.b.c.d.e", id="five-parts"),
        pytest.param("a b.c.d", id="space"),
        pytest.param("e30=.e30.AA", id="padding"),
        pytest.param("W10.e30.AA", id="header-is-an-array"),
        pytest.param("ew.e30.AA", id="header-is-no-json"),
        pytest.param("e31.e30.AA", id="stray-bits-in-the-header"),
        pytest.param("eyJhIjoxLCJhIjoyfQ.e30.AA", id="duplicate-member"),
    ],
)
def test_what_is_no_jwt_is_refused(text: str) -> None:
    assert refusal(text) == ("format", "dpop_proof_malformed")


@pytest.mark.parametrize(
    ("part", "text"),
    [
        pytest.param(1, base64url(b"[]"), id="claims-are-an-array"),
        pytest.param(1, base64url(b'{"iat":NaN}'), id="claims-are-no-json"),
        pytest.param(2, "A", id="signature-of-no-length"),
        pytest.param(2, "AB", id="stray-bits-in-the-signature"),
    ],
)
def test_malformed_part_is_refused(part: int, text: str) -> None:
    parts = proof().split(".")
    parts[part] = text
    assert refusal(".".join(parts)) == ("format", "dpop_proof_malformed")


WEAK = ProofKey.generate("RS256", 1024)
RSA = ProofKey.generate("RS256")
HUGE_EXPONENT = {**RSA.jwk, "e": base64url((2**33 + 1).to_bytes(5, "big"))}
HUGE_MODULUS = {**RSA.jwk, "n": base64url(((1 << 8200) + 1).to_bytes(1026, "big"))}


@pytest.mark.parametrize(
    ("header", "check_", "reason"),
    [
        pytest.param({"crit": ["b64"]}, "crit", "dpop_crit_not_understood", id="crit"),
        pytest.param({"typ": None}, "typ", "dpop_typ_not_accepted", id="typ-missing"),
        pytest.param({"typ": "JWT"}, "typ", "dpop_typ_not_accepted", id="typ-of-a-jwt"),
        pytest.param({"typ": "at+jwt"}, "typ", "dpop_typ_not_accepted", id="typ-of-a-token"),
        pytest.param({"typ": 1}, "typ", "dpop_typ_not_accepted", id="typ-a-number"),
        pytest.param({"jwk": None}, "jwk", "dpop_jwk_missing", id="key-missing"),
        pytest.param({"jwk": "x"}, "jwk", "dpop_jwk_missing", id="key-a-string"),
        pytest.param({"jwk": {}}, "jwk", "dpop_jwk_not_usable", id="key-empty"),
        pytest.param({"jwk": {**KEY.jwk, "d": "AA"}}, "jwk", "dpop_jwk_not_public", id="private"),
        pytest.param({"jwk": {**RSA.jwk, "p": "AA"}}, "jwk", "dpop_jwk_not_public", id="prime"),
        pytest.param(
            {"jwk": {"kty": "oct", "k": "AA"}}, "jwk", "dpop_jwk_not_public", id="symmetric"
        ),
        pytest.param({"jwk": {**KEY.jwk, "x": "AA"}}, "jwk", "dpop_jwk_not_usable", id="no-point"),
        pytest.param({"jwk": {**KEY.jwk, "crv": "P-192"}}, "jwk", "dpop_jwk_not_usable", id="crv"),
        pytest.param({"jwk": WEAK.jwk}, "jwk", "dpop_jwk_not_usable", id="rsa-1024"),
        pytest.param({"jwk": HUGE_EXPONENT}, "jwk", "dpop_jwk_not_usable", id="costly-exponent"),
        pytest.param({"jwk": HUGE_MODULUS}, "jwk", "dpop_jwk_not_usable", id="costly-modulus"),
        pytest.param({"alg": None}, "alg", "dpop_alg_not_of_key", id="alg-missing"),
        pytest.param({"alg": "none"}, "alg", "dpop_alg_not_of_key", id="none"),
        pytest.param({"alg": "HS256"}, "alg", "dpop_alg_not_of_key", id="hmac"),
        pytest.param({"alg": ["ES256"]}, "alg", "dpop_alg_not_of_key", id="alg-a-list"),
        pytest.param({"alg": "ES384"}, "alg", "dpop_alg_not_of_key", id="alg-of-another-curve"),
        pytest.param(
            {"jwk": {**KEY.jwk, "alg": "ES384"}}, "alg", "dpop_alg_not_of_key", id="alg-of-jwk"
        ),
    ],
)
def test_faulty_header_is_refused(header: dict[str, Any], check_: str, reason: str) -> None:
    assert refusal(proof(ProofSpec(header=header))) == (check_, reason)


@pytest.mark.parametrize("typ", ["DPoP+JWT", "application/dpop+jwt"])
def test_typ_is_a_media_type(typ: str) -> None:
    assert check(proof(ProofSpec(header={"typ": typ}))).jkt == KEY.jkt


def test_algorithm_outside_the_configured_list_is_refused() -> None:
    settings = DpopSettings(algorithms=("EdDSA",))
    assert refusal(proof(), settings=settings) == ("alg", "dpop_alg_not_accepted")


def test_another_key_than_the_tokens_makes_the_token_invalid() -> None:
    """RFC 9449 §7.1 answers this one `invalid_token`: "Invalid DPoP key binding"."""
    with pytest.raises(TokenError) as refused:
        check(proof(key=STRANGER))
    assert not isinstance(refused.value, ProofError)
    assert (refused.value.check, refused.value.reason) == ("jkt", "dpop_key_mismatch")


@pytest.mark.parametrize(
    ("claims", "check_", "reason"),
    [
        pytest.param({"htm": None}, "htm", "dpop_htm_mismatch", id="method-missing"),
        pytest.param({"htm": "GET"}, "htm", "dpop_htm_mismatch", id="another-method"),
        pytest.param({"htm": "post"}, "htm", "dpop_htm_mismatch", id="method-in-lower-case"),
        pytest.param({"htm": ["POST"]}, "htm", "dpop_htm_mismatch", id="method-a-list"),
        pytest.param({"htu": None}, "htu", "dpop_htu_malformed", id="uri-missing"),
        pytest.param({"htu": ["x"]}, "htu", "dpop_htu_malformed", id="uri-a-list"),
        pytest.param({"htu": "/transfers"}, "htu", "dpop_htu_mismatch", id="uri-relative"),
        pytest.param({"htu": f"{ORIGIN}/other"}, "htu", "dpop_htu_mismatch", id="another-path"),
        pytest.param({"htu": f"{ORIGIN}/Transfers"}, "htu", "dpop_htu_mismatch", id="case-of-path"),
        pytest.param({"htu": f"{ORIGIN}/transfers/"}, "htu", "dpop_htu_mismatch", id="one-slash"),
        pytest.param(
            {"htu": "https://evil.example/transfers"}, "htu", "dpop_htu_mismatch", id="another-host"
        ),
        pytest.param(
            {"htu": "http://api.example.com/transfers"}, "htu", "dpop_htu_mismatch", id="plain-http"
        ),
        pytest.param(
            {"htu": "https://api.example.com:444/transfers"}, "htu", "dpop_htu_mismatch", id="port"
        ),
        pytest.param({"iat": None}, "iat", "dpop_iat_malformed", id="time-missing"),
        pytest.param({"iat": "1"}, "iat", "dpop_iat_malformed", id="time-a-string"),
        pytest.param({"iat": True}, "iat", "dpop_iat_malformed", id="time-a-boolean"),
        pytest.param({"iat": NOW - 71}, "iat", "dpop_proof_too_old", id="one-second-too-old"),
        pytest.param({"iat": NOW + 11}, "iat", "dpop_issued_in_the_future", id="one-second-ahead"),
        pytest.param({"jti": None}, "jti", "dpop_jti_malformed", id="name-missing"),
        pytest.param({"jti": ""}, "jti", "dpop_jti_malformed", id="name-empty"),
        pytest.param({"jti": 1}, "jti", "dpop_jti_malformed", id="name-a-number"),
        pytest.param(
            {"jti": "j" * (MAX_JTI_LENGTH + 1)}, "jti", "dpop_jti_malformed", id="name-too-long"
        ),
        pytest.param({"ath": None}, "ath", "dpop_ath_mismatch", id="hash-missing"),
        pytest.param({"ath": TOKEN}, "ath", "dpop_ath_mismatch", id="token-itself"),
        pytest.param(
            {"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"},
            "ath",
            "dpop_ath_mismatch",
            id="hash-of-another-token",
        ),
    ],
)
def test_faulty_claim_is_refused(claims: dict[str, Any], check_: str, reason: str) -> None:
    assert refusal(proof(ProofSpec(claims=claims))) == (check_, reason)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"htu": "HTTPS://API.example.com:443/transfers"}, id="case-and-default-port"),
        pytest.param({"htu": f"{ORIGIN}/transfers?a=b#c"}, id="query-and-fragment-are-ignored"),
        pytest.param({"htu": f"{ORIGIN}/%74ransfers"}, id="needless-escape"),
        pytest.param({"htu": f"{ORIGIN}/a/../transfers"}, id="dot-segments"),
        pytest.param({"iat": NOW - 70}, id="as-old-as-can-be"),
        pytest.param({"iat": NOW + 10}, id="as-far-ahead-as-can-be"),
        pytest.param({"iat": NOW - 0.5}, id="fraction-of-a-second"),
        pytest.param({"jti": "j" * MAX_JTI_LENGTH}, id="longest-name"),
        pytest.param({"nonce": 7, "more": {}}, id="what-was-not-asked-for"),
    ],
)
def test_claim_that_will_do(claims: dict[str, Any]) -> None:
    assert check(proof(ProofSpec(claims=claims))).jkt == KEY.jkt


@pytest.mark.parametrize("claims", [{}, {"nonce": "x"}, {"nonce": 1}, {"nonce": "é"}])
def test_proof_without_a_good_nonce_is_told_one(claims: dict[str, Any]) -> None:
    with pytest.raises(ProofError) as refused:
        check(proof(ProofSpec(claims=claims)), nonces=NONCES)
    given = refused.value.nonce
    assert refused.value.check == "nonce"
    assert given == NONCES.current(NOW)
    assert check(proof(ProofSpec(claims={"nonce": given})), nonces=NONCES).jkt == KEY.jkt


def test_nonce_is_taken_for_one_step_longer_than_it_is_given() -> None:
    given = NONCES.current(NOW)
    begin = NOW - NOW % STEP_SECONDS
    times = (begin - STEP_SECONDS - 1, begin - STEP_SECONDS, begin + 2 * STEP_SECONDS - 1)
    accepted = [NONCES.accepts(given, now) for now in (*times, begin + 2 * STEP_SECONDS)]
    assert accepted == [False, True, True, False]


def test_nonces_of_another_secret_are_others() -> None:
    other = Nonces(b"another secret of the test")
    assert not other.accepts(NONCES.current(NOW), NOW)
    assert Nonces(b"a secret of the test").accepts(NONCES.current(NOW), NOW)


def test_signature_of_another_key_is_refused() -> None:
    assert refusal(proof(ProofSpec(signed_by=STRANGER))) == (
        "signature",
        "dpop_signature_invalid",
    )


@pytest.mark.parametrize("part", [0, 1])
def test_signature_covers_header_and_claims(part: int) -> None:
    first, second = proof().split("."), proof(ProofSpec(header={"kid": "1"})).split(".")
    first[part] = second[part]
    assert refusal(".".join(first)) == ("signature", "dpop_signature_invalid")


def test_signature_without_content_is_refused() -> None:
    assert refusal(proof().rpartition(".")[0] + ".")[0] == "signature"


def test_malleable_signature_is_the_same_proof() -> None:
    """With `(r, n - s)` an ECDSA proof has a second spelling: it must not count as a second one."""
    text = proof()
    head, _, encoded = text.rpartition(".")
    raw = urlsafe_b64decode(encoded + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    flipped = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{head}.{base64url(flipped)}"
    assert twin != text
    assert check(twin) == check(text)


def test_proof_is_described_without_its_signature() -> None:
    assert describe_proof([RFC_PROOF]) == {
        "typ": "dpop+jwt",
        "alg": "ES256",
        "jkt": RFC_JKT,
        "htm": "GET",
        "htu": "https://resource.example.org/protectedresource",
        "iat": RFC_NOW,
        "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
    }
    assert describe_proof([proof(ProofSpec(header={"jwk": None}))])["jkt"] is None


@pytest.mark.parametrize("values", [[], ["a", "b"], ["x"]])
def test_what_is_not_one_jwt_is_said_to_be_none(values: list[str]) -> None:
    assert describe_proof(values) == {"format": "not one JWT"}


def test_broken_jwt_is_said_to_be_broken() -> None:
    assert describe_proof(["ew.e30.AA"]) == {"format": "malformed JWT"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
HEADER_NAMES = st.sampled_from(["typ", "alg", "jwk", "crit", "kid", "x5c"])
CLAIM_NAMES = st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce"])


@given(st.dictionaries(HEADER_NAMES, JSON), st.dictionaries(CLAIM_NAMES, JSON), st.booleans())
def test_any_json_is_a_good_proof_or_a_token_error(
    header: dict[str, Any], claims: dict[str, Any], nonce: bool
) -> None:
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": dict(KEY.jwk), **header}
    parts = [base64url(json.dumps(part).encode()) for part in (head, claims)]
    with pytest.raises(TokenError):
        check(".".join([*parts, "AA"]), nonces=NONCES if nonce else None)


@given(st.text())
def test_any_text_is_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        check(text)


@given(st.integers(-200, 200), st.integers(0, 60), st.integers(1, 600))
def test_older_proofs_and_shorter_windows_never_turn_a_refusal_into_a_pass(
    age: int, leeway: int, window: int
) -> None:
    settings = DpopSettings(iat_window=window, leeway=leeway)
    text = proof(ProofSpec(age=age))
    fits = -leeway <= age <= window + leeway
    if fits:
        assert check(text, settings=settings).iat == NOW - age
    else:
        assert refusal(text, settings=settings)[0] == "iat"


def test_how_long_a_proof_lives_covers_all_the_time_in_which_it_is_taken() -> None:
    settings = replace(SETTINGS, iat_window=30, leeway=7)
    assert settings.lifetime == 30 + 7 + 7


@pytest.mark.parametrize("leeway", [0, 1, 10])
def test_used_proof_is_remembered_for_as_long_as_it_could_be_used(leeway: int) -> None:
    """In Redis even where `leeway` is 0 and the last second has only begun: `now` is whole."""
    settings = DpopSettings(iat_window=60, leeway=leeway)
    used_at = NOW - leeway  # as early as it is taken
    check(proof(), settings=settings, now=used_at)
    over = used_at + settings.lifetime + 1
    check(proof(), settings=settings, now=over - 1)
    assert refusal(proof(), settings=settings, now=over) == ("iat", "dpop_proof_too_old")
    assert used_at + settings.shared_lifetime == over + leeway
