"""Sender-constrained tokens through every gateway: DPoP (RFC 9449); certificates (RFC 8705)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.harness.arrangement import Arrangement
from e2e.harness.bridge import Bridge
from e2e.harness.envoy import versions
from e2e.harness.gateway import GatewayFactory
from e2e.harness.gateways import envoy, gateways
from e2e.harness.http1 import Reply, Request, exchange
from e2e.harness.issuer import Issuer
from e2e.harness.policy import MFA, configuration
from e2e.harness.proofs import GOOD, ProofKey, ProofSpec, base64url, prove
from e2e.harness.stack import Answer, Stack
from e2e.harness.tls import Authority, Identity, with_tls
from e2e.harness.tokens import TokenSpec
from e2e.harness.upstream import RecordingUpstream

ORIGIN = "https://api.test"
CONSTRAINTS = ("any", "dpop", "mtls", "required")
KEY, THIEF = ProofKey.generate(), ProofKey.generate()
ALGS = 'algs="ES256 EdDSA RS256 PS256"'
INVALID_TOKEN = 'error="invalid_token", error_description="The access token is invalid"'
INVALID_PROOF = 'error="invalid_dpop_proof", error_description="The DPoP proof is invalid"'


@pytest.fixture(scope="module")
def constrained(shared: Arrangement, issuer: Issuer) -> Bridge:
    operations = configuration(issuer)["apis"][0]["operations"]
    apis = [
        {
            "name": name,
            "hosts": ["api.test"],
            "base_path": f"/{name}",
            "external_origin": ORIGIN,
            "sender_constraint": name,
            "operations": operations,
        }
        for name in CONSTRAINTS
    ]
    return shared.bridge(
        configuration(issuer, apis=apis, client_certificate="x-forwarded-client-cert")
    )


@pytest.fixture(scope="module", params=gateways())
def bound(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    constrained: Bridge,
) -> Iterator[Stack]:
    gateway = shared.gateway(request.param, constrained, upstream)
    yield Stack(issuer, upstream, constrained, gateway)
    gateway.stop()


def token(stack: Stack, cnf: dict[str, str] | None = KEY.cnf, **more: Any) -> str:
    claims = {} if cnf is None else {"cnf": cnf}
    return stack.issuer.mint(TokenSpec(claims=claims, **more))


def send(
    stack: Stack,
    constraint: str,
    token: str,
    *proofs: str,
    scheme: str = "DPoP",
    method: str = "GET",
    path: str = "/profile",
    more: tuple[tuple[str, str], ...] = (),
) -> Answer:
    headers = (
        ("Authorization", f"{scheme} {token}"),
        *(("DPoP", proof) for proof in proofs),
        *more,
    )
    return stack.send(Request(method, f"/{constraint}{path}", headers=headers))


def proof_for(
    constraint: str, token: str, spec: ProofSpec = GOOD, key: ProofKey = KEY, method: str = "GET"
) -> str:
    return prove(key, method, f"{ORIGIN}/{constraint}/profile", token, spec)


def check_challenges(answer: Answer, expected: list[str]) -> None:
    """Compare the challenges, whether they came as several lines or as one."""
    assert answer.upstream == ()
    assert answer.reply is not None
    assert ", ".join(answer.reply.values("www-authenticate")) == ", ".join(expected)


def error(answer: Answer) -> str:
    assert answer.reply is not None
    found: str = json.loads(answer.reply.body)["error"]
    return found


@pytest.mark.parametrize("constraint", ["any", "dpop", "required"])
def test_proof_lets_its_request_pass_once(bound: Stack, constraint: str) -> None:
    bearer = token(bound)
    proof = proof_for(constraint, bearer)

    first = send(bound, constraint, bearer, proof)
    second = send(bound, constraint, bearer, proof)

    assert first.status == 200
    assert first.only_upstream().with_prefix("x-stepup-subject") == [("x-stepup-subject", "alice")]
    assert (second.status, error(second)) == (401, "invalid_dpop_proof")
    others = [] if constraint == "dpop" else [f'Bearer realm="{constraint}"']
    dpop = f'DPoP realm="{constraint}", {INVALID_PROOF}, {ALGS}'
    check_challenges(second, [dpop, *others])


@pytest.mark.parametrize(
    ("spec", "key", "method", "expected"),
    [
        pytest.param(ProofSpec(age=120), KEY, "GET", INVALID_PROOF, id="stale"),
        pytest.param(ProofSpec(age=-60), KEY, "GET", INVALID_PROOF, id="of-the-future"),
        pytest.param(GOOD, KEY, "POST", INVALID_PROOF, id="for-another-method"),
        pytest.param(
            ProofSpec(claims={"htu": f"{ORIGIN}/dpop/accounts"}),
            KEY,
            "GET",
            INVALID_PROOF,
            id="for-another-path",
        ),
        pytest.param(
            ProofSpec(claims={"htu": "https://evil.test/dpop/profile"}),
            KEY,
            "GET",
            INVALID_PROOF,
            id="for-another-host",
        ),
        pytest.param(
            ProofSpec(claims={"ath": "x"}), KEY, "GET", INVALID_PROOF, id="for-another-token"
        ),
        pytest.param(ProofSpec(signed_by=THIEF), KEY, "GET", INVALID_PROOF, id="forged"),
        pytest.param(GOOD, THIEF, "GET", INVALID_TOKEN, id="of-the-thiefs-own-key"),
    ],
)
def test_stolen_token_is_of_no_use(
    bound: Stack, spec: ProofSpec, key: ProofKey, method: str, expected: str
) -> None:
    bearer = token(bound)

    answer = send(bound, "dpop", bearer, proof_for("dpop", bearer, spec, key, method))

    assert answer.status == 401
    check_challenges(answer, [f'DPoP realm="dpop", {expected}, {ALGS}'])


def test_stolen_token_is_no_bearer_token(bound: Stack) -> None:
    answer = send(bound, "any", token(bound), scheme="Bearer")

    assert answer.status == 401
    expected = [f'Bearer realm="any", {INVALID_TOKEN}', f'DPoP realm="any", {ALGS}']
    check_challenges(answer, expected)


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Uri", "/any/accounts"),
        ("X-Original-URL", "/any/accounts"),
        ("Forwarded", "host=evil.test;proto=http"),
    ],
)
def test_no_header_changes_what_the_proof_is_compared_with(
    bound: Stack, header: tuple[str, str]
) -> None:
    bearer = token(bound)
    evil = ProofSpec(claims={"htu": "http://evil.test/any/profile"})

    assert send(bound, "any", bearer, proof_for("any", bearer), more=(header,)).status == 200
    answer = send(bound, "any", bearer, proof_for("any", bearer, evil), more=(header,))
    assert (answer.status, error(answer)) == (401, "invalid_dpop_proof")


def test_two_proofs_are_malformed(bound: Stack) -> None:
    bearer = token(bound)

    answer = send(bound, "any", bearer, proof_for("any", bearer), proof_for("any", bearer))

    assert (answer.status, error(answer)) == (400, "invalid_request")
    malformed = 'error="invalid_request", error_description="The request must have exactly one'
    dpop = f'DPoP realm="any", {malformed} DPoP value", {ALGS}'
    check_challenges(answer, [dpop, 'Bearer realm="any"'])


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("mtls", ['Bearer realm="mtls"']),
        ("dpop", [f'DPoP realm="dpop", {ALGS}']),
        ("any", ['Bearer realm="any"', f'DPoP realm="any", {ALGS}']),
        ("required", ['Bearer realm="required"', f'DPoP realm="required", {ALGS}']),
    ],
)
def test_challenges_without_credentials(bound: Stack, constraint: str, expected: list[str]) -> None:
    answer = bound.send(Request(target=f"/{constraint}/profile"))

    assert answer.status == 401
    check_challenges(answer, expected)


def test_step_up_keeps_the_scheme_and_a_new_proof_passes(bound: Stack) -> None:
    bearer = token(bound)
    uri = f"{ORIGIN}/required/transfers"

    weak = send(
        bound,
        "required",
        bearer,
        prove(KEY, "POST", uri, bearer),
        method="POST",
        path="/transfers",
    )
    strong = token(bound, acr=MFA)
    answer = send(
        bound,
        "required",
        strong,
        prove(KEY, "POST", uri, strong),
        method="POST",
        path="/transfers?a=b",
    )

    assert weak.upstream == ()
    assert weak.reply is not None
    (challenge,) = weak.reply.values("www-authenticate")
    assert challenge.startswith('DPoP realm="required", error="insufficient_user_authentication"')
    assert challenge.endswith(ALGS)
    assert answer.status == 200


@pytest.mark.parametrize("factory", gateways())
def test_nonce_reaches_the_client_and_is_taken(
    own: Arrangement, issuer: Issuer, factory: GatewayFactory
) -> None:
    policy = configuration(issuer, dpop={"nonce": "required"})
    policy["apis"][0]["sender_constraint"] = "dpop"
    upstream = own.upstream()
    bridge = own.bridge(policy)
    stack = Stack(issuer, upstream, bridge, own.gateway(factory, bridge, upstream))
    bearer = token(stack)
    origin = (("Origin", "https://app.test"),)

    told = send(stack, "payments", bearer, proof_for("payments", bearer), more=origin)

    assert (told.status, error(told)) == (401, "use_dpop_nonce")
    assert told.reply is not None
    (nonce,) = told.reply.values("dpop-nonce")
    assert told.reply.values("access-control-expose-headers") == ["WWW-Authenticate, DPoP-Nonce"]
    spec = ProofSpec(claims={"nonce": nonce})
    answer = send(stack, "payments", bearer, proof_for("payments", bearer, spec))
    assert answer.status == 200


@pytest.fixture(scope="module")
def authority(directory: Path) -> Authority:
    """Sign into the directory of the run, which a gateway's container has too."""
    return Authority(directory)


