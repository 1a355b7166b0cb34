"""`POST /v1/check`: the question and its faults, the answer to the letter (spec §8)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from bridge.decision.decide import (
    Decision,
    decide_malformed,
    decide_on_token,
    decide_unavailable,
    decide_without_api,
    decide_without_token,
)
from bridge.errors import IssuerError, RequestError, TokenError
from bridge.gateways import envoy
from bridge.gateways.check_request import CheckRequest
from bridge.gateways.native import (
    MAX_QUESTION_BYTES,
    QuestionError,
    problem,
    read_question,
    reply,
)
from bridge.policy.operations import Api, Operation
from bridge.policy.requirement import Requirement
from bridge.tokens.access_token import AccessToken
from bridge.tokens.identity import IdentityHeaders

NOW = 1_700_000_000
QUESTION: dict[str, Any] = {
    "method": "POST",
    "scheme": "https",
    "host": "api.example.com",
    "path": "/payments/transfers?dry=1",
    "headers": {},
}
REQUEST = CheckRequest(
    "native", "POST", ("api.example.com",), "/payments/transfers?dry=1", (), method_overrides=[]
)


def encoded(**changes: Any) -> bytes:
    return json.dumps({**QUESTION, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in QUESTION.items() if key != name}).encode()


NOT_ONE_MEANING = (
    "must have no duplicate members, NaN, Infinity, numbers beyond 64 bits, lone surrogates, "
    "or deep nesting"
)
UNKNOWN = "must have no members but those described"
ONCE = "must be there once"


def wrong_at(character: int) -> str:
    return f"must be one JSON object; character {character} is wrong"


MALFORMED = [
    pytest.param(b"", "", wrong_at(1), id="empty"),
    pytest.param(b"{", "", wrong_at(2), id="no-json"),
    pytest.param(b"{} {}", "", wrong_at(4), id="two-objects"),
    pytest.param(b"{}x", "", wrong_at(3), id="trailing-junk"),
    pytest.param("{é}".encode(), "", wrong_at(2), id="no-name"),
    pytest.param(b"\xff", "", "must be UTF-8; byte 1 is not", id="no-utf-8"),
    pytest.param(b'{"\xc3\xa9\xff', "", "must be UTF-8; byte 5 is not", id="no-utf-8-later"),
    pytest.param(b"\xef\xbb\xbf" + encoded(), "", wrong_at(1), id="byte-order-mark"),
    pytest.param(b"[" * 100_000, "", NOT_ONE_MEANING, id="deep"),
    pytest.param(b'{"headers": NaN}', "", NOT_ONE_MEANING, id="nan"),
    pytest.param(b'[{"a": 1, "a": 1}]', "", NOT_ONE_MEANING, id="duplicate-in-no-object"),
    pytest.param(
        encoded(method={"x": 1})[:-1] + b', "a": [{"b": 1, "b": 1}]}',
        "",
        NOT_ONE_MEANING,
        id="duplicate-far-inside",
    ),
    pytest.param(encoded(path="/\ud800"), "", NOT_ONE_MEANING, id="lone-surrogate"),
    pytest.param(encoded()[:-1] + b', "path": "/public"}', "/path", ONCE, id="duplicate-member"),
    pytest.param(b'{"x": 1, "y": 2, "y": 2}', "/y", ONCE, id="duplicate-of-an-unknown-member"),
    pytest.param(
        b'{"a.b.c": 1, "a.b.c": 2}',
        "",
        "must have no member twice",
        id="duplicate-of-a-name-that-could-be-a-token",
    ),
    pytest.param(
        b'{"headers": {"Origin": [], "Origin": []}}',
        "/headers/Origin",
        ONCE,
        id="duplicate-header",
    ),
    pytest.param(
        b'{"headers": {"x": [], "x": []}}',
        "/headers",
        "must have no member twice",
        id="duplicate-header-that-is-not-read",
    ),
    pytest.param(
        b'{"headers": {"x": 1, "x": 2}, ', "", NOT_ONE_MEANING, id="duplicate-and-no-json"
    ),
    pytest.param(b"[]", "", "must be a JSON object", id="list"),
    pytest.param(b"null", "", "must be a JSON object", id="null"),
    pytest.param(b'"x"', "", "must be a JSON object", id="string"),
    pytest.param(encoded(url="/x"), "/url", "must not be there", id="unknown-member"),
    pytest.param(
        encoded(Method="GET"), "/Method", "must not be there", id="member-in-another-case"
    ),
    pytest.param(encoded(**{"a" * 40: 1}), "/" + "a" * 40, "must not be there", id="name-of-40"),
    pytest.param(encoded(**{"a" * 41: 1}), "", UNKNOWN, id="name-of-41"),
    pytest.param(encoded(**{"a.b.c": 1}), "", UNKNOWN, id="name-that-could-be-a-token"),
    pytest.param(encoded(**{"": 1}), "", UNKNOWN, id="empty-name"),
    *(
        pytest.param(without(name), "", f"must have the member {name}", id=f"no-{name}")
        for name in QUESTION
    ),
    *(
        pytest.param(encoded(**{name: value}), f"/{name}", "must be a string", id=f"{name}-{kind}")
        for name in ("method", "scheme", "host", "path")
        for kind, value in (("null", None), ("number", 1), ("list", ["x"]), ("bool", True))
    ),
    pytest.param(
        encoded(headers=[]), "/headers", "must be an object of lists of strings", id="headers-list"
    ),
    pytest.param(
        encoded(headers=None),
        "/headers",
        "must be an object of lists of strings",
        id="headers-null",
    ),
    pytest.param(
        encoded(headers={"authorization": "Bearer x"}),
        "/headers/authorization",
        "must be a list of strings",
        id="header-string",
    ),
    pytest.param(
        encoded(headers={"origin": [], "Authorization": ["x", None]}),
        "/headers/Authorization",
        "must be a list of strings",
        id="header-list-with-null",
    ),
    pytest.param(
        encoded(headers={"dpop": "proof"}),
        "/headers/dpop",
        "must be a list of strings",
        id="header-proof",
    ),
    pytest.param(
        encoded(headers={"origin": [], "x-other": "Bearer x"}),
        "/headers",
        "must have a list of strings as member 2",
        id="header-that-is-not-read",
    ),
    *(
        pytest.param(
            encoded(client_certificate_sha256=value),
            "/client_certificate_sha256",
            "must be 64 hexadecimal digits",
            id=f"certificate-{kind}",
        )
        for kind, value in (
            ("null", None),
            ("number", 1),
            ("empty", ""),
            ("one-below", "0" * 63),
            ("one-above", "0" * 65),
            ("no-hex", "g" * 64),
            ("line-break", "0" * 64 + "\n"),
        )
    ),
]


@pytest.mark.parametrize(("raw", "pointer", "detail"), MALFORMED)
def test_malformed_question_says_where(raw: bytes, pointer: str, detail: str) -> None:
    with pytest.raises(QuestionError) as malformed:
        read_question(raw)
    assert (malformed.value.pointer, malformed.value.detail) == (pointer, detail)


def test_malformed_question_is_told_as_problem_details() -> None:
    assert problem(QuestionError("/headers", "must be an object")) == (
        b'{"type":"about:blank","title":"Malformed question","status":400,'
        b'"detail":"must be an object","pointer":"/headers"}'
    )


@pytest.mark.parametrize(("raw", "pointer", "detail"), MALFORMED)
def test_problem_details_quote_nothing_that_was_sent(raw: bytes, pointer: str, detail: str) -> None:
    with pytest.raises(QuestionError) as malformed:
        read_question(raw)
    told = problem(malformed.value)
    assert b"Bearer" not in told
    assert b"transfers" not in told


def test_a_question_may_be_256_kib_long() -> None:
    assert MAX_QUESTION_BYTES == 256 * 1024


def test_question_is_read_as_it_came() -> None:
    assert read_question(encoded()) == REQUEST


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"method": "get"}, REQUEST._replace(method="get"), id="method"),
        pytest.param({"scheme": "gopher"}, REQUEST, id="scheme-is-not-looked-at"),
        pytest.param({"host": "A.B.:1"}, REQUEST._replace(hosts=("A.B.:1",)), id="host"),
        pytest.param({"path": "//a/../%2f"}, REQUEST._replace(target="//a/../%2f"), id="path"),
        pytest.param(
            {"path": "/\u2028é"}, REQUEST._replace(target="/\u2028é"), id="path-refused-later"
        ),
        pytest.param(
            {"client_certificate_sha256": "0aF" + "9" * 61},
            REQUEST._replace(client_certificate="0af" + "9" * 61),
            id="client-certificate",
        ),
        pytest.param(
            {"headers": {"DPoP": ["a"], "dpop": ["b"]}},
            REQUEST._replace(dpop=["a", "b"]),
            id="dpop-proofs-in-two-spellings",
        ),
        pytest.param(
            {"headers": {"host": ["evil"], "x-forwarded-host": ["evil"], ":path": ["/x"]}},
            REQUEST,
            id="headers-that-are-never-looked-at",
        ),
        pytest.param(
            {"headers": {"AUTHORIZATION": ["a"]}},
            REQUEST._replace(authorization=["a"]),
            id="header-name-in-any-case",
        ),
        pytest.param(
            {"headers": {"authorization": ["a", "b"]}},
            REQUEST._replace(authorization=["a", "b"]),
            id="two-values",
        ),
        pytest.param(
            {"headers": {"Authorization": ["a"], "authorization": ["b"]}},
            REQUEST._replace(authorization=["a", "b"]),
            id="one-name-in-two-spellings-counts-as-two-values",
        ),
        pytest.param(
            {"headers": {"Authorization": []}},
            REQUEST._replace(authorization=[]),
            id="no-value",
        ),
        pytest.param(
            {"headers": {"Origin": ["x"], "X-Request-ID": ["r"]}},
            REQUEST._replace(cross_origin=True, request_id="r"),
            id="origin-and-request-id",
        ),
        pytest.param(
            {
                "method": "OPTIONS",
                "headers": {"Origin": ["x"], "Access-Control-Request-Method": ["PUT"]},
            },
            REQUEST._replace(method="OPTIONS", cross_origin=True, preflight=True),
            id="preflight",
        ),
        pytest.param(
            {"headers": {"X-HTTP-Method-Override": ["PUT"], "x-http-method": ["GET"]}},
            REQUEST._replace(method_overrides=["PUT", "GET"]),
            id="method-overrides",
        ),
    ],
)
def test_question_is_read_from_its_members(changes: dict[str, Any], expected: CheckRequest) -> None:
    read = read_question(encoded(**changes))
    assert read._replace(authorization=list(read.authorization)) == expected._replace(
        authorization=list(expected.authorization)
    )


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
        st.dictionaries(
            st.sampled_from([*QUESTION, "client_certificate_sha256", "x"]),
            st.text() | st.dictionaries(st.text(), st.lists(st.text())) | st.none(),
        ).map(lambda members: json.dumps(members).encode()),
    )
)
@example(b'{"method":"","scheme":"","host":"","path":"","headers":{"":[""]}}')
@settings(deadline=None)
def test_whatever_is_asked_is_read_or_told_to_be_malformed(raw: bytes) -> None:
    try:
        read_question(raw)
    except QuestionError as malformed:
        json.loads(problem(malformed))


PAY = Operation("create-transfer", ("/transfers",), requirement=Requirement((), ("mfa",), 300))
OPEN = Operation("health", ("/health",), public=True)
API = Api("payments", ("https://login.example.com",), (PAY, OPEN), realm="payments")
IDENTITY = IdentityHeaders((("x-stepup-subject", "sub"), ("x-stepup-acr", "acr")))
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


def test_allow_says_the_operation_and_what_to_set_and_remove() -> None:
    decision = decide_on_token(API, PAY, TOKEN, NOW)
    assert json.loads(reply(decision, REQUEST, IDENTITY.nobody).body) == {
        "allow": True,
        "operation": "payments.create-transfer",
        "upstream": {
            "set": {"x-stepup-subject": "alice"},
            "remove": [
                "x-stepup-acr",
                "x-stepup-would-deny",
                "x_stepup_subject",
                "x_stepup_acr",
                "x_stepup_would_deny",
            ],
        },
    }


def test_allow_in_monitor_mode_tells_the_upstream() -> None:
    decision = decide_on_token(replace(API, mode="monitor"), PAY, TOKEN._replace(acr=()), NOW)
    assert json.loads(reply(decision, REQUEST, IDENTITY.nobody).body)["upstream"] == {
        "set": {
            "x-stepup-subject": "alice",
            "x-stepup-would-deny": "insufficient_user_authentication",
        },
        "remove": ["x-stepup-acr", "x_stepup_subject", "x_stepup_acr", "x_stepup_would_deny"],
    }


def test_denial_says_the_operation_and_the_clients_response() -> None:
    decision = decide_on_token(API, PAY, TOKEN._replace(auth_time=None), NOW)
    request = REQUEST._replace(cross_origin=True)
    assert json.loads(reply(decision, request, IDENTITY.nobody).body) == {
        "allow": False,
        "operation": "payments.create-transfer",
        "response": {
            "status": 401,
            "headers": [
                [
                    "www-authenticate",
                    'Bearer realm="payments", error="insufficient_user_authentication", '
                    'error_description="More recent authentication is required", '
                    'acr_values="mfa", max_age="300"',
                ],
                ["cache-control", "no-store"],
                ["content-type", "application/json"],
                ["access-control-expose-headers", "WWW-Authenticate"],
            ],
            "body": '{"error":"insufficient_user_authentication",'
            '"error_description":"More recent authentication is required",'
            '"acr_values":"mfa","max_age":300}',
        },
    }


@pytest.mark.parametrize(
    ("decision", "name"),
    [
        pytest.param(decide_malformed(RequestError("r", "x"), API), None, id="malformed"),
        pytest.param(decide_without_api("deny"), None, id="no-api"),
        pytest.param(decide_without_api("allow"), None, id="no-api-allowed"),
        pytest.param(decide_without_token(API, None, preflight=False), None, id="no-operation"),
        pytest.param(decide_without_token(API, None, preflight=True), None, id="preflight"),
        pytest.param(decide_unavailable(503), None, id="defect"),
        pytest.param(
            decide_without_token(API, OPEN, preflight=False), "payments.health", id="public"
        ),
        pytest.param(
            decide_on_token(API, PAY, None, NOW), "payments.create-transfer", id="no-credentials"
        ),
    ],
)
def test_operation_is_named_with_its_api_or_null(decision: Decision, name: str | None) -> None:
    assert json.loads(reply(decision, REQUEST, IDENTITY.nobody).body)["operation"] == name


MONITORED = replace(API, mode="monitor")

EVERY_DECISION = [
    pytest.param(decide_malformed(RequestError("r", "x"), API), id="row-1"),
    pytest.param(decide_without_api("deny"), id="row-2"),
    pytest.param(decide_without_api("allow"), id="row-2-allow"),
    pytest.param(decide_without_token(API, None, preflight=True), id="row-3"),
    pytest.param(decide_without_token(API, None, preflight=False), id="row-4"),
    pytest.param(decide_without_token(MONITORED, None, preflight=False), id="row-4-monitor"),
    pytest.param(decide_without_token(API, OPEN, preflight=False), id="row-5"),
    *(
        pytest.param(decide_on_token(api, PAY, finding, NOW, 429), id=f"row-{row}-{api.mode}")
        for api in (API, MONITORED)
        for row, finding in (
            (6, None),
            (7, RequestError("r", "x")),
            (8, IssuerError("i", "r", 30)),
            (9, TokenError("exp", "token_expired")),
            (10, TOKEN._replace(acr=())),
            (12, TOKEN),
        )
    ),
    pytest.param(
        decide_on_token(API, replace(PAY, requirement=Requirement(("a", "b"))), TOKEN, NOW),
        id="row-11",
    ),
]


@pytest.mark.parametrize("decision", EVERY_DECISION)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("cross_origin", [False, True])
def test_every_gateway_gives_the_same_answer(
    decision: Decision, method: str, cross_origin: bool
) -> None:
    request = REQUEST._replace(method=method, cross_origin=cross_origin)
    native = json.loads(reply(decision, request, IDENTITY.nobody).body)
    other = envoy.reply(decision, request, IDENTITY.nobody)
    assert native["allow"] is (other.status == 200)
    if native["allow"]:
        *identity, (remove, names) = other.headers
        assert remove == "x-envoy-auth-headers-to-remove"
        assert native["upstream"] == {"set": dict(identity), "remove": names.split(", ")}
        assert other.body == ""
    else:
        assert native["response"] == {
            "status": other.status,
            "headers": [list(header) for header in other.headers],
            "body": other.body,
        }
        assert (other.body == "") is (method == "HEAD")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": ["Bearer a"], "Origin": ["x"]}, id="usual"),
        pytest.param({"authorization": ["a", "b"], "X-Request-Id": ["1", "2"]}, id="doubled"),
        pytest.param({"X-HTTP-Method": ["PUT"], "x-method-override": ["GET"]}, id="overrides"),
        pytest.param({"origin": ["x"], "access-control-request-method": ["PUT"]}, id="preflight"),
    ],
)
@pytest.mark.parametrize("path", ["/", "//a", "/a/..;b?c", "/%2f", "/a?/../b"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_every_gateway_asks_the_same_question(
    headers: dict[str, list[str]], path: str, method: str
) -> None:
    lines = CIMultiDict([("host", "a"), *((n, v) for n, values in headers.items() for v in values)])
    asked = envoy.read_request(method, "/envoy" + path, lines)
    native = read_question(encoded(method=method, host="a", path=path, headers=headers))
    assert asked._replace(hosts=list(asked.hosts), authorization=list(asked.authorization)) == (
        native._replace(
            gateway="envoy",
            hosts=list(native.hosts),
            authorization=list(native.authorization),
        )
    )
