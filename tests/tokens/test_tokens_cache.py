"""Verified tokens are kept bounded in number and in time, never past `exp` (spec §5)."""

from __future__ import annotations

import math

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.tokens.access_token import AccessToken
from bridge.tokens.cache import CachedToken, InactiveTokens, TokenCache
from bridge.tokens.identity import UpstreamHeaders
from bridge.tokens.jwk import VerificationKey

NOW = 1_700_000_000
TTL = 300
TOKEN = AccessToken(
    iss="https://login.example.com",
    aud=("a",),
    exp=NOW + 10_000,
    leeway=5,
    acr=(),
    auth_time=None,
    scopes=frozenset(),
    client_id=None,
    upstream=UpstreamHeaders((), ()),
)
ISSUER = "state of the issuer"


def make_key() -> VerificationKey:
    public_key = ed25519.Ed25519PrivateKey.generate().public_key()
    return VerificationKey(None, frozenset({"EdDSA"}), public_key, ())


KEY = make_key()


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_empty_cache_has_no_entry() -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    assert len(cache) == 0
    assert cache.find(digest(1), NOW) is None


def test_entry_is_found_by_its_whole_digest_with_who_verified_it() -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    cache.add(digest(1), TOKEN, ISSUER, KEY, NOW)
    assert cache.find(digest(1), NOW) == CachedToken(TOKEN, ISSUER, KEY, NOW + TTL)
    assert cache.find(digest(2), NOW) is None
    assert cache.find(digest(1)[:-1], NOW) is None


@pytest.mark.parametrize(
    ("exp", "later", "found"),
    [
        pytest.param(NOW + 100, NOW + 101, False, id="exp-one-above"),
        pytest.param(NOW + 100, NOW + 100, False, id="exp-at"),
        pytest.param(NOW + 10_000, NOW + TTL + 1, False, id="ttl-one-above"),
        pytest.param(NOW + 10_000, NOW + TTL, False, id="ttl-at"),
        pytest.param(NOW + 0.5, NOW + 1, False, id="exp-as-a-float"),
        pytest.param(NOW + 100, NOW + 99, True, id="exp-one-below"),
        pytest.param(NOW + 10_000, NOW + TTL - 1, True, id="ttl-one-below"),
        pytest.param(1e300, NOW + TTL - 1, True, id="exp-far-away"),
    ],
)
def test_entry_lives_to_the_earlier_of_exp_and_ttl(exp: float, later: int, found: bool) -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    cache.add(digest(1), TOKEN._replace(exp=exp), ISSUER, KEY, NOW)
    assert (cache.find(digest(1), later) is not None) is found
    assert len(cache) == found


@pytest.mark.parametrize(
    ("exp", "kept"),
    [
        pytest.param(NOW - 1, 0, id="one-below-now"),
        pytest.param(NOW, 0, id="at-now"),
        pytest.param(-1, 0, id="negative"),
        pytest.param(NOW + 1, 1, id="one-above-now"),
    ],
)
def test_token_that_has_expired_within_the_leeway_is_not_kept(exp: int, kept: int) -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    cache.add(digest(1), TOKEN._replace(exp=exp), ISSUER, KEY, NOW)
    assert len(cache) == kept


def test_ttl_of_zero_keeps_nothing() -> None:
    cache: TokenCache[str] = TokenCache(10, 0)
    cache.add(digest(1), TOKEN, ISSUER, KEY, NOW)
    assert len(cache) == 0


def test_entry_of_a_removed_key_is_void_and_others_are_not() -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    removed = make_key()
    cache.add(digest(1), TOKEN, ISSUER, removed, NOW)
    cache.add(digest(2), TOKEN, ISSUER, KEY, NOW)
    removed.retired = True
    assert cache.find(digest(1), NOW) is None
    assert len(cache) == 1
    assert cache.find(digest(2), NOW) is not None


def test_entries_of_removed_keys_are_dropped_at_once() -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    removed = make_key()
    for number, key in enumerate((removed, KEY, None, removed)):
        cache.add(digest(number), TOKEN, ISSUER, key, NOW)
    cache.drop_retired()
    assert len(cache) == 4
    removed.retired = True
    cache.drop_retired()
    assert len(cache) == 2
    assert all(cache.find(digest(number), NOW) for number in (1, 2))


@pytest.mark.parametrize("entries", [1, 2, 3])
def test_the_oldest_entry_makes_room(entries: int) -> None:
    cache: TokenCache[str] = TokenCache(3, TTL)
    for number in range(3 + entries):
        cache.add(digest(number), TOKEN, ISSUER, KEY, NOW)
        assert len(cache) <= 3
    found = [number for number in range(3 + entries) if cache.find(digest(number), NOW)]
    assert found == list(range(entries, 3 + entries))


def test_cache_of_one_holds_the_last() -> None:
    cache: TokenCache[str] = TokenCache(1, TTL)
    cache.add(digest(1), TOKEN, ISSUER, KEY, NOW)
    cache.add(digest(2), TOKEN, ISSUER, KEY, NOW)
    assert (cache.find(digest(1), NOW), len(cache)) == (None, 1)
    assert cache.find(digest(2), NOW) is not None


