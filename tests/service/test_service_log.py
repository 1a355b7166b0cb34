"""What is logged, and what never is (spec §9)."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_bridge import (
    DOWN_ISSUER,
    HOST,
    ISSUER,
    MFA,
    PWD,
    SECONDS,
    Service,
    bearer,
    policy,
    question,
    with_down_issuer,
    write_config,
    write_keys,
)

from bridge.service.log import EVENTS
from e2e.harness.addresses import Unix
from e2e.harness.http1 import Request, exchange
from e2e.harness.tokens import SigningKey, TokenSpec
from e2e.harness.waiting import wait_until

FIELDS = [
    *("gateway", "method", "api", "operation", "decision", "status", "error", "reason"),
    *("issuer", "client_id", "acr", "auth_age_seconds", "duration_ms", "request_id"),
]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def line_of(service: Service, request_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask, and give the line that this check left."""
    service.ask({**asked, "headers": {**asked["headers"], "x-request-id": [request_id]}})
    return wait_until(
        lambda: [e for e in service.events("check_decided") if e["request_id"] == request_id],
        seconds=SECONDS,
        what=f"the line of {request_id}",
    )[0]


def test_line_of_an_allow_has_exactly_its_members(
    service: Service, signing_key: SigningKey
) -> None:
    spec = TokenSpec(acr=[PWD, MFA], auth_age=40)
    line = line_of(service, "allow-1", question(authorization=bearer(signing_key, spec)))
    assert sorted(line) == sorted([*FIELDS, "event", "level", "timestamp"])
    assert TIMESTAMP.fullmatch(line.pop("timestamp"))
    assert 0 < line.pop("duration_ms") < 5000
    assert 40 <= line.pop("auth_age_seconds") <= 42
    assert line == {
        "event": "check_decided",
        "level": "info",
        "gateway": "native",
        "method": "GET",
        "api": "payments",
        "operation": "profile",
        "decision": "allow",
        "status": 200,
        "error": None,
        "reason": "requirement_met",
        "issuer": ISSUER,
        "client_id": "app",
        "acr": f"{PWD} {MFA}",
        "request_id": "allow-1",
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            question("POST", "/payments/transfers"),
            {"decision": "deny", "status": 401, "error": "unauthorized", "issuer": None},
            id="deny",
        ),
        pytest.param(
            question(path="/monitored/profile"),
            {"decision": "would_deny", "status": 200, "error": "unauthorized"},
            id="would-deny",
        ),
        pytest.param(
            question("not a method"),
            {"decision": "deny", "status": 400, "method": None, "reason": "method_malformed"},
            id="method-is-not-shown",
        ),
        pytest.param(
            question(host="else.test"),
            {"status": 403, "api": None, "operation": None, "error": "no_such_operation"},
            id="no-api",
        ),
    ],
)
def test_line_of_another_outcome_has_the_same_members(
    service: Service, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    line = line_of(service, secrets.token_hex(8), asked)
    assert sorted(line) == sorted([*FIELDS, "event", "level", "timestamp"])
    assert {name: line[name] for name in expected} == expected


@pytest.mark.parametrize(
    "request_id",
    [
        pytest.param("a.b", id="dots"),
        pytest.param("x" * 65, id="long"),
        pytest.param("a b", id="blank"),
        pytest.param('"\n{', id="control"),
        pytest.param("", id="empty"),
    ],
)
def test_request_id_that_could_hold_anything_is_not_logged(
    service: Service, request_id: str
) -> None:
    count = len(service.checks())
    service.ask(question(x_request_id=request_id))
    assert service.wait_for_event("check_decided", count + 1)["request_id"] is None


def test_every_event_is_a_documented_one(service: Service) -> None:
    told = {json.loads(line)["event"] for line in service.stdout().splitlines()}
    assert {"service_started", "config_loaded", "key_set_fetched", "check_decided"} <= told
    assert told <= set(EVENTS)


def quiet_service(directory: Path, key: SigningKey, **log: str) -> Service:
    """Start a service whose log is not one of JSON lines: its addresses are known before."""
    write_keys(directory, key)
    authz, admin = Unix(directory / "authz.sock"), Unix(directory / "admin.sock")
    listen = {"authz": str(authz), "admin": str(admin)}
    return Service(directory, policy(listen=listen, log=log), listening=(authz, admin))


def test_console_line_has_the_same_members_and_is_one_line(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    forged = "x\n2026-01-01T00:00:00Z [info] check_decided decision=allow \x1b[2J"
    spec = TokenSpec(client_id=forged, acr="\x1b[2J")
    with quiet_service(tmp_path, signing_key, format="console") as service:
        service.wait_until_ready()
        asked = question(authorization=bearer(signing_key, spec), x_request_id="console-1")
        assert service.ask(asked)["allow"] is True
        wait_until(lambda: "console-1" in service.stdout(), seconds=SECONDS, what="the line")
        text = service.stdout()
    assert "\x1b" not in text
    (line,) = [line for line in text.splitlines() if "console-1" in line]
    assert "check_decided" in line
    assert len([line for line in text.splitlines() if "check_decided" in line]) == 1
    named = re.sub(r"'(?:[^'\\]|\\.)*'", "''", line)
    assert sorted(re.findall(r"(\w+)=", named)) == sorted(FIELDS)


@pytest.mark.parametrize("level", ["warning", "error"])
def test_level_silences_the_lines_of_checks(
    tmp_path: Path, signing_key: SigningKey, level: str
) -> None:
    with quiet_service(tmp_path, signing_key, level=level) as service:
        service.wait_until_ready()
        service.ask(question())
        write_config(service.file, "broken")
        wait_until(
            lambda: service.readiness()["config"]["refused"], seconds=SECONDS, what="a refusal"
        )
    events = [json.loads(line)["event"] for line in service.stdout().splitlines()]
    assert set(events) == {"config_refused"}


# secrets


QUERY, COOKIE, BODY = (f"{name}{secrets.token_hex(16)}" for name in ("q-", "c-", "b-"))
MARK = f"s{secrets.token_hex(16)}"

MALFORMED = [
    *(f"Bearer {MARK},{MARK}", f"Bearer {MARK} {MARK}", f"Bearer {MARK}!", f"Bearer  {MARK}\x7f"),
    *(f"bearer\t{MARK}", f"Bearer={MARK}", f"Bearer {MARK}é", f"Bearer {'=' * 8}{MARK}"),
    *(
        f"Basic {MARK}",
        f"Digest username={MARK}, uri={MARK}",
        f"DPoP {MARK}",
        f"{MARK}",
        f" {MARK}",
    ),
    *(f"Negotiate {MARK}", f"Bearer {MARK * 1000}", f"Bearer {MARK}.{MARK}.{MARK}", f"{MARK} x"),
    *(f"Bearer eyJhbGciOiJub25lIn0.{MARK}.", f"Bearer {MARK}.e30.", f"token {MARK}"),
]

TOKENS = [
    TokenSpec(),
    TokenSpec(acr=MFA),
    TokenSpec(scope="x", acr=MFA),
    TokenSpec(expires_in=-60),
    TokenSpec(audience="https://else.test"),
    TokenSpec(claims={"iss": "https://stranger.test"}),
    TokenSpec(claims={"cnf": {"jkt": "x"}}),
    TokenSpec(claims={"nonce": "n"}, header={"typ": "JWT"}),
    TokenSpec(kid="other"),
    TokenSpec(header={"crit": ["b64"]}),
    TokenSpec(signed_by="stranger"),
]


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[tuple[str, list[str]]]:
    """All that a service says while every outcome is asked for with marked secrets."""
    directory = tmp_path_factory.mktemp("secrets")
    write_keys(directory, signing_key)
    tokens = [
        *(
            bearer(SigningKey.generate() if spec.signed_by == "stranger" else signing_key, spec)
            for spec in TOKENS
        ),
        bearer(signing_key, issuer=DOWN_ISSUER),
    ]
    document = with_down_issuer(policy(log={"level": "debug"}))
    with Service(directory, document) as service:
        service.wait_for_event("key_set_fetched")
        for value in (*tokens, *MALFORMED):
            for path in ("/payments/profile", "/payments/transfers", "/down/profile", "/nowhere"):
                ask_with_secrets(service, "POST" if "transfers" in path else "GET", path, value)
        for path in ("/payments//x", f"/payments/profile#{QUERY}", "/monitored/profile"):
            ask_with_secrets(service, "GET", path, MALFORMED[0])
        ask_with_secrets(service, QUERY, "/payments/profile", tokens[0])
        ask_with_secrets(service, f"{QUERY} x", "/payments/profile", tokens[0])
        for body in (
            b'{"' + BODY.encode() + b'": 1}',
            json.dumps({**question(), "host": [BODY]}).encode(),
            json.dumps({**question(), "headers": {BODY: BODY}}).encode(),
            BODY.encode(),
            b"\xff" + BODY.encode(),
        ):
            assert service.post(body).status == 400
        for raw in (
            b"GET /envoy/%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\x00\r\n\r\n",
            b"GET /envoy/%b HTTP/9.9\r\nAuthorization: Bearer %b\r\n\r\n",
            b"GET /envoy/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n",
            b"\x16\x03 %b %b\r\n\r\n",
        ):
            for address in (service.authz, service.admin):
                exchange(address, raw % (QUERY.encode(), MARK.encode()))
        service.send(Request("GET", f"/{QUERY}?{QUERY}", HOST, (("Authorization", MARK),)))
        headers = (("Authorization", f"Bearer {MARK}"), ("Cookie", COOKIE))
        for page in ("/", "/readyz", "/metrics", f"/{QUERY}", f"/readyz?{QUERY}"):
            exchange(service.admin, Request("GET", page, HOST, headers).raw())
        pages = [service.page(page).body.decode() for page in ("/", "/readyz", "/metrics")]
        service.process.stop()
        said = "\n".join([service.process.output(), *pages])
        yield said, tokens


def ask_with_secrets(service: Service, method: str, path: str, value: str) -> None:
    """Ask at both doors; what comes back goes to the client, not to a log."""
    target = f"{path}?code={QUERY}&access_token={QUERY}"
    asked = question(method, target, cookie=COOKIE, referer=f"https://a/?{QUERY}")
    asked["headers"]["authorization"] = [value]
    service.ask(asked)
    lines = (("Authorization", value), ("Cookie", COOKIE), ("X-Request-Id", f"{MARK}.x"))
    if value.isascii() and " " not in method:
        exchange(service.authz, Request(method, f"/envoy{target}", HOST, lines).raw())


def test_no_secret_is_in_a_log_a_metric_or_a_page(told: tuple[str, list[str]]) -> None:
    said, tokens = told
    for outcome in ("invalid_token", "insufficient_scope", "unauthorized", "requirement_met"):
        assert outcome in said
    for secret in (QUERY, COOKIE, BODY, MARK):
        assert secret not in said
    for token in tokens:
        _, claims, signature = token.removeprefix("Bearer ").split(".")
        assert claims not in said
        assert signature not in said
    assert "unexpected_error" not in said
    assert "check_failed" not in said


def test_answer_to_a_client_does_not_repeat_a_secret(service: Service) -> None:
    for value in MALFORMED:
        asked = question(path=f"/payments/profile?{QUERY}", authorization=value)
        text = json.dumps(service.ask(asked))
        assert MARK not in text
        assert QUERY not in text
