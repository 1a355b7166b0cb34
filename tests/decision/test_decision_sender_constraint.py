"""Challenges and metadata of APIs that take sender-constrained tokens (RFC 9449 §7.1, §7.2)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import pytest

from bridge.decision.challenge import parse_challenges
from bridge.decision.decide import Finding, decide_on_token
from bridge.decision.resource_metadata import metadata_document
from bridge.decision.response import challenges_of, denial_response
from bridge.errors import IssuerError, ProofError, ReplayStoreError, RequestError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import UpstreamHeaders

Constraint = Literal["none", "any", "dpop", "mtls", "required"]
Scheme = Literal["bearer", "dpop"] | None

NOW = 1_700_000_000
PAY = Operation("pay", ("/pay",), requirement=Requirement(("pay",), ("mfa",), 300))
TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=("api",),
    exp=NOW + 300,
    leeway=5,
    acr=("pwd",),
    auth_time=NOW,
    scopes=frozenset({"pay"}),
    client_id=None,
    upstream=UpstreamHeaders((), ()),
)
MALFORMED = RequestError("authorization_repeated", "Two of them")
INVALID = TokenError("signature", "token_signature_invalid")
BAD_PROOF = ProofError("htu", "dpop_htu_mismatch")
WITHOUT_NONCE = ProofError("nonce", "dpop_nonce_missing", "the-nonce")

ALGS = 'algs="ES256 EdDSA"'
INVALID_TOKEN = 'error="invalid_token", error_description="The access token is invalid"'
INVALID_PROOF = 'error="invalid_dpop_proof", error_description="The DPoP proof is invalid"'
USE_NONCE = (
    'error="use_dpop_nonce", error_description="The DPoP proof must have the nonce of the response"'
)
INVALID_REQUEST = 'error="invalid_request", error_description="Two of them"'
STEP_UP = (
    'error="insufficient_user_authentication", '
    'error_description="A different authentication level is required", '
    'acr_values="mfa", max_age="300"'
)


def api(constraint: Constraint) -> Api:
    algorithms = () if constraint in ("none", "mtls") else ("ES256", "EdDSA")
    return Api(
        "payments",
        ("https://login.example.com",),
        (PAY,),
        realm="r",
        sender_constraint=constraint,
        dpop_algorithms=algorithms,
    )


def challenges(constraint: Constraint, finding: Finding, scheme: Scheme) -> tuple[str, ...]:
    return challenges_of(decide_on_token(api(constraint), PAY, finding, NOW, scheme=scheme))


BARE_BEARER = 'Bearer realm="r"'
BARE_DPOP = f'DPoP realm="r", {ALGS}'
ROWS: list[Any] = [
    # No credentials: what would do, with the scopes and without an error.
    ("none", None, None, ['Bearer realm="r", scope="pay"']),
    ("mtls", None, None, ['Bearer realm="r", scope="pay"']),
    ("dpop", None, None, [f'DPoP realm="r", scope="pay", {ALGS}']),
    ("any", None, None, ['Bearer realm="r", scope="pay"', f'DPoP realm="r", scope="pay", {ALGS}']),
    (
        "required",
        None,
        None,
        ['Bearer realm="r", scope="pay"', f'DPoP realm="r", scope="pay", {ALGS}'],
    ),
    # Ambiguous: the error in all of them.
    ("none", MALFORMED, None, [f'Bearer realm="r", {INVALID_REQUEST}']),
    ("dpop", MALFORMED, None, [f'DPoP realm="r", {INVALID_REQUEST}, {ALGS}']),
    (
        "any",
        MALFORMED,
        None,
        [f'Bearer realm="r", {INVALID_REQUEST}', f'DPoP realm="r", {INVALID_REQUEST}, {ALGS}'],
    ),
    # Otherwise the presented scheme first, and the error in it alone.
    ("any", MALFORMED, "dpop", [f'DPoP realm="r", {INVALID_REQUEST}, {ALGS}', BARE_BEARER]),
    ("any", INVALID, "bearer", [f'Bearer realm="r", {INVALID_TOKEN}', BARE_DPOP]),
    ("any", INVALID, "dpop", [f'DPoP realm="r", {INVALID_TOKEN}, {ALGS}', BARE_BEARER]),
    ("dpop", INVALID, "bearer", [f'Bearer realm="r", {INVALID_TOKEN}', BARE_DPOP]),
    ("dpop", INVALID, "dpop", [f'DPoP realm="r", {INVALID_TOKEN}, {ALGS}']),
    ("mtls", INVALID, "bearer", [f'Bearer realm="r", {INVALID_TOKEN}']),
    ("none", INVALID, "dpop", [f'Bearer realm="r", {INVALID_TOKEN}']),
    ("mtls", INVALID, "dpop", [f'Bearer realm="r", {INVALID_TOKEN}']),
    ("dpop", BAD_PROOF, "dpop", [f'DPoP realm="r", {INVALID_PROOF}, {ALGS}']),
    ("required", BAD_PROOF, "dpop", [f'DPoP realm="r", {INVALID_PROOF}, {ALGS}', BARE_BEARER]),
    ("dpop", WITHOUT_NONCE, "dpop", [f'DPoP realm="r", {USE_NONCE}, {ALGS}']),
    # A good token: only the scheme that it came by.
    ("any", TOKEN, "bearer", [f'Bearer realm="r", {STEP_UP}']),
    ("any", TOKEN, "dpop", [f'DPoP realm="r", {STEP_UP}, {ALGS}']),
    ("dpop", TOKEN, "dpop", [f'DPoP realm="r", {STEP_UP}, {ALGS}']),
    # A fault of ours sends nobody to log in.
    ("dpop", ReplayStoreError("replay_store_unavailable"), "dpop", []),
    ("any", IssuerError("https://login.example.com", "keys_unavailable"), "dpop", []),
]


@pytest.mark.parametrize(("constraint", "finding", "scheme", "expected"), ROWS)
def test_challenges_follow_the_presented_scheme(
    constraint: Constraint, finding: Finding, scheme: Scheme, expected: list[str]
) -> None:
    written = challenges(constraint, finding, scheme)
    assert list(written) == expected
    assert [parsed.scheme for parsed in parse_challenges([", ".join(written)])] == [
        challenge.partition(" ")[0] for challenge in expected
    ]


def test_lacking_scope_is_challenged_in_the_presented_scheme() -> None:
    token = TOKEN._replace(acr=("mfa",), scopes=frozenset())
    (challenge,) = challenges("any", token, "dpop")
    assert challenge.startswith('DPoP realm="r", error="insufficient_scope"')
    assert challenge.endswith(f'scope="pay", {ALGS}')


def test_each_challenge_is_a_line_of_its_own() -> None:
    decision = decide_on_token(api("any"), PAY, INVALID, NOW, scheme="dpop")
    response = denial_response(decision, head=False, cross_origin=True)
    assert response.status == 401
    assert response.headers == (
        ("www-authenticate", f'DPoP realm="r", {INVALID_TOKEN}, {ALGS}'),
        ("www-authenticate", BARE_BEARER),
        ("cache-control", "no-store"),
        ("content-type", "application/json"),
        ("access-control-expose-headers", "WWW-Authenticate"),
    )


def test_bad_proof_is_told_by_its_own_error() -> None:
    decision = decide_on_token(api("dpop"), PAY, BAD_PROOF, NOW, scheme="dpop")
    assert (decision.status, decision.error, decision.reason, int(decision.row)) == (
        401,
        "invalid_dpop_proof",
        "dpop_htu_mismatch",
        9,
    )
    response = denial_response(decision, head=False, cross_origin=False)
    assert json.loads(response.body) == {
        "error": "invalid_dpop_proof",
        "error_description": "The DPoP proof is invalid",
    }


@pytest.mark.parametrize("cross_origin", [False, True])
def test_nonce_is_given_in_its_header(cross_origin: bool) -> None:
    decision = decide_on_token(api("dpop"), PAY, WITHOUT_NONCE, NOW, scheme="dpop")
    response = denial_response(decision, head=False, cross_origin=cross_origin)
    headers = dict(response.headers)
    assert headers["dpop-nonce"] == "the-nonce"
    exposed = "WWW-Authenticate, DPoP-Nonce" if cross_origin else None
    assert headers.get("access-control-expose-headers") == exposed
    assert json.loads(response.body)["error"] == "use_dpop_nonce"


def test_used_proofs_that_cannot_be_told_are_row_8() -> None:
    fault = ReplayStoreError("replay_store_unavailable", 3)
    decision = decide_on_token(api("dpop"), PAY, fault, NOW, 503, "dpop")
    assert (decision.status, decision.error, decision.retry_after_seconds) == (
        503,
        "temporarily_unavailable",
        3,
    )


@pytest.mark.parametrize(
    ("constraint", "members"),
    [
        ("none", {}),
        (
            "any",
            {
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
                "tls_client_certificate_bound_access_tokens": True,
            },
        ),
        (
            "required",
            {
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
                "tls_client_certificate_bound_access_tokens": True,
            },
        ),
        (
            "dpop",
            {
                "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
                "dpop_bound_access_tokens_required": True,
            },
        ),
        ("mtls", {"tls_client_certificate_bound_access_tokens": True}),
    ],
)
def test_metadata_tells_what_tokens_must_be(constraint: Constraint, members: Any) -> None:
    described = replace(api(constraint), resource="https://api.example.com")
    document = json.loads(metadata_document([described]))
    for member in ("resource", "authorization_servers", "bearer_methods_supported"):
        document.pop(member)
    document.pop("scopes_supported")
    assert document == members
