"""Envoy's ext_authz: the request line after the prefix in, a reply that Envoy understands out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from multidict import CIMultiDict

from bridge.decision.decide import (
    Decision,
    decide_malformed,
    decide_on_token,
    decide_without_api,
    decide_without_token,
)
from bridge.decision.response import Response
from bridge.errors import IssuerError, RequestError, TokenError
from bridge.gateways.check_request import CheckRequest
from bridge.gateways.envoy import PREFIX, read_request, reply
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import IdentityHeaders

NOW = 1_700_000_000
PAY = Operation("pay", ("/transfers",), requirement=Requirement((), ("mfa",), 300))
API = Api("payments", ("https://login.example.com",), (PAY,), realm="payments")
IDENTITY = IdentityHeaders((("x-user", "sub"), ("x-level", "acr")))
TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=("a",),
    exp=NOW + 300,
    leeway=5,
    acr=("mfa",),
    auth_time=NOW,
    scopes=frozenset(),
    client_id=None,
    upstream=IDENTITY.of({"sub": "alice"}),
)
REQUEST = CheckRequest("envoy", "POST", ("api.example.com",), "/transfers", ())
ALL_REMOVED = "x-user, x-level, x-stepup-would-deny, x_user, x_level, x_stepup_would_deny"


@pytest.mark.parametrize(
    ("raw_target", "target"),
    [
        pytest.param("/envoy/", "/", id="root"),
        pytest.param("/envoy/payments?a=/b", "/payments?a=/b", id="path-and-query"),
        pytest.param("/envoy//admin", "//admin", id="double-slash-is-kept"),
        pytest.param("/envoy/a/../b", "/a/../b", id="dots-are-kept"),
        pytest.param("/envoy/%2e%2e/%2F%41", "/%2e%2e/%2F%41", id="encodings-are-kept"),
        pytest.param("/envoy/a#b", "/a#b", id="fragment-is-kept"),
        pytest.param("/envoy/envoy/a", "/envoy/a", id="prefix-is-cut-once"),
        pytest.param("/envoy/v1/check", "/v1/check", id="another-endpoints-path"),
        pytest.param("/envoy/a\udcff", "/a\udcff", id="raw-bytes-are-kept"),
    ],
)
def test_the_target_is_what_follows_the_prefix_byte_for_byte(raw_target: str, target: str) -> None:
    assert raw_target.startswith(PREFIX)
    request = read_request("GET", raw_target, CIMultiDict({"host": "api.example.com"}))
    assert request == REQUEST._replace(
        method="GET", target=target, hosts=["api.example.com"], method_overrides=[]
    )


@pytest.mark.parametrize(
    ("lines", "hosts"),
    [
        pytest.param([], [], id="none"),
        pytest.param([("Host", "A.example:80")], ["A.example:80"], id="as-it-came"),
        pytest.param([("host", "a"), ("HOST", "b")], ["a", "b"], id="two-are-both-seen"),
        pytest.param(
            [("host", "a"), ("x-forwarded-host", "b"), (":authority", "c")], ["a"], id="host-only"
        ),
    ],
)
def test_the_host_comes_from_host_and_nowhere_else(
    lines: list[tuple[str, str]], hosts: list[str]
) -> None:
    assert list(read_request("GET", "/envoy/", CIMultiDict(lines)).hosts) == hosts


def test_every_other_fact_comes_from_its_header() -> None:
    headers = CIMultiDict(
        {
            "host": "a",
            "authorization": "Bearer x",
            "origin": "https://app.example",
            "access-control-request-method": "PUT",
            "x-http-method-override": "PUT",
            "x-request-id": "id-1",
        }
    )
    assert read_request("OPTIONS", "/envoy/x", headers) == CheckRequest(
        "envoy", "OPTIONS", ["a"], "/x", ["Bearer x"], ["PUT"], True, True, "id-1"
    )


DENIALS = [
    pytest.param(decide_malformed(RequestError("r", "Ambiguous")), 400, id="row-1"),
    pytest.param(decide_without_api("deny"), 403, id="row-2"),
    pytest.param(decide_without_token(API, None, preflight=False), 403, id="row-4"),
    pytest.param(decide_on_token(API, PAY, None, NOW), 401, id="row-6"),
    pytest.param(decide_on_token(API, PAY, RequestError("r", "Bad"), NOW), 400, id="row-7"),
    pytest.param(decide_on_token(API, PAY, IssuerError("i", "r"), NOW), 503, id="row-8"),
    pytest.param(decide_on_token(API, PAY, IssuerError("i", "r"), NOW, 403), 403, id="row-8-403"),
    pytest.param(decide_on_token(API, PAY, TokenError("exp", "r"), NOW), 401, id="row-9"),
    pytest.param(decide_on_token(API, PAY, TOKEN._replace(acr=()), NOW), 401, id="row-10"),
]


@pytest.mark.parametrize(("decision", "status"), DENIALS)
def test_denial_is_never_200_and_sends_nothing_upstream(decision: Decision, status: int) -> None:
    response = reply(decision, REQUEST, IDENTITY.nobody)
    assert response.status == status
    names = {name for name, _ in response.headers}
    assert names <= {"www-authenticate", "cache-control", "content-type", "retry-after"}


def test_denial_is_the_clients_response() -> None:
    decision = decide_on_token(API, PAY, TOKEN._replace(acr=()), NOW)
    request = REQUEST._replace(cross_origin=True)
    assert reply(decision, request, IDENTITY.nobody) == Response(
        401,
        (
            (
                "www-authenticate",
                'Bearer realm="payments", error="insufficient_user_authentication", '
                'error_description="A different authentication level is required", '
                'acr_values="mfa", max_age="300"',
            ),
            ("cache-control", "no-store"),
            ("content-type", "application/json"),
            ("access-control-expose-headers", "WWW-Authenticate"),
        ),
        '{"error":"insufficient_user_authentication",'
        '"error_description":"A different authentication level is required",'
        '"acr_values":"mfa","max_age":300}',
    )


@pytest.mark.parametrize(("decision", "status"), DENIALS)
def test_denial_of_a_head_has_no_body(decision: Decision, status: int) -> None:
    usual = reply(decision, REQUEST, IDENTITY.nobody)
    assert usual.body
    head = REQUEST._replace(method="HEAD")
    assert reply(decision, head, IDENTITY.nobody) == replace(usual, body="")


def test_allow_is_200_with_the_identity_and_what_to_remove() -> None:
    decision = decide_on_token(API, PAY, TOKEN, NOW)
    assert reply(decision, REQUEST, IDENTITY.nobody) == Response(
        200,
        (
            ("x-user", "alice"),
            (
                "x-envoy-auth-headers-to-remove",
                "x-level, x-stepup-would-deny, x_user, x_level, x_stepup_would_deny",
            ),
        ),
        "",
    )


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(decide_without_api("allow"), id="no-api"),
        pytest.param(decide_without_token(API, PAY, preflight=True), id="preflight"),
        pytest.param(
            decide_without_token(API, replace(PAY, public=True), preflight=False), id="public"
        ),
    ],
)
def test_allow_without_a_look_at_the_token_removes_every_identity_header(
    decision: Decision,
) -> None:
    assert reply(decision, REQUEST, IDENTITY.nobody) == Response(
        200, (("x-envoy-auth-headers-to-remove", ALL_REMOVED),), ""
    )


def test_allow_in_monitor_mode_tells_the_upstream() -> None:
    decision = decide_on_token(replace(API, mode="monitor"), PAY, None, NOW)
    assert reply(decision, REQUEST, IDENTITY.nobody) == Response(
        200,
        (
            ("x-stepup-would-deny", "unauthorized"),
            (
                "x-envoy-auth-headers-to-remove",
                "x-user, x-level, x_user, x_level, x_stepup_would_deny",
            ),
        ),
        "",
    )
