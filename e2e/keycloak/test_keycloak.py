"""The step-up round trip and what may disturb it, with the levels of a real Keycloak."""

from __future__ import annotations

import pytest

from e2e.harness.api import ACCOUNTS, ADDRESS, LIMITS, PROFILE, TRANSFERS, Api, challenge_of
from e2e.harness.browser import Person
from e2e.harness.oauth import PublicClient, Tokens, step_up_parameters
from e2e.harness.policy import MFA, PWD
from e2e.harness.waiting import wait_until
from e2e.keycloak.server import Keycloak

pytestmark = pytest.mark.keycloak

PASSWORD_FORM = ("username", "password")
PASSWORD_AGAIN_FORM = ("password",)
CODE_FORM = ("otp",)

UNAUTHENTICATED = 'Bearer realm="payments", scope="accounts:read"'
ACR_UNMET = (
    'Bearer realm="payments", error="insufficient_user_authentication", '
    'error_description="A different authentication level is required", '
    f'acr_values="{MFA}", max_age="300"'
)
MAX_AGE_UNMET = (
    'Bearer realm="payments", error="insufficient_user_authentication", '
    'error_description="More recent authentication is required", max_age="3"'
)
INVALID = (
    'Bearer realm="payments", error="invalid_token", '
    'error_description="The access token is invalid"'
)
# Keys are fetched again after a minute at the earliest, and a failed fetch within 30 s.
REFRESH_SECONDS = 90
# Of level 2 in realm.json.
LEVEL_2_SECONDS = 10


def silently(person: Person, app: PublicClient) -> Tokens:
    """Get a token as single-page applications do it, from the session alone."""
    visit, tokens = person.obtain(app, prompt="none")
    assert visit.forms == ()
    return tokens


def fall_to(acr: str, person: Person, app: PublicClient, seconds: float) -> Tokens:
    """Wait until the session alone gives a token of this level."""
    seen: list[Tokens] = []

    def fell() -> bool:
        seen.append(silently(person, app))
        return bool(seen[-1].claims["acr"] == acr)

    wait_until(fell, seconds=seconds, what=f"a token with acr {acr}")
    return seen[-1]


def test_step_up_round_trip(api: Api, app: PublicClient, alice: Person) -> None:
    assert challenge_of(api.ask(ACCOUNTS)) == UNAUTHENTICATED

    visit, weak = alice.obtain(app)
    assert visit.forms == (PASSWORD_FORM,)
    assert weak.claims["acr"] == PWD
    seen = api.ask(ACCOUNTS, weak).only_upstream()
    assert dict(seen.with_prefix("x-stepup-")) == {
        "x-stepup-acr": PWD,
        "x-stepup-auth-time": str(weak.claims["auth_time"]),
        "x-stepup-client-id": "app",
        "x-stepup-issuer": app.issuer,
        "x-stepup-scope": weak.claims["scope"],
        "x-stepup-subject": weak.claims["sub"],
    }
    challenge = challenge_of(api.ask(TRANSFERS, weak))
    assert challenge == ACR_UNMET

    visit, strong = alice.obtain(app, **step_up_parameters(challenge))
    assert visit.forms == (CODE_FORM,)
    assert strong.claims["acr"] == MFA
    assert strong.claims["sub"] == weak.claims["sub"]
    answer = api.ask(TRANSFERS, strong)
    assert answer.status == 200
    assert ("x-stepup-acr", MFA) in answer.only_upstream().with_prefix("x-stepup-acr")
    assert challenge_of(api.ask(TRANSFERS, weak)) == ACR_UNMET  # the old token is what it was


def test_both_factors_are_asked_of_a_client_that_says_so_at_once(
    api: Api, app: PublicClient, alice: Person
) -> None:
    visit, strong = alice.obtain(app, acr_values=MFA)

    assert visit.forms == (PASSWORD_FORM, CODE_FORM)
    assert api.ask(TRANSFERS, strong).status == 200


