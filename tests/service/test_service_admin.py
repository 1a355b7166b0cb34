"""The admin listener: health, readiness, metrics, the page for people (spec §9)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_bridge import (
    DOWN_ISSUER,
    ISSUER,
    MFA,
    SECONDS,
    Service,
    bearer,
    policy,
    question,
    with_down_issuer,
    write_keys,
)

from bridge.service.metrics import METRICS
from e2e.harness.http1 import Request, exchange
from e2e.harness.tokens import SigningKey, TokenSpec
from e2e.harness.waiting import wait_until

HITS = "stepup_token_cache_hits_total"
MISSES = "stepup_token_cache_misses_total"
ENTRIES = "stepup_token_cache_entries"

# name: type and labels, as the contract has them; `le` is a histogram's own
CONTRACT = {
    "stepup_checks_total": ("counter", {"gateway", "api", "operation", "decision", "error"}),
    "stepup_check_seconds": ("histogram", set()),
    HITS: ("counter", set()),
    MISSES: ("counter", set()),
    ENTRIES: ("gauge", set()),
    "stepup_key_set_fetches_total": ("counter", {"issuer", "outcome"}),
    "stepup_key_set_age_seconds": ("gauge", {"issuer"}),
    "stepup_step_up_ignored_total": ("counter", {"issuer", "api", "operation"}),
    "stepup_config_loads_total": ("counter", {"outcome"}),
    "stepup_config_loaded_timestamp_seconds": ("gauge", set()),
}
SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})?")
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey) -> Iterator[Service]:
    """A service of which every outcome was asked for, with much that a client may choose."""
    directory = tmp_path_factory.mktemp("admin")
    write_keys(directory, signing_key)
    with Service(directory, with_down_issuer(policy())) as service:
        service.wait_for_event("key_set_fetched")
        service.wait_for_event("key_set_fetch_failed")
        good = bearer(signing_key, TokenSpec(client_id="CHOSEN", acr="CHOSEN"))
        for sent in (
            question(authorization=good),
            question(),
            question("CHOSEN"),
            question("CH OSEN"),
            question(path="/payments/CHOSEN", x_request_id="CHOSEN"),
            question(path="/CHOSEN"),
            question(path="/payments//CHOSEN"),
            question(host="CHOSEN.test"),
            question(authorization="CHOSEN x"),
            question(authorization="Bearer CHOSEN"),
            question(authorization="Bearer CHOSEN,CHOSEN"),
            question("POST", "/payments/transfers", authorization=good),
            question(path="/monitored/profile?CHOSEN"),
            question(path="/down/profile", authorization=bearer(signing_key, issuer=DOWN_ISSUER)),
            question(path="/any-token/CHOSEN", authorization=good),
        ):
            service.ask(sent)
        headers = (("Authorization", good),)
        service.send(Request("CHOSEN", "/envoy/payments/CHOSEN", "api.test", headers))
        service.send(Request("GET", "/envoy/payments/profile", "api.test", headers))
        service.send(Request("GET", "/CHOSEN", "api.test"))
        service.post(b'{"CHOSEN": 1}')
        service.page("/CHOSEN")
        yield service


def test_healthz_says_that_the_process_runs(asked: Service) -> None:
    reply = asked.page("/healthz")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})


def test_readyz_says_what_is_missing(asked: Service) -> None:
    reply = asked.page("/readyz")
    assert (reply.status, reply.values("content-type")) == (
        503,
        ["application/json; charset=utf-8"],
    )
    document = json.loads(reply.body)
    ages = [issuer.pop("age_seconds") for issuer in document["issuers"]]
    loaded = document["config"].pop("loaded_timestamp")
    assert document == {
        "ready": False,
        "missing": {"keys": {DOWN_ISSUER: "file_unreadable"}},
        "issuers": [
            {"issuer": ISSUER, "keys": 1, "error": None},
            {"issuer": DOWN_ISSUER, "keys": 0, "error": "file_unreadable"},
        ],
        "introspection": [],
        "dpop_replay_store": {"error": None},
        "config": {"refused": False, "problems": []},
    }
    assert 0 <= ages[0] < 60
    assert ages[1] is None
    assert abs(time.time() - loaded) < 60


def test_readyz_is_200_when_nothing_is_missing(service: Service) -> None:
    reply = service.page("/readyz")
    assert reply.status == 200
    document = json.loads(reply.body)
    assert (document["ready"], document["missing"]) == (True, {})


@pytest.mark.parametrize("target", ["/nothing", "/healthz/", "//metrics", "/v1/check", "/envoy/x"])
def test_unknown_pages_are_404(asked: Service, target: str) -> None:
    assert asked.page(target).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("target", ["/", "/healthz", "/readyz", "/metrics"])
def test_pages_can_only_be_read(asked: Service, method: str, target: str) -> None:
    reply = exchange(asked.admin, Request(method, target).raw())
    assert reply is not None
    assert reply.status == 405


def test_page_for_people_shows_issuers_and_checks(asked: Service) -> None:
    reply = asked.page("/")
    assert reply.status == 200
    assert reply.values("content-type") == ["text/html; charset=utf-8"]
    assert reply.values("content-security-policy") == [
        "default-src 'none'; style-src 'unsafe-inline'"
    ]
    page = reply.body.decode()
    assert "not ready" in page
    for shown in (ISSUER, DOWN_ISSUER, "insufficient_user_authentication", "would_deny"):
        assert f"<td>{shown}</td>" in page


def test_metrics_are_those_of_the_contract(asked: Service) -> None:
    reply = asked.page("/metrics")
    assert reply.values("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
    text = reply.body.decode()
    for name, (kind, _) in CONTRACT.items():
        assert f"# TYPE {name} {kind}\n" in text
        assert f"# HELP {name} {METRICS[name]}\n" in text
    for sample in asked.samples():
        name, labels = _read(sample)
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        if family in CONTRACT:  # others are told in the documentation
            assert set(labels) - {"le"} == CONTRACT[family][1], sample


def _read(sample: str) -> tuple[str, dict[str, str]]:
    match = SAMPLE.fullmatch(sample)
    assert match is not None, sample
    return match["name"], dict(LABEL.findall(match["labels"] or ""))


def test_no_label_holds_what_a_client_chose(asked: Service) -> None:
    allowed = {
        "gateway": {"native", "envoy"},
        "api": {"", "payments", "monitored", "any-token", "down"},
        "operation": {"", "profile", "create-transfer"},
        "decision": {"allow", "deny", "would_deny"},
        "issuer": {ISSUER, DOWN_ISSUER},
        "outcome": {"ok", "error", "refused"},
        "result": {"fresh", "replayed", "forgotten", "full", "error"},
        "error": {
            *("", "invalid_request", "no_such_operation", "unauthorized", "invalid_token"),
            *("temporarily_unavailable", "insufficient_user_authentication"),
        },
    }
    seen: dict[str, set[str]] = {}
    for sample in asked.samples():
        for label, value in _read(sample)[1].items():
            seen.setdefault(label, set()).add(value)
    del seen["le"]
    for label, values in seen.items():
        assert values <= allowed[label]
    assert seen["decision"] == allowed["decision"]
    assert seen["error"] == allowed["error"]
    for page in ("/", "/metrics", "/readyz"):
        assert "CHOSEN" not in asked.page(page).body.decode()


def test_check_is_counted_with_its_outcome_and_time(
    service: Service, signing_key: SigningKey
) -> None:
    def counted(api: str, operation: str, decision: str, error: str) -> str:
        labels = f'api="{api}",decision="{decision}",error="{error}",gateway="native"'
        return f'stepup_checks_total{{{labels},operation="{operation}"}}'

    weak = bearer(signing_key)
    asked_for = [
        (question(authorization=weak), counted("payments", "profile", "allow", "")),
        (question(), counted("payments", "profile", "deny", "unauthorized")),
        (
            question("POST", "/monitored/transfers", authorization=weak),
            counted(
                "monitored", "create-transfer", "would_deny", "insufficient_user_authentication"
            ),
        ),
        (question(host="else.test"), counted("", "", "deny", "no_such_operation")),
        (question(path="/payments/x"), counted("payments", "", "deny", "no_such_operation")),
        (question(path="/payments/x;y"), counted("payments", "", "deny", "invalid_request")),
    ]
    for sent, sample in asked_for:
        before = service.samples()
        service.ask(sent)
        after = service.samples()
        assert after[sample] == before.get(sample, 0) + 1
        for name in ("count", 'bucket{le="+Inf"}'):
            timed = f"stepup_check_seconds_{name}"
            assert after[timed] == before.get(timed, 0) + 1
        rose = {name for name in after if name.startswith("stepup_checks_total")}
        rose = {name for name in rose if after[name] != before.get(name, 0)}
        assert rose == {sample}


def test_malformed_questions_are_no_checks(service: Service) -> None:
    before = service.samples()
    service.post(b"{}")
    service.send(Request("GET", "/elsewhere"))
    after = service.samples()
    for name in after:
        if name.startswith("stepup_check"):
            assert after[name] == before[name]


def test_fetches_of_keys_are_counted_by_issuer_and_outcome(asked: Service) -> None:
    samples = asked.samples()

    def fetches(issuer: str, outcome: str) -> float:
        labels = f'issuer="{issuer}",outcome="{outcome}"'
        return samples.get(f"stepup_key_set_fetches_total{{{labels}}}", 0)

    assert (fetches(ISSUER, "ok"), fetches(ISSUER, "error")) == (1, 0)
    assert (fetches(DOWN_ISSUER, "ok"), fetches(DOWN_ISSUER, "error")) == (0, 1)
    assert 0 <= samples[f'stepup_key_set_age_seconds{{issuer="{ISSUER}"}}'] < 60
    assert f'stepup_key_set_age_seconds{{issuer="{DOWN_ISSUER}"}}' not in samples
    assert samples['stepup_config_loads_total{outcome="ok"}'] == 1
    assert samples['stepup_config_loads_total{outcome="refused"}'] == 0
    assert abs(time.time() - samples["stepup_config_loaded_timestamp_seconds"]) < 60


# the cache of verified tokens


def test_token_is_verified_once_and_then_found(service: Service, signing_key: SigningKey) -> None:
    asked_for = question(authorization=bearer(signing_key))
    before = service.samples()
    for _ in range(3):
        assert service.ask(asked_for)["allow"] is True
    after = service.samples()
    assert after[MISSES] - before[MISSES] == 1
    assert after[HITS] - before[HITS] == 2
    assert after[ENTRIES] - before[ENTRIES] == 1


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(TokenSpec(expires_in=-60), id="expired"),
        pytest.param(TokenSpec(claims={"iss": "https://stranger.test"}), id="issuer"),
        pytest.param(TokenSpec(kid="other"), id="kid"),
    ],
)
def test_token_that_is_refused_is_not_kept(
    service: Service, signing_key: SigningKey, spec: TokenSpec
) -> None:
    asked_for = question(authorization=bearer(signing_key, spec))
    before = service.samples()
    for _ in range(2):
        assert service.ask(asked_for)["response"]["status"] == 401
    after = service.samples()
    assert after[MISSES] - before[MISSES] == 2
    assert (after[HITS], after[ENTRIES]) == (before[HITS], before[ENTRIES])


def test_decision_about_a_known_token_is_made_anew(
    service: Service, signing_key: SigningKey
) -> None:
    """Fresh a second ago, too old now: the token is found, and sent away."""
    token = bearer(signing_key, TokenSpec(acr=MFA, auth_age=303))  # max_age 300, leeway 5
    asked_for = question("POST", "/payments/transfers", authorization=token)
    assert service.ask(asked_for)["allow"] is True
    hits = service.metric(HITS)
    wait_until(
        lambda: service.ask(asked_for)["allow"] is False,
        seconds=SECONDS,
        what="the token to be too old",
    )
    answer = service.ask(asked_for)
    assert json.loads(answer["response"]["body"])["error"] == "insufficient_user_authentication"
    assert service.metric(HITS) > hits


def test_cache_is_bounded_in_number_and_in_time(tmp_path: Path, signing_key: SigningKey) -> None:
    write_keys(tmp_path, signing_key)
    with Service(tmp_path, policy(token_cache={"max_entries": 2, "ttl": 2})) as service:
        service.wait_until_ready()
        first, *others = (question(authorization=bearer(signing_key)) for _ in range(4))
        for asked_for in (first, *others):
            assert service.ask(asked_for)["allow"] is True
        assert service.metric(ENTRIES) == 2
        assert (service.metric(HITS), service.metric(MISSES)) == (0, 4)
        assert service.ask(first)["allow"] is True  # it had made room
        assert service.metric(MISSES) == 5
        assert service.ask(first)["allow"] is True
        hits = service.metric(HITS)
        assert hits <= 1  # 0 where its two seconds were over
        misses = service.metric(MISSES)
        wait_until(
            lambda: service.ask(first)["allow"] and service.metric(MISSES) > misses,
            seconds=SECONDS,
            what="the entry to be void",
        )
