"""JSON that means one thing only (spec §5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.tokens import json_strict


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="blank"),
        pytest.param(b"{", id="open"),
        pytest.param(b"{}x", id="trailing-junk"),
        pytest.param(b"{} {}", id="two-texts"),
        pytest.param(b'{"a":1,}', id="trailing-comma"),
        pytest.param(b"{'a':1}", id="single-quotes"),
        pytest.param(b"{a:1}", id="bare-name"),
        pytest.param(b'{"a":1}//', id="comment"),
        pytest.param(b'{"a":"\n"}', id="control-character-in-a-string"),
        pytest.param(b'"\\x41"', id="unknown-escape"),
        pytest.param(b"01", id="leading-zero"),
        pytest.param(b"+1", id="plus"),
        pytest.param(b".5", id="no-digit-before-the-point"),
        pytest.param(b"0x10", id="hexadecimal"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param(b'"\xff"', id="no-utf-8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate-as-bytes"),
        pytest.param(b'"\xc0\xa2"', id="overlong"),
        pytest.param("{}".encode("utf-16"), id="utf-16"),
        pytest.param(b'{"a":1,"a":1}', id="duplicate-member"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="duplicate-member-by-escape"),
        pytest.param(b'{"b":{"a":1,"a":2}}', id="duplicate-member-inside"),
        pytest.param(b'[{"":1,"":2}]', id="duplicate-empty-member"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b'{"exp":NaN}', id="nan-as-a-member"),
        pytest.param(b"Infinity", id="infinity"),
        pytest.param(b"-Infinity", id="minus-infinity"),
        pytest.param(b"1e400", id="float-too-large"),
        pytest.param(b"-1e400", id="float-too-small"),
        pytest.param(b"1" * 21, id="integer-of-21-digits"),
        pytest.param(b"-" + b"1" * 20, id="negative-integer-of-20-digits"),
        pytest.param(b"18446744073709551616", id="one-over-64-bits"),
        pytest.param(b"-9223372036854775809", id="one-under-64-bits"),
        pytest.param(b"9" * 5000, id="integer-of-5000-digits"),
        pytest.param(b"[" * 65 + b"]" * 65, id="one-over-the-deepest-list"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, id="one-over-the-deepest-object"),
        pytest.param(b'[1,{"a":' * 32 + b"[1]" + b"}]" * 32, id="one-over-the-deepest-mixture"),
        pytest.param(b'["\\u00e9",' + b"[" * 64 + b"]" * 65, id="one-over-beside-an-escape"),
        pytest.param(b"[" * 900 + b"]" * 900, id="deep-for-us-but-not-for-python"),
        pytest.param(b"[" * 100_000, id="deep-and-open"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep-list"),
        pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="deep-object"),
        pytest.param(b'"\\ud800"', id="lone-high-surrogate"),
        pytest.param(b'"\\udc00"', id="lone-low-surrogate"),
        pytest.param(b'"\\udc00\\ud800"', id="surrogates-in-the-wrong-order"),
        pytest.param(b'{"\\ud800":1}', id="lone-surrogate-in-a-name"),
        pytest.param(b'[[{"a":"x\\uDFFFy"}]]', id="lone-surrogate-inside"),
    ],
)
def test_text_that_could_mean_two_things_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - a kind of it, whatever its text
        json_strict.loads(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b"{}", {}, id="empty-object"),
        pytest.param(b' \t\r\n{"a": [1, null, true]} ', {"a": [1, None, True]}, id="whitespace"),
        pytest.param(b'{"a":1,"A":2}', {"a": 1, "A": 2}, id="names-in-two-cases"),
        pytest.param(b'{"a":{"a":1}}', {"a": {"a": 1}}, id="same-name-at-two-depths"),
        pytest.param(b'"\\ud83d\\ude00"', "\U0001f600", id="surrogate-pair"),
        pytest.param(b'"\\\\ud800"', "\\ud800", id="escaped-backslash"),
        pytest.param(b'"\\u0000"', "\x00", id="nul"),
        pytest.param(b"18446744073709551615", 2**64 - 1, id="largest-of-64-bits"),
        pytest.param(b"-9223372036854775808", -(2**63), id="smallest-of-64-bits"),
        pytest.param(b"1e308", 1e308, id="large-float"),
        pytest.param(b"1.5", 1.5, id="float"),
        pytest.param(b"[" * 63 + b"]" * 63, None, id="one-below-the-deepest"),
        pytest.param(b"[" * 64 + b"]" * 64, None, id="deepest-list"),
        pytest.param(b'{"a":' * 64 + b"1" + b"}" * 64, None, id="deepest-object"),
        pytest.param(b"[" + b"[]," * 1000 + b"1]", None, id="wide"),
        pytest.param(b'"' + b"[{" * 1000 + b'"', None, id="brackets-in-a-string"),
    ],
)
def test_text_that_means_one_thing_is_read(raw: bytes, value: Any) -> None:
    assert json_strict.loads(raw) == (json.loads(raw) if value is None else value)


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        json_strict.loads(raw)
    except ValueError:
        return


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(value=json_values, escaped=st.booleans())
@settings(deadline=None)
def test_what_is_written_is_read_back(value: Any, escaped: bool) -> None:
    assert json_strict.loads(json.dumps(value, ensure_ascii=escaped).encode()) == value


# Members that collide, and strings that are all slashes, quotes and escapes: what a quick way could
# take for something else.
slashed = st.text(st.sampled_from('/\\"a'), max_size=4)


@given(members=st.lists(st.tuples(slashed, slashed), max_size=4), escaped=st.booleans())
@settings(deadline=None)
def test_members_are_told_apart_however_slashes_are_escaped(
    members: list[tuple[str, str]], escaped: bool
) -> None:
    text = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members)
    text = f"{{{text}}}"
    if escaped:
        text = text.replace("/", "\\/")
    if len(dict(members)) == len(members):
        assert json_strict.loads(text.encode()) == dict(members)
    else:
        with pytest.raises(ValueError, match="duplicate"):
            json_strict.loads(text.encode())


def test_depth_allowed_does_not_depend_on_how_deep_the_caller_is() -> None:
    deepest = b"[" * json_strict.MAX_DEPTH + b"]" * json_strict.MAX_DEPTH

    def read_from_below(frames: int) -> Any:
        return read_from_below(frames - 1) if frames else json_strict.loads(deepest)

    assert read_from_below(500) == json.loads(deepest)