def test_id_token_is_no_access_token(api: Api, app: PublicClient, alice: Person) -> None:
    _, tokens = alice.obtain(app)

    assert challenge_of(api.ask(PROFILE, str(tokens.answer["id_token"]))) == INVALID


def test_acr_falls_back_when_the_level_expires(api: Api, app: PublicClient, alice: Person) -> None:
    _, strong = alice.obtain(app, acr_values=MFA)
    assert api.ask(TRANSFERS, strong).status == 200

    fallen = fall_to(PWD, alice, app, LEVEL_2_SECONDS + 20)

    assert api.ask(ACCOUNTS, fallen).status == 200
    challenge = challenge_of(api.ask(TRANSFERS, fallen))
    assert challenge == ACR_UNMET
    visit, strong = alice.obtain(app, **step_up_parameters(challenge))
    assert visit.forms == (CODE_FORM,)  # the session alone does not do
    assert api.ask(TRANSFERS, strong).status == 200


def test_acr_falls_back_to_0_when_every_level_expires(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    alice.obtain(app)
    keycloak.set_max_age(1, 1)
    try:
        fallen = fall_to("0", alice, app, 20)

        assert api.ask(ACCOUNTS, fallen).status == 200
        challenge = challenge_of(api.ask(TRANSFERS, fallen))
        assert challenge == ACR_UNMET
    finally:
        keycloak.set_max_age(1, 36_000)
    _, strong = alice.obtain(app, **step_up_parameters(challenge))
    assert api.ask(TRANSFERS, strong).status == 200


def test_max_age_asks_for_the_password_again(api: Api, app: PublicClient, alice: Person) -> None:
    _, tokens = alice.obtain(app)
    wait_until(
        lambda: api.ask(ADDRESS, tokens).status == 401,
        seconds=20,
        what="the authentication is too old",
    )
    challenge = challenge_of(api.ask(ADDRESS, tokens))
    assert challenge == MAX_AGE_UNMET
    assert silently(alice, app).claims["auth_time"] == tokens.claims["auth_time"]

    visit, fresh = alice.obtain(app, **step_up_parameters(challenge))

    assert visit.forms == (PASSWORD_AGAIN_FORM,)
    assert fresh.claims["auth_time"] > tokens.claims["auth_time"]
    assert api.ask(ADDRESS, fresh).status == 200


def test_old_second_factor_is_asked_again_while_its_level_stands(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    """A level's age in Keycloak may exceed the `max_age` of an operation, without a loop."""
    keycloak.set_max_age(2, 3600)
    try:
        _, strong = alice.obtain(app, acr_values=MFA)
        wait_until(
            lambda: api.ask(LIMITS, strong).status == 401,
            seconds=20,
            what="the authentication is too old",
        )
        challenge = challenge_of(api.ask(LIMITS, strong))
        assert step_up_parameters(challenge) == {"acr_values": MFA, "max_age": "3"}

        visit, fresh = alice.obtain(app, **step_up_parameters(challenge))
        assert visit.forms == (PASSWORD_AGAIN_FORM, CODE_FORM)
        assert api.ask(LIMITS, fresh).status == 200

        wait_until(
            lambda: api.ask(ADDRESS, fresh).status == 401,
            seconds=20,
            what="the authentication is too old again",
        )
        visit, weak = alice.obtain(app, **step_up_parameters(challenge_of(api.ask(ADDRESS, fresh))))
        assert visit.forms == (PASSWORD_AGAIN_FORM,)  # nobody asked for level 2
        assert weak.claims["acr"] == PWD
    finally:
        keycloak.set_max_age(2, LEVEL_2_SECONDS)


def test_new_key_is_known_at_its_first_token_and_the_old_one_goes_on(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    _, old = alice.obtain(app)
    assert api.ask(ACCOUNTS, old).status == 200

    keycloak.add_key()

    assert api.ask(ACCOUNTS, silently(alice, app)).status == 200
    assert api.ask(ACCOUNTS, old).status == 200


def test_withdrawn_key_takes_its_tokens_with_it(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    _, old = alice.obtain(app)
    assert api.ask(PROFILE, old).status == 200

    keycloak.withdraw_other_keys(keycloak.add_key())

    assert api.ask(ACCOUNTS, silently(alice, app)).status == 200  # fetches
    assert challenge_of(api.ask(PROFILE, old)) == INVALID


def test_session_that_was_ended_ends_its_tokens_where_every_token_is_introspected(
    introspecting_api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    api = introspecting_api
    _, weak = alice.obtain(app)
    challenge = challenge_of(api.ask(TRANSFERS, weak))
    assert challenge == ACR_UNMET
    _, strong = alice.obtain(app, **step_up_parameters(challenge))
    assert api.ask(TRANSFERS, strong).status == 200

    keycloak.end_sessions()

    assert challenge_of(api.ask(TRANSFERS, strong)) == INVALID


def test_lightweight_tokens_step_up_by_what_introspection_says(
    introspecting_api: Api, light_app: PublicClient, alice: Person
) -> None:
    """Their `acr` and `auth_time` are in the answer alone (RFC 9470 §6.2)."""
    api = introspecting_api
    _, weak = alice.obtain(light_app)
    assert not {"acr", "auth_time", "sub"} & set(weak.claims)
    assert api.ask(ACCOUNTS, weak).status == 200
    challenge = challenge_of(api.ask(TRANSFERS, weak))
    assert challenge == ACR_UNMET

    visit, strong = alice.obtain(light_app, **step_up_parameters(challenge))

    assert visit.forms == (CODE_FORM,)
    answer = api.ask(TRANSFERS, strong)
    assert answer.status == 200
    assert ("x-stepup-acr", MFA) in answer.only_upstream().with_prefix("x-stepup-acr")


def test_refreshed_token_keeps_its_level_but_its_authentication_ages(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    """Keycloak's refresh grant repeats `acr` though the level expired: `max_age` must end it."""
    _, strong = alice.obtain(app, acr_values=MFA)
    keycloak.set_max_age(2, 1)
    try:
        wait_until(
            lambda: api.ask(LIMITS, strong).status == 401,
            seconds=20,
            what="the authentication is too old, and level 2 has expired",
        )

        refreshed = app.refresh(strong)

        assert refreshed.claims["acr"] == MFA
        assert refreshed.claims["auth_time"] == strong.claims["auth_time"]
        assert api.ask(TRANSFERS, refreshed).status == 200
        parameters = step_up_parameters(challenge_of(api.ask(LIMITS, refreshed)))
        assert parameters == {"acr_values": MFA, "max_age": "3"}
        assert silently(alice, app).claims["acr"] == PWD  # the level did expire
    finally:
        keycloak.set_max_age(2, LEVEL_2_SECONDS)


def test_keycloak_dies_and_returns(
    api: Api, app: PublicClient, alice: Person, keycloak: Keycloak
) -> None:
    """A known key goes on without it; an unknown one is nobody's fault but Keycloak's: 503."""
    _, known = alice.obtain(app)
    assert api.ask(ACCOUNTS, known).status == 200
    keycloak.add_key()
    unknown = silently(alice, app)

    keycloak.kill()
    try:
        assert api.ask(ACCOUNTS, known).status == 200
        challenge = challenge_of(api.ask(TRANSFERS, known))
        answer = api.ask(ACCOUNTS, unknown)
        assert answer.status == 503
        assert answer.upstream == ()
        assert answer.reply is not None
        assert answer.reply.values("www-authenticate") == []
        assert api.ask(ACCOUNTS, known).status == 200
    finally:
        keycloak.start()

    wait_until(
        lambda: api.ask(ACCOUNTS, unknown).status == 200,
        seconds=REFRESH_SECONDS,
        what="200 for the key that was unknown",
    )
    assert api.ask(ACCOUNTS, known).status == 200
    visit, strong = alice.obtain(app, **step_up_parameters(challenge))
    assert visit.forms == (CODE_FORM,)  # the session outlived the crash
    assert api.ask(TRANSFERS, strong).status == 200
