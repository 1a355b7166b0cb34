"""A changed configuration takes over, a broken one changes nothing (spec §3, Reload)."""

from __future__ import annotations

import asyncio
import html
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import web
from running_bridge import (
    HOST,
    ISSUER,
    SECONDS,
    Service,
    api,
    bearer,
    policy,
    question,
    write_config,
    write_keys,
)

from bridge.config.load import load_config
from bridge.config.settings import Config
from bridge.errors import ConfigError, Problem
from bridge.rehearsal.question import ask
from bridge.service import reload
from bridge.service.log import silent_log
from bridge.service.runtime import Runtime
from bridge.tokens.fingerprint import fingerprint
from e2e.harness.tokens import AUDIENCE, SigningKey
from e2e.harness.waiting import wait_until

OK = 'stepup_config_loads_total{outcome="ok"}'
REFUSED = 'stepup_config_loads_total{outcome="refused"}'
LOADED_AT = "stepup_config_loaded_timestamp_seconds"


def with_realm(realm: str, **top_level: Any) -> dict[str, Any]:
    return policy(apis=[api("payments", realm=realm)], **top_level)


def wait_for_realm(service: Service, realm: str) -> None:
    wait_until(lambda: f'realm="{realm}"' in service.challenge(), seconds=SECONDS, what=realm)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey) -> Path:
    made = tmp_path_factory.mktemp("reload")
    write_keys(made, signing_key)
    return made


@pytest.fixture(scope="module")
def started(directory: Path) -> Iterator[Service]:
    with Service(directory, with_realm("first")) as service:
        service.wait_until_ready()
        yield service


@pytest.fixture
def reloaded(started: Service) -> Service:
    """The module's service, back at its first configuration."""
    loads = started.metric(OK)
    write_config(started.file, with_realm("first"))
    loads = started.metric(OK)
    started.process.signal(signal.SIGHUP)
    wait_until(lambda: started.metric(OK) > loads, seconds=SECONDS, what="a load")
    wait_for_realm(started, "first")
    wait_until(
        lambda: not started.readiness()["config"]["refused"], seconds=SECONDS, what="a good load"
    )
    return started


def test_renamed_file_takes_over(reloaded: Service) -> None:
    before = reloaded.samples()
    write_config(reloaded.file, with_realm("renamed"))
    wait_for_realm(reloaded, "renamed")
    after = reloaded.samples()
    assert after[OK] == before[OK] + 1
    assert after[REFUSED] == before[REFUSED]
    assert after[LOADED_AT] > before[LOADED_AT]


def test_file_written_in_place_takes_over(reloaded: Service) -> None:
    reloaded.file.write_text(yaml.safe_dump(with_realm("in-place")))
    wait_for_realm(reloaded, "in-place")


def test_sighup_loads_an_unchanged_file(reloaded: Service) -> None:
    loads = reloaded.metric(OK)
    reloaded.process.signal(signal.SIGHUP)
    wait_until(lambda: reloaded.metric(OK) == loads + 1, seconds=SECONDS, what="a load")
    assert reloaded.process.running


def test_file_that_is_touched_only_keeps_the_verified_tokens(
    reloaded: Service, signing_key: SigningKey
) -> None:
    asked = question(authorization=bearer(signing_key))
    assert reloaded.ask(asked)["allow"] is True
    hits, loads = reloaded.metric("stepup_token_cache_hits_total"), reloaded.metric(OK)
    reloaded.process.signal(signal.SIGHUP)
    wait_until(lambda: reloaded.metric(OK) == loads + 1, seconds=SECONDS, what="a load")
    assert reloaded.ask(asked)["allow"] is True
    assert reloaded.metric("stepup_token_cache_hits_total") == hits + 1


BROKEN = [
    pytest.param("version: 1\napis: [{}]\nunknown: true\n", "bridge.yaml:3: unknown: ", id="keys"),
    pytest.param("apis: [\n", "bridge.yaml:", id="no-yaml"),
    pytest.param("", "bridge.yaml: is empty", id="empty"),
    pytest.param("\x00\x01\x02", "bridge.yaml:1: ", id="binary"),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN)
def test_broken_file_changes_nothing_and_is_told(
    reloaded: Service, signing_key: SigningKey, text: str, problem: str
) -> None:
    before = reloaded.samples()
    write_config(reloaded.file, text)
    reloaded.process.signal(signal.SIGHUP)
    readiness = wait_until(
        lambda: reloaded.readiness()["config"]["refused"] and reloaded.readiness(),
        seconds=SECONDS,
        what="the refusal",
    )
    assert readiness["ready"] is True
    assert reloaded.page("/readyz").status == 200
    problems = readiness["config"]["problems"]
    assert any(problem in told for told in problems)
    logged = reloaded.wait_for_event("config_refused", int(reloaded.metric(REFUSED)))
    assert (logged["level"], logged["problems"]) == ("error", problems)
    after = reloaded.samples()
    assert after[REFUSED] >= before[REFUSED] + 1
    assert (after[OK], after[LOADED_AT]) == (before[OK], before[LOADED_AT])
    assert reloaded.ask(question(authorization=bearer(signing_key)))["allow"] is True
    assert 'realm="first"' in reloaded.challenge()
    assert html.escape(problems[0]) in reloaded.page("/").body.decode()


