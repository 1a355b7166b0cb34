"""`explain --json`: the documented shape, every row of the table, the service's own answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running_bridge import (
    DOWN_ISSUER,
    HOST,
    ISSUER,
    MFA,
    PHR,
    PWD,
    SECONDS,
    Service,
    api,
    bearer,
    policy,
    question,
    with_down_issuer,
    write_config,
    write_keys,
)

from bridge.cli import main
from e2e.harness.issuer import Issuer
from e2e.harness.tokens import AUDIENCE, SigningKey, TokenSpec, unsigned
from e2e.harness.waiting import wait_until

NOW = 1_800_000_000
GOOD = {"sub": "alice", "acr": MFA, "auth_age": 30, "scope": "payments:write"}
PROFILE, TRANSFERS = "/payments/profile", "/payments/transfers"
Explain = Callable[..., dict[str, Any]]
Claims = dict[str, Any]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey) -> Path:
    directory = tmp_path_factory.mktemp("explain")
    write_keys(directory, signing_key)
    document = with_down_issuer(policy())
    document["apis"] += [
        api("open", unmatched="allow"),
        api("checked", cors_preflight="check"),
        api("hinted", hint_requirements=True),
        api("deep", operations=[{"name": "limits", "paths": ["/a/{id}/limits/**"]}]),
    ]
    return write_config(directory / "bridge.yaml", document)


@pytest.fixture
def explain(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Run `explain --json`; its exit status must fit the decision."""

    def run(
        path: str = PROFILE,
        method: str = "GET",
        host: str = HOST,
        claims: Claims | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        file: Path = config,
    ) -> dict[str, Any]:
        arguments = ["explain", "--config", str(file), "--method", method, "--json"]
        arguments += ["--url", f"https://{host}{path}"]
        for name, value in (headers or {}).items():
            arguments += ["--header", f"{name}: {value}"]
        if claims is not None:
            (tmp_path / "claims.json").write_text(json.dumps(claims))
            arguments += ["--assume-verified", str(tmp_path / "claims.json"), "--now", str(NOW)]
        if token is not None:
            (tmp_path / "token").write_text(token)
            arguments += ["--token", str(tmp_path / "token")]
        code = main(arguments)
        captured = capsys.readouterr()
        assert captured.err == ""
        document: dict[str, Any] = json.loads(captured.out)
        assert code == (0 if document["decision"] == "allow" else 3)
        return document

    return run


def steps_of(document: dict[str, Any]) -> dict[str, Any]:
    return {step["step"]: step for step in document["steps"]}


MEMBERS = {
    *("decision", "status", "error", "api", "operation", "steps", "response", "upstream"),
}


