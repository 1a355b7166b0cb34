"""From start to end: ports, sockets, workers, drain, and streams that are closed (spec §2, §3)."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running_bridge import (
    DOWN_ISSUER,
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

from bridge.config.load import load_config
from bridge.service.log import silent_log
from bridge.service.worker import answering
from e2e.harness.addresses import Unix
from e2e.harness.http1 import Connection, Request, get
from e2e.harness.issuer import Issuer
from e2e.harness.process import Process
from e2e.harness.tokens import AUDIENCE, SigningKey
from e2e.harness.waiting import wait_until

ALLOWED = (
    'stepup_checks_total{api="payments",decision="allow",error="",gateway="native",'
    'operation="profile"}'
)
MISSES = "stepup_token_cache_misses_total"


def serve(file: Path) -> list[str]:
    return [sys.executable, "-m", "bridge", "serve", "--config", str(file)]


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture
def directory(tmp_path: Path, signing_key: SigningKey) -> Path:
    write_keys(tmp_path, signing_key)
    return tmp_path


def waiting_policy(issuer: Issuer, **top_level: Any) -> dict[str, Any]:
    entry = {"issuer": issuer.url, "audiences": [AUDIENCE], "jwks_uri": issuer.jwks_uri}
    return policy(
        issuers=[{**entry, "timeout": 2}], apis=[api("payments", issuers=[issuer.url])], **top_level
    )


@contextlib.contextmanager
def question_in_hand(service: Service, issuer: Issuer) -> Iterator[Future[dict[str, Any]]]:
    """Ask about a token with an unknown kid: the answer waits for the issuer's time-out."""
    service.wait_until_ready()
    issuer.rotate(keep=False)
    issuer.behaviour = "silent"
    issuer.fetches.clear()
    asked = question(authorization=f"Bearer {issuer.mint()}")
    with ThreadPoolExecutor(1) as pool:
        in_hand = pool.submit(service.ask, asked)
        wait_until(lambda: issuer.fetches, seconds=SECONDS, what="a fetch of keys")
        yield in_hand


@pytest.mark.parametrize(
    ("workers", "name"),
    [
        pytest.param(1, signal.SIGTERM, id="sigterm"),
        pytest.param(1, signal.SIGINT, id="sigint"),
        pytest.param(2, signal.SIGTERM, id="two-workers"),
    ],
)
def test_drain_finishes_the_question_in_hand_and_ends_readiness(
    directory: Path, issuer: Issuer, workers: int, name: signal.Signals
) -> None:
    with Service(directory, waiting_policy(issuer, workers=workers)) as service:
        with question_in_hand(service, issuer) as in_hand:
            service.process.signal(name)
            service.wait_for_event("drain_started")
            readiness = service.page("/readyz")
            assert readiness.status == 503
            assert json.loads(readiness.body)["missing"]["drain"] == "under way"
            assert service.page("/healthz").status == 200
            assert "stepup_checks_total" in service.page("/metrics").body.decode()
            assert service.page("/").status == 200
            with pytest.raises(ConnectionError):
                service.ask(question())
            assert not in_hand.done()
            assert in_hand.result(SECONDS)["response"]["status"] == 503
        wait_until(lambda: not service.process.running, seconds=SECONDS, what="the end")
        assert service.process.stop() == 0
        told = [json.loads(line)["event"] for line in service.stdout().splitlines()]
        assert [event for event in told if event in ("drain_started", "service_stopped")] == [
            "drain_started",
            "service_stopped",
        ]
        assert service.stderr() == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_drain_reads_the_rest_of_a_question_that_has_begun(directory: Path, workers: int) -> None:
    body = json.dumps(question()).encode()
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    with Service(directory, policy(workers=workers)) as service:
        service.wait_until_ready()
        with service.authz.connect(SECONDS) as connection:
            connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is in hand
            service.process.signal(signal.SIGTERM)
            service.wait_for_event("drain_started")
            connection.sendall(body)
            with connection.makefile("rb") as stream:
                answer = stream.read()  # to the end: the connection is closed after the answer
        assert answer.startswith(b"HTTP/1.1 200 ")
        if workers == 1:  # a worker may have the body before it hears of the drain
            assert b"\r\nconnection: close\r\n" in answer
        assert service.process.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_drain_counts_what_it_answers_and_misses_nobody(directory: Path, workers: int) -> None:
    """Also what was answered since somebody asked, by workers that have ended."""
    body = json.dumps(question()).encode()
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    with Service(directory, policy(workers=workers)) as service:
        service.wait_until_ready()
        for _ in range(10):
            service.ask(question())
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(service.authz.connect(SECONDS)) for _ in range(10)]
            for connection in connections:
                connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
                assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            service.process.signal(signal.SIGTERM)
            service.wait_for_event("drain_started")
            for connection in connections[1:]:
                connection.sendall(body)
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            wait_until(
                lambda: service.metric("stepup_check_seconds_count") == 19,
                seconds=SECONDS,
                what="the count of all checks",
            )
            assert service.readiness()["missing"] == {"drain": "under way"}
            connections[0].sendall(body)
        assert service.process.stop() == 0


