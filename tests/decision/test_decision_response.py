"""A denial as the client sees it, to the letter (spec §6); an allow as the upstream (spec §7)."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace

import pytest

from bridge.decision.challenge import parse_challenges
from bridge.decision.decide import (
    Decision,
    Finding,
    decide_malformed,
    decide_on_token,
    decide_unavailable,
    decide_without_api,
    decide_without_token,
)
from bridge.decision.response import (
    Response,
    challenges_of,
    denial_response,
    told,
    upstream_headers,
)
from bridge.errors import IssuerError, RequestError, TokenError
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import NO_REQUIREMENT, Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import IdentityHeaders, UpstreamHeaders
from bridge.tokens.settings import AcrNames

NOW = 1_700_000_000
MFA, PHR = "urn:example:mfa", "urn:example:phr"
TRANSFER = Requirement(("payments:write", "payments:read"), (MFA, PHR), 300)
PAY = Operation("pay", ("/transfers",), ("POST",), requirement=TRANSFER)
API = Api(
    "payments",
    ("https://login.example.com",),
    (PAY,),
    realm="payments",
    resource="https://api.example.com/payments",
)
PLAIN_API = replace(API, resource=None)
METADATA = (
    'resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/payments"'
)
IDENTITY = IdentityHeaders((("x-user", "sub"), ("x-acr", "acr")))
TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=("https://api.example.com",),
    exp=NOW + 300,
    leeway=5,
    acr=(MFA,),
    auth_time=NOW - 10,
    scopes=frozenset({"payments:write", "payments:read"}),
    client_id="app",
    upstream=IDENTITY.of({"sub": "alice"}),
)
WEAK = TOKEN._replace(acr=())
STALE = TOKEN._replace(auth_time=NOW - 1000)
NARROW = TOKEN._replace(scopes=frozenset({"payments:read"}))
AMBIGUOUS = RequestError("path_dot_segment", "The request path is ambiguous")
MALFORMED = RequestError("bearer_token_malformed", "The Bearer token is malformed")
AT_FAULT = IssuerError("https://login.example.com", "keys_unavailable", 7)
INVALID = TokenError("signature", "token_signature_invalid")

NO_STORE = ("cache-control", "no-store")
JSON = ("content-type", "application/json")


def unmatched() -> Decision:
    decision = decide_without_token(API, None, preflight=False)
    assert decision is not None
    return decision


def respond(decision: Decision) -> Response:
    return denial_response(decision, head=False, cross_origin=False)


WITHOUT_CHALLENGE = [
    pytest.param(
        decide_malformed(AMBIGUOUS, API),
        Response(
            400,
            (NO_STORE, JSON),
            '{"error":"invalid_request","error_description":"The request path is ambiguous"}',
        ),
        id="row-1",
    ),
    pytest.param(
        decide_without_api("deny"),
        Response(
            403,
            (NO_STORE, JSON),
            '{"error":"no_such_operation",'
            '"error_description":"No API operation matches the request"}',
        ),
        id="row-2",
    ),
    pytest.param(
        unmatched(),
        Response(
            403,
            (NO_STORE, JSON),
            '{"error":"no_such_operation",'
            '"error_description":"No API operation matches the request"}',
        ),
        id="row-4",
    ),
    pytest.param(
        decide_on_token(API, PAY, AT_FAULT, NOW),
        Response(
            503,
            (NO_STORE, JSON, ("retry-after", "7")),
            '{"error":"temporarily_unavailable",'
            '"error_description":"The access token cannot be verified at the moment"}',
        ),
        id="row-8",
    ),
    pytest.param(
        decide_on_token(API, PAY, AT_FAULT, NOW, 403),
        Response(
            403,
            (NO_STORE, JSON, ("retry-after", "7")),
            '{"error":"temporarily_unavailable",'
            '"error_description":"The access token cannot be verified at the moment"}',
        ),
        id="row-8-with-unavailable-status",
    ),
    pytest.param(
        decide_unavailable(503),
        Response(
            503,
            (NO_STORE, JSON, ("retry-after", "1")),
            '{"error":"temporarily_unavailable",'
            '"error_description":"The access token cannot be verified at the moment"}',
        ),
        id="a-defect-of-the-bridge",
    ),
]


@pytest.mark.parametrize(("decision", "response"), WITHOUT_CHALLENGE)
def test_denial_without_a_challenge(decision: Decision, response: Response) -> None:
    assert respond(decision) == response
    assert challenges_of(decision) == ()


STEP_UP_DEMANDS = 'acr_values="urn:example:mfa urn:example:phr", max_age="300"'
STEP_UP_MEMBERS = '"acr_values":"urn:example:mfa urn:example:phr","max_age":300'
SCOPE = 'scope="payments:write payments:read"'
SCOPE_MEMBER = '"scope":"payments:write payments:read"'

WITH_CHALLENGE = [
    pytest.param(
        PLAIN_API,
        None,
        401,
        f'Bearer realm="payments", {SCOPE}',
        '{"error":"unauthorized","error_description":"An access token is required",'
        f"{SCOPE_MEMBER}}}",
        id="row-6",
    ),
    pytest.param(
        API,
        None,
        401,
        f'Bearer realm="payments", {SCOPE}, {METADATA}',
        '{"error":"unauthorized","error_description":"An access token is required",'
        f"{SCOPE_MEMBER}}}",
        id="row-6-with-a-resource",
    ),
    pytest.param(
        replace(API, hint_requirements=True),
        None,
        401,
        f'Bearer realm="payments", {STEP_UP_DEMANDS}, {SCOPE}, {METADATA}',
        '{"error":"unauthorized","error_description":"An access token is required",'
        f"{STEP_UP_MEMBERS},{SCOPE_MEMBER}}}",
        id="row-6-with-hints",
    ),
    pytest.param(
        API,
        MALFORMED,
        400,
        'Bearer realm="payments", error="invalid_request", '
        f'error_description="The Bearer token is malformed", {METADATA}',
        '{"error":"invalid_request","error_description":"The Bearer token is malformed"}',
        id="row-7",
    ),
    pytest.param(
        replace(API, hint_requirements=True),
        MALFORMED,
        400,
        'Bearer realm="payments", error="invalid_request", '
        f'error_description="The Bearer token is malformed", {METADATA}',
        '{"error":"invalid_request","error_description":"The Bearer token is malformed"}',
        id="row-7-hints-are-for-row-6",
    ),
    pytest.param(
        API,
        INVALID,
        401,
        'Bearer realm="payments", error="invalid_token", '
        f'error_description="The access token is invalid", {METADATA}',
        '{"error":"invalid_token","error_description":"The access token is invalid"}',
        id="row-9",
    ),
    pytest.param(
        replace(PLAIN_API, hint_requirements=True),
        TokenError("exp", "token_expired"),
        401,
        'Bearer realm="payments", error="invalid_token", '
        'error_description="The access token expired"',
        '{"error":"invalid_token","error_description":"The access token expired"}',
        id="row-9-expired-says-nothing-of-acr-and-max-age",
    ),
    pytest.param(
        API,
        WEAK,
        401,
        'Bearer realm="payments", error="insufficient_user_authentication", '
        'error_description="A different authentication level is required", '
        f"{STEP_UP_DEMANDS}, {METADATA}",
        '{"error":"insufficient_user_authentication",'
        '"error_description":"A different authentication level is required",'
        f"{STEP_UP_MEMBERS}}}",
        id="row-10-acr-names-max-age-too",
    ),
    pytest.param(
        PLAIN_API,
        STALE,
        401,
        'Bearer realm="payments", error="insufficient_user_authentication", '
        'error_description="More recent authentication is required", '
        f"{STEP_UP_DEMANDS}",
        '{"error":"insufficient_user_authentication",'
        '"error_description":"More recent authentication is required",'
        f"{STEP_UP_MEMBERS}}}",
        id="row-10-max-age-names-acr-too",
    ),
    pytest.param(
        PLAIN_API,
        NARROW._replace(acr=(), auth_time=None),
        401,
        'Bearer realm="payments", error="insufficient_user_authentication", error_description='
        '"A different authentication level and more recent authentication are required", '
        f"{STEP_UP_DEMANDS}, {SCOPE}",
        '{"error":"insufficient_user_authentication","error_description":'
        '"A different authentication level and more recent authentication are required",'
        f"{STEP_UP_MEMBERS},{SCOPE_MEMBER}}}",
        id="row-10-with-scopes-lacking-names-all-of-them",
    ),
    pytest.param(
        replace(PLAIN_API, hint_requirements=True),
        NARROW,
        403,
        'Bearer realm="payments", error="insufficient_scope", '
        'error_description="The request requires more scopes than the access token grants", '
        f"{SCOPE}",
        '{"error":"insufficient_scope",'
        '"error_description":"The request requires more scopes than the access token grants",'
        f"{SCOPE_MEMBER}}}",
        id="row-11-hints-are-for-row-6",
    ),
    pytest.param(
        API,
        NARROW,
        403,
        'Bearer realm="payments", error="insufficient_scope", '
        'error_description="The request requires more scopes than the access token grants", '
        f"{SCOPE}, {METADATA}",
        '{"error":"insufficient_scope",'
        '"error_description":"The request requires more scopes than the access token grants",'
        f"{SCOPE_MEMBER}}}",
        id="row-11-names-all-scopes-and-no-step-up",
    ),
]


@pytest.mark.parametrize(("api", "finding", "status", "challenge", "body"), WITH_CHALLENGE)
def test_denial_with_its_challenge(
    api: Api, finding: Finding, status: int, challenge: str, body: str
) -> None:
    decision = decide_on_token(api, PAY, finding, NOW)
    assert respond(decision) == Response(
        status, (("www-authenticate", challenge), NO_STORE, JSON), body
    )
    json.loads(body)


@pytest.mark.parametrize(
    ("requirement", "finding", "challenge", "body"),
    [
        pytest.param(
            NO_REQUIREMENT,
            None,
            'Bearer realm="payments"',
            '{"error":"unauthorized","error_description":"An access token is required"}',
            id="no-credentials-and-no-demands",
        ),
        pytest.param(
            Requirement(max_age=0),
            STALE,
            'Bearer realm="payments", error="insufficient_user_authentication", '
            'error_description="More recent authentication is required", max_age="0"',
            '{"error":"insufficient_user_authentication",'
            '"error_description":"More recent authentication is required","max_age":0}',
            id="max-age-zero-is-said",
        ),
        pytest.param(
            Requirement(acr_values=(PHR,)),
            TOKEN,
            'Bearer realm="payments", error="insufficient_user_authentication", '
            'error_description="A different authentication level is required", '
            'acr_values="urn:example:phr"',
            '{"error":"insufficient_user_authentication",'
            '"error_description":"A different authentication level is required",'
            '"acr_values":"urn:example:phr"}',
            id="acr-alone",
        ),
    ],
)
def test_a_challenge_names_what_is_demanded_and_nothing_else(
    requirement: Requirement, finding: Finding, challenge: str, body: str
) -> None:
    operation = replace(PAY, requirement=requirement)
    response = respond(decide_on_token(PLAIN_API, operation, finding, NOW))
    assert response.headers[0] == ("www-authenticate", challenge)
    assert response.body == body


def test_a_request_to_no_operation_is_challenged_for_any_token() -> None:
    api = replace(PLAIN_API, unmatched="require_token", hint_requirements=True)
    assert challenges_of(decide_on_token(api, None, None, NOW)) == ('Bearer realm="payments"',)


def test_realm_with_quote_and_backslash_is_escaped() -> None:
    api = replace(PLAIN_API, realm='a "b" \\c')
    operation = replace(PAY, requirement=NO_REQUIREMENT)
    (challenge,) = challenges_of(decide_on_token(api, operation, None, NOW))
    assert challenge == r'Bearer realm="a \"b\" \\c"'


EVERY_DENIAL = [
    *(pytest.param(param.values[0], id=param.id) for param in WITHOUT_CHALLENGE),
    *(
        pytest.param(
            decide_on_token(param.values[0], PAY, param.values[1], NOW),  # type: ignore[arg-type]
            id=param.id,
        )
        for param in WITH_CHALLENGE
    ),
]


@pytest.mark.parametrize("decision", EVERY_DENIAL)
def test_head_gets_the_same_denial_without_its_body(decision: Decision) -> None:
    response = denial_response(decision, head=True, cross_origin=False)
    assert response == replace(respond(decision), body="")


@pytest.mark.parametrize("decision", EVERY_DENIAL)
def test_a_browser_may_see_the_challenge(decision: Decision) -> None:
    usual = respond(decision)
    exposed = ("access-control-expose-headers", "WWW-Authenticate")
    assert denial_response(decision, head=False, cross_origin=True) == replace(
        usual, headers=(*usual.headers, exposed)
    )


@pytest.mark.parametrize("decision", EVERY_DENIAL)
def test_every_denial_is_json_in_ascii_that_nobody_stores(decision: Decision) -> None:
    response = denial_response(decision, head=False, cross_origin=True)
    names = [name for name, _ in response.headers]
    assert len(names) == len(set(names))
    assert {NO_STORE, JSON} <= set(response.headers)
    for name, value in response.headers:
        assert name == name.lower()
        assert value.isascii()
        assert value.isprintable()
    assert response.body.isascii()
    assert json.loads(response.body)["error"] == decision.error


def test_step_up_and_scopes_are_told_only_where_the_table_says() -> None:
    all_of_it = decide_on_token(API, PAY, NARROW._replace(acr=()), NOW)
    assert told(all_of_it) == TRANSFER
    assert told(decide_on_token(API, PAY, WEAK, NOW)) == replace(TRANSFER, scopes=())
    assert told(decide_on_token(API, PAY, NARROW, NOW)) == Requirement(TRANSFER.scopes)
    assert told(decide_on_token(API, PAY, None, NOW)) == Requirement(TRANSFER.scopes)
    assert told(decide_on_token(API, PAY, INVALID, NOW)) == NO_REQUIREMENT
    assert told(decide_without_api("deny")) == NO_REQUIREMENT


NOBODY = UpstreamHeaders(
    (), ("x-user", "x-acr", "x-stepup-would-deny", "x_user", "x_acr", "x_stepup_would_deny")
)
ALICE = UpstreamHeaders(
    (("x-user", "alice"),),
    ("x-acr", "x-stepup-would-deny", "x_user", "x_acr", "x_stepup_would_deny"),
)
MONITORED = replace(API, mode="monitor", unmatched="deny")
OPEN = Operation("open", ("/open",), public=True)


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(decide_without_api("allow"), id="no-api"),
        pytest.param(decide_without_token(API, PAY, preflight=True), id="preflight"),
        pytest.param(decide_without_token(API, OPEN, preflight=False), id="public"),
        pytest.param(
            decide_without_token(replace(API, unmatched="allow"), None, preflight=False),
            id="no-operation",
        ),
    ],
)
def test_every_identity_header_is_removed_where_no_token_was_looked_at(decision: Decision) -> None:
    assert decision.allow
    assert upstream_headers(decision, IDENTITY.nobody) == NOBODY


def test_identity_headers_of_a_verified_token_are_set_or_removed() -> None:
    assert upstream_headers(decide_on_token(API, PAY, TOKEN, NOW), IDENTITY.nobody) == ALICE


@pytest.mark.parametrize(
    ("finding", "error"),
    [
        pytest.param(None, "unauthorized", id="row-6"),
        pytest.param(MALFORMED, "invalid_request", id="row-7"),
        pytest.param(AT_FAULT, "temporarily_unavailable", id="row-8"),
        pytest.param(INVALID, "invalid_token", id="row-9"),
    ],
)
def test_monitor_mode_sets_no_identity_from_what_is_not_verified(
    finding: Finding, error: str
) -> None:
    decision = decide_on_token(MONITORED, PAY, finding, NOW)
    assert upstream_headers(decision, IDENTITY.nobody) == UpstreamHeaders(
        (("x-stepup-would-deny", error),),
        ("x-user", "x-acr", "x_user", "x_acr", "x_stepup_would_deny"),
    )


@pytest.mark.parametrize(
    ("finding", "error"),
    [
        pytest.param(WEAK, "insufficient_user_authentication", id="row-10"),
        pytest.param(NARROW, "insufficient_scope", id="row-11"),
    ],
)
def test_monitor_mode_sets_the_identity_of_a_verified_token_and_its_note(
    finding: Finding, error: str
) -> None:
    decision = decide_on_token(MONITORED, PAY, finding, NOW)
    assert upstream_headers(decision, IDENTITY.nobody) == UpstreamHeaders(
        (("x-user", "alice"), ("x-stepup-would-deny", error)),
        ("x-acr", "x_user", "x_acr", "x_stepup_would_deny"),
    )


def test_monitor_mode_notes_a_request_to_no_operation() -> None:
    decision = decide_without_token(MONITORED, None, preflight=False)
    assert decision is not None
    assert upstream_headers(decision, IDENTITY.nobody).set == (
        ("x-stepup-would-deny", "no_such_operation"),
    )


def test_monitor_mode_notes_nothing_on_an_allow() -> None:
    assert upstream_headers(decide_on_token(MONITORED, PAY, TOKEN, NOW), IDENTITY.nobody) == ALICE


def test_a_challenge_speaks_the_names_of_the_tokens_issuer() -> None:
    token = WEAK._replace(acr_names=AcrNames((("2", MFA), ("3", PHR))))
    response = respond(decide_on_token(PLAIN_API, PAY, token, NOW))
    assert 'acr_values="2 3"' in dict(response.headers)["www-authenticate"]
    assert json.loads(response.body)["acr_values"] == "2 3"


def test_a_hint_speaks_the_policys_names() -> None:
    decision = decide_on_token(replace(API, hint_requirements=True), PAY, None, NOW)
    assert told(decision).acr_values == (MFA, PHR)


def test_a_machine_that_is_forbidden_gets_no_challenge() -> None:
    api = replace(API, machine_tokens="forbid")
    response = respond(decide_on_token(api, PAY, WEAK._replace(is_machine=True), NOW))
    assert response.status == 403
    assert "www-authenticate" not in dict(response.headers)
    assert json.loads(response.body)["error"] == "insufficient_user_authentication"


def test_a_challenge_speaks_entras_dialect_when_asked() -> None:
    token = WEAK._replace(insufficient_claims=True, acr_names=AcrNames((("c1", MFA),)))
    response = respond(decide_on_token(PLAIN_API, PAY, token, NOW))
    challenge = parse_challenges([dict(response.headers)["www-authenticate"]])[0]
    assert challenge.params["error"] == "insufficient_claims"
    assert challenge.params["acr_values"] == f"c1 {PHR}"
    assert challenge.params["max_age"] == "300"
    assert json.loads(b64decode(challenge.params["claims"])) == {
        "access_token": {"acrs": {"essential": True, "value": "c1"}}
    }
    assert json.loads(response.body)["error"] == "insufficient_user_authentication"


@pytest.mark.parametrize(
    ("requirement", "token"),
    [
        pytest.param(Requirement(max_age=300), STALE, id="it-cannot-ask-for-a-fresh-login"),
        pytest.param(Requirement(("payments:write", "x"), (MFA,)), TOKEN, id="scopes"),
    ],
)
def test_entras_dialect_is_for_step_up_to_an_acr(
    requirement: Requirement, token: AccessToken
) -> None:
    operation = replace(PAY, requirement=requirement)
    spoken = token._replace(insufficient_claims=True)
    assert respond(decide_on_token(API, operation, spoken, NOW)) == respond(
        decide_on_token(API, operation, token, NOW)
    )