def test_document_of_a_denial(explain: Explain) -> None:
    document = explain(TRANSFERS, "POST", claims={**GOOD, "acr": PWD})
    assert document.keys() == MEMBERS
    assert {name: document[name] for name in MEMBERS - {"steps", "response"}} == {
        "decision": "deny",
        "status": 401,
        "error": "insufficient_user_authentication",
        "api": "payments",
        "operation": "create-transfer",
        "upstream": {"set": {}, "remove": []},
    }
    description = "A different authentication level is required"
    assert document["response"] == {
        "status": 401,
        "headers": [
            [
                "www-authenticate",
                'Bearer realm="payments", error="insufficient_user_authentication", '
                f'error_description="{description}", acr_values="{MFA} {PHR}", max_age="300", '
                f'resource_metadata="https://{HOST}/.well-known/oauth-protected-resource/payments"',
            ],
            ["cache-control", "no-store"],
            ["content-type", "application/json"],
        ],
        "body": json.dumps(
            {
                "error": "insufficient_user_authentication",
                "error_description": description,
                "acr_values": f"{MFA} {PHR}",
                "max_age": 300,
            },
            separators=(",", ":"),
        ),
    }
    assert document["steps"] == [
        {
            "step": "assumption",
            "outcome": "made",
            "assumed": "claims are taken as verified: signature and header were not checked",
        },
        {
            "step": "request",
            "outcome": "read",
            "method": "POST",
            "host": HOST,
            "path": TRANSFERS,
        },
        {
            "step": "api",
            "outcome": "matched",
            "api": "payments",
            "hosts": [HOST],
            "base_path": "/payments",
            "mode": "enforce",
        },
        {
            "step": "operation",
            "outcome": "matched",
            "operation": "create-transfer",
            "methods": ["POST"],
            "template": "/transfers",
            "public": False,
            "requirement": {
                "scopes": ["payments:write"],
                "acr_values": [MFA, PHR],
                "max_age": 300,
            },
        },
        {"step": "credentials", "outcome": "present"},
        {
            "step": "issuer",
            "outcome": "configured",
            "issuer": ISSUER,
            "provider": None,
            "audiences": ["https://api.test"],
            "algorithms": ["RS256", "PS256", "ES256", "EdDSA"],
            "token_type": "any",
            "id_token_claims": "refuse",
            "claims": {
                "acr": [["acr"]],
                "auth_time": [["auth_time"]],
                "scope": [["scope"], ["scp"]],
                "client_id": [["client_id"]],
            },
            "acr_map": {},
            "insufficient_claims": False,
        },
        {
            "step": "token",
            "outcome": "verified",
            "now": NOW,
            "issuer": ISSUER,
            "leeway_seconds": 5,
            "passed_checks": [
                *("iss", "exp", "nbf", "iat", "id_token", "required_claims", "cnf", "aud"),
            ],
            "assumed": "claims are taken as verified: signature and header were not checked",
            "claims": {
                "iss": ISSUER,
                "aud": "https://api.test",
                "exp": NOW + 300,
                "sub": "alice",
                "acr": PWD,
                "auth_time": NOW - 30,
                "scope": "payments:write",
            },
        },
        {"step": "acr", "outcome": "unmet", "demanded": [MFA, PHR], "token": [PWD]},
        {
            "step": "max_age",
            "outcome": "met",
            "demanded": 300,
            "auth_time": NOW - 30,
            "age_seconds": 30,
            "leeway_seconds": 5,
        },
        {
            "step": "scope",
            "outcome": "met",
            "demanded": ["payments:write"],
            "token": ["payments:write"],
            "missing": [],
        },
        {"step": "decision", "outcome": "deny", "row": 10, "reason": "acr_unmet"},
    ]


def test_document_of_an_allow(explain: Explain) -> None:
    document = explain(TRANSFERS, "POST", claims=GOOD)
    assert document.keys() == MEMBERS
    assert (document["decision"], document["status"], document["error"]) == ("allow", 200, None)
    assert document["response"] == {"status": 200, "headers": [], "body": ""}
    assert document["upstream"]["set"] == {
        "x-stepup-subject": "alice",
        "x-stepup-issuer": ISSUER,
        "x-stepup-acr": MFA,
        "x-stepup-auth-time": str(NOW - 30),
        "x-stepup-scope": "payments:write",
    }
    assert "x-stepup-client-id" in document["upstream"]["remove"]


PREFLIGHT = {"Origin": "https://app.test", "Access-Control-Request-Method": "POST"}