def test_file_that_is_gone_changes_nothing_and_is_seen_when_it_is_back(reloaded: Service) -> None:
    reloaded.file.unlink()
    problem = wait_until(
        lambda: reloaded.readiness()["config"]["problems"], seconds=SECONDS, what="the refusal"
    )
    assert problem == [f"{reloaded.file}: cannot be read: No such file or directory"]
    assert 'realm="first"' in reloaded.challenge()
    write_config(reloaded.file, with_realm("back"))
    wait_for_realm(reloaded, "back")
    assert reloaded.readiness()["config"]["problems"] == []


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        pytest.param(
            {"listen": {"authz": "127.0.0.1:1", "admin": "127.0.0.1:2"}},
            ["listen_authz", "listen_admin"],
            id="listen",
        ),
        pytest.param({"workers": 2}, ["workers"], id="workers"),
        pytest.param({"drain_timeout": "3s"}, ["drain_timeout"], id="drain-timeout"),
        pytest.param({"log": {"level": "error"}}, ["log"], id="log"),
    ],
)
def test_what_needs_a_restart_says_so_at_each_load(
    reloaded: Service, change: dict[str, Any], settings: list[str]
) -> None:
    for count, realm in enumerate(("one", "two"), start=1):
        said = len(list(reloaded.events("config_needs_restart")))
        write_config(reloaded.file, with_realm(realm, **change))
        reloaded.process.signal(signal.SIGHUP)
        wait_for_realm(reloaded, realm)
        last = reloaded.wait_for_event("config_needs_restart", said + len(settings))
        assert last["level"] == "warning", count
        told = list(reloaded.events("config_needs_restart"))[said:]
        assert [event["setting"] for event in told] == settings


def test_replaced_key_file_retires_the_tokens_that_its_keys_verified(
    reloaded: Service, directory: Path, signing_key: SigningKey
) -> None:
    asked, never_again = (question(authorization=bearer(signing_key)) for _ in range(2))
    assert reloaded.ask(asked)["allow"] is True
    assert reloaded.ask(never_again)["allow"] is True
    other = SigningKey.generate()
    try:
        write_keys(directory, other)
        wait_until(
            lambda: reloaded.ask(asked)["allow"] is False, seconds=SECONDS, what="the other key"
        )
        assert reloaded.ask(asked)["response"]["status"] == 401
        assert reloaded.metric("stepup_token_cache_entries") == 0
        assert reloaded.ask(question(authorization=bearer(other)))["allow"] is True

        (directory / "keys.json").write_text("no keys")
        state = wait_until(
            lambda: reloaded.readiness()["issuers"][0]["error"] and reloaded.readiness(),
            seconds=SECONDS,
            what="the broken key file",
        )
        assert state["issuers"][0]["error"] == "no_usable_key_set"
        assert state["ready"] is True
        assert reloaded.ask(question(authorization=bearer(other)))["allow"] is True
    finally:
        write_keys(directory, signing_key)
    wait_until(lambda: reloaded.ask(asked)["allow"], seconds=SECONDS, what="the first key")


def test_swapped_symbolic_link_takes_over(tmp_path: Path, signing_key: SigningKey) -> None:
    """Kubernetes swaps a directory's link: neither the file nor its name ever change."""
    for name, realm in (("v1", "first"), ("v2", "second")):
        (tmp_path / name).mkdir()
        write_keys(tmp_path / name, signing_key)
        write_config(tmp_path / name / "bridge.yaml", with_realm(realm))
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "bridge.yaml").symlink_to("data/bridge.yaml")
    (tmp_path / "keys.json").symlink_to("data/keys.json")
    with Service(tmp_path, None) as service:
        service.wait_until_ready()
        assert 'realm="first"' in service.challenge()
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").replace(tmp_path / "data")
        wait_for_realm(service, "second")
        shutil.rmtree(tmp_path / "v1")
        assert service.ask(question(authorization=bearer(signing_key)))["allow"] is True
        assert service.readiness()["config"]["refused"] is False


