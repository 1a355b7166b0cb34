"""Login loops through the real process, with signed tokens: what client and operator see."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from running_bridge import (
    ISSUER,
    MFA,
    PHR,
    PWD,
    SECONDS,
    Service,
    bearer,
    policy,
    question,
    write_config,
    write_keys,
)

from bridge.service.report import IgnoredStepUp, Report, counters_of, merge
from e2e.harness.http1 import Request
from e2e.harness.tokens import SigningKey, TokenSpec
from e2e.harness.waiting import wait_until

TOLD = "The authorization server did not do what was asked: after a new login acr is still unmet"
METRIC = (
    f'stepup_step_up_ignored_total{{api="payments",issuer="{ISSUER}",operation="create-transfer"}}'
)


class Client:
    """Logs its user in before every request; the authorization server ignores what it asks for."""

    def __init__(self, service: Service, key: SigningKey, **claims: Any) -> None:
        self.service = service
        self._key = key
        self._claims = claims
        self._logged_in = int(time.time())

    def token(self) -> str:
        self._logged_in += 10  # later than the last challenge, by whatever clock
        claims = {"auth_time": self._logged_in, **self._claims}
        return bearer(self._key, TokenSpec(claims=claims))

    def transfer(self, api: str = "payments") -> dict[str, Any]:
        asked = question("POST", f"/{api}/transfers", authorization=self.token())
        return self.service.ask(asked)


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    return dict(answer["response"]["headers"])


def started(directory: Path, key: SigningKey, **top_level: Any) -> Service:
    write_keys(directory, key)
    service = Service(directory, policy(**top_level))
    service.wait_until_ready()
    return service


def test_a_loop_is_told_to_client_and_operator(tmp_path: Path, signing_key: SigningKey) -> None:
    with started(tmp_path, signing_key) as service:
        assert "ignored" not in service.page("/").body.decode()
        client = Client(service, signing_key)
        answers = [client.transfer() for _ in range(4)]
        page = service.page("/").body.decode()
        checks = service.checks()
        told = list(service.events("step_up_ignored"))
        reasons = [event["reason"] for event in checks]
        counted = service.metric(METRIC)
        ready = service.readiness()["ready"]

    assert [answer["response"]["status"] for answer in answers] == [401] * 4
    assert [TOLD in headers_of(answer)["www-authenticate"] for answer in answers] == [
        False, False, True, True,
    ]  # fmt: skip
    assert json.loads(answers[2]["response"]["body"])["error_description"] == TOLD
    assert counted == 2
    assert len(told) == 2
    age = told[0].pop("auth_age_seconds")
    assert -60 < age <= 0
    del told[0]["timestamp"]
    assert told[0] == {
        "event": "step_up_ignored",
        "level": "warning",
        "api": "payments",
        "operation": "create-transfer",
        "issuer": ISSUER,
        "client_id": "app",
        "acr_values": f"{MFA} {PHR}",
        "max_age": 300,
        "acr": PWD,
    }
    assert set(reasons) == {"acr_and_max_age_unmet"}
    assert "<h2>Step-ups that were ignored</h2>" in page
    for cell in ("create-transfer", "app", f"{MFA} {PHR}", "300 s", PWD):
        assert f"<td>{cell}</td>" in page
    assert "alice" not in page
    assert ready is True


def test_forbid_ends_the_loop_for_this_user_alone(tmp_path: Path, signing_key: SigningKey) -> None:
    guard = {"action": "forbid", "limit": 2, "window": "1h"}
    with started(tmp_path, signing_key, loop_guard=guard) as service:
        client = Client(service, signing_key)
        answers = [client.transfer() for _ in range(4)]
        request = Request(
            "POST", "/envoy/payments/transfers", "api.test", (("Authorization", client.token()),)
        )
        envoys = service.send(request)
        others = Client(service, signing_key, sub="bob").transfer()
        monitored = [client.transfer("monitored")["allow"] for _ in range(4)]
        good = TokenSpec(acr=MFA)
        stepped_up = service.ask(
            question("POST", "/payments/transfers", authorization=bearer(signing_key, good))
        )
        reasons = [event["reason"] for event in service.checks()]

    assert [answer["response"]["status"] for answer in answers] == [401, 401, 403, 403]
    forbidden = headers_of(answers[2])
    assert 3540 <= int(forbidden.pop("retry-after")) <= 3600
    assert forbidden == {"cache-control": "no-store", "content-type": "application/json"}
    assert json.loads(answers[2]["response"]["body"])["error_description"] == TOLD
    assert (envoys.status, envoys.values("www-authenticate")) == (403, [])
    assert len(envoys.values("retry-after")) == 1
    assert others["response"]["status"] == 401
    assert monitored == [True] * 4
    assert stepped_up["allow"] is True
    assert reasons[2:4] == ["step_up_ignored"] * 2


def test_a_reload_takes_another_guard_and_keeps_one_that_did_not_change(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    loads = 'stepup_config_loads_total{outcome="ok"}'
    guard = {"action": "forbid", "limit": 2}
    with started(tmp_path, signing_key, loop_guard=guard) as service:

        def reload(**top_level: Any) -> None:
            before = service.metric(loads)
            write_config(service.file, policy(**top_level))
            wait_until(lambda: service.metric(loads) > before, seconds=SECONDS, what="a reload")

        client = Client(service, signing_key)
        assert [client.transfer()["response"]["status"] for _ in range(3)] == [401, 401, 403]
        reload(loop_guard=guard, unmatched_host="allow")
        assert client.transfer()["response"]["status"] == 403
        reload()
        answer = client.transfer()
        assert answer["response"]["status"] == 401
        assert TOLD not in headers_of(answer)["www-authenticate"]


def test_two_workers_count_apart_and_are_reported_together(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    with started(tmp_path, signing_key, workers=2) as service:
        client = Client(service, signing_key)
        for _ in range(20):
            client.transfer()
        counted = service.metric(METRIC)
        rows = service.page("/").body.decode().count("<td>app</td>")

    assert 20 - 2 * 2 <= counted <= 20 - 2  # each is silent about its first challenge and login
    assert rows == counted


def test_reports_carry_ignored_step_ups_and_keep_the_last() -> None:
    def ignored(at: int, client_id: str = "app") -> IgnoredStepUp:
        return IgnoredStepUp(at, ISSUER, "payments", "pay", client_id, "mfa", None, "pwd", 1.5)

    one, other = Report(), Report()
    for at in range(0, 40, 2):
        one.count_ignored(ignored(at))
        other.count_ignored(ignored(at + 1))
    other.count_ignored(ignored(41, "c" * 10_000))
    read = Report.from_json(other.to_json())
    assert read == other

    total = merge([counters_of(one), read])

    assert total.step_up_ignored == {(ISSUER, "payments", "pay"): 41}
    assert [each.at for each in total.step_up_ignored_last] == [*range(21, 40), 41]
    assert total.step_up_ignored_last[-1] == ignored(41, "c" * 100)
    assert len(one.step_up_ignored_last) == 20


@pytest.mark.parametrize("client_id", ["<b>", "a&b"])
def test_the_page_shows_no_markup_of_a_token(
    tmp_path: Path, signing_key: SigningKey, client_id: str
) -> None:
    with started(tmp_path, signing_key) as service:
        client = Client(service, signing_key, client_id=client_id)
        for _ in range(3):
            client.transfer()
        page = service.page("/").body.decode()
    assert client_id not in page
    assert ("&lt;b&gt;" in page) or ("a&amp;b" in page)