ROWS = [
    pytest.param({"path": "/payments/../x"}, 1, 400, "invalid_request", id="1-path"),
    pytest.param({"host": "a@api.test"}, 1, 400, "invalid_request", id="1-userinfo"),
    pytest.param({"host": ""}, 1, 400, "invalid_request", id="1-no-host"),
    pytest.param({"method": "G T"}, 1, 400, "invalid_request", id="1-method"),
    pytest.param(
        {"headers": {"X-HTTP-Method-Override": "PUT"}}, 1, 400, "invalid_request", id="1-override"
    ),
    pytest.param({"host": "other.test"}, 2, 403, "no_such_operation", id="2-host"),
    pytest.param({"path": "/paymentsX"}, 2, 403, "no_such_operation", id="2-base-path"),
    pytest.param({"method": "OPTIONS", "headers": PREFLIGHT}, 3, 200, None, id="3-preflight"),
    pytest.param({"path": "/payments/else"}, 4, 403, "no_such_operation", id="4-deny"),
    pytest.param({"path": "/open/else"}, 4, 200, None, id="4-allow"),
    pytest.param({"path": "/payments/health"}, 5, 200, None, id="5-public"),
    pytest.param({}, 6, 401, "unauthorized", id="6-no-credentials"),
    pytest.param(
        {"headers": {"Authorization": "Basic eA=="}}, 6, 401, "unauthorized", id="6-other-scheme"
    ),
    pytest.param({"path": "/any-token/else"}, 6, 401, "unauthorized", id="6-require-token"),
    pytest.param(
        {
            "path": "/checked/transfers",
            "method": "OPTIONS",
            "headers": PREFLIGHT,
        },
        4,
        403,
        "no_such_operation",
        id="4-checked-preflight",
    ),
    pytest.param(
        {"headers": {"Authorization": "Bearer a b"}}, 7, 400, "invalid_request", id="7-malformed"
    ),
    pytest.param(
        {"claims": GOOD, "headers": {"Authorization": "Bearer x"}},
        *(7, 400, "invalid_request"),
        id="7-two-values",
    ),
    pytest.param({"claims": {**GOOD, "exp": NOW - 6}}, 9, 401, "invalid_token", id="9-expired"),
    pytest.param({"claims": {**GOOD, "aud": "x"}}, 9, 401, "invalid_token", id="9-audience"),
    pytest.param({"claims": {**GOOD, "iss": "x"}}, 9, 401, "invalid_token", id="9-issuer"),
    pytest.param({"claims": {**GOOD, "cnf": {}}}, 9, 401, "invalid_token", id="9-cnf"),
    pytest.param({"headers": {"Authorization": "DPoP x"}}, 9, 401, "invalid_token", id="9-dpop"),
    pytest.param(
        {"path": TRANSFERS, "method": "POST", "claims": {**GOOD, "acr": "0"}},
        *(10, 401, "insufficient_user_authentication"),
        id="10-acr",
    ),
    pytest.param(
        {"path": TRANSFERS, "method": "POST", "claims": {**GOOD, "auth_age": 306}},
        *(10, 401, "insufficient_user_authentication"),
        id="10-max-age",
    ),
    pytest.param(
        {"path": TRANSFERS, "method": "POST", "claims": {"acr": MFA, "iat": NOW}},
        *(10, 401, "insufficient_user_authentication"),
        id="10-no-auth-time",
    ),
    pytest.param(
        {"path": TRANSFERS, "method": "POST", "claims": {**GOOD, "scope": "x"}},
        *(11, 403, "insufficient_scope"),
        id="11-scope",
    ),
    pytest.param(
        {"path": TRANSFERS, "method": "POST", "claims": {**GOOD, "auth_age": 305}},
        *(12, 200, None),
        id="12-at-the-limit",
    ),
    pytest.param({"claims": {}}, 12, 200, None, id="12-any-token"),
    pytest.param({"path": "/any-token/else", "claims": {}}, 12, 200, None, id="12-require-token"),
]


@pytest.mark.parametrize(("asked", "row", "status", "error"), ROWS)
def test_every_row_of_the_table(
    explain: Explain, asked: dict[str, Any], row: int, status: int, error: str | None
) -> None:
    document = explain(**asked)
    assert document.keys() == MEMBERS
    assert document["steps"][-1]["row"] == row
    assert (document["status"], document["error"]) == (status, error)
    assert document["response"]["status"] == status
    assert (document["decision"] == "allow") is (status == 200)
    if error is not None:
        assert json.loads(document["response"]["body"])["error"] == error


