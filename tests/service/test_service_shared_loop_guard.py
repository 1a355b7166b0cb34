"""The loop guard's counts in Redis: two replicas, a Redis that goes away, what is written there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_server import RedisServer
from running_bridge import SECONDS, Service, policy, write_keys
from test_service_login_loop import METRIC, TOLD, Client, headers_of

from bridge.service.loop_guard import Asked, Challenges
from bridge.service.shared_loop_guard import read_known, write_known
from e2e.harness.tokens import SigningKey
from e2e.harness.waiting import wait_until

TIMES = st.lists(st.integers(0, 2**40), max_size=5).map(tuple)
KNOWN = st.dictionaries(
    st.builds(
        Asked,
        st.text(),
        st.text(),
        st.lists(st.text()).map(tuple),
        st.none() | st.integers(0, 2**31),
    ),
    st.builds(Challenges, st.integers(0, 2**40), st.floats(0, 2**40), TIMES, TIMES),
    max_size=5,
)


@settings(deadline=None)
@given(KNOWN)
def test_what_is_written_is_read(known: dict[Asked, Challenges]) -> None:
    assert read_known(write_known(known)) == known


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="binary"),
        pytest.param(b"{", id="cut-off"),
        pytest.param(b"7", id="number"),
        pytest.param(b'{"a": 1}', id="object"),
        pytest.param(b"[[1]]", id="short-row"),
        pytest.param(b'[["a","b",[],null,"x",0,[],[]]]', id="no-time"),
        pytest.param(b'[["a","b",[[]],null,1,0,[],[]]]', id="a-list-for-an-acr"),
        pytest.param(b'[["a","b",[],null,1e999,0,[],[]]]', id="infinite"),
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_cannot_be_read_is_not_known(value: bytes | None) -> None:
    assert read_known(value) == {}


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def replica(directory: Path, key: SigningKey, redis: RedisServer, **top_level: Any) -> Service:
    directory.mkdir()
    write_keys(directory, key)
    shared = {"loop_guard": {"action": "forbid", "shared": True}}
    replay = {"dpop": {"replay": {"redis_url_env": "TEST_REDIS"}}}
    document = policy(**{**shared, **replay, **top_level})
    service = Service(directory, document, environment={"TEST_REDIS": redis.url})
    service.wait_until_ready()
    return service


def test_replicas_and_workers_count_together(
    tmp_path: Path, signing_key: SigningKey, redis: RedisServer
) -> None:
    with (
        replica(tmp_path / "one", signing_key, redis, workers=2) as one,
        replica(tmp_path / "two", signing_key, redis) as two,
    ):
        client = Client(one, signing_key)
        answers = []
        for service in (one, two, one, two, one, two):
            client.service = service
            answers.append(client.transfer())
        counted = one.metric(METRIC) + two.metric(METRIC)
        keys = redis.ask(b"KEYS *\r\n").decode()
        (name,) = (line for line in keys.split("\r\n") if ":" in line and "probe" not in line)
        kept = redis.ask(f"GET {name}\r\n".encode()).decode()
        seconds = int(redis.ask(f"TTL {name}\r\n".encode())[1:])

    statuses = [answer["response"]["status"] for answer in answers]
    assert statuses == [401, 401, 401, 403, 403, 403]
    assert TOLD in headers_of(answers[2])["www-authenticate"]
    assert counted == 2
    assert name.startswith("stepup-bridge:loop:")
    assert "create-transfer" in kept
    assert "alice" not in keys + kept
    assert 500 < seconds <= 600


def test_without_redis_each_process_counts_alone_and_nobody_is_denied_for_it(
    tmp_path: Path, signing_key: SigningKey, redis: RedisServer
) -> None:
    with replica(tmp_path / "one", signing_key, redis) as service:
        client = Client(service, signing_key)
        first = [client.transfer()["response"]["status"] for _ in range(3)]
        redis.process.stop()
        failed = service.wait_for_event("loop_guard_store_failed")
        alone = [client.transfer()["response"]["status"] for _ in range(4)]
        ready = service.readiness()["ready"]
        redis.start()
        service.wait_for_event("loop_guard_store_recovered")
        wait_until(
            lambda: client.transfer()["response"]["status"] == 401,  # a new Redis knows nothing
            seconds=SECONDS,
            what="counting in Redis",
        )

    assert first == [401, 401, 401]
    assert failed["level"] == "warning"
    assert alone == [401, 401, 401, 403]
    assert ready is True
