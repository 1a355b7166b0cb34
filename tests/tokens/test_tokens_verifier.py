"""Credentials in, verified access token out, with real keys from a real issuer (spec §5)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from bridge.errors import IssuerError, TokenError
from bridge.tokens.access_token import AccessToken
from bridge.tokens.cache import TokenCache
from bridge.tokens.credentials import Credentials
from bridge.tokens.identity import IdentityHeaders
from bridge.tokens.keys import KeySet, KeySource
from bridge.tokens.settings import IssuerSettings
from bridge.tokens.verifier import Issuer, TokenVerifier

from .tokens_issuer import (
    NOW,
    PATIENCE_SECONDS,
    Clock,
    Gate,
    IssuerServer,
    Reports,
    SigningKey,
    raw,
)

NewKeySet = Callable[[KeySource], KeySet]

OLD, NEW = SigningKey("old"), SigningKey("new")
FIRST_WITHOUT_KID, SECOND_WITHOUT_KID = SigningKey(), SigningKey()
IDENTITY = IdentityHeaders((("x-stepup-subject", "sub"),))
TTL = 300


async def verify(
    verifier: TokenVerifier,
    token: str,
    *issuers: str,
    audiences: tuple[str, ...] | None = None,
    now: int = NOW,
    scheme: Literal["bearer", "dpop"] = "bearer",
) -> AccessToken:
    """Verify a token as a check does."""
    credentials = Credentials(scheme, token)
    found = verifier.find(credentials, issuers, audiences, now)
    if found is not None:
        return found
    verifying = verifier.verify(credentials, issuers, audiences, now)
    return await asyncio.wait_for(verifying, PATIENCE_SECONDS)


async def refusal(
    verifier: TokenVerifier, token: str, *issuers: str, **more: Any
) -> tuple[str, str]:
    with pytest.raises(TokenError) as refused:
        await verify(verifier, token, *issuers, **more)
    return refused.value.check, refused.value.reason


def settings_of(issuer: IssuerServer) -> IssuerSettings:
    return IssuerSettings(
        issuer.url, audiences=("api",), algorithms=("EdDSA",), jwks_uri=issuer.jwks_uri
    )


def state_of(settings: IssuerSettings, new_key_set: NewKeySet) -> Issuer:
    source = KeySource(settings.issuer, settings.jwks_uri, None, settings.timeout, False)
    return Issuer(settings, new_key_set(source), IDENTITY)


async def first_fetch(state: Issuer) -> None:
    assert state.keys is not None
    await state.keys.start()


def new_cache() -> TokenCache[Issuer]:
    return TokenCache(100, TTL)


def verifier_of(*states: Issuer, cache: TokenCache[Issuer] | None = None) -> TokenVerifier:
    by_iss = {state.settings.issuer: state for state in states}
    return TokenVerifier(by_iss, new_cache() if cache is None else cache)


@pytest.fixture
async def state(issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet) -> Issuer:
    """Give the issuer with its keys, which are at hand."""
    issuer.publish(OLD)
    made = state_of(settings_of(issuer), new_key_set)
    await first_fetch(made)
    return made


@pytest.fixture
async def verifier(state: Issuer) -> TokenVerifier:
    return verifier_of(state)


@pytest.fixture
async def verifier_without_keys(issuer: IssuerServer, new_key_set: NewKeySet) -> TokenVerifier:
    """Give a verifier whose issuer is down, and has been from the start."""
    issuer.answers["/jwks"] = raw("", 500)
    made = state_of(settings_of(issuer), new_key_set)
    await first_fetch(made)
    return verifier_of(made)


# Faults that need no key


def unsigned(header: Any, claims: Any) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims))
    return b".".join(part.rstrip(b"=") for part in parts).decode() + ".AAAA"


@pytest.mark.parametrize(
    ("make_token", "check", "reason"),
    [
        pytest.param(lambda iss: "opaque", "format", "token_opaque", id="opaque"),
        pytest.param(lambda iss: "a.b.c", "format", "token_opaque", id="three-parts"),
        pytest.param(
            lambda iss: unsigned({"alg": "EdDSA"}, []), "format", "token_malformed", id="claims"
        ),
        pytest.param(
            lambda iss: unsigned({"typ": "JWT"}, {"iss": iss}),
            "format",
            "token_malformed",
            id="no-alg",
        ),
        pytest.param(
            lambda iss: OLD.token("https://evil.example"),
            "iss",
            "token_issuer_not_accepted",
            id="unknown-issuer",
        ),
        pytest.param(
            lambda iss: OLD.token(iss + "/"),
            "iss",
            "token_issuer_not_accepted",
            id="issuer-with-a-slash-more",
        ),
        pytest.param(
            lambda iss: unsigned({"alg": "EdDSA"}, {}),
            "iss",
            "token_issuer_not_accepted",
            id="no-issuer",
        ),
        pytest.param(
            lambda iss: unsigned({"alg": "EdDSA"}, {"iss": [iss]}),
            "iss",
            "token_issuer_not_accepted",
            id="list-of-issuers",
        ),
        pytest.param(
            lambda iss: OLD.token(iss, {"crit": ["exp"], "exp": 1}),
            "crit",
            "token_crit_not_understood",
            id="crit",
        ),
        pytest.param(
            lambda iss: OLD.token(iss, {"alg": "none"}), "alg", "token_alg_not_accepted", id="none"
        ),
        pytest.param(
            lambda iss: OLD.token(iss, {"alg": "HS256"}),
            "alg",
            "token_alg_not_accepted",
            id="symmetric",
        ),
        pytest.param(
            lambda iss: OLD.token(iss, {"alg": "RS256"}),
            "alg",
            "token_alg_not_accepted",
            id="not-configured",
        ),
        pytest.param(
            lambda iss: OLD.token(iss, {"typ": "logout+jwt"}),
            "typ",
            "token_typ_not_accepted",
            id="logout-token",
        ),
    ],
)
async def test_faults_visible_without_a_key_are_the_tokens_even_while_the_issuer_is_down(
    verifier_without_keys: TokenVerifier,
    issuer: IssuerServer,
    make_token: Callable[[str], str],
    check: str,
    reason: str,
) -> None:
    asked = len(issuer.asked)
    token = make_token(issuer.url)
    assert await refusal(verifier_without_keys, token, issuer.url) == (check, reason)
    assert len(issuer.asked) == asked


@pytest.mark.parametrize("key", [OLD, FIRST_WITHOUT_KID])
@pytest.mark.parametrize("claims", [{}, {"exp": NOW - 600}, {"aud": "another"}])
async def test_token_that_cannot_be_judged_is_the_fault_of_the_issuer(
    verifier_without_keys: TokenVerifier,
    issuer: IssuerServer,
    key: SigningKey,
    claims: dict[str, Any],
) -> None:
    with pytest.raises(IssuerError) as fault:
        await verify(verifier_without_keys, key.token(issuer.url, **claims), issuer.url)
    assert (fault.value.issuer, fault.value.reason) == (issuer.url, "keys_unavailable")


# Faults that need a key


@pytest.mark.parametrize(
    ("claims", "check", "reason"),
    [
        pytest.param({"exp": None}, "exp", "token_exp_malformed", id="no-exp"),
        pytest.param({"exp": NOW - 6}, "exp", "token_expired", id="expired"),
        pytest.param({"exp": NOW - 5}, "exp", "token_expired", id="expired-with-the-leeway"),
        pytest.param({"nbf": NOW + 6}, "nbf", "token_not_yet_valid", id="not-yet"),
        pytest.param({"iat": NOW + 6}, "iat", "token_issued_in_the_future", id="future"),
        pytest.param({"cnf": {"jkt": "a"}}, "cnf", "token_binding_malformed", id="bound"),
        pytest.param({"aud": None}, "aud", "token_audience_not_accepted", id="no-audience"),
        pytest.param({"aud": "other"}, "aud", "token_audience_not_accepted", id="other-audience"),
        pytest.param({"aud": []}, "aud", "token_audience_not_accepted", id="empty-audience"),
    ],
)
async def test_signed_token_with_a_fault_is_refused_and_not_kept(
    state: Issuer, issuer: IssuerServer, claims: dict[str, Any], check: str, reason: str
) -> None:
    verifier = verifier_of(state)
    token = OLD.token(issuer.url, **claims)
    for _ in range(2):  # the second time it may come from the cache
        assert await refusal(verifier, token, issuer.url) == (check, reason)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": NOW - 4}, id="exp-within-the-leeway"),
        pytest.param({"nbf": NOW + 5}, id="nbf-at-the-leeway"),
        pytest.param({"aud": ["other", "api"]}, id="one-audience-of-two"),
    ],
)
async def test_good_token_is_verified(
    verifier: TokenVerifier, issuer: IssuerServer, claims: dict[str, Any]
) -> None:
    token = await verify(verifier, OLD.token(issuer.url, acr="urn:mfa", **claims), issuer.url)
    assert (token.iss, token.acr) == (issuer.url, ("urn:mfa",))
    assert token.upstream == IDENTITY.of({"sub": "alice"})


async def test_claims_that_were_exchanged_are_refused(
    verifier: TokenVerifier, issuer: IssuerServer
) -> None:
    weak, strong = (OLD.token(issuer.url, acr=acr).split(".") for acr in ("pwd", "mfa"))
    mixed = ".".join((weak[0], strong[1], weak[2]))
    await verify(verifier, ".".join(weak), issuer.url)
    expected = ("signature", "token_signature_invalid")
    assert await refusal(verifier, mixed, issuer.url) == expected


async def test_kid_chooses_the_key_and_no_other_is_tried(
    issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    issuer.publish(OLD, NEW)
    state = state_of(settings_of(issuer), new_key_set)
    await first_fetch(state)
    token = OLD.token(issuer.url, {"kid": "new"})
    assert await refusal(verifier_of(state), token, issuer.url) == (
        "signature",
        "token_signature_invalid",
    )


# Unknown and absent kid


@pytest.mark.parametrize("key", [FIRST_WITHOUT_KID, SECOND_WITHOUT_KID, OLD])
async def test_token_without_kid_is_tried_with_every_key(
    issuer: IssuerServer, new_key_set: NewKeySet, key: SigningKey
) -> None:
    issuer.publish(FIRST_WITHOUT_KID, OLD, SECOND_WITHOUT_KID)
    state = state_of(settings_of(issuer), new_key_set)
    await first_fetch(state)
    token = key.token(issuer.url, {"kid": None})
    assert (await verify(verifier_of(state), token, issuer.url)).iss == issuer.url
    assert issuer.asked == ["/jwks"]


async def test_token_without_kid_that_no_key_has_signed_causes_no_fetch(
    verifier: TokenVerifier, issuer: IssuerServer
) -> None:
    issuer.publish(FIRST_WITHOUT_KID)
    token = FIRST_WITHOUT_KID.token(issuer.url)
    expected = ("signature", "token_signature_invalid")
    assert await refusal(verifier, token, issuer.url) == expected
    assert issuer.asked == ["/jwks"]


async def test_token_of_a_new_key_is_verified_after_one_fetch(
    verifier: TokenVerifier, issuer: IssuerServer
) -> None:
    issuer.publish(OLD, NEW)
    tokens = [NEW.token(issuer.url, jti=str(number)) for number in range(10)]
    verified = await asyncio.gather(*(verify(verifier, token, issuer.url) for token in tokens))
    assert [token.iss for token in verified] == [issuer.url] * 10
    assert issuer.asked == ["/jwks", "/jwks"]


async def test_unknown_kid_is_the_tokens_fault_only_after_a_good_fetch(
    verifier: TokenVerifier, issuer: IssuerServer, clock: Clock
) -> None:
    token = NEW.token(issuer.url)
    assert await refusal(verifier, token, issuer.url) == ("key", "token_kid_unknown")
    issuer.answers["/jwks"] = raw("", 500)
    await clock.leap(31)
    with pytest.raises(IssuerError):
        await verify(verifier, token, issuer.url)
    assert (await verify(verifier, OLD.token(issuer.url), issuer.url)).iss == issuer.url


async def test_waiting_for_one_issuer_does_not_hold_up_another(
    state: Issuer, issuer: IssuerServer, other_issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    gate = Gate(raw("", 500))
    other_issuer.answers["/jwks"] = gate
    hanging = state_of(settings_of(other_issuer), new_key_set)
    verifier = verifier_of(state, hanging)
    both = (issuer.url, other_issuer.url)
    waiting = asyncio.create_task(verify(verifier, OLD.token(other_issuer.url), *both))
    await asyncio.wait_for(gate.arrived.wait(), PATIENCE_SECONDS)
    assert (await verify(verifier, OLD.token(issuer.url), *both)).iss == issuer.url
    assert not waiting.done()
    gate.opened.set()
    with pytest.raises(IssuerError):
        await waiting


async def test_key_of_one_issuer_verifies_no_token_of_another(
    state: Issuer, issuer: IssuerServer, other_issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    other_issuer.publish(NEW)
    other = state_of(settings_of(other_issuer), new_key_set)
    await first_fetch(other)
    verifier = verifier_of(state, other)
    forged = NEW.token(issuer.url, {"kid": "old"})
    assert await refusal(verifier, forged, issuer.url, other_issuer.url) == (
        "signature",
        "token_signature_invalid",
    )


# What an API takes


async def test_issuer_that_the_api_does_not_take_is_refused_also_from_the_cache(
    state: Issuer, issuer: IssuerServer, other_issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    verifier = verifier_of(state, state_of(settings_of(other_issuer), new_key_set))
    token = OLD.token(issuer.url)
    expected = ("iss", "token_issuer_not_accepted")
    assert await refusal(verifier, token, other_issuer.url) == expected
    await verify(verifier, token, issuer.url, other_issuer.url)
    assert await refusal(verifier, token, other_issuer.url) == expected
    assert await refusal(verifier, token) == expected
    await verify(verifier, token, issuer.url)


async def test_audiences_are_narrowed_for_each_api_also_from_the_cache(
    verifier: TokenVerifier, issuer: IssuerServer
) -> None:
    token = OLD.token(issuer.url, aud=["api", "payments"])
    expected = ("aud", "token_audience_not_accepted")
    for _ in range(2):
        assert await refusal(verifier, token, issuer.url, audiences=("accounts",)) == expected
        await verify(verifier, token, issuer.url, audiences=("accounts", "payments"))
        await verify(verifier, token, issuer.url)
    narrow = OLD.token(issuer.url, aud="api")
    await verify(verifier, narrow, issuer.url)
    assert await refusal(verifier, narrow, issuer.url, audiences=("payments",)) == expected


# The cache


async def test_hits_and_misses_are_counted_once(
    verifier: TokenVerifier, issuer: IssuerServer
) -> None:
    assert verifier.take_counts() == (0, 0)
    token = OLD.token(issuer.url)
    for _ in range(3):
        await verify(verifier, token, issuer.url)
    assert verifier.take_counts() == (2, 1)
    assert verifier.take_counts() == (0, 0)
    await verify(verifier, OLD.token(issuer.url, jti="2"), issuer.url)
    await refusal(verifier, OLD.token(issuer.url, exp=0), issuer.url)
    assert verifier.take_counts() == (0, 2)


async def test_cached_token_needs_the_issuer_no_more(
    verifier: TokenVerifier, issuer: IssuerServer, clock: Clock, reports: Reports
) -> None:
    token = OLD.token(issuer.url)
    await reports.next()
    await verify(verifier, token, issuer.url)
    issuer.answers["/jwks"] = raw("", 500)
    await clock.leap(540)
    assert (await reports.next()).error == "status_500"
    await verify(verifier, token, issuer.url)
    assert verifier.take_counts() == (1, 1)


@pytest.mark.parametrize(
    ("exp", "later", "hits"),
    [
        pytest.param(NOW + 1000, TTL - 1, 1, id="within-the-ttl"),
        pytest.param(NOW + 1000, TTL, 0, id="at-the-ttl"),
        pytest.param(NOW + 100, 99, 1, id="before-exp"),
        pytest.param(NOW + 100, 100, 0, id="at-exp-but-within-the-leeway"),
    ],
)
async def test_cached_token_is_verified_anew_after_its_time(
    verifier: TokenVerifier, issuer: IssuerServer, exp: int, later: int, hits: int
) -> None:
    token = OLD.token(issuer.url, exp=exp)
    await verify(verifier, token, issuer.url)
    await verify(verifier, token, issuer.url, now=NOW + later)
    assert verifier.take_counts() == (hits, 2 - hits)


async def test_cached_token_expires(verifier: TokenVerifier, issuer: IssuerServer) -> None:
    token = OLD.token(issuer.url, exp=NOW + 100)
    await verify(verifier, token, issuer.url)
    await verify(verifier, token, issuer.url, now=NOW + 104)
    expected = ("exp", "token_expired")
    assert await refusal(verifier, token, issuer.url, now=NOW + 105) == expected


@pytest.mark.parametrize(
    ("kid", "check", "reason"),
    [
        pytest.param("old", "key", "token_kid_unknown", id="with-kid"),
        pytest.param(None, "signature", "token_signature_invalid", id="without-kid"),
    ],
)
async def test_removed_key_takes_its_cached_tokens_with_it(
    verifier: TokenVerifier,
    issuer: IssuerServer,
    clock: Clock,
    reports: Reports,
    kid: str | None,
    check: str,
    reason: str,
) -> None:
    await reports.next()
    token = OLD.token(issuer.url, {"kid": kid})
    await verify(verifier, token, issuer.url)
    issuer.publish(NEW)
    await clock.leap(540)
    await reports.next()
    assert await refusal(verifier, token, issuer.url) == (check, reason)


async def test_other_tokens_stay_cached_when_a_key_is_removed(
    issuer: IssuerServer, clock: Clock, new_key_set: NewKeySet, reports: Reports
) -> None:
    issuer.publish(OLD, NEW)
    state = state_of(settings_of(issuer), new_key_set)
    await first_fetch(state)
    await reports.next()
    verifier = verifier_of(state)
    token = NEW.token(issuer.url)
    await verify(verifier, token, issuer.url)
    issuer.publish(NEW)
    await clock.leap(540)
    await reports.next()
    await verify(verifier, token, issuer.url)
    assert verifier.take_counts() == (1, 1)


# Reloads


async def test_reload_that_leaves_the_issuer_alone_keeps_its_cached_tokens(
    state: Issuer, issuer: IssuerServer
) -> None:
    cache = new_cache()
    token = OLD.token(issuer.url)
    await verify(verifier_of(state, cache=cache), token, issuer.url)
    reloaded = verifier_of(state, cache=cache)
    await verify(reloaded, token, issuer.url)
    assert reloaded.take_counts() == (1, 0)


@pytest.mark.parametrize(
    ("changed", "check", "reason"),
    [
        pytest.param(
            {"audiences": ("other",)}, "aud", "token_audience_not_accepted", id="audiences"
        ),
        pytest.param({"algorithms": ("RS256",)}, "alg", "token_alg_not_accepted", id="algorithms"),
        pytest.param(
            {"token_type": "strict"}, "required_claims", "token_lacks_required_claims", id="strict"
        ),
        pytest.param({"leeway": 0}, "nbf", "token_not_yet_valid", id="leeway"),
    ],
)
async def test_reload_with_changed_settings_voids_the_cached_tokens(
    state: Issuer, issuer: IssuerServer, changed: dict[str, Any], check: str, reason: str
) -> None:
    cache = new_cache()
    token = OLD.token(issuer.url, nbf=NOW + 3)
    await verify(verifier_of(state, cache=cache), token, issuer.url)
    after = Issuer(replace(state.settings, **changed), state.keys, IDENTITY)
    reloaded = verifier_of(after, cache=cache)
    assert await refusal(reloaded, token, issuer.url) == (check, reason)
    assert reloaded.take_counts() == (0, 1)


async def test_reload_with_other_identity_headers_computes_them_anew(
    state: Issuer, issuer: IssuerServer
) -> None:
    cache = new_cache()
    token = OLD.token(issuer.url)
    await verify(verifier_of(state, cache=cache), token, issuer.url)
    identity = IdentityHeaders((("x-user", "sub"),))
    reloaded = verifier_of(Issuer(state.settings, state.keys, identity), cache=cache)
    verified = await verify(reloaded, token, issuer.url)
    assert verified.upstream.set == (("x-user", "alice"),)


async def test_reload_without_the_issuer_voids_its_cached_tokens(
    state: Issuer, issuer: IssuerServer, other_issuer: IssuerServer, new_key_set: NewKeySet
) -> None:
    cache = new_cache()
    token = OLD.token(issuer.url)
    await verify(verifier_of(state, cache=cache), token, issuer.url)
    reloaded = verifier_of(state_of(settings_of(other_issuer), new_key_set), cache=cache)
    assert await refusal(reloaded, token, other_issuer.url) == ("iss", "token_issuer_not_accepted")
