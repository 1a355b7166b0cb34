"""The method, and the headers that would let an upstream run another one (spec §4)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import RequestError
from bridge.policy.methods import read_method


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("", id="empty"),
        pytest.param("GET ", id="space-after"),
        pytest.param("GET\n", id="line-break-after"),
        pytest.param("GET POST", id="two"),
        pytest.param("GET,POST", id="comma"),
        pytest.param("GE/T", id="slash"),
        pytest.param("GE\x00T", id="nul"),
        pytest.param("GÉT", id="non-ascii"),
        pytest.param('"GET"', id="quoted"),
        pytest.param("G" * 33, id="one-above-32"),
    ],
)
def test_method_that_is_no_token_is_refused(method: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_method(method)
    assert refused.value.reason == "method_malformed"


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("GET", id="get"),
        pytest.param("get", id="case-is-kept"),
        pytest.param("M-SEARCH", id="registered-by-others"),
        pytest.param("!#$%&'*+-.^_`|~09azAZ", id="every-token-character"),
        pytest.param("G" * 31, id="one-below-32"),
        pytest.param("G" * 32, id="at-32"),
    ],
)
def test_method_is_taken_as_sent(method: str) -> None:
    assert read_method(method) == method


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        pytest.param("GET", ["DELETE"], id="another"),
        pytest.param("POST", ["delete"], id="another-in-lower-case"),
        pytest.param("POST", [" DELETE\t"], id="another-between-spaces"),
        pytest.param("POST", ["POST", "DELETE"], id="the-same-then-another"),
        pytest.param("POST", ["", "DELETE"], id="empty-then-another"),
        pytest.param("POST", ["POST, DELETE"], id="joined-with-comma"),
        pytest.param("POST", ["POST\n"], id="line-break-after"),
        pytest.param("GET", ["HEAD"], id="head-for-get"),
        pytest.param("OPTIONS", ["GET"], id="a-preflight-that-is-none"),
        pytest.param("delete", ["delete"], id="the-same-but-frameworks-make-it-upper-case"),
    ],
)
def test_override_that_names_another_method_is_refused(method: str, overrides: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        read_method(method, overrides)
    assert refused.value.reason == "method_override"
    assert refused.value.description == "The request must not override its method"


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param([], id="none"),
        pytest.param(["PATCH"], id="the-same"),
        pytest.param(["patch"], id="the-same-in-lower-case"),
        pytest.param([" PATCH "], id="the-same-between-spaces"),
        pytest.param(["PATCH", "Patch"], id="the-same-twice"),
        pytest.param([""], id="empty"),
        pytest.param([" \t"], id="blank"),
    ],
)
def test_override_that_names_the_same_method_changes_nothing(overrides: list[str]) -> None:
    assert read_method("PATCH", overrides) == "PATCH"


@given(method=st.text(max_size=40), overrides=st.lists(st.text(max_size=10), max_size=3))
@settings(deadline=None)
def test_any_method_is_taken_as_sent_or_refused(method: str, overrides: list[str]) -> None:
    try:
        read = read_method(method, overrides)
    except RequestError:
        return
    assert read == method
    assert method.isascii()
