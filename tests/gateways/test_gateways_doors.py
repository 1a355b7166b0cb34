"""The doors that read the request from forwarded headers: Traefik's and Caddy's, and nginx's."""

from __future__ import annotations

from collections.abc import Callable
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
from bridge.decision.response import Response, denial_response
from bridge.errors import IssuerError, ProofError, RequestError, TokenError
from bridge.gateways import forward_auth, nginx
from bridge.gateways.check_request import CheckRequest, Headers
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import IdentityHeaders

FORWARDED = (
    ("X-Forwarded-Method", "POST"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "api.example.com"),
    ("X-Forwarded-Uri", "/transfers?a=/b"),
)
ORIGINAL = (
    ("X-Original-Method", "POST"),
    ("X-Original-Host", "api.example.com"),
    ("X-Original-Uri", "/transfers?a=/b"),
)
Read = Callable[[Headers], CheckRequest]
Line = tuple[str, str]

DOORS = [
    pytest.param(forward_auth.read_request, FORWARDED, id="forward_auth"),
    pytest.param(nginx.read_request, ORIGINAL, id="nginx"),
]
EACH_HEADER = [
    pytest.param(read, lines, at, id=lines[at][0].lower())
    for read, lines in ((forward_auth.read_request, FORWARDED), (nginx.read_request, ORIGINAL))
    for at in range(len(lines))
]


def assert_unreadable(request: CheckRequest) -> None:
    assert request.fault is not None
    assert request.fault.reason == "forwarded_headers_malformed"
    # Nothing of it is left to decide on, or to log.
    assert (request.method, request.hosts, request.target) == ("", (), "")


@pytest.mark.parametrize(("read", "lines"), DOORS)
def test_request_is_the_one_that_the_forwarded_headers_tell(
    read: Read, lines: tuple[Line, ...]
) -> None:
    more = (
        ("Host", "bridge"),
        ("Authorization", "Bearer a"),
        ("Origin", "https://app.example.com"),
        ("X-Http-Method", "PUT"),
        ("X-Request-Id", "id-1"),
    )

    request = read(CIMultiDict((*lines, *more)))

    assert request == CheckRequest(
        gateway=request.gateway,
        method="POST",
        hosts=["api.example.com"],
        target="/transfers?a=/b",
        authorization=["Bearer a"],
        method_overrides=["PUT"],
        cross_origin=True,
        request_id="id-1",
    )


def test_gateway_is_the_name_of_the_door() -> None:
    assert forward_auth.read_request(CIMultiDict(FORWARDED)).gateway == "forward_auth"
    assert nginx.read_request(CIMultiDict(ORIGINAL)).gateway == "nginx"
    assert forward_auth.read_request(CIMultiDict()).gateway == "forward_auth"
    assert nginx.read_request(CIMultiDict()).gateway == "nginx"


@pytest.mark.parametrize(("read", "lines", "at"), EACH_HEADER)
def test_missing_header_makes_it_unreadable(read: Read, lines: tuple[Line, ...], at: int) -> None:
    assert_unreadable(read(CIMultiDict(lines[:at] + lines[at + 1 :])))


@pytest.mark.parametrize(("read", "lines", "at"), EACH_HEADER)
@pytest.mark.parametrize("other", ["same", "other", "empty"])
def test_doubled_header_makes_it_unreadable(
    read: Read, lines: tuple[Line, ...], at: int, other: str
) -> None:
    name, value = lines[at]
    second = {"same": value, "other": "/health", "empty": ""}[other]

    assert_unreadable(read(CIMultiDict((*lines, (name.lower(), second)))))
    assert_unreadable(read(CIMultiDict(((name.upper(), second), *lines))))


@pytest.mark.parametrize("scheme", ["", "gopher", "HTTPS", "https, http", "https,http", "https "])
def test_unknown_scheme_makes_it_unreadable(scheme: str) -> None:
    lines = [*FORWARDED[:1], ("X-Forwarded-Proto", scheme), *FORWARDED[2:]]

    assert_unreadable(forward_auth.read_request(CIMultiDict(lines)))


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_schemes_of_these_gateways_are_known(scheme: str) -> None:
    lines = [*FORWARDED[:1], ("X-Forwarded-Proto", scheme), *FORWARDED[2:]]

    assert forward_auth.read_request(CIMultiDict(lines)).fault is None


