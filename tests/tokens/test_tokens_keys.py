"""An issuer's keys: fetched in the background, kept when a fetch fails (spec §5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.errors import IssuerError, TokenError
from bridge.tokens.keys import FetchReport, KeySet, KeySource, refresh_after

from .tokens_issuer import (
    PATIENCE_SECONDS,
    Answer,
    Clock,
    Gate,
    IssuerServer,
    Reports,
    SigningKey,
    Trickle,
    document,
    raw,
)

NewKeySet = Callable[[KeySource], KeySet]

OLD, NEW, OTHER = SigningKey("old"), SigningKey("new"), SigningKey("other")


def source_of(issuer: IssuerServer, *, discover: bool = False) -> KeySource:
    jwks_uri = None if discover else issuer.jwks_uri
    return KeySource(issuer.url, jwks_uri, None, timeout_seconds=2, allow_insecure_http=False)


def source_in(file: Path) -> KeySource:
    return KeySource("https://login.example.com", None, file, 2, allow_insecure_http=False)


def kids(keys: KeySet) -> list[str | None]:
    return [key.kid for key in keys.keys]


def set_of(*keys: SigningKey) -> str:
    return json.dumps({"keys": [key.jwk() for key in keys]})


@pytest.fixture
async def keys(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> KeySet:
    """Give the keys of `issuer` after the first good fetch, which no unknown kid has caused."""
    issuer.publish(OLD)
    made = new_key_set(source_of(issuer))
    await made.start()
    assert (await reports.next()).error is None
    return made


# Cache-Control


@pytest.mark.parametrize(
    ("cache_control", "lifetime"),
    [
        pytest.param("", 600, id="absent"),
        pytest.param("public", 600, id="without-max-age"),
        pytest.param("max-age=", 600, id="without-a-number"),
        pytest.param("max-age=-1", 600, id="negative"),
        pytest.param("s-maxage=3000", 600, id="for-shared-caches-only"),
        pytest.param("no-store", 60, id="no-store"),
        pytest.param("no-cache", 60, id="no-cache"),
        pytest.param("max-age=3600, no-store", 60, id="no-store-beats-max-age"),
        pytest.param("max-age=0", 60, id="zero"),
        pytest.param("max-age=59", 60, id="one-below-a-minute"),
        pytest.param("max-age=60", 60, id="a-minute"),
        pytest.param("max-age=61", 61, id="one-above-a-minute"),
        pytest.param("public, max-age=3600, must-revalidate", 3600, id="among-others"),
        pytest.param('MAX-AGE="3600"', 3600, id="quoted-and-upper-case"),
        pytest.param("max-age=86399", 86399, id="one-below-a-day"),
        pytest.param("max-age=86400", 86400, id="a-day"),
        pytest.param("max-age=86401", 86400, id="one-above-a-day"),
        pytest.param("max-age=" + "9" * 400, 86400, id="beyond-any-number"),
    ],
)
def test_keys_are_fetched_again_before_they_go_stale(cache_control: str, lifetime: float) -> None:
    assert refresh_after(cache_control) == pytest.approx(lifetime * 0.9)


@pytest.mark.parametrize(
    ("cache_control", "age", "lifetime"),
    [
        pytest.param("max-age=600", "590", 60, id="nearly-all"),
        pytest.param("max-age=600", "539", 61, id="all-but-a-minute-and-a-second"),
        pytest.param("max-age=600", " 100 ", 500, id="some"),
        pytest.param("max-age=600", "601", 60, id="more-than-all"),
        pytest.param("max-age=90000", "3600", 86400, id="of-more-than-a-day"),
        pytest.param("max-age=600", "-1", 600, id="negative"),
        pytest.param("max-age=600", "1, 2", 600, id="repeated"),
        pytest.param("max-age=" + "9" * 400, "9" * 400, 60, id="beyond-any-number"),
        pytest.param("", "590", 600, id="without-max-age"),
    ],
)
def test_time_in_a_cache_on_the_way_counts(cache_control: str, age: str, lifetime: float) -> None:
    assert refresh_after(cache_control, age) == pytest.approx(lifetime * 0.9)


async def test_refresh_follows_age(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.publish(OLD, cache_control="max-age=600", age="500")
    await new_key_set(source_of(issuer)).start()
    assert await reports.next() == FetchReport(issuer.url, None, 1, 90.0)


async def test_refresh_follows_cache_control(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.publish(OLD, cache_control="max-age=100")
    keys = new_key_set(source_of(issuer))
    await keys.start()
    assert await reports.next() == FetchReport(issuer.url, None, 1, 90.0)
    await clock.leap(85)
    assert issuer.asked == ["/jwks"]
    issuer.publish(OLD, NEW)
    await clock.leap(5)
    assert await reports.next() == FetchReport(issuer.url, None, 2, 540.0)
    assert kids(keys) == ["old", "new"]


async def test_age_is_that_of_the_last_good_fetch(keys: KeySet, clock: Clock) -> None:
    await clock.leap(100)
    assert keys.age_seconds == pytest.approx(100, abs=5)


def test_source_is_the_same_however_it_is_fetched() -> None:
    source = KeySource("https://a", "https://a/k", None, 2, allow_insecure_http=False)
    assert source == replace(source, timeout_seconds=3)
    assert source == replace(source, allow_insecure_http=True)
    assert source != replace(source, issuer="https://b")
    assert source != replace(source, jwks_uri="https://a/l")
    assert source != replace(source, jwks_file=Path("k"))


async def test_fetch_follows_a_source_that_took_the_place_of_an_equal_one(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    gate = Gate(raw("{}"))
    issuer.answers["/jwks"] = gate
    keys.source = replace(keys.source, timeout_seconds=60)
    await clock.leap(540)
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    await clock.leap(50)
    assert reports.none_waits
    await clock.leap(10)
    assert (await reports.next()).error == "timeout"


# Failed fetches

BAD_ANSWERS = [
    pytest.param(raw(set_of(OTHER), 500), "status_500", id="500"),
    pytest.param(raw("", 302, location="/elsewhere"), "status_302", id="redirect"),
    pytest.param(raw(set_of(OTHER) + " " * 1024 * 1024), "too_large", id="over-1-mib"),
    pytest.param(raw("<html>"), "no_usable_key_set", id="not-json"),
    pytest.param(raw(""), "no_usable_key_set", id="empty"),
    pytest.param(document([OTHER.jwk()]), "no_usable_key_set", id="list"),
    pytest.param(document("keys"), "no_usable_key_set", id="string"),
    pytest.param(document({}), "no_usable_key_set", id="no-keys"),
    pytest.param(document({"keys": []}), "no_usable_key_set", id="empty-set"),
    pytest.param(document({"keys": {"a": 1}}), "no_usable_key_set", id="keys-are-no-list"),
    pytest.param(document({"keys": [{"kty": "oct", "k": "AA"}]}), "no_usable_key_set", id="oct"),
    pytest.param(
        document({"keys": [{**OTHER.jwk(), "use": "enc"}]}), "no_usable_key_set", id="encryption"
    ),
    pytest.param(raw("[" * 100_000), "no_usable_key_set", id="deep"),
]


@pytest.mark.parametrize(("answer", "error"), BAD_ANSWERS)
async def test_failed_fetch_keeps_the_last_good_keys(
    keys: KeySet,
    issuer: IssuerServer,
    clock: Clock,
    reports: Reports,
    answer: Answer,
    error: str,
) -> None:
    issuer.answers["/jwks"] = answer
    issuer.answers["/elsewhere"] = raw(set_of(OTHER))
    good = keys.keys
    await clock.leap(540)
    assert await reports.next() == FetchReport(issuer.url, error, 1, 1.0)
    assert keys.keys == good
    assert keys.error == error
    assert not good[0].retired
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize(("answer", "error"), BAD_ANSWERS)
async def test_without_a_good_fetch_there_are_no_keys(
    issuer: IssuerServer, new_key_set: NewKeySet, answer: Answer, error: str
) -> None:
    issuer.answers["/jwks"] = answer
    keys = new_key_set(source_of(issuer))
    assert keys.error == "not_fetched_yet"
    await keys.start()
    assert (keys.keys, keys.error, keys.age_seconds) == ((), error, None)


@pytest.mark.parametrize("stuck", ["before-the-head", "in-the-body"])
async def test_hanging_issuer_is_a_failed_fetch(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports, stuck: str
) -> None:
    answer = Gate(raw("{}")) if stuck == "before-the-head" else Trickle()
    issuer.answers["/jwks"] = answer
    await clock.leap(540)
    await asyncio.wait_for(answer.arrived.wait(), PATIENCE_SECONDS)
    await clock.leap(2)
    assert (await reports.next()).error == "timeout"
    assert kids(keys) == ["old"]


async def test_keys_are_found_through_metadata(
    issuer: IssuerServer, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.publish(OLD)
    metadata = document({"issuer": issuer.url, "jwks_uri": issuer.jwks_uri})
    issuer.answers["/.well-known/openid-configuration"] = metadata
    keys = new_key_set(source_of(issuer, discover=True))
    await keys.start()
    assert kids(keys) == ["old"]
    assert issuer.asked[-1] == "/jwks"


async def test_metadata_of_another_issuer_is_a_failed_fetch(
    issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    issuer.publish(OLD)
    metadata = document({"issuer": "https://evil.example", "jwks_uri": issuer.jwks_uri})
    issuer.answers["/.well-known/openid-configuration"] = metadata
    keys = new_key_set(source_of(issuer, discover=True))
    await keys.start()
    assert (keys.keys, keys.error) == ((), "metadata_of_another_issuer")
    assert "/jwks" not in issuer.asked


async def test_failed_fetches_are_retried_ever_more_rarely_until_one_is_good(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    issuer.answers["/jwks"] = raw("", 500)
    delay = 540.0
    for expected in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        await clock.leap(delay)
        delay = (await reports.next()).next_fetch_seconds
        assert delay == expected
    asked = len(issuer.asked)
    await clock.leap(25)
    assert len(issuer.asked) == asked
    issuer.publish(NEW)
    await clock.leap(5)
    assert await reports.next() == FetchReport(issuer.url, None, 1, 540.0, removed=1)
    assert keys.error is None
    issuer.answers["/jwks"] = raw("", 500)
    await clock.leap(540)
    assert (await reports.next()).next_fetch_seconds == 1.0


async def test_hanging_issuer_does_not_slow_another(
    issuer: IssuerServer, other_issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    gate = Gate(raw("{}"))
    issuer.answers["/jwks"] = gate
    other_issuer.publish(OTHER)
    hanging, good = new_key_set(source_of(issuer)), new_key_set(source_of(other_issuer))
    first = hanging.start()
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    await asyncio.wait_for(good.start(), PATIENCE_SECONDS)
    assert kids(good) == ["other"]
    with pytest.raises(TokenError):
        await asyncio.wait_for(good.find_or_fetch("unknown"), PATIENCE_SECONDS)
    assert not first.done()


# Rotation


async def test_removed_key_is_retired_and_a_staying_one_is_the_same(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    (old,) = keys.keys
    issuer.publish(OLD, NEW)
    await clock.leap(540)
    await reports.next()
    assert keys.find("old") == (old,)
    issuer.publish(NEW)
    await clock.leap(540)
    assert (await reports.next()).removed == 1
    assert old.retired
    assert keys.find("old") == ()
    (new,) = keys.find("new")
    assert not new.retired


async def test_key_that_is_published_twice_is_retired_once_it_is_removed(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.publish(OLD, OLD)
    keys = new_key_set(source_of(issuer))
    await keys.start()
    verified_with = keys.find("old")
    for published in ((OLD, OLD), (NEW,)):
        issuer.publish(*published)
        await reports.next()
        await clock.leap(540)
    await reports.next()
    assert kids(keys) == ["new"]
    assert [key.retired for key in verified_with] == [True]


async def test_kid_whose_key_has_changed_is_another_key(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    (old,) = keys.keys
    issuer.publish(SigningKey("old"))
    await clock.leap(540)
    await reports.next()
    (changed,) = keys.find("old")
    assert changed is not old
    assert old.retired


async def test_several_keys_of_one_kid_are_all_found(
    issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    issuer.publish(SigningKey("same"), SigningKey("same"), SigningKey(None), OTHER)
    keys = new_key_set(source_of(issuer))
    await keys.start()
    assert [key.kid for key in keys.find("same")] == ["same", "same"]
    assert keys.find(None) == keys.keys
    assert len(keys.keys) == 4


# Unknown kid


async def test_unknown_kid_causes_one_fetch_that_all_who_wait_share(
    keys: KeySet, issuer: IssuerServer
) -> None:
    gate = Gate(raw(set_of(OLD, NEW)))
    issuer.answers["/jwks"] = gate
    asked = len(issuer.asked)
    waiting = [asyncio.create_task(keys.find_or_fetch("new")) for _ in range(10)]
    lacking = [asyncio.create_task(keys.find_or_fetch(f"unknown-{n}")) for n in range(10)]
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    gate.opened.set()
    found = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)
    assert found == [keys.find("new")] * 10
    for lack in lacking:
        with pytest.raises(TokenError) as invalid:
            await asyncio.wait_for(lack, PATIENCE_SECONDS)
        assert invalid.value.reason == "token_kid_unknown"
    assert len(issuer.asked) == asked + 1


async def test_unknown_kids_cause_at_most_one_fetch_in_30_seconds(
    keys: KeySet, issuer: IssuerServer, clock: Clock
) -> None:
    asked = len(issuer.asked)
    fetches = []
    for seconds in (0, 10, 19, 2, 28, 3):  # at 0, 10, 29, 31, 59, 62
        await clock.leap(seconds)
        with pytest.raises(TokenError) as invalid:
            await keys.find_or_fetch("unknown")
        assert (invalid.value.check, invalid.value.reason) == ("key", "token_kid_unknown")
        fetches.append(len(issuer.asked) - asked)
    assert fetches == [1, 1, 1, 2, 2, 3]


async def test_scheduled_fetch_does_not_count_as_one_for_an_unknown_kid(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    await clock.leap(540)
    await reports.next()
    issuer.publish(OLD, NEW)
    assert await keys.find_or_fetch("new") == keys.find("new")


async def test_kid_that_appears_during_the_cooldown_is_found_after_it(
    keys: KeySet, issuer: IssuerServer, clock: Clock
) -> None:
    with pytest.raises(TokenError):
        await keys.find_or_fetch("new")
    issuer.publish(OLD, NEW)
    await clock.leap(25)
    with pytest.raises(TokenError):
        await keys.find_or_fetch("new")
    await clock.leap(5)
    assert await keys.find_or_fetch("new") == keys.find("new")


@pytest.mark.parametrize(("answer", "error"), BAD_ANSWERS)
async def test_unknown_kid_is_the_issuers_fault_while_its_keys_are_not_to_be_had(
    keys: KeySet, issuer: IssuerServer, answer: Answer, error: str
) -> None:
    issuer.answers["/jwks"] = answer
    asked = len(issuer.asked)
    for _ in range(3):
        with pytest.raises(IssuerError) as fault:
            await keys.find_or_fetch("new")
        assert (fault.value.issuer, fault.value.reason) == (issuer.url, "keys_unavailable")
        assert fault.value.retry_after_seconds == 1
    assert keys.error == error
    assert len(issuer.asked) == asked + 1
    assert keys.find("old") == keys.keys


async def test_unknown_kid_is_invalid_again_once_a_retry_was_good(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    issuer.answers["/jwks"] = raw("", 500)
    with pytest.raises(IssuerError):
        await keys.find_or_fetch("unknown")
    await reports.next()
    issuer.publish(OLD)
    await clock.leap(1)
    assert (await reports.next()).error is None
    with pytest.raises(TokenError):
        await keys.find_or_fetch("unknown")


async def test_retry_after_is_the_time_to_the_next_fetch(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    issuer.answers["/jwks"] = raw("", 500)
    delay = 540.0
    for _ in range(5):
        await clock.leap(delay)
        delay = (await reports.next()).next_fetch_seconds
    with pytest.raises(IssuerError) as fault:
        await keys.find_or_fetch("unknown")
    assert fault.value.retry_after_seconds == 30


async def test_unknown_kid_waits_for_the_first_fetch(
    issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    gate = Gate(raw(set_of(NEW)))
    issuer.answers["/jwks"] = gate
    keys = new_key_set(source_of(issuer))
    keys.start()
    with_kid = asyncio.create_task(keys.find_or_fetch("new"))
    without_kid = asyncio.create_task(keys.find_or_fetch(None))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    gate.opened.set()
    for waiting in (with_kid, without_kid):
        assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == keys.keys
    assert issuer.asked == ["/jwks"]


async def test_token_without_kid_causes_no_fetch(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.answers["/jwks"] = raw("", 500)
    keys = new_key_set(source_of(issuer))
    await keys.start()
    await reports.next()
    with pytest.raises(IssuerError):
        await keys.find_or_fetch(None)
    assert issuer.asked == ["/jwks"]


async def test_cancelled_waiter_does_not_end_the_fetch_of_the_others(
    keys: KeySet, issuer: IssuerServer
) -> None:
    gate = Gate(raw(set_of(OLD, NEW)))
    issuer.answers["/jwks"] = gate
    first, second = (asyncio.create_task(keys.find_or_fetch("new")) for _ in range(2))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    first.cancel()
    await asyncio.wait([first], timeout=PATIENCE_SECONDS)
    assert first.cancelled()
    gate.opened.set()
    assert await asyncio.wait_for(second, PATIENCE_SECONDS) == keys.find("new")


# The end


async def test_stopped_key_set_fetches_no_more(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    await keys.stop()
    asked = len(issuer.asked)
    await clock.leap(24 * 3600)
    assert len(issuer.asked) == asked
    assert reports.none_waits
    assert kids(keys) == ["old"]


async def test_retired_key_set_fetches_for_the_checks_in_hand_alone(
    keys: KeySet, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    gate = Gate(raw(set_of(OLD, NEW)))
    issuer.answers["/jwks"] = gate
    waiting = asyncio.create_task(keys.find_or_fetch("new"))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    keys.retire()
    gate.opened.set()
    assert await asyncio.wait_for(waiting, PATIENCE_SECONDS) == keys.find("new")
    await clock.leap(31)
    issuer.publish(OTHER)
    assert await keys.find_or_fetch("other") == keys.keys
    asked = len(issuer.asked)
    await clock.leap(24 * 3600)
    assert len(issuer.asked) == asked


async def test_stop_ends_a_hanging_fetch_and_who_waits_for_it(
    keys: KeySet, issuer: IssuerServer
) -> None:
    gate = Gate(raw("{}"))
    issuer.answers["/jwks"] = gate
    waiting = asyncio.create_task(keys.find_or_fetch("new"))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    await asyncio.wait_for(keys.stop(), PATIENCE_SECONDS)
    with pytest.raises((IssuerError, TokenError)):
        await asyncio.wait_for(waiting, PATIENCE_SECONDS)


# jwks_file


def put(file: Path, text: str) -> None:
    """Put a new file in the place of the old one, as tools that write atomically do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    file.write_text(set_of(OLD))
    return file


