"""Sender-constrained tokens through the whole service: DPoP, certificates, replay, Redis."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_server import PASSWORD, RedisServer
from running_bridge import (
    HOST,
    ISSUER,
    MFA,
    SECONDS,
    Service,
    api,
    policy,
    write_config,
    write_keys,
)

from bridge.cli import main
from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ProofError
from bridge.service.log import silent_log
from bridge.service.proof_memory import ProofMemory
from bridge.tokens.dpop import UsedProof
from bridge.tokens.redis_connection import RedisConnection
from e2e.harness.http1 import Request
from e2e.harness.proofs import GOOD, ProofKey, ProofSpec, base64url, prove
from e2e.harness.tokens import SigningKey, TokenSpec, mint
from e2e.harness.waiting import wait_until

ORIGIN = f"https://{HOST}"
KEY, OTHER_KEY = ProofKey.generate(), ProofKey.generate("EdDSA")
DIGEST = hashlib.sha256(b"the client's certificate").digest()
CERTIFICATE = DIGEST.hex()
X5T = {"x5t#S256": base64url(DIGEST)}
ALGS = 'algs="ES256 EdDSA RS256 PS256"'
CONSTRAINTS = ("none", "any", "dpop", "mtls", "required")


def constrained(**top_level: Any) -> dict[str, Any]:
    apis = [api(name, sender_constraint=name, external_origin=ORIGIN) for name in CONSTRAINTS]
    return policy(apis=apis, client_certificate="x-forwarded-client-cert", **top_level)


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey) -> Iterator[Service]:
    """One process, used proofs in memory."""
    directory = tmp_path_factory.mktemp("bound")
    write_keys(directory, signing_key)
    with Service(directory, constrained()) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def directory(tmp_path: Path, signing_key: SigningKey) -> Path:
    write_keys(tmp_path, signing_key)
    return tmp_path


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def token(key: SigningKey, cnf: dict[str, str] | None = None, **claims: Any) -> str:
    more = claims if cnf is None else {"cnf": cnf, **claims}
    return mint(TokenSpec(acr=MFA, claims=more), ISSUER, key)


def asked(
    constraint: str,
    authorization: str,
    *proofs: str,
    certificate: str | None = None,
    method: str = "GET",
    path: str = "/profile",
) -> dict[str, Any]:
    headers = {"authorization": [authorization], "dpop": list(proofs)}
    question = {
        "method": method,
        "scheme": "http",
        "host": HOST,
        "path": f"/{constraint}{path}",
        "headers": headers,
    }
    if certificate is not None:
        question["client_certificate_sha256"] = certificate
    return question


def proof_for(
    constraint: str, token: str, spec: ProofSpec = GOOD, key: ProofKey = KEY, method: str = "GET"
) -> str:
    return prove(key, method, f"{ORIGIN}/{constraint}/profile", token, spec)


def reason(service: Service) -> str:
    """Give the reason of the last check, from the log."""
    found: str = service.checks()[-1]["reason"]
    return found


def denial(service: Service, question: dict[str, Any]) -> tuple[int, list[str], str]:
    """Give status, challenges and reason of a denial."""
    answer = service.ask(question)
    assert not answer["allow"]
    response = answer["response"]
    challenges = [value for name, value in response["headers"] if name == "www-authenticate"]
    logged = service.checks()[-1]
    assert logged["error"] == json.loads(response["body"])["error"]
    return response["status"], challenges, logged["reason"]


@pytest.mark.parametrize("constraint", ["any", "dpop", "required"])
def test_token_with_its_proof_passes_once(
    bound: Service, signing_key: SigningKey, constraint: str
) -> None:
    bearer = token(signing_key, KEY.cnf)
    proof = proof_for(constraint, bearer)
    question = asked(constraint, f"DPoP {bearer}", proof)
    assert bound.ask(question)["allow"]
    status, challenges, why = denial(bound, question)
    assert (status, why) == (401, "dpop_proof_replayed")
    assert challenges[0] == (
        f'DPoP realm="{constraint}", error="invalid_dpop_proof", '
        f'error_description="The DPoP proof is invalid", {ALGS}'
    )
    assert bound.ask(asked(constraint, f"dpop {bearer}", proof_for(constraint, bearer)))["allow"]


def test_binding_is_checked_anew_where_the_token_is_known(
    bound: Service, signing_key: SigningKey
) -> None:
    bearer = token(signing_key, KEY.cnf)
    assert bound.ask(asked("dpop", f"DPoP {bearer}", proof_for("dpop", bearer)))["allow"]
    assert denial(bound, asked("dpop", f"DPoP {bearer}"))[2] == "dpop_proof_missing"
    stolen = proof_for("dpop", bearer, key=OTHER_KEY)
    assert denial(bound, asked("dpop", f"DPoP {bearer}", stolen))[2] == "dpop_key_mismatch"
    assert denial(bound, asked("any", f"Bearer {bearer}"))[2] == "token_bound_to_key_sent_as_bearer"


@pytest.mark.parametrize(
    ("constraint", "cnf", "scheme", "status", "why"),
    [
        ("none", KEY.cnf, "Bearer", 401, "token_binding_not_supported"),
        ("none", KEY.cnf, "DPoP", 401, "dpop_not_supported"),
        ("none", X5T, "Bearer", 401, "token_binding_not_supported"),
        ("any", {"kid": "x"}, "Bearer", 401, "token_binding_not_supported"),
        ("any", {"jkt": "x"}, "DPoP", 401, "token_binding_malformed"),
        ("any", None, "DPoP", 401, "token_not_bound_to_key"),
        ("any", X5T, "Bearer", 401, "client_certificate_missing"),
        ("dpop", None, "Bearer", 401, "token_not_bound_to_key"),
        ("mtls", None, "Bearer", 401, "token_not_bound"),
        ("mtls", KEY.cnf, "DPoP", 401, "dpop_not_supported"),
        ("required", None, "Bearer", 401, "token_not_bound"),
    ],
)
def test_token_that_is_not_bound_as_demanded_is_invalid(
    bound: Service,
    signing_key: SigningKey,
    constraint: str,
    cnf: dict[str, str] | None,
    scheme: str,
    status: int,
    why: str,
) -> None:
    bearer = token(signing_key, cnf)
    question = asked(constraint, f"{scheme} {bearer}", proof_for(constraint, bearer))
    found = denial(bound, question)
    assert (found[0], found[2]) == (status, why)
    assert 'error="invalid_token"' in found[1][0]


@pytest.mark.parametrize("constraint", ["none", "any"])
def test_plain_bearer_token_passes_where_it_may(
    bound: Service, signing_key: SigningKey, constraint: str
) -> None:
    assert bound.ask(asked(constraint, f"Bearer {token(signing_key)}"))["allow"]


@pytest.mark.parametrize("constraint", ["any", "mtls", "required"])
def test_token_of_a_certificate_passes_with_that_one(
    bound: Service, signing_key: SigningKey, constraint: str
) -> None:
    authorization = f"Bearer {token(signing_key, X5T)}"
    assert bound.ask(asked(constraint, authorization, certificate=CERTIFICATE.upper()))["allow"]
    other = asked(constraint, authorization, certificate="00" * 32)
    assert denial(bound, other)[2] == "client_certificate_mismatch"


def test_token_that_is_bound_twice_needs_both(bound: Service, signing_key: SigningKey) -> None:
    bearer = token(signing_key, {**KEY.cnf, **X5T})

    def question(certificate: str | None, *proofs: str) -> dict[str, Any]:
        return asked("dpop", f"DPoP {bearer}", *proofs, certificate=certificate)

    assert denial(bound, question(None, proof_for("dpop", bearer)))[2] == (
        "client_certificate_missing"
    )
    assert denial(bound, question(CERTIFICATE))[2] == "dpop_proof_missing"
    assert bound.ask(question(CERTIFICATE, proof_for("dpop", bearer)))["allow"]


def test_two_proofs_are_a_malformed_request(bound: Service, signing_key: SigningKey) -> None:
    bearer = token(signing_key, KEY.cnf)
    proofs = [proof_for("any", bearer) for _ in range(2)]
    for question in (
        asked("any", f"DPoP {bearer}", *proofs),
        asked("any", f"DPoP {bearer}", ",".join(proofs)),
        asked("any", "DPoP never-verified", ",".join(proofs)),
    ):
        status, challenges, why = denial(bound, question)
        assert (status, why) == (400, "dpop_repeated")
        assert challenges == [
            'DPoP realm="any", error="invalid_request", '
            f'error_description="The request must have exactly one DPoP value", {ALGS}',
            'Bearer realm="any"',
        ]


@pytest.mark.parametrize("value", ["DPoP", "dpop two parts", "DPoP ="])
@pytest.mark.parametrize(
    ("constraint", "status", "error", "why"),
    [
        ("none", 401, "invalid_token", "dpop_not_supported"),
        ("mtls", 401, "invalid_token", "dpop_not_supported"),
        ("any", 400, "invalid_request", "dpop_token_malformed"),
    ],
)
def test_malformed_token_of_the_dpop_scheme_counts_where_that_is_taken(
    bound: Service, constraint: str, status: int, error: str, why: str, value: str
) -> None:
    found, challenges, logged = denial(bound, asked(constraint, value))
    assert (found, logged) == (status, why)
    assert f'error="{error}"' in challenges[0]


def test_proof_of_a_bearer_token_is_not_looked_at(bound: Service, signing_key: SigningKey) -> None:
    assert bound.ask(asked("any", f"Bearer {token(signing_key)}", "a,b", "c"))["allow"]


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("none", ['Bearer realm="none"']),
        ("mtls", ['Bearer realm="mtls"']),
        ("dpop", [f'DPoP realm="dpop", {ALGS}']),
        ("any", ['Bearer realm="any"', f'DPoP realm="any", {ALGS}']),
        ("required", ['Bearer realm="required"', f'DPoP realm="required", {ALGS}']),
    ],
)
def test_request_without_credentials_is_told_what_will_do(
    bound: Service, constraint: str, expected: list[str]
) -> None:
    assert denial(bound, asked(constraint, ""))[:2] == (401, expected)


def test_step_up_is_challenged_in_the_scheme_of_the_token(
    bound: Service, signing_key: SigningKey
) -> None:
    bearer = mint(TokenSpec(claims={"cnf": KEY.cnf}), ISSUER, signing_key)
    proof = prove(KEY, "POST", f"{ORIGIN}/any/transfers", bearer)
    question = asked("any", f"DPoP {bearer}", proof, method="POST", path="/transfers?a=b")
    status, challenges, why = denial(bound, question)
    assert (status, why) == (401, "acr_unmet")
    assert len(challenges) == 1
    assert challenges[0].startswith('DPoP realm="any", error="insufficient_user_authentication"')
    assert challenges[0].endswith(ALGS)


@pytest.mark.parametrize(
    ("xfcc", "allowed"),
    [
        (f"By=x;Hash={CERTIFICATE}", True),
        (f'Hash={"00" * 32},By=x;Hash={CERTIFICATE};Subject="CN=a,b"', True),
        (f"Hash={CERTIFICATE},By=x;Hash={'00' * 32}", False),
        (f"Hash={CERTIFICATE};Hash={CERTIFICATE}", False),
        (None, False),
    ],
)
def test_envoy_tells_of_the_certificate_in_the_last_element(
    bound: Service, signing_key: SigningKey, xfcc: str | None, allowed: bool
) -> None:
    headers = [("Authorization", f"Bearer {token(signing_key, X5T)}")]
    if xfcc is not None:
        headers.append(("X-Forwarded-Client-Cert", xfcc))
    request = Request("GET", "/envoy/mtls/profile", HOST, tuple(headers))
    assert (bound.send(request).status == 200) == allowed


def test_header_of_the_certificate_means_nothing_unless_configured(
    directory: Path, signing_key: SigningKey
) -> None:
    document = {**constrained(), "client_certificate": "none"}
    headers = (
        ("Authorization", f"Bearer {token(signing_key, X5T)}"),
        ("X-Forwarded-Client-Cert", f"By=x;Hash={CERTIFICATE}"),
    )
    with Service(directory, document) as service:
        service.wait_until_ready()
        assert service.send(Request("GET", "/envoy/mtls/profile", HOST, headers)).status == 401
        assert reason(service) == "client_certificate_missing"


def test_envoys_answer_has_a_line_for_each_challenge(bound: Service) -> None:
    reply = bound.send(Request("GET", "/envoy/any/profile", HOST, ()))
    assert reply.values("www-authenticate") == [
        'Bearer realm="any"',
        f'DPoP realm="any", {ALGS}',
    ]


def test_nonce_is_demanded_and_taken_in_every_worker(
    directory: Path, signing_key: SigningKey, redis: RedisServer
) -> None:
    document = constrained(
        workers=2, dpop={"nonce": "required", "replay": {"redis_url_env": "TEST_REDIS"}}
    )
    bearer = token(signing_key, KEY.cnf)
    with Service(directory, document, environment={"TEST_REDIS": redis.url}) as service:
        service.wait_until_ready()
        answer = service.ask(asked("dpop", f"DPoP {bearer}", proof_for("dpop", bearer)))
        headers = dict(answer["response"]["headers"])
        assert 'error="use_dpop_nonce"' in headers["www-authenticate"]
        with_nonce = ProofSpec(claims={"nonce": headers["dpop-nonce"]})
        for _ in range(12):  # each a connection of its own, so both workers answer some
            proof = proof_for("dpop", bearer, with_nonce)
            assert service.ask(asked("dpop", f"DPoP {bearer}", proof))["allow"]


def test_proof_is_used_up_for_all_workers_and_replicas(
    tmp_path: Path, signing_key: SigningKey, redis: RedisServer
) -> None:
    document = constrained(workers=2, dpop={"replay": {"redis_url_file": "redis-url"}})
    replicas = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        write_keys(directory, signing_key)
        (directory / "redis-url").write_text(f"{redis.url}\n")
        replicas.append(directory)
    bearer = token(signing_key, KEY.cnf)
    with Service(replicas[0], document) as first, Service(replicas[1], document) as second:
        for service in (first, second):
            service.wait_until_ready()
        for _ in range(4):
            question = asked("any", f"DPoP {bearer}", proof_for("any", bearer))
            answers = [service.ask(question)["allow"] for service in (first, second) * 5]
            assert answers == [True] + 9 * [False]
        outcomes = {
            outcome: sum(
                service.metric(f'stepup_dpop_proofs_total{{result="{outcome}"}}')
                for service in (first, second)
            )
            for outcome in ("fresh", "replayed", "error")
        }
        assert outcomes == {"fresh": 4, "replayed": 36, "error": 0}
        said = "".join(service.process.output() for service in (first, second))
        assert PASSWORD not in said
    keys = redis.ask(b"KEYS stepup-bridge:dpop:*\r\n").decode()
    assert keys.count("stepup-bridge:dpop:") >= 4
    name = next(
        line for line in keys.splitlines() if ":dpop:" in line and not line.endswith("probe")
    )
    assert 80 < int(redis.ask(f"TTL {name}\r\n".encode())[1:]) <= 91


@pytest.mark.parametrize("on_error", ["refuse", "allow"])
def test_redis_that_is_down_is_seen_and_recovers(
    directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    signing_key: SigningKey,
    on_error: str,
) -> None:
    bearer = token(signing_key, KEY.cnf)
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        replay = {"redis_url_env": "TEST_REDIS", "on_error": on_error}
        document = constrained(dpop={"replay": replay})
        with Service(directory, document, environment={"TEST_REDIS": redis.url}) as service:
            service.wait_until_ready()
            question = asked("any", f"DPoP {bearer}", proof_for("any", bearer))
            assert service.ask(question)["allow"]

            redis.process.stop()
            question = asked("any", f"DPoP {bearer}", proof_for("any", bearer))
            answer = service.ask(question)
            if on_error == "refuse":
                headers = dict(answer["response"]["headers"])
                assert (answer["response"]["status"], headers["retry-after"]) == (503, "1")
                assert "www-authenticate" not in headers
                assert reason(service) == "replay_store_unavailable"
            else:
                assert answer["allow"]
                assert denial(service, question)[2] == "dpop_proof_replayed"
            failed = service.wait_for_event("replay_store_failed")
            assert (failed["level"], failed["on_error"]) == ("error", on_error)
            assert service.metric("stepup_dpop_replay_store_up") == 0
            assert service.readiness()["dpop_replay_store"]["error"] == failed["reason"]
            assert service.page("/readyz").status == (503 if on_error == "refuse" else 200)
            assert service.ask(asked("any", f"Bearer {token(signing_key)}"))["allow"]

            redis.start()
            service.wait_for_event("replay_store_recovered")
            assert service.metric("stepup_dpop_replay_store_up") == 1
            assert service.page("/readyz").status == 200
            question = asked("any", f"DPoP {bearer}", proof_for("any", bearer))
            assert service.ask(question)["allow"]
            assert denial(service, question)[2] == "dpop_proof_replayed"
            assert PASSWORD not in service.process.output()


def test_redis_that_is_down_at_the_start_is_seen(directory: Path, signing_key: SigningKey) -> None:
    document = constrained(dpop={"replay": {"redis_url": "redis://127.0.0.1:1"}})
    with Service(directory, document) as service:
        service.wait_for_event("replay_store_failed")
        missing = service.readiness()["missing"]
        assert missing == {"dpop_replay_store": "ConnectionError"}
        bearer = token(signing_key, KEY.cnf)
        answer = service.ask(asked("any", f"DPoP {bearer}", proof_for("any", bearer)))
        assert answer["response"]["status"] == 503


def test_redis_that_takes_no_writes_is_down_and_said_to_be_so_once(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> None:
    """It answers a PING all the same."""
    bearer = token(signing_key, KEY.cnf)
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        document = constrained(dpop={"replay": {"redis_url_env": "TEST_REDIS"}})
        with Service(directory, document, environment={"TEST_REDIS": redis.url}) as service:
            service.wait_until_ready()
            assert redis.ask(b"REPLICAOF 127.0.0.1 1\r\n").startswith(b"+OK")
            failed = service.wait_for_event("replay_store_failed")
            assert failed["reason"] == "ReadOnlyError"
            wait_until(lambda: _refused_writes(redis) > 2, seconds=SECONDS, what="more attempts")
            answer = service.ask(asked("any", f"DPoP {bearer}", proof_for("any", bearer)))
            assert answer["response"]["status"] == 503
            assert service.metric("stepup_dpop_replay_store_up") == 0
            assert redis.ask(b"REPLICAOF NO ONE\r\n").startswith(b"+OK")
            service.wait_for_event("replay_store_recovered")
            assert service.ask(asked("any", f"DPoP {bearer}", proof_for("any", bearer)))["allow"]
            assert len(list(service.events("replay_store_failed"))) == 1


def _refused_writes(redis: RedisServer) -> int:
    found = re.search(rb"errorstat_READONLY:count=(\d+)", redis.ask(b"INFO errorstats\r\n"))
    return int(found[1]) if found else 0


def test_redis_that_hangs_costs_one_time_out(directory: Path, signing_key: SigningKey) -> None:
    """The first proof waits; the next are refused at once until Redis answers again."""
    bearer = token(signing_key, KEY.cnf)
    with RedisServer(directory) as redis:
        document = constrained(dpop={"replay": {"redis_url_env": "TEST_REDIS"}})
        with Service(directory, document, environment={"TEST_REDIS": redis.url}) as service:
            service.wait_until_ready()
            redis.process.signal(signal.SIGSTOP)
            try:
                durations = []
                for _ in range(3):
                    proof = proof_for("any", bearer)
                    answer = service.ask(asked("any", f"DPoP {bearer}", proof))
                    assert answer["response"]["status"] == 503
                checks = service.checks()
                durations = [check["duration_ms"] for check in checks if check["status"] == 503]
                assert durations[1] < 500
                assert durations[2] < 500
            finally:
                redis.process.signal(signal.SIGCONT)
            service.wait_for_event("replay_store_recovered")


def test_reload_keeps_used_proofs(directory: Path, signing_key: SigningKey) -> None:
    bearer = token(signing_key, KEY.cnf)
    with Service(directory, constrained()) as service:
        service.wait_until_ready()
        question = asked("any", f"DPoP {bearer}", proof_for("any", bearer))
        assert service.ask(question)["allow"]
        longer = constrained(dpop={"iat_window": "5m", "replay": {"max_entries": 1}})
        write_config(service.file, longer)
        service.wait_for_event("config_loaded", 2)
        assert denial(service, question)[2] == "dpop_proof_replayed"
        more = service.ask(asked("any", f"DPoP {bearer}", proof_for("any", bearer)))
        assert more["response"]["status"] == 503
        assert reason(service) == "replay_memory_full"


async def test_connection_ends_at_whatever_moment(redis: RedisServer) -> None:
    async with asyncio.timeout(SECONDS):
        for turns in range(200):
            connection = RedisConnection(redis.url, 1.0, "test:", lambda _: None)
            async with connection:
                for _ in range(turns % 20):
                    await asyncio.sleep(0)


async def refused_by(memory: ProofMemory, proof: UsedProof, config: Config, now: int) -> str | None:
    """Claim a proof, and give the reason of a refusal."""
    try:
        await memory.claim(proof, config.dpop, now)
    except ProofError as refusal:
        return refusal.reason
    return None


async def test_proof_is_taken_once_though_a_reload_brings_or_drops_redis(
    directory: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS", redis.url)
    file = directory / "bridge.yaml"
    alone = load_config(write_config(file, constrained()))
    replay = {"redis_url_env": "TEST_REDIS"}
    shared = load_config(write_config(file, constrained(dpop={"replay": replay})))
    now, leeway = 1_700_000_000, alone.dpop.leeway
    memory = ProofMemory(now, silent_log())
    async with contextlib.AsyncExitStack() as opened:

        async def reload(config: Config, now: int) -> None:
            memory.take_over(config, await memory.prepare(config, opened), now)

        def proof(iat: int) -> UsedProof:
            return UsedProof("jkt", secrets.token_hex(8), iat)

        early, late = proof(now), proof(now + leeway)
        await reload(alone, now)
        assert await refused_by(memory, early, alone, now) is None
        await reload(shared, now)
        assert await refused_by(memory, early, shared, now) == "dpop_proof_replayed"
        assert await refused_by(memory, late, shared, now) is None
        assert await refused_by(memory, late, shared, now) == "dpop_proof_replayed"
        await reload(alone, now)
        assert await refused_by(memory, early, alone, now) == "dpop_proof_older_than_memory"
        assert await refused_by(memory, late, alone, now) == "dpop_proof_older_than_memory"
        assert await refused_by(memory, proof(now + leeway + 1), alone, now + 1) is None


def test_proof_from_before_the_start_is_refused(directory: Path, signing_key: SigningKey) -> None:
    """What a process has seen, the next one cannot know."""
    bearer = token(signing_key, KEY.cnf)
    with Service(directory, constrained()) as service:
        service.wait_until_ready()
        question = asked("any", f"DPoP {bearer}", proof_for("any", bearer, ProofSpec(age=30)))
        assert denial(service, question)[2] == "dpop_proof_older_than_memory"


def test_reload_to_unshared_proofs_is_refused_while_several_workers_run(
    directory: Path, redis: RedisServer
) -> None:
    document = constrained(workers=2, dpop={"replay": {"redis_url_env": "TEST_REDIS"}})
    with Service(directory, document, environment={"TEST_REDIS": redis.url}) as service:
        service.wait_until_ready()
        write_config(service.file, constrained(workers=1))
        refused = service.wait_for_event("config_refused", 2)
        assert refused["problems"] == [
            f"{service.file}: dpop.replay needs a Redis until the restart:"
            " several workers are running"
        ]
        wait_until(
            lambda: service.readiness()["config"]["refused"], seconds=SECONDS, what="refusal"
        )
        worker = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        service.wait_for_event("worker_exited")
        service.wait_until_ready()
        service.process.signal(signal.SIGHUP)
        service.wait_for_event("config_refused", 4)  # the new one goes on without it, too


@pytest.mark.parametrize("on_error", ["refuse", "allow"])
def test_readiness_of_workers_without_redis_depends_on_what_becomes_of_proofs(
    directory: Path, on_error: str
) -> None:
    replay = {"redis_url": "redis://127.0.0.1:1", "on_error": on_error}
    document = constrained(workers=2, dpop={"replay": replay})
    with Service(directory, document) as service:
        service.wait_for_event("replay_store_failed", 2)
        expected = {"dpop_replay_store"} if on_error == "refuse" else set()
        wait_until(
            lambda: set(service.readiness()["missing"]) == expected,
            seconds=SECONDS,
            what=f"{expected} to be all that is missing",
        )
        assert service.page("/readyz").status == (503 if on_error == "refuse" else 200)
        assert service.metric("stepup_dpop_replay_store_up") == 0


@pytest.fixture
def explain_config(directory: Path) -> Path:
    return write_config(directory / "explained.yaml", constrained())


def explained(
    capsys: pytest.CaptureFixture[str], config: Path, *arguments: str
) -> tuple[int, dict[str, Any]]:
    code = main(["explain", "--json", "--config", str(config), "--method", "GET", *arguments])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    binding = [step for step in document["steps"] if step["step"] == "binding"]
    return code, binding[0] if binding else {}


def test_explain_shows_a_proof_that_holds(
    explain_config: Path,
    tmp_path: Path,
    signing_key: SigningKey,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bearer = token(signing_key, KEY.cnf)
    (tmp_path / "token").write_text(bearer)
    proof = proof_for("dpop", bearer)
    url = f"{ORIGIN}/dpop/profile"
    arguments = ("--url", url, "--token", str(tmp_path / "token"), "--header", f"DPoP: {proof}")
    for _ in range(2):  # it uses none up
        code, step = explained(capsys, explain_config, *arguments)
        assert code == 0
        assert (step["outcome"], step["scheme"]) == ("proven", "dpop")
        assert step["sender_constraint"] == "dpop"
        assert step["token_jkt"] == KEY.jkt == step["proof"]["jkt"]
        assert step["passed_checks"][0] == "binding"
        assert step["passed_checks"][-1] == "signature"
        assert "explain uses none up" in step["not_looked_up"]
        assert step["expected"] == {"htm": "GET", "htu": url}


def test_explain_shows_where_a_proof_fails(
    explain_config: Path, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    bearer = token(signing_key, KEY.cnf)
    proof = proof_for("any", bearer)
    headers = ("--header", f"Authorization: DPoP {bearer}", "--header", f"DPoP: {proof}")
    code, step = explained(capsys, explain_config, "--url", f"{ORIGIN}/dpop/profile", *headers)
    assert code == 3
    assert (step["outcome"], step["failed_check"], step["reason"]) == (
        "refused",
        "htu",
        "dpop_htu_mismatch",
    )
    assert step["passed_checks"][-1] == "htm"
    assert step["proof"]["htu"] == f"{ORIGIN}/any/profile"


@pytest.mark.parametrize(
    ("constraint", "scheme", "cnf", "why"),
    [
        ("none", "DPoP", None, "dpop_not_supported"),
        ("none", "Bearer", X5T, "token_binding_not_supported"),
        ("mtls", "Bearer", X5T, "client_certificate_missing"),
        ("required", "Bearer", None, "token_not_bound"),
    ],
)
def test_explain_shows_a_binding_that_does_not_hold(
    explain_config: Path,
    signing_key: SigningKey,
    capsys: pytest.CaptureFixture[str],
    constraint: str,
    scheme: str,
    cnf: dict[str, str] | None,
    why: str,
) -> None:
    header = f"Authorization: {scheme} {token(signing_key, cnf)}"
    url = f"{ORIGIN}/{constraint}/profile"
    code, step = explained(capsys, explain_config, "--url", url, "--header", header)
    assert (code, step["outcome"], step["reason"]) == (3, "refused", why)


def test_explain_says_nothing_of_a_binding_where_there_is_none(
    explain_config: Path, signing_key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    header = f"Authorization: Bearer {token(signing_key)}"
    url = f"{ORIGIN}/any/profile"
    assert explained(capsys, explain_config, "--url", url, "--header", header) == (0, {})


@pytest.mark.parametrize(
    ("constraint", "cnf", "code", "outcome"),
    [
        ("required", None, 0, None),
        ("dpop", KEY.cnf, 0, "proven"),
        ("none", KEY.cnf, 3, "refused"),
    ],
)
def test_rehearsal_takes_the_binding_as_proven(
    explain_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    constraint: str,
    cnf: dict[str, str] | None,
    code: int,
    outcome: str | None,
) -> None:
    claims = {"sub": "alice"} if cnf is None else {"sub": "alice", "cnf": cnf}
    (tmp_path / "claims.json").write_text(json.dumps(claims))
    arguments = ("--assume-verified", str(tmp_path / "claims.json"))
    url = f"{ORIGIN}/{constraint}/profile"
    found, step = explained(capsys, explain_config, "--url", url, *arguments)
    assert (found, step.get("outcome")) == (code, outcome)
    assert ("assumed" in step) == (outcome is not None)