def test_connection_that_is_asked_again_in_the_drain_is_closed_after_its_answer(
    directory: Path,
) -> None:
    asked = Request("GET", "/envoy/payments/health", "api.test").raw()
    body = json.dumps(question()).encode()
    head = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    with Service(directory, policy()) as service:
        service.wait_until_ready()
        with service.authz.connect(SECONDS) as in_hand, service.authz.connect(SECONDS) as kept:
            in_hand.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert in_hand.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            kept.sendall(asked)
            assert b"\r\nconnection: close\r\n" not in kept.recv(10_000)
            service.process.signal(signal.SIGTERM)
            service.wait_for_event("drain_started")
            with pytest.raises(ConnectionError):  # the drain has begun
                service.authz.connect(SECONDS)
            kept.sendall(asked)
            with kept.makefile("rb") as stream:
                answer = stream.read()  # to the end
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in answer.lower()
            in_hand.sendall(body)
            assert in_hand.recv(100).startswith(b"HTTP/1.1 200 ")
        assert service.process.stop() == 0


@pytest.mark.parametrize("seconds", [0, 1])
def test_drain_ends_at_its_time_out(directory: Path, issuer: Issuer, seconds: int) -> None:
    document = waiting_policy(issuer, drain_timeout=seconds)
    document["issuers"][0]["timeout"] = 30
    with Service(directory, document) as service, question_in_hand(service, issuer) as in_hand:
        started = time.monotonic()
        assert service.process.stop() == 0
        assert seconds <= time.monotonic() - started < 10
        assert isinstance(in_hand.exception(SECONDS), AssertionError)  # no answer


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("listener", ["authz", "admin"])
def test_port_taken_is_one_line_and_status_1(
    directory: Path, service: Service, workers: int, listener: str
) -> None:
    listen = {"authz": "127.0.0.1:0", "admin": "127.0.0.1:0"}
    taken = str(getattr(service, listener))
    document = policy(listen={**listen, listener: taken}, workers=workers)
    done = subprocess.run(
        serve(write_config(directory / "bridge.yaml", document)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"stepup-bridge: cannot listen on {taken}: address already in use\n"
    assert done.stdout == ""
    assert service.ask(question())["allow"] is False  # whose port it is still answers


def test_host_without_an_address_is_one_line_and_status_1(directory: Path) -> None:
    listen = {"authz": "nowhere.invalid:1", "admin": "127.0.0.1:0"}
    file = write_config(directory / "bridge.yaml", policy(listen=listen))
    done = subprocess.run(serve(file), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("stepup-bridge: cannot listen on nowhere.invalid:1: ")
    assert done.stderr.count("\n") == 1


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on loopback")
def test_ipv6_address_is_told_as_it_is_written(directory: Path) -> None:
    listen = {"authz": "[::1]:0", "admin": "127.0.0.1:0"}
    with Service(directory, policy(listen=listen)) as service:
        (started,) = service.events("service_started")
        assert re.fullmatch(r"\[::1\]:[1-9]\d*", started["authz"])
        assert service.challenge().startswith('Bearer realm="payments"')


def unix_policy(directory: Path) -> dict[str, Any]:
    return policy(listen={"authz": f"unix:{directory}/authz.sock", "admin": "127.0.0.1:0"})


def test_unix_socket_is_listened_on_and_removed_at_the_end(directory: Path) -> None:
    with Service(directory, unix_policy(directory)) as service:
        assert service.authz == Unix(directory / "authz.sock")
        assert service.challenge().startswith('Bearer realm="payments"')
        taken = subprocess.run(
            serve(service.file), capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert taken.returncode == 1
        assert taken.stderr == (
            f"stepup-bridge: cannot listen on unix:{directory}/authz.sock: in use\n"
        )
        assert service.challenge().startswith('Bearer realm="payments"')
    assert not (directory / "authz.sock").exists()


def test_unix_socket_that_a_dead_process_left_is_taken_over(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(directory / "authz.sock"))
    with Service(directory, unix_policy(directory)) as service:
        assert service.challenge().startswith('Bearer realm="payments"')


def test_file_in_the_place_of_a_unix_socket_is_left_alone(directory: Path) -> None:
    (directory / "authz.sock").write_text("precious")
    file = write_config(directory / "bridge.yaml", unix_policy(directory))
    done = subprocess.run(serve(file), capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert (directory / "authz.sock").read_text() == "precious"
    assert stat.S_ISREG((directory / "authz.sock").stat().st_mode)


def test_worker_that_starts_slowly_is_waited_for(directory: Path, tmp_path: Path) -> None:
    """However often somebody asks in the meantime."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif 'bridge.service' in sys.orig_argv:\n    time.sleep(3)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    with Service(directory, policy(workers=2), environment=environment) as service:
        service.wait_until_ready()
        assert list(service.events("worker_exited")) == []


@pytest.fixture(scope="module")
def two_workers(
    tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("workers")
    write_keys(directory, signing_key)
    with Service(directory, policy(workers=2)) as started:
        started.wait_until_ready()
        yield started


def ask_each_worker(service: Service, asked: dict[str, Any]) -> int:
    """Ask until every worker has verified the question's token; give how often."""
    before = service.metric(MISSES)
    for count in range(1, 500):
        assert service.ask(asked)["allow"] is True
        if count % 10 == 0 and service.metric(MISSES) == before + 2:
            return count
    raise AssertionError("one worker gets all the connections")


def test_metrics_are_those_of_all_workers_added_up(
    two_workers: Service, signing_key: SigningKey
) -> None:
    before = two_workers.samples()
    count = ask_each_worker(two_workers, question(authorization=bearer(signing_key)))
    after = two_workers.samples()
    assert after[ALLOWED] == before.get(ALLOWED, 0) + count
    hits = "stepup_token_cache_hits_total"
    assert after[hits] == before[hits] + count - 2
    entries = "stepup_token_cache_entries"
    assert after[entries] == before[entries] + 2
    loads = 'stepup_config_loads_total{outcome="ok"}'
    assert after[loads] == 1
    assert after["stepup_check_seconds_count"] >= count


def test_both_workers_take_a_new_configuration(two_workers: Service) -> None:
    def realms() -> set[str]:
        return {two_workers.challenge().split('"')[1] for _ in range(40)}

    write_config(two_workers.file, policy(workers=2, apis=[api("payments", realm="second")]))
    two_workers.process.signal(signal.SIGHUP)
    wait_until(lambda: realms() == {"second"}, seconds=SECONDS, what="the new realm everywhere")
    write_config(two_workers.file, policy(workers=2))
    wait_until(lambda: realms() == {"payments"}, seconds=SECONDS, what="the old realm everywhere")
    assert two_workers.readiness()["ready"] is True


def test_worker_that_hangs_is_missed_until_it_goes_on(two_workers: Service) -> None:
    workers = children_of(two_workers.pid)
    hung = min(workers)
    os.kill(hung, signal.SIGSTOP)
    try:
        assert two_workers.readiness()["missing"] == {"workers": "1 of 2 answer"}
        assert two_workers.page("/metrics").status == 200
    finally:
        os.kill(hung, signal.SIGCONT)
    two_workers.wait_until_ready()
    assert children_of(two_workers.pid) == workers


def test_killed_worker_is_replaced_and_no_counter_falls(
    two_workers: Service, signing_key: SigningKey
) -> None:
    ask_each_worker(two_workers, question(authorization=bearer(signing_key)))
    before = two_workers.samples()
    workers = children_of(two_workers.pid)
    assert len(workers) == 2
    killed = min(workers)
    exits = len(list(two_workers.events("worker_exited")))

    os.kill(killed, signal.SIGKILL)

    event = two_workers.wait_for_event("worker_exited", exits + 1)
    assert (event["level"], event["code"]) == ("error", -signal.SIGKILL)
    assert two_workers.ask(question())["allow"] is False  # the other one answers
    missing = two_workers.readiness()["missing"]
    assert missing["workers"] == "1 of 2 answer"
    assert two_workers.page("/readyz").status == 503
    two_workers.wait_until_ready()
    replaced = children_of(two_workers.pid)
    assert len(replaced) == 2
    assert killed not in replaced
    after = two_workers.samples()
    for sample, value in before.items():
        if "_total" in sample or "_count" in sample:
            assert after[sample] >= value, sample


def kill_workers(service: Service, count: int) -> None:
    """Kill some workers, and wait until others have taken their places."""
    exits = len(list(service.events("worker_exited")))
    for worker in sorted(children_of(service.pid))[:count]:
        os.kill(worker, signal.SIGKILL)
    service.wait_for_event("worker_exited", exits + count)
    service.wait_until_ready()


def test_workers_that_die_beside_a_broken_file_are_replaced_under_yesterdays_rules(
    directory: Path,
) -> None:
    accepted = policy(workers=2, drain_timeout="3s", apis=[api("payments", realm="accepted")])
    refused = 'stepup_config_loads_total{outcome="refused"}'
    with Service(directory, policy(workers=2)) as service:
        service.wait_until_ready()
        write_config(service.file, accepted)
        service.wait_for_event("config_loaded", 4)
        assert "config" not in service.readiness()["missing"]  # asked, they tell of it
        before, broken_at = service.samples(), time.time()
        write_config(service.file, "broken")
        service.wait_for_event("config_refused", 2)
        assert service.metric(refused) == before[refused] + 1
        for _ in range(2):
            kill_workers(service, count=2)
            assert 'realm="accepted"' in service.challenge()
            assert service.readiness()["config"]["refused"] is True
        after = service.samples()
        loads = 'stepup_config_loads_total{outcome="ok"}'
        assert (after[refused], after[loads]) == (before[refused] + 1, before[loads])
        assert service.metric("stepup_config_loaded_timestamp_seconds") < broken_at

        write_config(service.file, {"broken": "in another way"})
        wait_until(
            lambda: service.metric(refused) > after[refused], seconds=SECONDS, what="a refusal"
        )

        count = service.metric(loads)
        said = len(list(service.events("config_needs_restart")))
        write_config(service.file, accepted)
        wait_until(lambda: service.metric(loads) > count, seconds=SECONDS, what="a load")
        service.wait_for_event("config_needs_restart", said + 2)  # as the start had it
        assert service.readiness()["config"]["refused"] is False


def test_change_while_workers_start_takes_over(directory: Path) -> None:
    (directory / "sitecustomize.py").write_text(
        "import sys, time\nif 'bridge.service' in sys.orig_argv:\n    time.sleep(2)\n"
    )
    environment = {"PYTHONPATH": str(directory)}
    with Service(directory, policy(workers=2), environment=environment) as service:
        changed = policy(workers=2, apis=[api("payments", realm="changed")])
        write_config(service.file, changed)
        service.wait_for_event("config_loaded", 4)
        assert 'realm="changed"' in service.challenge()


def run_with(directory: Path, patch: str) -> tuple[str]:
    """Write a program that is the bridge, but for a patch."""
    program = directory / "patched.py"
    program.write_text(f"{patch}from bridge.cli import main\nraise SystemExit(main())\n")
    return (str(program),)


UNABLE = """
import asyncio, errno, os, sys
start, refused = asyncio.create_subprocess_exec, [errno.EAGAIN, errno.EMFILE]
async def create_subprocess_exec(*arguments, **options):
    print(len(os.listdir("/proc/self/fd")), file=sys.stderr, flush=True)
    if refused:
        raise OSError(refused.pop(0), "refused")
    return await start(*arguments, **options)
asyncio.create_subprocess_exec = create_subprocess_exec
"""


def test_worker_that_cannot_be_started_is_told_and_tried_again(directory: Path) -> None:
    document = policy(workers=2)
    with Service(directory, document, command=run_with(directory, UNABLE)) as service:
        service.wait_until_ready()
        told = [(e["code"], e["error"]) for e in service.events("worker_exited")]
        assert told == [(None, "EAGAIN"), (None, "EMFILE")]
        counts = service.stderr().split()
        assert counts[1] == counts[0]  # the first one has left no descriptor open


STOPPED_WHILE_A_WORKER_STARTS = """
import asyncio, os, signal
from bridge.service.supervisor import Supervisor
start, leave, stopping = asyncio.create_subprocess_exec, Supervisor.__aexit__, asyncio.Event()
async def create_subprocess_exec(*arguments, **options):
    process = await start(*arguments, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    await stopping.wait()
    return process
async def __aexit__(self, *ending):
    stopping.set()
    await leave(self, *ending)
asyncio.create_subprocess_exec = create_subprocess_exec
Supervisor.__aexit__ = __aexit__
"""


def test_worker_that_starts_while_the_service_stops_is_told_at_once(directory: Path) -> None:
    document = policy(workers=2, drain_timeout="1h")
    command = run_with(directory, STOPPED_WHILE_A_WORKER_STARTS)
    with Service(directory, document, command=command) as service:
        wait_until(lambda: not service.process.running, seconds=SECONDS, what="the end")
        assert service.process.stop() == 0
        assert service.stderr() == ""


IMPATIENT = """
from bridge.service import supervisor
supervisor._ASK_SECONDS = supervisor._REPORT_TIMEOUT_SECONDS = 0.2
supervisor._SILENT_SECONDS = 1.0
"""


def test_worker_that_hangs_for_long_is_replaced_though_nobody_asks(directory: Path) -> None:
    command = run_with(directory, IMPATIENT)
    with Service(directory, policy(workers=2), command=command) as service:
        service.wait_until_ready()
        os.kill(min(children_of(service.pid)), signal.SIGSTOP)
        assert service.wait_for_event("worker_exited")["code"] == -signal.SIGKILL
        service.wait_until_ready()


def test_signals_are_the_supervisors_business(two_workers: Service) -> None:
    workers = children_of(two_workers.pid)
    for worker in workers:
        assert os.getpgid(worker) == worker  # where no terminal's signal comes
        for name in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(worker, name)
    assert two_workers.page("/readyz").status == 200
    assert children_of(two_workers.pid) == workers


SIGNALLED_EARLY = """
import os, signal, sys
class Signal:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic":  # the first of what takes long to import
            os.kill(os.getpid(), signal.{})
sys.meta_path.insert(0, Signal())
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_starts_is_acted_on_once_it_runs(
    directory: Path, workers: int, name: signal.Signals
) -> None:
    command = run_with(directory, SIGNALLED_EARLY.format(name.name))
    file = write_config(directory / "bridge.yaml", policy(workers=workers))
    process = Process("bridge", (sys.executable, *command, *serve(file)[3:]), directory)
    process.start()

    def events() -> list[str]:
        lines = process.outputs[0].read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]

    try:
        if name == signal.SIGHUP:
            loads = 2 * workers
            wait_until(
                lambda: events().count("config_loaded") == loads, seconds=SECONDS, what="loads"
            )
        else:
            wait_until(lambda: not process.running, seconds=SECONDS, what="the end")
            assert events()[-1] == "service_stopped"
    finally:
        assert process.stop() == 0
    assert process.outputs[1].read_text() == ""


def test_second_signal_ends_a_start_that_hangs(directory: Path) -> None:
    file = directory / "bridge.yaml"
    os.mkfifo(file)
    process = Process("bridge", serve(file), directory)
    process.start()

    def has_ended() -> bool:
        if process.running:
            process.signal(signal.SIGTERM)
        return not process.running

    try:
        wait_until(has_ended, seconds=SECONDS, what="the end")
    finally:
        process.kill()


def test_workers_import_nothing_from_the_current_directory(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "structlog.py").write_text("raise SystemExit(9)\n")
    program = Path(sys.executable).with_name("stepup-bridge")
    file = write_config(directory / "bridge.yaml", policy(workers=2))
    arguments = (str(program), *serve(file)[3:])
    process = Process("bridge", ("env", f"--chdir={tmp_path}", *arguments), directory)
    process.start()
    try:
        wait_until(
            lambda: process.outputs[0].read_text().count('"config_loaded"') == 2,
            seconds=SECONDS,
            what="both workers",
        )
    finally:
        assert process.stop() == 0


def test_workers_end_with_their_parent(directory: Path) -> None:
    """Also when it had no chance to tell them."""
    with Service(directory, policy(workers=2)) as service:
        service.wait_until_ready()
        workers = children_of(service.pid)
        service.process.kill()
        wait_until(
            lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers),
            seconds=SECONDS,
            what="the workers' end",
        )


def test_missing_keys_make_unready_and_say_whose(directory: Path, signing_key: SigningKey) -> None:
    with Service(directory, with_down_issuer(policy())) as service:
        wait_until(
            lambda: service.readiness()["missing"] == {"keys": {DOWN_ISSUER: "file_unreadable"}},
            seconds=SECONDS,
            what="readiness to lack only one issuer",
        )
        assert service.page("/readyz").status == 503
        response = service.ask(
            question(
                path="/down/profile",
                authorization=bearer(SigningKey.generate(), issuer=DOWN_ISSUER),
            )
        )["response"]
        assert response["status"] == 503
        assert json.loads(response["body"])["error"] == "temporarily_unavailable"
        headers = dict(response["headers"])
        assert int(headers["retry-after"]) >= 1
        assert "www-authenticate" not in headers


def _listens(address: Unix) -> bool:
    """Tell whether somebody accepts; the socket's file is there a moment before."""
    try:
        address.connect(1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["closed-at-start", "reader-gone"])
def test_nobody_need_read_the_log(directory: Path, workers: int, how: str) -> None:
    file = write_config(
        directory / "bridge.yaml",
        {**unix_policy(directory), "workers": workers, "drain_timeout": 1},
    )
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        if how == "closed-at-start":
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *serve(file)]
            process = subprocess.Popen(command, stderr=stderr)
        else:
            reader, writer = os.pipe()
            process = subprocess.Popen(serve(file), stdout=writer, stderr=stderr)
            os.close(reader)
            os.close(writer)
    try:
        address = Unix(directory / "authz.sock")
        raw = Request("GET", "/envoy/payments/health", "api.test").raw()
        wait_until(lambda: _listens(address), seconds=SECONDS, what="the socket")
        for _ in range(20):
            with Connection(address) as connection:
                reply = connection.exchange(raw)
                assert reply is not None
                assert reply.status == 200
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert errors.read_text() == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_log_whose_reader_stalls_stops_nothing(directory: Path, workers: int) -> None:
    document = {**unix_policy(directory), "workers": workers}
    document["listen"]["admin"] = f"unix:{directory}/admin.sock"
    file = write_config(directory / "bridge.yaml", document)
    reader, writer = os.pipe()
    process = subprocess.Popen(serve(file), stdout=writer)
    os.close(writer)
    try:
        address = Unix(directory / "authz.sock")
        raw = Request("GET", "/envoy/payments/health", "api.test").raw()
        wait_until(lambda: _listens(address), seconds=SECONDS, what="the socket")
        for _ in range(20):
            with Connection(address) as connection:
                for _ in range(50):  # a thousand lines are more than a pipe holds
                    reply = connection.exchange(raw)
                    assert reply is not None
                    assert reply.status == 200
        assert get(Unix(directory / "admin.sock"), "/healthz").status == 200
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


DEFECT = "s3cret-of-a-client"


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        pytest.param(503, "enforce", id="enforce"),
        pytest.param(403, "enforce", id="another-status"),
        pytest.param(503, "monitor", id="monitor"),
    ],
)
def test_defect_in_the_checker_ends_as_an_issuers_fault(
    directory: Path, status: int, mode: str
) -> None:
    """Row 8: nobody is let in, nobody is sent to log in, and the exception's text is not told."""
    script = directory / "defect.py"
    script.write_text(
        "from bridge.service.check import Checker\n"
        "def begin(self, request, now):\n"
        f"    raise RuntimeError({DEFECT!r})\n"
        "Checker.begin = begin\n"
        "from bridge.cli import main\n"
        "raise SystemExit(main())\n"
    )
    document = policy(unavailable_status=status, apis=[api("payments", mode=mode)])
    with Service(directory, document, command=(str(script),)) as service:
        answer = service.ask(question(path=f"/payments/health?{DEFECT}"))
        body = (
            '{"error":"temporarily_unavailable",'
            '"error_description":"The access token cannot be verified at the moment"}'
        )
        assert answer == {
            "allow": False,
            "operation": None,
            "response": {
                "status": status,
                "headers": [
                    ["cache-control", "no-store"],
                    ["content-type", "application/json"],
                    ["retry-after", "1"],
                ],
                "body": body,
            },
        }
        reply = service.send(Request("GET", "/envoy/payments/health", "api.test"))
        assert (reply.status, reply.body.decode()) == (status, body)
        failed = service.wait_for_event("check_failed", 2)
        assert failed["type"] == "RuntimeError"
        assert any(place.endswith(" begin") for place in failed["place"])
        decided = service.wait_for_event("check_decided", 2)
        assert (decided["decision"], decided["status"]) == ("deny", status)
        assert decided["reason"] == "check_failed"
        labels = 'api="",decision="deny",error="temporarily_unavailable",gateway="envoy"'
        assert service.metric(f'stepup_checks_total{{{labels},operation=""}}') == 1
        pages = [service.page(page).body.decode() for page in ("/", "/metrics", "/readyz")]
        assert DEFECT not in "".join([service.process.output(), *pages])


async def test_collections_pass_over_what_is_loaded_and_seldom_look_at_everything(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    """One of everything stops all checks for as long as it takes to walk 100,000 tokens."""
    write_keys(tmp_path, signing_key)
    config = load_config(write_config(tmp_path / "bridge.yaml", policy()))
    before = gc.get_threshold()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with answering(config, listener, silent_log()):
                assert gc.get_freeze_count() > 0
                assert gc.get_threshold()[2] >= 1_000
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