@pytest.fixture(scope="module")
def client(authority: Authority) -> Identity:
    return authority.issue("client")


@pytest.fixture(scope="module")
def thief(authority: Authority) -> Identity:
    return authority.issue("thief")


@pytest.fixture(scope="module", params=versions())
def over_tls(
    request: pytest.FixtureRequest,
    shared: Arrangement,
    issuer: Issuer,
    upstream: RecordingUpstream,
    constrained: Bridge,
    authority: Authority,
) -> Iterator[Stack]:
    edit = with_tls(authority.issue("server"), authority)
    factory = envoy(request.param, optional_parts=("mtls",), edits=(edit,))
    gateway = shared.gateway(factory, constrained, upstream)
    yield Stack(issuer, upstream, constrained, gateway)
    gateway.stop()


def ask(
    stack: Stack,
    authority: Authority,
    identity: Identity | None,
    bearer: str,
    *more: tuple[str, str],
    constraint: str = "mtls",
) -> Reply:
    port = stack.gateway.address.port
    request = Request(target=f"/{constraint}/profile", headers=(stack.bearer(bearer), *more))
    reply = exchange(authority.client(port, identity), request.raw())
    assert reply is not None
    return reply


def test_token_passes_with_the_certificate_it_is_bound_to(
    over_tls: Stack, authority: Authority, client: Identity, thief: Identity
) -> None:
    bearer = token(over_tls, {"x5t#S256": base64url(client.digest)})
    forged = ("X-Forwarded-Client-Cert", f"By=x;Hash={client.digest.hex()}")

    for constraint in ("any", "mtls", "required"):
        assert ask(over_tls, authority, client, bearer, constraint=constraint).status == 200
    for identity, headers in ((thief, ()), (None, ()), (thief, (forged,)), (None, (forged,))):
        refused = ask(over_tls, authority, identity, bearer, *headers)
        assert refused.status == 401
        assert refused.values("www-authenticate") == [f'Bearer realm="mtls", {INVALID_TOKEN}']
    assert ask(over_tls, authority, client, bearer, forged).status == 200