def test_row_8_needs_an_issuer_at_fault(explain: Explain, signing_key: SigningKey) -> None:
    token = bearer(signing_key, issuer=DOWN_ISSUER).removeprefix("Bearer ")
    document = explain("/down/profile", token=token)
    assert document["steps"][-1]["row"] == 8
    assert (document["status"], document["error"]) == (503, "temporarily_unavailable")
    step = steps_of(document)["token"]
    assert (step["outcome"], step["issuer"]) == ("issuer_at_fault", DOWN_ISSUER)
    assert step["reason"] == "keys_unavailable"


@pytest.mark.parametrize(
    ("path", "method", "claims", "error"),
    [
        pytest.param("/monitored/else", "GET", None, "no_such_operation", id="4"),
        pytest.param("/monitored/profile", "GET", None, "unauthorized", id="6"),
        pytest.param("/monitored/profile", "GET", {"exp": 1}, "invalid_token", id="9"),
        pytest.param(
            "/monitored/transfers", "POST", {}, "insufficient_user_authentication", id="10"
        ),
    ],
)
def test_monitored_api_allows_and_tells_what_would_be(
    explain: Explain, path: str, method: str, claims: Claims | None, error: str
) -> None:
    document = explain(path, method, claims=claims)
    assert document.keys() == {*MEMBERS, "would_deny"}
    assert (document["decision"], document["status"], document["error"]) == ("allow", 200, None)
    assert document["would_deny"] == error
    assert document["upstream"]["set"]["x-stepup-would-deny"] == error
    assert document["steps"][-1]["outcome"] == "would_deny"


@pytest.mark.parametrize("path", ["/payments/health", "/payments/else", "/else", "/payments//a"])
def test_claims_that_nobody_looks_at_are_told_as_assumed(explain: Explain, path: str) -> None:
    assert steps_of(explain(path, claims=GOOD))["assumption"]["outcome"] == "made"
    assert "assumption" not in steps_of(explain(path))


def test_hinted_requirements_are_in_the_first_challenge(explain: Explain) -> None:
    document = explain("/hinted/transfers", "POST")
    challenge = dict(document["response"]["headers"])["www-authenticate"]
    assert challenge == (
        f'Bearer realm="hinted", acr_values="{MFA} {PHR}", max_age="300", scope="payments:write"'
    )


def test_template_that_matched_is_told(explain: Explain) -> None:
    step = steps_of(explain("/deep/a/7/limits/x/y"))["operation"]
    assert (step["operation"], step["template"]) == ("limits", "/a/{id}/limits/**")
    assert step["methods"] == ["any method"]


# tokens that are really signed


def test_signed_token_passes_every_check(explain: Explain, signing_key: SigningKey) -> None:
    token = bearer(signing_key, TokenSpec(acr=MFA)).removeprefix("Bearer ")
    document = explain(TRANSFERS, "POST", token=token)
    assert document["decision"] == "allow"
    step = steps_of(document)["token"]
    assert step["passed_checks"][:7] == ["format", "crit", "iss", "alg", "typ", "key", "signature"]
    assert step["header"] == {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}
    assert (step["claims"]["sub"], step["claims"]["iss"]) == ("alice", ISSUER)
    assert "assumed" not in step


@pytest.mark.parametrize(
    ("spec", "failed", "reason"),
    [
        pytest.param(TokenSpec(expires_in=-60), "exp", "token_expired", id="expired"),
        pytest.param(TokenSpec(audience="x"), "aud", None, id="audience"),
        pytest.param(TokenSpec(header={"typ": "logout+jwt"}), "typ", None, id="type"),
        pytest.param(TokenSpec(header={"crit": ["b64"]}), "crit", None, id="crit"),
        pytest.param(TokenSpec(claims={"iss": "x"}), "iss", None, id="issuer"),
        pytest.param(TokenSpec(kid="other"), "key", "token_kid_unknown", id="kid"),
    ],
)
def test_failed_check_is_named_with_those_that_passed(
    explain: Explain, signing_key: SigningKey, spec: TokenSpec, failed: str, reason: str | None
) -> None:
    document = explain(token=bearer(signing_key, spec).removeprefix("Bearer "))
    assert (document["status"], document["error"]) == (401, "invalid_token")
    step = steps_of(document)["token"]
    assert (step["outcome"], step["failed_check"]) == ("invalid", failed)
    assert failed not in step["passed_checks"]
    assert reason in (None, step["reason"])