@pytest.mark.parametrize(
    ("read", "others"),
    [
        pytest.param(forward_auth.read_request, ORIGINAL, id="forward_auth"),
        pytest.param(nginx.read_request, FORWARDED, id="nginx"),
    ],
)
def test_headers_of_the_other_door_say_nothing(read: Read, others: tuple[Line, ...]) -> None:
    assert_unreadable(read(CIMultiDict(others)))


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
REQUEST = CheckRequest("door", "POST", ("api.example.com",), "/transfers", ())
ALLOW = decide_on_token(API, PAY, TOKEN, NOW, 503)
STEP_UP = decide_on_token(API, PAY, TOKEN._replace(acr=("pwd",)), NOW, 503)
SCOPED = replace(PAY, requirement=Requirement(("pay",), (), None))
MONITORED = replace(API, mode="monitor")
MALFORMED = decide_malformed(RequestError("r", "The request path is ambiguous"), None)
NO_API = decide_without_api("deny")
UNAVAILABLE = decide_on_token(API, PAY, IssuerError("https://x", "down"), NOW, 503)
TOO_MANY = decide_on_token(API, PAY, IssuerError("https://x", "down"), NOW, 429)


def answer(door: str, decision: Decision | None, request: CheckRequest = REQUEST) -> Response:
    assert decision is not None
    reply = {"forward_auth": forward_auth.reply, "nginx": nginx.reply}[door]
    return reply(decision, request, IDENTITY.nobody)


@pytest.mark.parametrize("door", ["forward_auth", "nginx"])
def test_allow_is_200_with_the_identity_and_nothing_else(door: str) -> None:
    assert answer(door, ALLOW) == Response(200, (("x-user", "alice"),), "")


@pytest.mark.parametrize("door", ["forward_auth", "nginx"])
def test_allow_without_a_token_says_nothing(door: str) -> None:
    public = decide_without_token(API, replace(PAY, public=True), preflight=False)

    assert answer(door, public) == Response(200, (), "")


@pytest.mark.parametrize("door", ["forward_auth", "nginx"])
def test_monitor_mode_says_what_would_be(door: str) -> None:
    would_deny = decide_on_token(
        MONITORED, PAY, TokenError("expired", "The access token expired"), NOW, 503
    )

    assert answer(door, would_deny) == Response(
        200, (("x-stepup-would-deny", "invalid_token"),), ""
    )


DENIALS = [
    pytest.param(MALFORMED, 400, 403, id="malformed"),
    pytest.param(NO_API, 403, 403, id="no-api"),
    pytest.param(decide_on_token(API, PAY, None, NOW, 503), 401, 401, id="no-credentials"),
    pytest.param(
        decide_on_token(API, PAY, RequestError("r", "Malformed"), NOW, 503),
        400,
        403,
        id="malformed-credentials",
    ),
    pytest.param(STEP_UP, 401, 401, id="step-up"),
    pytest.param(decide_on_token(API, SCOPED, TOKEN, NOW, 503), 403, 403, id="scope"),
    pytest.param(UNAVAILABLE, 503, 503, id="unavailable"),
    pytest.param(TOO_MANY, 429, 403, id="unavailable-as-429"),
]


@pytest.mark.parametrize(("decision", "status", "in_nginx"), DENIALS)
@pytest.mark.parametrize("head", [False, True], ids=["post", "head"])
@pytest.mark.parametrize("cross_origin", [False, True], ids=["same-origin", "cross-origin"])
def test_denial_is_the_same_at_every_door(
    decision: Decision, status: int, in_nginx: int, head: bool, cross_origin: bool
) -> None:
    request = REQUEST._replace(method="HEAD" if head else "POST", cross_origin=cross_origin)
    expected = denial_response(decision, head=head, cross_origin=cross_origin)
    assert expected.status == status

    assert answer("forward_auth", decision, request) == expected
    assert answer("nginx", decision, request) == Response(
        in_nginx,
        (*expected.headers, ("x-stepup-status", str(status)), ("x-stepup-body", expected.body)),
        expected.body,
    )


def test_nginx_gets_all_challenges_in_one_line() -> None:
    """Before 1.23 it relays the first line only."""
    api = Api(
        "p",
        ("https://login.example.com",),
        (),
        realm="r",
        sender_constraint="any",
        dpop_algorithms=("ES256",),
    )
    fault = ProofError("nonce", "dpop_nonce_missing", "n")
    decision = decide_on_token(api, None, fault, 0, scheme="dpop")
    request = nginx.read_request(CIMultiDict(ORIGINAL))
    headers = answer("nginx", decision, request).headers
    challenges = [value for name, value in headers if name == "www-authenticate"]
    assert len(challenges) == 1
    assert challenges[0].startswith('DPoP realm="r", error="use_dpop_nonce"')
    assert challenges[0].endswith('algs="ES256", Bearer realm="r"')
    assert dict(headers)["dpop-nonce"] == "n"
    relayed = answer("forward_auth", decision, request).headers
    assert [name for name, _ in relayed].count("www-authenticate") == 2
