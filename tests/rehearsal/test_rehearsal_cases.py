"""`test`: what a case may ask, claim and expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from running_bridge import HOST, ISSUER, MFA, PHR, PWD, api, policy, write_config

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ConfigError
from bridge.rehearsal.cases import Result, read_cases, run_cases

NOW = 1_800_000_000
OTHER = "https://other.test"
STRICT = "https://strict.test"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    document = policy()
    audiences = ["https://other-api.test"]
    document["issuers"].append(
        {
            "issuer": OTHER,
            "audiences": audiences,
            "jwks_file": "other.json",
            "leeway": 0,
            "claims": {"acr": [["session", "acr"]], "auth_time": [["session", "at"]]},
        }
    )
    document["issuers"].append(
        {
            "issuer": STRICT,
            "audiences": audiences,
            "jwks_file": "strict.json",
            "token_type": "strict",
        }
    )
    document["apis"] += [
        api("narrow", audiences=["https://narrow.test"]),
        api("other", issuers=[OTHER]),
        api("both", issuers=[ISSUER, OTHER]),
        api("strict", issuers=[STRICT], machine_tokens="forbid"),
    ]
    return load_config(write_config(tmp_path_factory.mktemp("cases") / "bridge.yaml", document))


async def result_of(config: Config, directory: Path, **members: Any) -> Result:
    case = {
        "name": "a transfer",
        "request": {"method": "POST", "url": f"https://{HOST}/payments/transfers"},
        "token": {"scope": "payments:write", "acr": MFA, "auth_age": 30},
        "expect": {"allow": True},
        **members,
    }
    file = directory / "cases.yaml"
    file.write_text(yaml.safe_dump([case]))
    (result,) = await run_cases(config, read_cases(file), NOW)
    return result


def url(path: str) -> dict[str, str]:
    return {"url": f"https://{HOST}{path}"}


STEP_UP = "insufficient_user_authentication"
WEAK = {"scope": "payments:write", "acr": PWD, "auth_age": 30}

PASSING = [
    pytest.param({}, id="allow"),
    pytest.param({"expect": {"allow": True, "status": 200, "error": None}}, id="allow-in-full"),
    pytest.param(
        {
            "token": WEAK,
            "expect": {
                "allow": False,
                "status": 401,
                "error": STEP_UP,
                "operation": "create-transfer",
                "acr_values": f"{MFA} {PHR}",
                "max_age": 300,
                "scope": None,
            },
        },
        id="step-up-in-full",
    ),
    pytest.param({"expect": {"operation": "payments.create-transfer"}}, id="operation-with-api"),
    pytest.param(
        {"request": url("/payments/else"), "expect": {"operation": None, "status": 403}},
        id="no-operation",
    ),
    pytest.param(
        {"token": None, "expect": {"error": "unauthorized", "scope": "payments:write"}},
        id="no-token",
    ),
    pytest.param(
        {"token": {**WEAK, "acr": MFA, "scope": "a"}, "expect": {"scope": "payments:write"}},
        id="scope",
    ),
    pytest.param({"request": url("/payments/profile"), "token": {}}, id="token-without-claims"),
    pytest.param({"request": url("/narrow/profile"), "token": {}}, id="audience-of-the-api"),
    pytest.param(
        {"request": url("/narrow/profile"), "token": {"aud": "x"}, "expect": {"status": 401}},
        id="other-audience",
    ),
    pytest.param({"request": url("/other/profile"), "token": {}}, id="other-issuer"),
    pytest.param(
        {"request": url("/both/profile"), "token": {"iss": OTHER}}, id="audience-of-the-issuer"
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/other/transfers"},
            "token": {"session": {"acr": MFA}, "auth_age": 300, "scope": "payments:write"},
        },
        id="auth-age-where-the-issuer-puts-it",
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/other/transfers"},
            "token": {"session": {"acr": MFA}, "auth_age": 301, "scope": "payments:write"},
            "expect": {"status": 401, "error": STEP_UP},
        },
        id="auth-age-beyond",
    ),
    pytest.param(
        {"request": url("/payments/profile"), "token": {"iss": "x"}, "expect": {"status": 401}},
        id="unknown-issuer",
    ),
    pytest.param(
        {"request": url("/payments/profile"), "token": {"exp": 1}, "expect": {"status": 401}},
        id="expired",
    ),
    pytest.param({"token": {**WEAK, "acr": MFA, "auth_age": "5m"}}, id="auth-age-that-is-5m"),
    pytest.param(
        {"token": {**WEAK, "acr": MFA, "auth_age": "306s"}, "expect": {"error": STEP_UP}},
        id="auth-age-beyond-5m",
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/strict/transfers"},
            "token": WEAK,
            "expect": {"error": STEP_UP, "acr_values": f"{MFA} {PHR}", "max_age": 300},
        },
        id="strict-issuer",
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/strict/transfers"},
            "token": {"scope": "payments:write"},
            "expect": {"status": 401, "error": STEP_UP},
        },
        id="strict-issuer-fills-in-a-user",
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/strict/transfers"},
            "token": {**WEAK, "sub": "a", "client_id": "b", "iat": NOW - 30, "jti": "c"},
            "expect": {"error": STEP_UP},
        },
        id="strict-issuer-in-full",
    ),
    pytest.param(
        {"request": url("/strict/profile"), "token": {"iat": NOW + 60}, "expect": {"status": 401}},
        id="strict-issuer-written-claim-counts",
    ),
    pytest.param(
        {
            "request": {**url("/payments/profile"), "headers": {"Host": "other.test"}},
            "expect": {"status": 403, "operation": None},
        },
        id="host-header-takes-the-place-of-the-urls",
    ),
    pytest.param(
        {
            "request": {"method": "POST", "url": f"https://{HOST}/monitored/transfers"},
            "token": WEAK,
            "expect": {"allow": True, "status": 200, "error": STEP_UP},
        },
        id="monitored",
    ),
    pytest.param(
        {
            "request": {
                "method": "OPTIONS",
                "url": f"https://{HOST}/payments/transfers",
                "headers": {"Origin": "https://a.test", "Access-Control-Request-Method": "POST"},
            },
            "token": None,
        },
        id="headers",
    ),
    pytest.param(
        {"request": url("/payments/a;b"), "expect": {"status": 400, "error": "invalid_request"}},
        id="ambiguous-path",
    ),
    pytest.param({"request": url("/payments/health"), "token": None}, id="method-is-get"),
]


@pytest.mark.parametrize("members", PASSING)
async def test_case_passes(config: Config, tmp_path: Path, members: dict[str, Any]) -> None:
    result = await result_of(config, tmp_path, **members)
    assert (result.differences, result.outcome) == ((), "passed")


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        pytest.param({"allow": True}, ("allow", "true", "false"), id="allow"),
        pytest.param({"status": 403}, ("status", "403", "401"), id="status"),
        pytest.param({"error": None}, ("error", "-", STEP_UP), id="error"),
        pytest.param({"operation": "x"}, ("operation", "x", "create-transfer"), id="operation"),
        pytest.param({"operation": None}, ("operation", "-", "create-transfer"), id="none"),
        pytest.param({"acr_values": MFA}, ("acr_values", MFA, f"{MFA} {PHR}"), id="acr-values"),
        pytest.param({"max_age": 1}, ("max_age", "1", "300"), id="max-age"),
        pytest.param({"scope": "a"}, ("scope", "a", "-"), id="scope"),
    ],
)
async def test_case_fails_with_what_was_wanted_and_what_came(
    config: Config, tmp_path: Path, expect: dict[str, Any], difference: tuple[str, str, str]
) -> None:
    result = await result_of(config, tmp_path, token=WEAK, expect=expect)
    assert result.differences == (difference,)
    assert (result.outcome, result.reason) == ("failed", "acr_unmet")


ODD = [
    pytest.param("acr: .nan", id="nan"),
    pytest.param("acr: [urn:example:mfa, 1]", id="mixed-list"),
    pytest.param("auth_age: 999999999999999999", id="huge-age"),
    pytest.param("exp: .nan", id="exp-nan"),
    pytest.param("nbf: 99999999999999999999999999", id="huge"),
    pytest.param("iss: [a]", id="issuer-list"),
    pytest.param("aud: {}", id="audience-mapping"),
    pytest.param("aud: null", id="audience-null"),
    pytest.param("scope: {payments:write: 1}", id="scope-mapping"),
]


@pytest.mark.parametrize("odd", ODD)
async def test_odd_claim_never_raises_and_never_satisfies(
    config: Config, tmp_path: Path, odd: str
) -> None:
    good = {"scope": "scope: payments:write", "acr": f"acr: {MFA}", "auth_age": "auth_age: 30"}
    claims = ["sub: [1, [2]]", *({**good, odd.partition(":")[0]: odd}.values())]
    file = tmp_path / "cases.yaml"
    file.write_text(
        f"- name: odd\n  request: {{method: POST, url: 'https://{HOST}/payments/transfers'}}\n"
        "  expect: {allow: false}\n  token:\n" + "".join(f"    {line}\n" for line in claims)
    )
    (result,) = await run_cases(config, read_cases(file), NOW)
    assert result.outcome == "passed"
    file.write_text(file.read_text().replace(odd, good.get(odd.partition(":")[0], "jti: x")))
    (result,) = await run_cases(config, read_cases(file), NOW)
    assert result.outcome == "failed"  # but for the odd one: allowed


@pytest.mark.parametrize("age", ["'30'", "10 s", "1d", "-6", "1.5", ".inf", ".nan", "true", "[1]"])
def test_auth_age_that_is_no_duration_is_refused_at_its_place(tmp_path: Path, age: str) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(
        "- name: odd\n  request: {url: 'https://api.test/'}\n  expect: {allow: false}\n"
        f"  token:\n    acr: a\n    auth_age: {age}\n"
    )
    with pytest.raises(ConfigError) as refused:
        read_cases(file)
    assert str(refused.value) == (
        f"{file}:6: [0].token.auth_age: must be a whole number of seconds or a duration such as 5m"
    )


async def test_each_case_has_its_own_token(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "cases.yaml"
    transfer = {"method": "POST", "url": f"https://{HOST}/payments/transfers"}
    tokens = [{**WEAK, "acr": MFA}, WEAK, None, {}]
    statuses = [200, 401, 401, 401]
    errors = [None, STEP_UP, "unauthorized", STEP_UP]
    cases = [
        {
            "name": "one of several",
            "request": transfer,
            "expect": {"status": status, "error": error},
            **({} if token is None else {"token": token}),
        }
        for token, status, error in zip(tokens, statuses, errors, strict=True)
    ]
    file.write_text(yaml.safe_dump(cases))
    results = await run_cases(config, read_cases(file), NOW)
    assert [result.differences for result in results] == [()] * len(cases)