def test_what_is_void_goes_before_what_is_good() -> None:
    cache: TokenCache[str] = TokenCache(3, TTL)
    cache.add(digest(1), TOKEN._replace(exp=NOW + 1), ISSUER, KEY, NOW)
    cache.add(digest(2), TOKEN._replace(exp=NOW + 1), ISSUER, KEY, NOW)
    cache.add(digest(3), TOKEN, ISSUER, KEY, NOW)
    cache.add(digest(4), TOKEN, ISSUER, KEY, NOW + 1)
    assert len(cache) == 2
    assert cache.find(digest(3), NOW + 1) is not None
    assert cache.find(digest(4), NOW + 1) is not None


def test_a_token_that_is_verified_again_replaces_its_entry() -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    cache.add(digest(1), TOKEN, "old state", KEY, NOW)
    cache.add(digest(1), TOKEN, "new state", KEY, NOW + 10)
    assert cache.find(digest(1), NOW + TTL + 9) == CachedToken(
        TOKEN, "new state", KEY, NOW + 10 + TTL
    )
    assert len(cache) == 1


def test_a_token_that_is_verified_again_costs_no_other_its_place() -> None:
    cache: TokenCache[str] = TokenCache(3, TTL)
    for number in (1, 2, 3, 2):
        cache.add(digest(number), TOKEN, ISSUER, KEY, NOW)
    assert [number for number in (1, 2, 3) if cache.find(digest(number), NOW)] == [1, 2, 3]
    for number in (4, 5):  # the one that was verified again is the newest of the three
        cache.add(digest(number), TOKEN, ISSUER, KEY, NOW)
    assert [number for number in range(1, 6) if cache.find(digest(number), NOW)] == [2, 4, 5]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "find"]),
            st.integers(0, 6),
            st.integers(-2, 12),
            st.integers(0, 3),
        )
    ),
    max_entries=st.integers(1, 4),
)
@settings(deadline=None)
def test_an_entry_is_never_given_past_its_time_and_never_too_many_are_held(
    steps: list[tuple[str, int, int, int]], max_entries: int
) -> None:
    cache: TokenCache[str] = TokenCache(max_entries, 5)
    latest: dict[int, tuple[int, int]] = {}
    now = NOW
    for step, number, lifetime, passed in steps:
        now += passed
        if step == "add":
            exp = now + lifetime
            cache.add(digest(number), TOKEN._replace(exp=exp), str(exp), KEY, now)
            if lifetime > 0:
                latest[number] = (exp, now)
        else:
            found = cache.find(digest(number), now)
            if found is not None:
                exp, added = latest[number]
                assert found.token.exp == exp
                assert now < min(exp, added + 5)
        assert len(cache) <= max_entries


@pytest.mark.parametrize(
    ("ttl", "expires_at"),
    [
        pytest.param(TTL + 1, NOW + TTL, id="longer-than-that-of-the-cache"),
        pytest.param(TTL - 1, NOW + TTL - 1, id="shorter"),
        pytest.param(1, NOW + 1, id="one-second"),
        pytest.param(0, None, id="zero"),
    ],
)
def test_an_entry_without_a_key_may_have_a_shorter_life(ttl: int, expires_at: int | None) -> None:
    cache: TokenCache[str] = TokenCache(10, TTL)
    cache.add(digest(1), TOKEN._replace(exp=math.inf), ISSUER, None, NOW, ttl)
    found = cache.find(digest(1), NOW)
    assert (None if found is None else found.expires_at) == expires_at


def test_inactive_token_is_held_for_its_time_and_no_longer() -> None:
    tokens = InactiveTokens(10, 5)
    tokens.add(digest(1), NOW)
    assert [tokens.holds(digest(1), NOW + later) for later in (0, 4.9, 5)] == [True, True, False]
    assert not tokens.holds(digest(2), NOW)


def test_inactive_token_is_not_held_with_a_time_of_zero() -> None:
    tokens = InactiveTokens(10, 0)
    tokens.add(digest(1), NOW)
    assert (tokens.holds(digest(1), NOW), len(tokens)) == (False, 0)


def test_inactive_tokens_are_bounded_and_the_oldest_makes_room() -> None:
    tokens = InactiveTokens(3, 5)
    for number in (1, 2, 3, 1, 4):  # 1 is younger than 2
        tokens.add(digest(number), NOW)
    assert [tokens.holds(digest(n), NOW) for n in (1, 2, 3, 4)] == [True, False, True, True]
    assert len(tokens) == 3


def test_inactive_tokens_whose_time_is_over_make_room_first() -> None:
    tokens = InactiveTokens(10, 5)
    tokens.add(digest(1), NOW)
    tokens.add(digest(2), NOW + 1)
    tokens.add(digest(3), NOW + 5)
    assert len(tokens) == 2
    assert tokens.holds(digest(2), NOW + 5)