def test_token_of_a_stranger_or_without_signature_is_invalid(
    explain: Explain, signing_key: SigningKey
) -> None:
    stranger = SigningKey(signing_key.kid, SigningKey.generate().private)
    forged = bearer(stranger).removeprefix("Bearer ")
    assert steps_of(explain(token=forged))["token"]["failed_check"] == "signature"
    bare = unsigned(TokenSpec(), ISSUER)
    assert steps_of(explain(token=bare))["token"]["failed_check"] == "alg"
    assert steps_of(explain(token="opaque"))["token"]["format"] == "opaque"


def test_token_is_not_shown_nor_all_its_claims(explain: Explain, signing_key: SigningKey) -> None:
    spec = TokenSpec(claims={"email": "alice@private.test", "jti": "j-private"})
    token = bearer(signing_key, spec).removeprefix("Bearer ")
    text = json.dumps(explain(token=token))
    assert "private" not in text
    for piece in token.split("."):
        assert piece not in text


def test_query_and_password_are_not_shown(explain: Explain) -> None:
    text = json.dumps(explain(f"{PROFILE}?code=s3cret", host="u:s3cret@api.test"))
    assert "s3cret" not in text


@pytest.mark.parametrize("host", ["[x", "[::1]", "a℀b", "a b", "\x1b[2J", "x" * 5000, "@", ":"])
@pytest.mark.parametrize("as_json", [True, False])
def test_host_that_is_none_is_explained(
    config: Path, capsys: pytest.CaptureFixture[str], host: str, as_json: bool
) -> None:
    arguments = ["explain", "--config", str(config), "--method", "GET"]
    arguments += ["--url", f"https://{host}{PROFILE}", *(["--json"] if as_json else [])]
    assert main(arguments) == 3
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out


def test_text_for_people_tells_each_step_and_the_response(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    claims = tmp_path / "claims.json"
    claims.write_text(json.dumps({**GOOD, "acr": "\x1b[2J"}))
    arguments = ["explain", "--config", str(config), "--method", "POST"]
    arguments += ["--url", f"https://{HOST}{TRANSFERS}", "--assume-verified", str(claims)]
    assert main(arguments) == 3
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "request: read",
        "operation: matched",
        "    assumed: claims are taken as verified: signature and header were not checked",
        "acr: unmet",
        '    token: ["\\u001b[2J"]',
        "decision: deny",
        "deny: 401",
        "    cache-control: no-store",
    ):
        assert line in lines
    assert any(line.startswith("    www-authenticate: Bearer realm=") for line in lines)


def with_issuer(directory: Path, issuer: Issuer) -> Path:
    entry = {"issuer": issuer.url, "audiences": [AUDIENCE], "timeout": 30}
    document = policy(issuers=[entry], apis=[api("payments", issuers=[issuer.url])])
    return write_config(directory / "bridge.yaml", document)


def test_keys_are_fetched_as_the_service_would(
    explain: Explain, tmp_path: Path, issuer: Issuer
) -> None:
    file = with_issuer(tmp_path, issuer)
    document = explain(token=issuer.mint(), file=file)
    assert (document["decision"], issuer.fetches[-1]) == ("allow", "/realms/test/keys")
    issuer.behaviour = "error"
    assert explain(token=issuer.mint(), file=file)["status"] == 503


