"""Challenges from elsewhere: what they ask for, or what is wrong and where."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.demand import Demand, read_demand
from bridge.client.errors import ChallengeError
from bridge.decision.challenge import build_challenge

STEP_UP = 'Bearer error="insufficient_user_authentication", acr_values="mfa"'


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        pytest.param(['Bearer realm="x'], "line 0, offset 13: quoted-string not closed",
                     id="quote-not-closed"),
        pytest.param(["Basic", 'Bearer realm="x" error="y"'], "line 1, offset 16: neither a comma",
                     id="no-comma"),
        pytest.param(['realm="x"'], "line 0, offset 0: a parameter where a scheme is due",
                     id="no-scheme"),
        pytest.param(["Bearer a=1, a=2"], "parameter a given twice", id="parameter-twice"),
        pytest.param(['Bearer realm="x\n"'], "a character that no header may hold", id="newline"),
        pytest.param(['Bearer realm="' + "x" * 100_000 + '"'], "over 65536 bytes", id="100-kb"),
        pytest.param(["Bearer, " * 20_000], "over 65536 bytes", id="20000-challenges"),
        pytest.param([STEP_UP + ', max_age="soon"'], "max_age must be 1 to 10 digits",
                     id="max-age-no-number"),
        pytest.param([STEP_UP + ', max_age="-1"'], "max_age must be 1 to 10 digits",
                     id="max-age-negative"),
        pytest.param([STEP_UP + ', max_age="1e3"'], "max_age must be", id="max-age-float"),
        pytest.param([STEP_UP + ', max_age="99999999999"'], "max_age must be", id="max-age-huge"),
        pytest.param([STEP_UP + ', max_age=""'], "max_age must be", id="max-age-empty"),
        pytest.param([STEP_UP + ", max_age=60", STEP_UP + ", max_age=90"],
                     "two Bearer challenges of the API disagree: max_age", id="two-disagree"),
        pytest.param(['Bearer error="invalid_token", ' + STEP_UP], "disagree: error, acr_values",
                     id="two-disagree-in-one-line"),
        pytest.param(['Bearer error="insufficient_user_authentication"'],
                     "neither acr_values nor max_age", id="step-up-to-what"),
        pytest.param(['Bearer scope="caf\xe9"'], "scope holds a character", id="scope-not-ascii"),
        pytest.param([r'Bearer scope="a\"b"'], "scope holds a character", id="scope-with-quote"),
        pytest.param([STEP_UP + ', scope="a\tb"'], "scope holds a character", id="scope-with-tab"),
        pytest.param(['DPoP algs="ES256"'], "DPoP tokens only", id="dpop-only"),
    ],
)  # fmt: skip
def test_bad_challenges_say_what_is_wrong_and_where(lines: list[str], text: str) -> None:
    with pytest.raises(ChallengeError) as caught:
        read_demand(lines)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="no-challenge"),
        pytest.param([""], id="empty-line"),
        pytest.param(["Basic realm=x, Negotiate YWJj==, Digest nonce=a, qop=auth"], id="others"),
        pytest.param(['Bearer error="invalid_request"'], id="another-token-cannot-help"),
        pytest.param(['Bearer error="made_up"'], id="unknown-error"),
        pytest.param(['Bearer error="insufficient_claims", claims="e30="'], id="entras-claims"),
    ],
)
def test_nothing_to_answer_is_none(lines: list[str]) -> None:
    assert read_demand(lines) is None


@pytest.mark.parametrize(
    ("lines", "demand"),
    [
        pytest.param(["Bearer"], Demand(), id="bare-scheme"),
        pytest.param(
            [STEP_UP + ', max_age=0, scope="a b", realm="x, y", unknown=1, UNKNOWN2="\\""'],
            Demand("Bearer", "insufficient_user_authentication", ("mfa",), 0, ("a", "b")),
            id="unknown-parameters",
        ),
        pytest.param(
            ["NTLM", 'bEaReR ErRoR="insufficient_scope", SCOPE=a, Basic realm="Bearer x=y"'],
            Demand("Bearer", "insufficient_scope", scopes=("a",)),
            id="among-other-schemes-in-any-case",
        ),
        pytest.param(
            ['Bearer error="insufficient_claims", acr_values="c1", max_age="60", claims="e30="'],
            Demand("Bearer", "insufficient_user_authentication", ("c1",), 60),
            id="entras-error-beside-rfc-9470s-parameters",
        ),
        pytest.param(
            [STEP_UP + ', realm="a"', STEP_UP + ', realm="b"'],
            Demand("Bearer", "insufficient_user_authentication", ("mfa",)),
            id="two-that-ask-for-the-same",
        ),
        pytest.param(
            ['Bearer error="invalid_token", DPoP algs="ES256", error="use_dpop_nonce"'],
            Demand("Bearer", "invalid_token"),
            id="dpop-offered-without-a-key",
        ),
    ],
)
def test_good_challenges_are_read(lines: list[str], demand: Demand) -> None:
    assert read_demand(lines) == demand


def test_client_with_a_key_prefers_dpop() -> None:
    lines = ["Bearer", 'DPoP algs="ES256", scope="a"']
    assert read_demand(lines, dpop=True) == Demand("DPoP", scopes=("a",))
    assert read_demand(lines) == Demand("Bearer")
    assert read_demand(["Bearer"], dpop=True) == Demand("Bearer")


MEMBERS = st.lists(
    st.text(sorted(set(string.printable[:94]) - set('"\\')), min_size=1, max_size=20),
    max_size=4,
)


@given(acr_values=MEMBERS, scope=MEMBERS, max_age=st.none() | st.integers(0, 10**10 - 1))
def test_what_the_bridge_demands_is_what_the_client_reads(
    acr_values: list[str], scope: list[str], max_age: int | None
) -> None:
    line = build_challenge(
        "Bearer", error="insufficient_scope", acr_values=acr_values, max_age=max_age, scope=scope
    )
    assert read_demand([line]) == Demand(
        "Bearer", "insufficient_scope", tuple(acr_values), max_age, tuple(scope)
    )


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=80), max_size=3))
def test_any_header_is_a_demand_nothing_or_a_challenge_error(lines: list[str]) -> None:
    for dpop in (False, True):
        try:
            demand = read_demand([f"Bearer {line}" for line in lines] + lines, dpop=dpop)
        except ChallengeError as error:
            demand = None
            text = str(error)
        else:
            text = str(demand)
        assert text.isprintable()


def test_later_demand_adds_what_it_does_not_say_from_the_earlier_one() -> None:
    earlier = Demand("Bearer", "x", ("mfa",), 60, ("a",), "https://api.example/meta")
    later = Demand("Bearer", "insufficient_scope", scopes=("b", "a"))
    assert later.merged(earlier) == Demand("Bearer", "insufficient_scope", ("mfa",), 60, ("a", "b"))
    assert later.merged(earlier).resource_metadata == earlier.resource_metadata
    strict = Demand("Bearer", "y", ("phr",), 0)
    assert strict.merged(earlier) == Demand("Bearer", "y", ("phr",), 0, ("a",))
