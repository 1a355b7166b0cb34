"""`/v1/openapi.json` and `/v1/check`, held against each other on a real bridge (spec §8)."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import schemathesis
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.generation import GenerationMode

import bridge
from bridge.gateways.check_request import HEADERS_READ
from bridge.gateways.native import MAX_QUESTION_BYTES
from bridge.service.openapi import openapi_document

LOOPBACK = "127.0.0.1"
HOST = "api.example.com"
ISSUER = "https://login.example.com"
DOWN_ISSUER = "https://down.example.com"
AUDIENCE = "https://api.example.com"
PWD, MFA, PHR = "urn:example:pwd", "urn:example:mfa", "urn:example:phr"
START_SECONDS = 30

DOCUMENT: dict[str, Any] = json.loads(openapi_document())
OPERATION = DOCUMENT["paths"]["/v1/check"]["post"]
QUESTIONS = OPERATION["requestBody"]["content"]["application/json"]["examples"]
ANSWERS = OPERATION["responses"]["200"]["content"]["application/json"]["examples"]
PROBLEMS = OPERATION["responses"]["400"]["content"]["application/problem+json"]["examples"]

QUESTION_MEMBERS = DOCUMENT["components"]["schemas"]["Question"]["properties"]
CHECK = schemathesis.openapi.from_dict(DOCUMENT)["/v1/check"]["POST"]
Case = schemathesis.Case[Any]

# Enough to be sure, few enough for a minute; the same at each run.
BOUNDED = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def question(method: str = "GET", path: str = "/payments/health", **changes: Any) -> dict[str, Any]:
    asked = {"method": method, "scheme": "https", "host": HOST, "path": path, "headers": {}}
    return {**asked, **changes}


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema)


class Bridge:
    """`python -m bridge serve` on loopback, and tokens that it takes."""

    def __init__(self, port: int, key: ec.EllipticCurvePrivateKey) -> None:
        self.port = port
        self.url = f"http://{LOOPBACK}:{port}"
        self._key = key

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "alice",
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "client_id": "app",
            "acr": MFA,
            "auth_time": now - 30,
            "scope": "payments:write",
            **changes,
        }
        headers = {"typ": "at+jwt", "kid": "k1"}
        return jwt.encode(claims, self._key, algorithm="ES256", headers=headers)

    def send(
        self, body: bytes | None, method: str = "POST", path: str = "/v1/check", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        status, headers, body = self.send(json.dumps(asked).encode())
        assert (status, headers["content-type"]) == (200, "application/json")
        answer: dict[str, Any] = json.loads(body)
        return answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    directory = tmp_path_factory.mktemp("bridge")
    key = ec.generate_private_key(ec.SECP256R1())
    jwk = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "k1"}
    (directory / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    file = directory / "bridge.yaml"
    with socket.create_server((LOOPBACK, 0)) as closed:  # nobody answers there once it is closed
        down = f"http://{LOOPBACK}:{closed.getsockname()[1]}/keys"
    file.write_text(yaml.safe_dump(_configuration(down), sort_keys=False))
    output = directory / "bridge.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "serve", "--config", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("NO_PROXY", LOOPBACK)  # requests, in schemathesis, goes by it
            yield Bridge(_port(output, process), key)
    finally:
        process.terminate()
        process.wait(20)


def _port(output: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_SECONDS
    while True:
        lines = [json.loads(line) for line in output.read_text().splitlines() if line[:1] == "{"]
        events = {line["event"]: line for line in lines}
        if {"service_started", "key_set_fetched"} <= events.keys():
            return int(events["service_started"]["authz"].rpartition(":")[2])
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)


def _configuration(down: str) -> dict[str, Any]:
    operations = [
        {"name": "health", "methods": ["GET"], "paths": ["/health"], "public": True},
        {
            "name": "read-accounts",
            "methods": ["GET"],
            "paths": ["/accounts"],
            "require": {"scopes": ["accounts:read"]},
        },
        {
            "name": "create-transfer",
            "methods": ["POST"],
            "paths": ["/transfers"],
            "require": {"scopes": ["payments:write"], "acr_values": [MFA, PHR], "max_age": "5m"},
        },
    ]
    api = {"hosts": [HOST], "operations": operations}
    audiences = {"audiences": [AUDIENCE]}
    return {
        "version": 1,
        "listen": {"authz": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0"},
        "issuers": [
            {"issuer": ISSUER, "jwks_file": "keys.json", **audiences},
            {"issuer": DOWN_ISSUER, "jwks_uri": down, "timeout": 1, **audiences},
        ],
        "apis": [
            {"name": "payments", "base_path": "/payments", "issuers": [ISSUER], **api},
            {"name": "down", "base_path": "/down", "issuers": [DOWN_ISSUER], **api},
            {
                "name": "watched",
                "base_path": "/watched",
                "issuers": [ISSUER],
                "mode": "monitor",
                **api,
            },
        ],
        "upstream_headers": {"x-stepup-subject": "sub", "x-stepup-acr": "acr"},
    }


# The document


def test_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == bridge.__version__


def test_document_is_served(running: Bridge) -> None:
    status, headers, body = running.send(None, "GET", "/v1/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == openapi_document()


def test_document_answers_head(running: Bridge) -> None:
    status, headers, body = running.send(None, "HEAD", "/v1/openapi.json")
    assert (status, headers["content-length"], body) == (200, str(len(openapi_document())), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_on_the_document_are_405(running: Bridge, method: str) -> None:
    status, headers, body = running.send(None, method, "/v1/openapi.json")
    assert (status, headers["allow"], body) == (405, "GET, HEAD", b"")


@pytest.mark.parametrize("path", ["/v1/openapi.json/", "/v1/openapi.yaml", "/v1/openapi"])
def test_neighbouring_paths_are_404(running: Bridge, path: str) -> None:
    assert running.send(None, "GET", path)[0] == 404


def test_document_names_every_header_that_is_read() -> None:
    described = DOCUMENT["components"]["schemas"]["Question"]["properties"]["headers"]
    assert set(re.findall(r"`([a-z-]+)`", described["description"])) >= HEADERS_READ


# Its examples


def test_every_question_has_its_answer() -> None:
    assert {name: example["summary"] for name, example in QUESTIONS.items()} == {
        name: example["summary"] for name, example in ANSWERS.items()
    }


@pytest.mark.parametrize("name", QUESTIONS)
def test_example_question_gets_its_answer(running: Bridge, name: str) -> None:
    claims = {"step_up": {"acr": PWD}, "insufficient_scope": {"scope": "profile"}}
    token = running.token(**claims.get(name, {}))
    asked = json.loads(json.dumps(QUESTIONS[name]["value"]).replace("ACCESS_TOKEN", token))
    assert running.ask(asked) == ANSWERS[name]["value"]


MALFORMED = {
    "unknown_member": json.dumps(question(url="/x")).encode(),
    "missing_member": b'{"method": "GET", "scheme": "https", "host": "x", "headers": {}}',
    "wrong_type": json.dumps(question(headers={"authorization": "Bearer x"})).encode(),
    "duplicate_member": json.dumps(question()).encode()[:-1] + b', "path": "/x"}',
    "no_json": b"method=GET",
    "too_large": json.dumps(question()).encode().ljust(MAX_QUESTION_BYTES + 1),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_example_problem_is_what_a_malformed_question_gets(running: Bridge, name: str) -> None:
    status, headers, body = running.send(MALFORMED[name])
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body) == PROBLEMS[name]["value"]


# Whatever is asked

# Random strings alone would never get past the host.
KNOWN_PLACES: list[dict[str, str]] = [
    {},
    {"host": HOST},
    {"host": HOST, "method": "GET"},
    {"host": HOST, "method": "GET", "path": "/payments/accounts"},
    {"host": HOST, "method": "HEAD", "path": "/watched/accounts"},
    {"host": HOST, "method": "POST", "path": "/payments/transfers"},
    {"host": HOST, "path": "/watched/transfers"},
]


@given(case=CHECK.as_strategy(), place=st.sampled_from(KNOWN_PLACES))
@BOUNDED
def test_every_valid_question_gets_an_answer_as_described(
    running: Bridge, case: Case, place: dict[str, str]
) -> None:
    assert isinstance(case.body, dict)
    case.body.update(place)
    response = case.call_and_validate(base_url=running.url)
    assert response.status_code == 200
    check_answer(response.json())


@given(case=CHECK.as_strategy(generation_mode=GenerationMode.NEGATIVE))
@BOUNDED
def test_every_invalid_question_is_told_where(running: Bridge, case: Case) -> None:
    response = case.call_and_validate(base_url=running.url)
    assert response.status_code == 400
    assert response.headers["content-type"] == ["application/problem+json"]
    validator("Problem").validate(response.json())


@given(
    name=st.text().filter(lambda name: name not in QUESTION_MEMBERS), value=st.none() | st.text()
)
@BOUNDED
def test_every_other_member_is_refused(running: Bridge, name: str, value: str | None) -> None:
    status, headers, body = running.send(json.dumps({**question(), name: value}).encode())
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["pointer"] in ("", f"/{name}")


TRANSFER = ("POST", "/payments/transfers")
ROWS = [
    pytest.param("GET", "/payments//health", None, 400, "invalid_request", id="1-path"),
    pytest.param("G T", "/payments/health", None, 400, "invalid_request", id="1-method"),
    pytest.param("GET", "/elsewhere", None, 403, "no_such_operation", id="2"),
    pytest.param("OPTIONS", "/payments/transfers", None, 200, None, id="3"),
    pytest.param("GET", "/payments/elsewhere", None, 403, "no_such_operation", id="4"),
    pytest.param("GET", "/watched/elsewhere", None, 200, "no_such_operation", id="4-monitor"),
    pytest.param("GET", "/payments/health", None, 200, None, id="5"),
    pytest.param(*TRANSFER, None, 401, "unauthorized", id="6"),
    pytest.param("POST", "/watched/transfers", None, 200, "unauthorized", id="6-monitor"),
    pytest.param(*TRANSFER, "Bearer é", 400, "invalid_request", id="7"),
    pytest.param(*TRANSFER, "Bearer a, Bearer b", 400, "invalid_request", id="7-two"),
    pytest.param(
        "GET", "/down/accounts", {"iss": DOWN_ISSUER}, 503, "temporarily_unavailable", id="8"
    ),
    pytest.param(*TRANSFER, {"exp": 1}, 401, "invalid_token", id="9"),
    pytest.param(*TRANSFER, {"acr": PWD}, 401, "insufficient_user_authentication", id="10-acr"),
    pytest.param(
        *TRANSFER, {"auth_time": 1}, 401, "insufficient_user_authentication", id="10-max-age"
    ),
    pytest.param(
        "POST",
        "/watched/transfers",
        {"acr": PWD},
        200,
        "insufficient_user_authentication",
        id="10-monitor",
    ),
    pytest.param(*TRANSFER, {"scope": ""}, 403, "insufficient_scope", id="11"),
    pytest.param(*TRANSFER, {}, 200, None, id="12"),
    pytest.param(*TRANSFER, {"sub": " a\n%é"}, 200, None, id="12-odd-claim"),
]


@pytest.mark.parametrize("origin", [False, True], ids=["no-origin", "origin"])
@pytest.mark.parametrize(("method", "path", "credentials", "status", "error"), ROWS)
def test_every_row_is_answered_as_described(
    running: Bridge,
    method: str,
    path: str,
    credentials: dict[str, Any] | str | None,
    status: int,
    error: str | None,
    origin: bool,
) -> None:
    headers: dict[str, list[str]] = {"Access-Control-Request-Method": ["POST"]}
    if origin or method == "OPTIONS":
        headers["Origin"] = ["https://app.example.com"]
    if isinstance(credentials, dict):
        headers["Authorization"] = [f"Bearer {running.token(**credentials)}"]
    elif credentials is not None:
        headers["Authorization"] = [credentials]
    answer = running.ask(question(method, path, headers=headers))
    check_answer(answer)
    if answer["allow"]:
        assert status == 200
        assert answer["upstream"]["set"].get("x-stepup-would-deny") == error
        return
    response = answer["response"]
    assert (response["status"], json.loads(response["body"])["error"]) == (status, error)
    names = [name for name, _ in response["headers"]]
    assert ("access-control-expose-headers" in names) is origin
    assert ("retry-after" in names) is (status == 503)


NO_CREDENTIALS = (401, "unauthorized")
BAD_REQUEST = (400, "invalid_request")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"path": "/payments/\x80"}, BAD_REQUEST, id="byte-80-in-path"),
        pytest.param({"path": "/payments/\xff"}, BAD_REQUEST, id="byte-ff-in-path"),
        pytest.param({"path": "/payments/accounts?\xff"}, NO_CREDENTIALS, id="byte-ff-in-query"),
        pytest.param({"host": HOST + "\xff"}, BAD_REQUEST, id="byte-ff-in-host"),
        pytest.param({"host": ""}, BAD_REQUEST, id="no-host"),
        pytest.param({"host": f"{HOST}, {HOST}"}, BAD_REQUEST, id="one-host-twice"),
        pytest.param({"host": f"{HOST.upper()}.:8443"}, NO_CREDENTIALS, id="host-with-port"),
        pytest.param({"path": "https://api.example.com/"}, BAD_REQUEST, id="absolute-form"),
        pytest.param({"scheme": "gopher"}, NO_CREDENTIALS, id="any-scheme"),
        pytest.param({"headers": {"authorization": []}}, NO_CREDENTIALS, id="empty-list"),
        pytest.param({"headers": {"x-\xff": ["\xff"]}}, NO_CREDENTIALS, id="byte-ff-elsewhere"),
        pytest.param({"headers": {"authorization": ["Bearer \xff"]}}, BAD_REQUEST, id="token"),
        pytest.param(
            {"headers": {"authorization": [""], "Authorization": [""]}},
            BAD_REQUEST,
            id="two-spellings",
        ),
        pytest.param(
            {"headers": {"X-HTTP-Method-Override": ["DELETE"]}}, BAD_REQUEST, id="override"
        ),
        pytest.param(
            {"headers": {"x_http_method_override": ["DELETE"]}}, NO_CREDENTIALS, id="underscores"
        ),
        pytest.param({"client_certificate_sha256": "aF" * 32}, NO_CREDENTIALS, id="certificate"),
    ],
)
def test_question_means_what_the_document_says(
    running: Bridge, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = running.ask(question(**{"path": "/payments/accounts", **changes}))
    check_answer(answer)
    response = answer["response"]
    assert (response["status"], json.loads(response["body"])["error"]) == expected


def check_answer(answer: dict[str, Any]) -> None:
    """Check what the document promises of an answer, also what no schema can say."""
    validator("Answer").validate(answer)
    if answer["allow"]:
        upstream = answer["upstream"]
        assert not upstream["set"].keys() & set(upstream["remove"])
        return
    names = [name for name, _ in answer["response"]["headers"]]
    assert len(names) == len(set(names))
    assert answer["response"]["body"].isascii()
    if answer["response"]["body"]:
        validator("Denial").validate(json.loads(answer["response"]["body"]))
    if answer["response"]["status"] == 401:
        assert "www-authenticate" in names


# How it is sent


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/json; charset=utf-16", "text/plain", "", "x"],
)
def test_content_type_is_not_looked_at(running: Bridge, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content_type": content_type}
    status, _, body = running.send(json.dumps(question()).encode(), **headers)
    assert (status, json.loads(body)["allow"]) == (200, True)


def test_compressed_question_is_malformed(running: Bridge) -> None:
    packed = gzip.compress(json.dumps(question()).encode())
    status, _, body = running.send(packed, content_encoding="gzip")
    assert (status, json.loads(body)["pointer"]) == (400, "")


def test_who_expects_100_continue_gets_it(running: Bridge) -> None:
    body = json.dumps(question()).encode()
    with socket.create_connection((LOOPBACK, running.port), 10) as connection:
        connection.sendall(_head(f"content-length: {len(body)}\r\nexpect: 100-continue"))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("version", "length"),
    [
        pytest.param("1.0", 2, id="http-1.0"),  # RFC 9110 §10.1.1
        pytest.param("1.1", 256 * 1024 + 1, id="too-large"),
    ],
)
def test_who_must_not_get_100_continue_does_not(running: Bridge, version: str, length: int) -> None:
    with socket.create_connection((LOOPBACK, running.port), 10) as connection:
        framing = f"content-length: {length}\r\nexpect: 100-continue"
        connection.sendall(_head(framing, version))
        if length == 2:
            connection.sendall(b"{}")
        assert connection.recv(65536).startswith(f"HTTP/{version} 400 ".encode())


def _head(framing: str, version: str = "1.1") -> bytes:
    return f"POST /v1/check HTTP/{version}\r\nhost: x\r\n{framing}\r\n\r\n".encode()