def test_header_does_not_arrive_where_it_is_not_switched_on(bound: Stack, client: Identity) -> None:
    """The shipped file drops it, so a client cannot write it though the bridge would believe it."""
    bearer = token(bound, {"x5t#S256": base64url(client.digest)})
    forged = ("X-Forwarded-Client-Cert", f"By=x;Hash={client.digest.hex()}")

    answer = send(bound, "mtls", bearer, scheme="Bearer", more=(forged,))

    assert (answer.status, error(answer)) == (401, "invalid_token")


def test_token_that_is_bound_twice_needs_certificate_and_proof(
    over_tls: Stack, authority: Authority, client: Identity, thief: Identity
) -> None:
    bearer = token(over_tls, {**KEY.cnf, "x5t#S256": base64url(client.digest)})
    port = over_tls.gateway.address.port

    def status(identity: Identity, key: ProofKey) -> int:
        headers = (
            ("Authorization", f"DPoP {bearer}"),
            ("DPoP", proof_for("dpop", bearer, key=key)),
        )
        request = Request(target="/dpop/profile", headers=headers)
        reply = exchange(authority.client(port, identity), request.raw())
        assert reply is not None
        return reply.status

    assert status(client, KEY) == 200
    assert status(thief, KEY) == 401
    assert status(client, THIEF) == 401