def test_interruption_while_waiting_for_keys_is_no_traceback(
    tmp_path: Path, issuer: Issuer
) -> None:
    issuer.behaviour = "silent"
    (tmp_path / "token").write_text(issuer.mint())
    command = [sys.executable, "-m", "bridge", "explain", "--method", "GET"]
    command += ["--config", str(with_issuer(tmp_path, issuer)), "--token", str(tmp_path / "token")]
    process = subprocess.Popen(
        [*command, "--url", f"https://{HOST}{PROFILE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: issuer.fetches, seconds=SECONDS, what="a fetch")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=SECONDS) == (b"", b"")
        assert process.returncode == 130
    finally:
        process.kill()
        process.communicate()


# the service gives the same answer


@pytest.fixture(scope="module")
def running(config: Path) -> Any:
    directory = config.parent
    with Service(directory, None, file=config) as service:
        service.wait_for_event("key_set_fetched")
        service.wait_for_event("key_set_fetch_failed")
        yield service


QUESTIONS = [
    pytest.param("GET", "/payments/profile", None, {}, id="no-credentials"),
    pytest.param("HEAD", "/payments/profile", None, {}, id="head"),
    pytest.param("GET", "/payments/profile?a=b", TokenSpec(), {}, id="token"),
    pytest.param("GET", "/payments/health", TokenSpec(), {}, id="public"),
    pytest.param("GET", "/payments/else", None, {"origin": "https://app.test"}, id="cross-origin"),
    pytest.param("POST", "/payments/transfers", TokenSpec(acr=PWD), {}, id="acr"),
    pytest.param("POST", "/payments/transfers", TokenSpec(acr=[MFA]), {}, id="acr-list"),
    pytest.param("POST", "/payments/transfers", TokenSpec(auth_age=4000), {}, id="acr-and-age"),
    pytest.param("POST", "/payments/transfers", TokenSpec(acr=MFA, scope=None), {}, id="scope"),
    pytest.param("GET", "/payments/profile", TokenSpec(signed_by="stranger"), {}, id="stranger"),
    pytest.param("GET", "/payments/profile", TokenSpec(expires_in=-60), {}, id="expired"),
    pytest.param("GET", "/payments//profile", None, {}, id="double-slash"),
    pytest.param("GET", "/monitored/transfers", TokenSpec(), {}, id="monitored"),
    pytest.param("POST", "/monitored/transfers", TokenSpec(), {}, id="monitored-step-up"),
    pytest.param("GET", "/any-token/x", TokenSpec(), {}, id="require-token"),
    pytest.param("GET", "/down/profile", TokenSpec(), {}, id="issuer-at-fault"),
    pytest.param("GET", "/nowhere", TokenSpec(), {}, id="no-api"),
    pytest.param("OPTIONS", "/payments/transfers", None, PREFLIGHT, id="preflight"),
]


@pytest.mark.parametrize(("method", "path", "spec", "headers"), QUESTIONS)
def test_service_gives_the_answer_that_explain_gives(
    explain: Explain,
    running: Service,
    signing_key: SigningKey,
    method: str,
    path: str,
    spec: TokenSpec | None,
    headers: dict[str, str],
) -> None:
    asked = {**question(method, path), "headers": {name: [v] for name, v in headers.items()}}
    token = None
    if spec is not None:
        issuer = DOWN_ISSUER if "down" in path else ISSUER
        key = SigningKey.generate() if spec.signed_by == "stranger" else signing_key
        value = bearer(key, spec, issuer)
        asked["headers"]["authorization"] = [value]
        token = value.removeprefix("Bearer ")
    started = time.time()
    document = explain(path, method, token=token, headers=headers)
    answer = running.ask(asked)
    assert answer["allow"] is (document["decision"] == "allow")
    name = f"{document['api']}.{document['operation']}" if document["operation"] else None
    assert answer["operation"] == name
    if answer["allow"]:
        assert answer["upstream"] == document["upstream"]
    else:
        told = [document["response"], answer["response"]]
        for response in told:  # told apart by the moment of asking
            response["headers"] = [h for h in response["headers"] if h[0] != "retry-after"]
        assert told[0] == told[1]
    assert time.time() - started < 10
