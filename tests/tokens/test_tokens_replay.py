"""Used proofs are refused while they could be accepted, and no memory grows without end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.tokens.replay import Claimed, ReplayMemory, replay_key

NOW = 1_700_000_000
LIFETIME = 80


def memory(max_entries: int = 100, lifetime: int = LIFETIME, since: int = NOW) -> ReplayMemory:
    return ReplayMemory(max_entries, lifetime, since)


def key(name: int | str) -> bytes:
    return replay_key("jkt", str(name))


def test_second_use_is_refused() -> None:
    used = memory()
    assert used.claim(key("a"), NOW, NOW) == "fresh"
    assert used.claim(key("a"), NOW, NOW) == "replayed"
    assert used.claim(key("b"), NOW, NOW) == "fresh"
    assert len(used) == 2


@pytest.mark.parametrize(
    ("jkt", "jti"),
    [("jkt", "b"), ("another", "a"), ("jkt a", ""), ("", "jkt a")],
)
def test_proof_is_named_by_its_key_and_its_name(jkt: str, jti: str) -> None:
    assert replay_key(jkt, jti) != replay_key("jkt", "a")
    assert replay_key("jkt", "a") == replay_key("jkt", "a")


def test_name_may_be_any_text() -> None:
    assert len(replay_key("jkt", "é\x00\U0001f600")) == 16


def test_second_use_with_another_time_of_issue_is_refused() -> None:
    used = memory()
    assert used.claim(key("a"), NOW, NOW) == "fresh"
    assert used.claim(key("a"), NOW + 30, NOW + 30) == "replayed"


@pytest.mark.parametrize("later", [0, 1, 9, 10, LIFETIME - 1, LIFETIME])
def test_use_is_remembered_for_a_lifetime(later: int) -> None:
    used = memory()
    used.claim(key("a"), NOW, NOW)
    used.claim(key("b"), NOW + later, NOW + later)
    assert used.claim(key("a"), NOW, NOW + later) == "replayed"


def test_use_is_forgotten_some_time_after_and_never_taken_again() -> None:
    used = memory()
    used.claim(key("a"), NOW, NOW)
    later = NOW + LIFETIME + 1
    assert used.claim(key("b"), later, later) == "fresh"
    assert len(used) == 1
    assert used.claim(key("a"), NOW, later) == "forgotten"


def test_proof_from_before_the_start_is_refused() -> None:
    """The process before this one may have seen it."""
    used = memory()
    assert used.claim(key("a"), NOW - 1, NOW) == "forgotten"
    assert used.claim(key("b"), NOW - 0.5, NOW) == "forgotten"
    assert used.claim(key("c"), NOW, NOW) == "fresh"


def test_memory_that_begins_anew_takes_nothing_older_and_forgets_nothing() -> None:
    used = memory()
    used.claim(key("a"), NOW, NOW)
    used.begin_anew(NOW + 11)
    assert used.claim(key("b"), NOW + 10, NOW) == "forgotten"
    assert used.claim(key("c"), NOW + 11, NOW + 1) == "fresh"
    assert used.holds(key("a"), NOW + 1)
    used.begin_anew(NOW)
    assert used.claim(key("b"), NOW + 10, NOW) == "forgotten"


def test_look_uses_nothing_and_sees_a_use_for_a_lifetime() -> None:
    used = memory()
    assert not used.holds(key("a"), NOW)
    assert used.claim(key("a"), NOW, NOW) == "fresh"
    assert used.holds(key("a"), NOW + LIFETIME)
    assert not used.holds(key("a"), NOW + LIFETIME + 1)
    assert len(used) == 0


def test_full_memory_takes_no_more_and_forgets_nothing() -> None:
    used = memory(max_entries=2)
    found = [used.claim(key(name), NOW, NOW) for name in "abcab"]
    assert found == ["fresh", "fresh", "full", "replayed", "replayed"]
    later = NOW + LIFETIME + 1
    assert used.claim(key("c"), later, later) == "fresh"


def test_longer_lifetime_keeps_what_is_remembered() -> None:
    used = memory(lifetime=8)
    used.claim(key("a"), NOW, NOW)
    used.limit(100, 800)
    assert used.claim(key("a"), NOW, NOW + 9) == "replayed"
    assert used.claim(key("b"), NOW + 800, NOW + 800) == "fresh"
    assert used.claim(key("a"), NOW, NOW + 800) == "replayed"


def test_what_was_forgotten_is_not_taken_under_a_longer_lifetime() -> None:
    used = memory(lifetime=8)
    used.claim(key("a"), NOW, NOW)
    assert used.claim(key("b"), NOW + 20, NOW + 20) == "fresh"
    used.limit(100, 800)
    assert used.claim(key("a"), NOW, NOW + 20) == "forgotten"


def test_shorter_lifetime_cuts_no_bucket_short() -> None:
    used = memory(lifetime=800)
    used.claim(key("a"), NOW, NOW)
    used.claim(key("b"), NOW + 90, NOW + 90)
    used.limit(100, 8)
    assert used.claim(key("b"), NOW + 90, NOW + 98) == "replayed"


def test_clock_that_is_set_back_forgets_nothing() -> None:
    used = memory()
    used.claim(key("a"), NOW + 50, NOW + 50)
    assert used.claim(key("b"), NOW + 20, NOW + 20) == "fresh"
    assert used.claim(key("a"), NOW + 50, NOW + 20) == "replayed"


STEPS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(-5, 15)), max_size=60)


@given(STEPS, st.integers(1, 40), st.integers(1, 30))
def test_no_proof_is_ever_taken_twice(
    steps: list[tuple[int, int, int]], lifetime: int, max_entries: int
) -> None:
    """Names repeat, time goes on; a proof is taken at most once while it could be accepted."""
    used = ReplayMemory(max_entries, lifetime, NOW)
    now = NOW
    taken: dict[int, int] = {}
    for wait, name, age in steps:
        now += wait
        iat = now - age
        found: Claimed = used.claim(key(name), iat, now)
        if found == "fresh":
            assert name not in taken or now - taken[name] > lifetime
            assert iat >= NOW
            taken[name] = now
        assert len(used) <= max_entries