def test_defect_while_loading_does_not_end_the_watch(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    write_keys(tmp_path, signing_key)
    script = tmp_path / "defect.py"
    script.write_text(
        "from bridge.service import reload\n"
        "load = reload.load_config\n"
        "def load_config(file):\n"
        "    if 'broken' in file.read_text():\n"
        "        raise ValueError('s3cret')\n"
        "    return load(file)\n"
        "reload.load_config = load_config\n"
        "from bridge.cli import main\n"
        "raise SystemExit(main())\n"
    )
    with Service(tmp_path, with_realm("first"), command=(str(script),)) as service:
        service.wait_until_ready()
        write_config(service.file, with_realm("broken"))
        service.process.signal(signal.SIGHUP)
        assert service.wait_for_event("unexpected_error")["type"] == "ValueError"
        assert service.readiness()["config"]["refused"] is True
        assert 'realm="first"' in service.challenge()
        write_config(service.file, with_realm("second"))
        wait_for_realm(service, "second")
        assert "s3cret" not in service.process.output()


# Without a process of its own


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 a reload sets no event of ours
            await asyncio.sleep(0.02)


async def test_change_between_reading_and_the_start_takes_over(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    write_keys(tmp_path, signing_key)
    file = write_config(tmp_path / "bridge.yaml", with_realm("first"))
    config = load_config(file)
    write_config(file, with_realm("second"))
    async with Runtime(config, silent_log()) as runtime:
        await eventually(lambda: runtime.checker.config.policy.apis[0].realm == "second")


async def test_what_could_not_be_read_for_a_moment_is_tried_again_and_told_once(
    tmp_path: Path, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keys(tmp_path, signing_key)
    file = write_config(tmp_path / "bridge.yaml", with_realm("first"))
    problem = Problem(0, "", "cannot be read: Too many open files")
    tries = 0

    def load(file: Path) -> Config:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ConfigError(file, [problem], {file: fingerprint(file)})
        return load_config(file)

    async with Runtime(load_config(file), silent_log()) as runtime:
        monkeypatch.setattr(reload, "load_config", load)
        monkeypatch.setattr(reload, "_RETRY_SECONDS", 0.1)
        write_config(file, with_realm("second"))
        await eventually(lambda: runtime.checker.config.policy.apis[0].realm == "second")
        assert runtime.tally.config_loads["refused"] == 1


async def test_a_file_that_never_answers_does_not_hold_up_the_end(
    tmp_path: Path, signing_key: SigningKey
) -> None:
    write_keys(tmp_path, signing_key)
    file = write_config(tmp_path / "bridge.yaml", with_realm("first"))
    async with asyncio.timeout(SECONDS):
        async with Runtime(load_config(file), silent_log()) as runtime:
            file.unlink()
            os.mkfifo(file)
            opened = threading.active_count()
            runtime.want_reload()
            await eventually(lambda: threading.active_count() > opened)
        await asyncio.get_running_loop().shutdown_default_executor()
    with file.open("wb"):  # lets the thread go
        pass


SECRET = {"dpop": {"nonce": "required", "nonce_secret_file": "secret"}}


@pytest.mark.parametrize(
    ("before", "changed", "realm"),
    [
        pytest.param("0" * 16, {"bridge.yaml": with_realm("third")}, "third", id="the-file"),
        pytest.param("0" * 16, {"secret": "1" * 16}, "second", id="a-file-that-is-named-anew"),
        pytest.param(None, {"secret": "1" * 16}, "second", id="a-file-that-was-missing"),
        pytest.param("short", {"secret": "1" * 16}, "second", id="a-file-that-was-no-good"),
    ],
)
async def test_change_during_a_reload_takes_over(
    tmp_path: Path,
    signing_key: SigningKey,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
    changed: dict[str, Any],
    realm: str,
) -> None:
    write_keys(tmp_path, signing_key)
    file = write_config(tmp_path / "bridge.yaml", with_realm("first"))
    if before is not None:
        (tmp_path / "secret").write_text(before)

    def load(file: Path) -> Config:
        """Load, and let somebody deploy before it is done."""
        monkeypatch.undo()
        try:
            return load_config(file)
        finally:
            for name, content in changed.items():
                write_config(tmp_path / name, content)

    async with Runtime(load_config(file), silent_log()) as runtime:
        monkeypatch.setattr(reload, "load_config", load)
        write_config(file, with_realm("second", **SECRET))
        runtime.want_reload()
        loads = runtime.tally.config_loads
        await eventually(lambda: loads["ok"] + loads["refused"] == 3)
        config = runtime.checker.config
        assert config.policy.apis[0].realm == realm
        assert config.dpop.nonce_secret == (b"1" * 16 if "secret" in changed else None)


def background() -> set[str]:
    """Name what runs, but for what a wait with a time-out starts and ends."""
    names = {str(task.get_coro()).partition(" at ")[0] for task in asyncio.all_tasks()}
    return names - {"<coroutine object Event.wait"}


async def test_what_cannot_be_put_into_force_changes_nothing_and_leaves_nothing_behind(
    tmp_path: Path, signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keys(tmp_path, signing_key)
    apis = [api("payments", sender_constraint="any", external_origin="https://api.test")]
    file = write_config(tmp_path / "bridge.yaml", policy(apis=apis))
    defects: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: defects.append(type(context["exception"]).__name__)
    )

    def load(file: Path) -> Config:
        """Give what the loader would refuse: redis-py cannot use its last part."""
        config = load_config(file)
        url = "redis://127.0.0.1:1/0"
        return replace(
            config,
            issuers=(replace(config.issuers[0], jwks_uri="http://127.0.0.1:1/", jwks_file=None),),
            token_cache=replace(config.token_cache, ttl=7),
            loop_guard=replace(config.loop_guard, redis_url=url),
            dpop=replace(config.dpop, redis_url=f"{url}?db=none"),
        )

    async with Runtime(load_config(file), silent_log()) as runtime:
        await eventually(lambda: runtime.report().key_sets[0].keys == 1)
        checker, before = runtime.checker, background()
        monkeypatch.setattr(reload, "load_config", load)
        runtime.want_reload()
        await eventually(lambda: runtime.tally.config_loads["refused"] == 1)
        assert defects == ["ValueError"]
        assert background() == before
        assert runtime.checker is checker
        assert [each.keys for each in runtime.report().key_sets] == [1]
        monkeypatch.undo()
        runtime.want_reload()
        await eventually(lambda: runtime.tally.config_loads["ok"] == 2)


class Keys:
    """A key server on loopback: answers with `keys`, 500 without any, and late where `held`."""

    def __init__(self) -> None:
        self.keys: list[SigningKey] = []
        self.arrived, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        self.open.set()
        await self._runner.cleanup()

    async def _answer(self, _: web.BaseRequest) -> web.Response:
        self.arrived.set()
        await self.open.wait()
        if not self.keys:
            return web.Response(status=500)
        return web.json_response({"keys": [key.jwk() for key in self.keys]})


@pytest_asyncio.fixture
async def key_server() -> AsyncIterator[Keys]:
    server = Keys()
    await server.start()
    yield server
    await server.stop()


def with_keys_at(uri: str, **settings: Any) -> dict[str, Any]:
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks_uri": uri, "timeout": "30s"}
    return policy(issuers=[{**issuer, **settings}])


async def check(runtime: Runtime, key: SigningKey) -> str:
    """Ask about a profile with a token of a key, and give the reason of the decision."""
    request = ask("GET", f"https://{HOST}/payments/profile", [("authorization", bearer(key))])
    return (await runtime.checker.check(request, int(time.time()))).decision.reason


async def reload_with(runtime: Runtime, file: Path, document: dict[str, Any]) -> None:
    loads = runtime.tally.config_loads["ok"]
    write_config(file, document)
    runtime.want_reload()
    await eventually(lambda: runtime.tally.config_loads["ok"] == loads + 1)


@pytest.mark.parametrize("setting", [{"timeout": "3s"}, {"allow_insecure_http": True}])
async def test_keys_outlive_a_change_that_leaves_their_address(
    tmp_path: Path, signing_key: SigningKey, key_server: Keys, setting: dict[str, Any]
) -> None:
    key_server.keys = [signing_key]
    file = write_config(tmp_path / "bridge.yaml", with_keys_at(key_server.url))
    async with Runtime(load_config(file), silent_log()) as runtime:
        await eventually(lambda: runtime.report().key_sets[0].keys == 1)
        key_server.keys = []
        await reload_with(runtime, file, with_keys_at(key_server.url, **setting))
        assert await check(runtime, signing_key) == "requirement_met"
        await reload_with(runtime, file, with_keys_at(f"{key_server.url}elsewhere", **setting))
        assert await check(runtime, signing_key) == "keys_unavailable"


async def test_check_in_hand_gets_the_keys_that_it_waits_for_though_their_address_changes(
    tmp_path: Path, signing_key: SigningKey, key_server: Keys
) -> None:
    key_server.keys = [signing_key]
    write_keys(tmp_path, signing_key)
    file = write_config(tmp_path / "bridge.yaml", with_keys_at(key_server.url))
    async with Runtime(load_config(file), silent_log()) as runtime:
        await eventually(lambda: runtime.report().key_sets[0].keys == 1)
        new = SigningKey.generate()
        key_server.keys.append(new)
        key_server.arrived.clear()
        key_server.open.clear()
        in_hand = asyncio.create_task(check(runtime, new))
        await asyncio.wait_for(key_server.arrived.wait(), SECONDS)
        await reload_with(runtime, file, policy())
        key_server.open.set()
        assert await asyncio.wait_for(in_hand, SECONDS) == "requirement_met"
        assert await check(runtime, new) == "token_kid_unknown"
