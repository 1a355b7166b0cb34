"""Identity headers: set or removed on every allow, one line of printable ASCII each (spec §7)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.tokens import json_strict
from bridge.tokens.identity import (
    WOULD_DENY_HEADER,
    IdentityHeaders,
    UpstreamHeaders,
    header_value,
)

IDENTITY = IdentityHeaders(
    (("x-stepup-subject", "sub"), ("x-acr", "acr"), ("user", "preferred_username"))
)
UNDERSCORED = ("x_stepup_subject", "x_acr", "x_stepup_would_deny")


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(None, id="null"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param(1.5, id="fraction"),
        pytest.param(1e300, id="float-that-is-not-exact"),
        pytest.param(2.0**53 + 2, id="float-above-2-to-the-53"),
        pytest.param(-(2.0**53) - 2, id="float-below-minus-2-to-the-53"),
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param({}, id="object"),
        pytest.param({"a": "b"}, id="object-with-members"),
        pytest.param("", id="empty-string"),
        pytest.param([], id="empty-list"),
        pytest.param([""], id="list-of-an-empty-string"),
        pytest.param([1], id="list-of-numbers"),
        pytest.param(["a", None], id="list-with-null"),
        pytest.param(["a", ["b"]], id="list-in-a-list"),
        pytest.param("a" * 4097, id="one-above-4-kib"),
        pytest.param("é" * 683, id="one-above-4-kib-once-encoded"),
        pytest.param(["a" * 2048, "b" * 2048], id="list-one-above-4-kib"),
    ],
)
def test_claim_that_cannot_be_one_line_counts_as_lacking(claim: Any) -> None:
    assert header_value(claim) is None
    assert IDENTITY.of({"sub": claim}) == IDENTITY.nobody


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        pytest.param("alice", "alice", id="string"),
        pytest.param('Alice B. <a@b>, "x" \\ ; ~', 'Alice B. <a@b>, "x" \\ ; ~', id="printable"),
        pytest.param("a  b", "a  b", id="spaces-inside"),
        pytest.param("100%", "100%25", id="percent"),
        pytest.param("%41", "%2541", id="what-looks-encoded"),
        pytest.param("é", "%C3%A9", id="non-ascii"),
        pytest.param("a b\u2028", "a b%E2%80%A8", id="line-separator"),
        pytest.param("a\r\nx-admin: 1", "a%0D%0Ax-admin: 1", id="line-break"),
        pytest.param("\x00\x1f\x7f", "%00%1F%7F", id="control-characters"),
        pytest.param("\x85", "%C2%85", id="c1-control"),
        pytest.param("\t", "%09", id="tab"),
        pytest.param(" a ", "%20a%20", id="spaces-at-the-ends"),
        pytest.param("  ", "%20%20", id="only-spaces"),
        pytest.param(" é b ", "%20%C3%A9 b%20", id="spaces-and-non-ascii"),
        pytest.param(0, "0", id="zero"),
        pytest.param(-5, "-5", id="negative"),
        pytest.param(1700000000, "1700000000", id="integer"),
        pytest.param(1700000000.0, "1700000000", id="float-that-is-an-integer"),
        pytest.param(2.0**53, "9007199254740992", id="float-at-2-to-the-53"),
        pytest.param(["a", "b"], "a b", id="list"),
        pytest.param(["a", "", "b"], "a b", id="list-with-an-empty-string"),
        pytest.param(["a b", "c"], "a%20b c", id="list-with-a-space-in-a-member"),
        pytest.param(["a\n", "%", "é"], "a%0A %25 %C3%A9", id="list-is-encoded"),
        pytest.param("a" * 4095, "a" * 4095, id="one-below-4-kib"),
        pytest.param("a" * 4096, "a" * 4096, id="at-4-kib"),
        pytest.param("é" * 682, "%C3%A9" * 682, id="below-4-kib-once-encoded"),
        pytest.param(["a" * 2047, "b" * 2048], "a" * 2047 + " " + "b" * 2048, id="list-at-4-kib"),
    ],
)
def test_claim_is_written_on_one_line(claim: Any, value: str) -> None:
    assert header_value(claim) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example(" ")
@settings(deadline=None)
def test_a_string_can_be_read_back(text: str) -> None:
    value = header_value(text)
    if value is not None:
        assert unquote(value) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
@settings(deadline=None)
def test_a_list_can_be_read_back(members: list[str]) -> None:
    value = header_value(members)
    if value is not None:
        assert [unquote(member) for member in value.split(" ")] == members


json_claims = st.dictionaries(
    st.sampled_from(["sub", "acr", "preferred_username", "x"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)


@given(json_claims)
@settings(deadline=None)
def test_whatever_a_token_says_values_are_one_line_of_printable_ascii(
    claims: dict[str, Any],
) -> None:
    try:
        read = json_strict.loads(json.dumps(claims).encode())
    except ValueError:
        return
    upstream = IDENTITY.of(read)
    for _, value in upstream.set:
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()
        assert 0 < len(value) <= 4096
    names = {name for name, _ in upstream.set}
    assert names.isdisjoint(upstream.remove)
    assert names | set(upstream.remove) == {
        "x-stepup-subject", "x-acr", "user", WOULD_DENY_HEADER, *UNDERSCORED,
    }  # fmt: skip


def test_nobody_has_every_header_removed() -> None:
    assert IDENTITY.nobody == UpstreamHeaders(
        (), ("x-stepup-subject", "x-acr", "user", "x-stepup-would-deny", *UNDERSCORED)
    )


def test_headers_are_set_where_the_token_has_the_claim_and_removed_where_not() -> None:
    assert IDENTITY.of({"sub": "alice", "acr": ["a", "b"], "other": "x"}) == UpstreamHeaders(
        (("x-stepup-subject", "alice"), ("x-acr", "a b")),
        ("user", "x-stepup-would-deny", *UNDERSCORED),
    )


def test_the_underscored_spelling_of_a_header_that_is_set_is_removed_too() -> None:
    claims = {"sub": "alice", "acr": "a", "preferred_username": "al"}
    assert IDENTITY.of(claims).remove == ("x-stepup-would-deny", *UNDERSCORED)


def test_one_claim_may_have_two_headers() -> None:
    identity = IdentityHeaders((("a-b", "sub"), ("c", "sub")))
    assert identity.of({"sub": "x"}).set == (("a-b", "x"), ("c", "x"))


def test_without_configured_headers_the_monitor_modes_note_is_still_removed() -> None:
    assert IdentityHeaders(()).nobody == UpstreamHeaders(
        (), ("x-stepup-would-deny", "x_stepup_would_deny")
    )


def test_the_monitor_modes_note_is_set_and_no_longer_removed() -> None:
    assert IDENTITY.of({"sub": "alice"}).with_would_deny("invalid_token") == UpstreamHeaders(
        (("x-stepup-subject", "alice"), ("x-stepup-would-deny", "invalid_token")),
        ("x-acr", "user", *UNDERSCORED),
    )