@pytest.mark.parametrize("write", [put, rewrite])
async def test_changed_file_is_read(
    file: Path,
    clock: Clock,
    new_key_set: NewKeySet,
    reports: Reports,
    write: Callable[[Path, str], None],
) -> None:
    keys = new_key_set(source_in(file))
    await keys.start()
    assert await reports.next() == FetchReport("https://login.example.com", None, 1, 1.0)
    (old,) = keys.keys
    write(file, set_of(NEW, OTHER))
    await clock.leap(1)
    assert (await reports.next()).keys == 2
    assert kids(keys) == ["new", "other"]
    assert old.retired


async def test_swapped_link_is_another_file(
    tmp_path: Path, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    """Kubernetes swaps the link of a whole directory."""
    for name, key in (("one", OLD), ("two", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.json").write_text(set_of(key))
    current = tmp_path / "current"
    current.symlink_to("one")
    keys = new_key_set(source_in(current / "keys.json"))
    await keys.start()
    await reports.next()
    swapped = tmp_path / "swapped"
    swapped.symlink_to("two")
    swapped.replace(current)
    await clock.leap(1)
    await reports.next()
    assert kids(keys) == ["new"]


def break_it(file: Path) -> None:
    put(file, '{"keys": [')


def empty_it(file: Path) -> None:
    put(file, "")


def take_it_away(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        pytest.param(break_it, "no_usable_key_set", id="broken"),
        pytest.param(empty_it, "no_usable_key_set", id="empty"),
        pytest.param(take_it_away, "file_unreadable", id="gone"),
    ],
)
async def test_spoilt_file_keeps_the_last_good_keys_until_it_is_good_again(
    file: Path,
    clock: Clock,
    new_key_set: NewKeySet,
    reports: Reports,
    spoil: Callable[[Path], None],
    error: str,
) -> None:
    keys = new_key_set(source_in(file))
    await keys.start()
    await reports.next()
    spoil(file)
    await clock.leap(1)
    assert await reports.next() == FetchReport("https://login.example.com", error, 1, 1.0)
    await clock.leap(1)
    assert keys.error == error
    assert kids(keys) == ["old"]
    with pytest.raises(IssuerError):
        await keys.find_or_fetch("new")
    put(file, set_of(NEW))
    await clock.leap(1)
    while (report := await reports.next()).error is not None:
        pass
    assert report.keys == 1
    assert kids(keys) == ["new"]


async def test_file_that_appears_later_is_read(
    tmp_path: Path, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    keys = new_key_set(source_in(tmp_path / "keys.json"))
    await keys.start()
    assert (await reports.next()).error == "file_unreadable"
    (tmp_path / "keys.json").write_text(set_of(OLD))
    await clock.leap(1)
    assert (await reports.next()).error is None
    assert kids(keys) == ["old"]


async def test_unchanged_file_is_good_for_ever_and_not_reported_again(
    file: Path, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    keys = new_key_set(source_in(file))
    await keys.start()
    await reports.next()
    for _ in range(100):
        await clock.leap(1)
    assert reports.none_waits
    assert keys.age_seconds is not None
    assert keys.age_seconds < 10
    with pytest.raises(TokenError) as invalid:
        await keys.find_or_fetch("unknown")
    assert invalid.value.reason == "token_kid_unknown"


async def test_unknown_kid_reads_a_changed_file_at_once(
    file: Path, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    keys = new_key_set(source_in(file))
    await keys.start()
    put(file, set_of(NEW))
    assert await keys.find_or_fetch("new") == keys.keys


async def test_directory_in_the_place_of_the_file_is_a_failed_fetch(
    tmp_path: Path, new_key_set: NewKeySet, reports: Reports
) -> None:
    keys = new_key_set(source_in(tmp_path))
    await keys.start()
    assert (await reports.next()).error == "file_unreadable"


async def test_file_of_over_1_mib_is_a_failed_fetch(
    file: Path, new_key_set: NewKeySet, reports: Reports
) -> None:
    rewrite(file, " " * 1024 * 1024 + set_of(OLD))
    keys = new_key_set(source_in(file))
    await keys.start()
    assert (await reports.next()).error == "no_usable_key_set"
