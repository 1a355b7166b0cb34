# ruff: noqa: E501 - tables, one case a line
"""Challenges as they are written and as they are read: RFC 9110 §11.6.1, RFC 6750 §3, RFC 9470 §3."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.decision.challenge import (
    Challenge,
    ChallengeSyntaxError,
    build_challenge,
    parse_challenges,
)

LIMIT = 64 * 1024
TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ"


def seen(challenges: list[Challenge]) -> list[tuple[str, dict[str, str], str | None]]:
    """All that a challenge says, also what equality does not look at."""
    return [(c.scheme, dict(c.params), c.token68) for c in challenges]


# --- the builder ---------------------------------------------------------------------------------

BAD_MEMBERS = [
    pytest.param([""], id="empty"),
    pytest.param(["a", ""], id="last-empty"),
    pytest.param(["", "a"], id="first-empty"),
    pytest.param(["a", "", "b"], id="middle-empty"),
    pytest.param(["a b"], id="space"),
    pytest.param([" a"], id="leading-space"),
    pytest.param(["a", "b "], id="trailing-space"),
    pytest.param(['a"b'], id="quote"),
    pytest.param(["a\\b"], id="backslash"),
    pytest.param(["a\tb"], id="tab"),
    pytest.param(["a\r\nset-cookie:x"], id="crlf"),
    pytest.param(["a\n"], id="trailing-newline"),
    pytest.param(["a", "b\x00"], id="nul"),
    pytest.param(["a\x7f"], id="del"),
    pytest.param(["zürich"], id="latin-1"),
    pytest.param(["a\u2028b"], id="line-separator"),
    pytest.param("mfa", id="a-string-for-a-list"),
]


@pytest.mark.parametrize("name", ["acr_values", "scope", "algs"])
@pytest.mark.parametrize("members", BAD_MEMBERS)
def test_list_member_that_cannot_stand_in_a_list_is_refused(name: str, members: Any) -> None:
    parameters: dict[str, Any] = {name: members}
    with pytest.raises(ValueError, match=rf"^a member of {name} must be") as caught:
        build_challenge("Bearer", **parameters)
    assert "set-cookie" not in str(caught.value)


BAD_TEXTS = [
    pytest.param("a\r\nb", id="crlf"),
    pytest.param("a\rb", id="cr"),
    pytest.param("a\nb", id="lf"),
    pytest.param("a\n", id="trailing-newline"),
    pytest.param("\x00", id="nul"),
    pytest.param("a\tb", id="tab"),
    pytest.param("a\x1f", id="one-below-space"),
    pytest.param("a\x7f", id="del"),
    pytest.param("a\x80", id="c1-control"),
    pytest.param("zürich", id="latin-1"),
    pytest.param("東京", id="beyond-latin-1"),
    pytest.param("\ud800", id="lone-surrogate"),
]


@pytest.mark.parametrize("name", ["realm", "error", "error_description", "resource_metadata"])
@pytest.mark.parametrize("text", BAD_TEXTS)
def test_text_that_is_not_printable_ascii_is_refused(name: str, text: str) -> None:
    parameters: dict[str, Any] = {name: text}
    with pytest.raises(ValueError, match=rf"^{name} must be printable ASCII"):
        build_challenge("Bearer", **parameters)


@pytest.mark.parametrize("name", ["error", "error_description"])
@pytest.mark.parametrize("text", ['say "no"', "a\\b", ""])
def test_error_texts_hold_no_quote_and_no_backslash(name: str, text: str) -> None:
    """RFC 6750 §3: not even escaped."""
    parameters: dict[str, Any] = {name: text}
    with pytest.raises(ValueError, match=rf"^{name} must be printable ASCII without quote"):
        build_challenge("Bearer", **parameters)


@pytest.mark.parametrize("scheme", ["", "Bearer ", "Bea rer", "Bearer,", "Be\r\nar", "Bärer", 'B"'])
def test_scheme_that_is_no_token_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"^scheme must be a token$"):
        build_challenge(scheme, realm="payments")


@pytest.mark.parametrize("max_age", [-1, 10**10, True, False])
def test_max_age_that_is_no_age_is_refused(max_age: int) -> None:
    with pytest.raises(ValueError, match=r"^max_age must be a number of 1 to 10 digits$"):
        build_challenge("Bearer", max_age=max_age)


def test_challenge_without_any_parameter_is_refused() -> None:
    """RFC 6750 §3: the scheme "MUST be followed by one or more auth-param values"."""
    with pytest.raises(ValueError, match=r"^a challenge must have a parameter"):
        build_challenge("Bearer", acr_values=(), scope=())


BUILT: list[Any] = [
    pytest.param({"realm": "payments"}, 'Bearer realm="payments"', id="no-credentials"),
    pytest.param({"realm": ""}, 'Bearer realm=""', id="empty-realm"),
    pytest.param({"realm": 'say "hi" \\o/'}, r'Bearer realm="say \"hi\" \\o/"', id="escaped"),
    pytest.param({"realm": 'a\\"'}, r'Bearer realm="a\\\""', id="backslash-before-quote"),
    pytest.param(
        {"realm": "a, b=c; error=x"}, 'Bearer realm="a, b=c; error=x"', id="delimiters-in-a-value"
    ),
    pytest.param({"realm": " ~"}, 'Bearer realm=" ~"', id="ends-of-the-range"),
    pytest.param({"acr_values": ["mfa"]}, 'Bearer acr_values="mfa"', id="one-acr"),
    pytest.param(
        {"acr_values": ("phr", "mfa")}, 'Bearer acr_values="phr mfa"', id="acr-order-kept"
    ),
    pytest.param({"max_age": 0}, 'Bearer max_age="0"', id="max-age-zero-is-said"),
    pytest.param({"max_age": 1}, 'Bearer max_age="1"', id="max-age-one"),
    pytest.param({"max_age": 9_999_999_999}, 'Bearer max_age="9999999999"', id="longest-max-age"),
    pytest.param(
        {"realm": "r", "acr_values": [], "scope": ()}, 'Bearer realm="r"', id="empty-lists-left-out"
    ),
    pytest.param(
        {"scheme": "DPoP", "algs": ["ES256", "PS256"]}, 'DPoP algs="ES256 PS256"', id="dpop"
    ),
    pytest.param(
        {
            "realm": "payments",
            "error": "invalid_token",
            "error_description": "The access token expired",
            "resource_metadata": "https://api.example.com/.well-known/oauth-protected-resource",
        },
        'Bearer realm="payments", error="invalid_token",'
        ' error_description="The access token expired",'
        ' resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"',
        id="invalid-token",
    ),
    pytest.param(
        {
            "algs": ["ES256"],
            "resource_metadata": "https://api.example.com/m?a=b",
            "scope": ["payments:write", "openid"],
            "max_age": 300,
            "acr_values": ["urn:example:mfa", "urn:example:phr"],
            "error_description": "A different authentication level is required",
            "error": "insufficient_user_authentication",
            "realm": "payments",
            "scheme": "DPoP",
        },
        'DPoP realm="payments", error="insufficient_user_authentication",'
        ' error_description="A different authentication level is required",'
        ' acr_values="urn:example:mfa urn:example:phr", max_age="300",'
        ' scope="payments:write openid", resource_metadata="https://api.example.com/m?a=b",'
        ' algs="ES256"',
        id="everything-in-the-order-of-the-contract",
    ),
]


@pytest.mark.parametrize(("parameters", "written"), BUILT)
def test_challenge_is_written_so(parameters: dict[str, Any], written: str) -> None:
    assert build_challenge(**{"scheme": "Bearer"} | parameters) == written


# --- the parser ----------------------------------------------------------------------------------

TOKEN_DUE = "no token where {} is due"
SCHEME_DUE = TOKEN_DUE.format("an authentication scheme")
PARAM_DUE = TOKEN_DUE.format("a parameter")
VALUE_DUE = TOKEN_DUE.format("a parameter's value")
NO_EQUALS = "no = after a parameter's name"
NOT_CLOSED = "quoted-string not closed"
NO_COMMA = "neither a comma nor the end"
NEVER = "a character that no header may hold"
NO_SCHEME = "a parameter where a scheme is due"

BROKEN = [
    # quoting
    pytest.param(['Bearer realm="a'], 0, 13, NOT_CLOSED, id="quote-not-closed"),
    pytest.param(['Bearer realm="'], 0, 13, NOT_CLOSED, id="quote-opened-at-the-end"),
    pytest.param(['Bearer realm="a\\'], 0, 13, NOT_CLOSED, id="backslash-at-the-end"),
    pytest.param(['Bearer realm="a\\"'], 0, 13, NOT_CLOSED, id="closing-quote-escaped"),
    pytest.param(['Bearer realm="a"b'], 0, 16, NO_COMMA, id="junk-after-the-quote"),
    pytest.param(['Bearer realm="a""b"'], 0, 16, NO_COMMA, id="two-quoted-strings"),
    pytest.param(['Bearer realm=a"b"'], 0, 14, NO_COMMA, id="quote-after-a-token"),
    pytest.param(["Bearer realm='a b'"], 0, 15, NO_COMMA, id="single-quotes"),
    pytest.param(['Bearer "realm"="a"'], 0, 7, PARAM_DUE, id="quoted-name"),
    pytest.param(['"Bearer" realm="a"'], 0, 0, SCHEME_DUE, id="quoted-scheme"),
    pytest.param(['Bearer realm=\\"a\\"'], 0, 13, VALUE_DUE, id="backslash-outside-quotes"),
    # duplicates
    pytest.param(['Bearer realm="a", realm="b"'], 0, 18, "parameter realm given twice", id="twice"),
    pytest.param(
        ['Bearer max_age=1, x=2, Max_Age="1"'],
        0,
        23,
        "parameter max_age given twice",
        id="twice-in-another-case",
    ),
    # control characters and what is no octet
    pytest.param(['Bearer realm="a\r\nb"'], 0, 15, NEVER, id="crlf"),
    pytest.param(["Bearer a=b\n"], 0, 10, NEVER, id="trailing-newline"),
    pytest.param(['Bearer realm="a\x00"'], 0, 15, NEVER, id="nul"),
    pytest.param(['Bearer realm="a\x1f"'], 0, 15, NEVER, id="one-below-space"),
    pytest.param(['Bearer realm="a\\\x7f"'], 0, 16, NEVER, id="escaped-del"),
    pytest.param(['Bearer realm="\u0100"'], 0, 14, NEVER, id="one-above-latin-1"),
    pytest.param(['Bearer realm="\ud800"'], 0, 14, NEVER, id="lone-surrogate"),
    pytest.param(["B\xe4rer a=b"], 0, 1, NO_COMMA, id="obs-text-outside-quotes"),
    # junk
    pytest.param(["=a"], 0, 0, SCHEME_DUE, id="no-name"),
    pytest.param(["Bearer=a"], 0, 0, NO_SCHEME, id="parameter-first"),
    pytest.param(["Bearer = a"], 0, 0, NO_SCHEME, id="parameter-first-spaced"),
    pytest.param(["Bearer,realm=a"], 0, 7, NO_SCHEME, id="comma-for-the-space"),
    pytest.param(["Bearer\trealm=a"], 0, 6, NO_COMMA, id="tab-for-the-space"),
    pytest.param(["Bearer \trealm=a"], 0, 7, NO_COMMA, id="tab-after-the-space"),
    pytest.param(["Bearer realm x=y"], 0, 12, NO_EQUALS, id="word-without-value"),
    pytest.param(["Bearer a =="], 0, 10, VALUE_DUE, id="double-equals"),
    pytest.param(["Bearer a= , b=c"], 0, 12, NO_SCHEME, id="value-missing-reads-as-token68"),
    pytest.param(["Bearer a$="], 0, 10, VALUE_DUE, id="value-missing"),
    pytest.param(["Bearer a=b c=d"], 0, 10, NO_COMMA, id="comma-missing"),
    pytest.param(["Bearer a=b; c=d"], 0, 10, NO_COMMA, id="semicolon-for-comma"),
    pytest.param(["Bearer a=b, (c)"], 0, 12, SCHEME_DUE, id="comment"),
    pytest.param(["Bearer a=b, c="], 0, 14, VALUE_DUE, id="last-value-missing"),
    pytest.param(["Bearer a=b/c"], 0, 10, NO_COMMA, id="value-is-no-token"),
    pytest.param(["Basic abc==, x=y"], 0, 13, NO_SCHEME, id="parameter-after-token68"),
    pytest.param(["Basic abc== x"], 0, 10, VALUE_DUE, id="word-after-token68"),
    pytest.param(["Basic ab=c="], 0, 10, NO_COMMA, id="equals-inside-token68"),
    pytest.param(["Basic =="], 0, 0, NO_SCHEME, id="token68-of-padding-only"),
    pytest.param(["Basic abc=\xe4"], 0, 10, VALUE_DUE, id="token68-with-obs-text"),
    # which line
    pytest.param(["Bearer a=b", "c=d"], 1, 0, NO_SCHEME, id="parameter-on-a-line-of-its-own"),
    pytest.param(
        ["Bearer a=b", "", 'DPoP c="d'], 2, 7, NOT_CLOSED, id="quote-not-closed-on-line-2"
    ),
    pytest.param(['Bearer a="b', 'c"'], 0, 9, NOT_CLOSED, id="quoted-string-over-two-lines"),
]


@pytest.mark.parametrize(("values", "line", "offset", "reason"), BROKEN)
def test_what_is_no_list_of_challenges_is_refused_with_its_place(
    values: list[str], line: int, offset: int, reason: str
) -> None:
    with pytest.raises(ChallengeSyntaxError) as caught:
        parse_challenges(values)
    fault = caught.value
    assert (fault.line, fault.offset, fault.reason) == (line, offset, reason)
    assert str(fault) == f"line {line}, offset {offset}: {reason}"


READ: list[Any] = [
    pytest.param([], [], id="no-lines"),
    pytest.param([""], [], id="empty-line"),
    pytest.param([" ,\t, "], [], id="only-empty-elements"),
    pytest.param(["Negotiate"], [("Negotiate", {}, None)], id="scheme-alone"),
    pytest.param(["Negotiate "], [("Negotiate", {}, None)], id="scheme-and-space"),
    pytest.param(["Negotiate, Basic"], [("Negotiate", {}, None), ("Basic", {}, None)], id="schemes-alone"),
    pytest.param(["Negotiate YII="], [("Negotiate", {}, "YII=")], id="token68"),
    pytest.param(["X -._~+/09azAZ==  , Y a"], [("X", {}, "-._~+/09azAZ=="), ("Y", {}, "a")], id="every-kind-of-token68-character"),
    pytest.param(["X abc="], [("X", {}, "abc=")], id="token68-that-looks-like-a-name"),
    pytest.param(["Bearer realm"], [("Bearer", {}, "realm")], id="bare-word-is-token68"),
    pytest.param(["X abc=d"], [("X", {"abc": "d"}, None)], id="parameter-that-starts-like-token68"),
    pytest.param(["bEaReR Realm=a"], [("bEaReR", {"realm": "a"}, None)], id="scheme-as-written-name-lower"),
    pytest.param(["Bearer   realm=a"], [("Bearer", {"realm": "a"}, None)], id="several-spaces"),
    pytest.param(['B a \t=\t "b" , c= d,e =f'], [("B", {"a": "b", "c": "d", "e": "f"}, None)], id="bad-white-space"),
    pytest.param(['B a=""'], [("B", {"a": ""}, None)], id="empty-quoted-string"),
    pytest.param([r'B a="\"\\\a\,"'], [("B", {"a": '"\\a,'}, None)], id="quoted-pairs"),
    pytest.param(['B a="\\\t \t\\\xff"'], [("B", {"a": "\t \t\xff"}, None)], id="tab-and-obs-text"),
    pytest.param(['B a="x, C b=c", d="=,="'], [("B", {"a": "x, C b=c", "d": "=,="}, None)], id="delimiters-in-quotes"),
    pytest.param([f"{TOKEN_CHARACTERS} {TOKEN_CHARACTERS}={TOKEN_CHARACTERS}"], [(TOKEN_CHARACTERS, {TOKEN_CHARACTERS.lower(): TOKEN_CHARACTERS}, None)], id="every-token-character"),
    pytest.param([", ,B ,, a=b,,\t,c=d, ,"], [("B", {"a": "b", "c": "d"}, None)], id="empty-elements"),
    pytest.param(["B \t, a=b"], [("B", {"a": "b"}, None)], id="list-starts-with-an-empty-element"),
    pytest.param(["B , C a=b"], [("B", {}, None), ("C", {"a": "b"}, None)], id="empty-list-then-a-scheme"),
    pytest.param(["B a=b, B a=b"], [("B", {"a": "b"}, None)] * 2, id="scheme-twice"),
    pytest.param(["B z=1, a=2, m=3"], [("B", {"z": "1", "a": "2", "m": "3"}, None)], id="order-kept"),
    pytest.param(
        ['Basic realm="x", Bearer error="e", max_age=5, Negotiate AA==', "", "DPoP algs=ES256"],
        [("Basic", {"realm": "x"}, None), ("Bearer", {"error": "e", "max_age": "5"}, None), ("Negotiate", {}, "AA=="), ("DPoP", {"algs": "ES256"}, None)],
        id="several-schemes-and-lines",
    ),
    pytest.param(
        # RFC 9110 §11.6.1, example
        ['Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'],
        [("Basic", {"realm": "simple"}, None), ("Newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}, None)],
        id="rfc-9110",
    ),
    pytest.param(
        # RFC 9470 §3, figure 3, unfolded
        ['Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", max_age="5"'],
        [("Bearer", {"error": "insufficient_user_authentication", "error_description": "More recent authentication is required", "max_age": "5"}, None)],
        id="rfc-9470",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "challenges"), READ)
def test_list_of_challenges_is_read_so(
    values: list[str], challenges: list[tuple[str, dict[str, str], str | None]]
) -> None:
    assert seen(parse_challenges(values)) == challenges
    assert [list(c.params) for c in parse_challenges(values)] == [list(c[1]) for c in challenges]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("12345678901", id="one-digit-too-many"),
        pytest.param("0" * 11, id="too-many-zeros"),
        pytest.param('""', id="empty"),
        pytest.param("-1", id="negative"),
        pytest.param("+1", id="plus"),
        pytest.param("1.0", id="fraction"),
        pytest.param("1e3", id="exponent"),
        pytest.param("1_0", id="underscore"),
        pytest.param('" 1"', id="leading-space"),
        pytest.param('"1 "', id="trailing-space"),
        pytest.param('"\xb2"', id="superscript-digit"),
    ],
)
def test_max_age_that_is_no_number_is_a_syntax_error(value: str) -> None:
    (challenge,) = parse_challenges([f"Bearer max_age={value}"])
    with pytest.raises(ChallengeSyntaxError, match=r"^max_age must be 1 to 10 digits$"):
        _ = challenge.max_age


def test_max_age_in_digits_of_another_script_is_a_syntax_error() -> None:
    """`int` would read them; no header brings them, but a caller's own `Challenge` may."""
    with pytest.raises(ChallengeSyntaxError, match=r"^max_age must be 1 to 10 digits$"):
        _ = Challenge("Bearer", {"max_age": "\u0663"}).max_age


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("300", 300),
        ('"300"', 300),
        (r'"3\00"', 300),
        ('"0007"', 7),
        ("9" * 10, 10**10 - 1),
    ],
)
def test_max_age_is_read_as_token_and_as_quoted_string(value: str, seconds: int) -> None:
    (challenge,) = parse_challenges([f"Bearer max_age={value}"])
    assert challenge.max_age == seconds


def test_accessors_of_an_absent_parameter_are_empty() -> None:
    absent = Challenge("Bearer")
    assert (absent.error, absent.acr_values, absent.max_age, absent.scope) == (None, (), None, ())


def test_accessors_of_lists_keep_the_order_and_split_on_spaces_only() -> None:
    (challenge,) = parse_challenges(
        ['Bearer error="insufficient_scope", acr_values=" phr  mfa", scope="a\xa0b c\td"']
    )
    assert challenge.error == "insufficient_scope"
    assert challenge.acr_values == ("phr", "mfa")
    assert challenge.scope == ("a\xa0b", "c\td")


def test_challenges_are_equal_in_any_case_of_the_scheme_and_any_order() -> None:
    one = Challenge("Bearer", {"a": "1", "b": "2"})
    assert one == Challenge("bearer", {"b": "2", "a": "1"})
    assert hash(one) == hash(Challenge("BEARER", {"b": "2", "a": "1"}))
    assert one != Challenge("Bearer", {"a": "1", "b": "3"})
    assert one != Challenge("DPoP", {"a": "1", "b": "2"})
    assert Challenge("Basic", token68="QQ") != Challenge("Basic", token68="qq")
    assert one != "Bearer a=1, b=2"


def test_parsed_parameters_cannot_be_changed() -> None:
    (challenge,) = parse_challenges(["Bearer a=b"])
    with pytest.raises(TypeError):
        challenge.params["a"] = "c"  # type: ignore[index]


# --- bounds --------------------------------------------------------------------------------------


def sized(size: int) -> str:
    return 'B a="' + "x" * (size - 6) + '"'


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([sized(LIMIT + 1)], id="one-line"),
        pytest.param([sized(LIMIT - 2 - 8 + 1), sized(8)], id="two-lines-as-joined"),
        pytest.param(["a" * (LIMIT + 1)], id="before-any-parsing"),
    ],
)
def test_input_over_64_kib_is_refused(values: list[str]) -> None:
    with pytest.raises(ChallengeSyntaxError, match=r"over 65536 bytes in all$"):
        parse_challenges(values)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([sized(LIMIT - 1)], id="one-below"),
        pytest.param([sized(LIMIT)], id="at-the-limit"),
        pytest.param([sized(LIMIT - 2 - 8), sized(8)], id="two-lines-as-joined"),
    ],
)
def test_input_up_to_64_kib_is_read(values: list[str]) -> None:
    assert len(parse_challenges(values)) == len(values)


def test_endless_empty_lines_come_to_an_end() -> None:
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield ""

    with pytest.raises(ChallengeSyntaxError):
        parse_challenges(lines())
    assert taken == LIMIT // 2 + 2


def fill(head: str, body: str, tail: str = "") -> Any:
    """A line of 64 KiB."""
    times = (LIMIT - len(head) - len(tail)) // len(body)
    return pytest.param(head + body * times + tail, id=repr(head + body + "…" + tail))


ADVERSARIAL = [
    fill('B a="', "\\a"),
    fill('B a="', "\\\\", '\\"'),
    fill('B a="', '\\"x'),
    fill('B a="', "x"),
    fill('B a="', "x", '"'),
    fill("B ", "a"),
    fill("B ", "a", " b"),
    fill("B ", "a", "="),
    fill("B ", "a", "=b c"),
    fill("B a", "=", "x"),
    fill("B ", " ", "a b"),
    fill("B a", " ", "b"),
    fill("B a", "\t ", "="),
    fill("B a=b", " ", "x"),
    fill("B a=b", ", "),
    fill("B a=b", " ,", "="),
    fill("", ","),
    fill("", " "),
    fill("", "B"),
    fill("", "B", " ="),
]


@pytest.mark.parametrize("value", ADVERSARIAL)
def test_64_kib_made_to_be_slow_take_no_time(value: str) -> None:
    assert _best_seconds(value) < 0.25  # far from what anything quadratic takes


@pytest.mark.parametrize("body", ["B,", "B a=b,", "B a ,", 'B a="\\b",'])
def test_as_many_challenges_as_fit_take_time_in_proportion(body: str) -> None:
    whole, quarter = (_best_seconds(body * (size // len(body))) for size in (LIMIT, LIMIT // 4))
    assert whole < 12 * quarter


def test_as_many_parameters_as_fit_take_no_time() -> None:
    params = ",".join(f"{number:x}=1" for number in range(9000))
    assert _best_seconds(f"B {params}") < 0.5


def _best_seconds(value: str) -> float:
    """CPU time of the fastest of some runs: another process must not fail the test."""
    best = 60.0
    for _ in range(5):
        started = time.thread_time()
        with contextlib.suppress(ChallengeSyntaxError):
            parse_challenges([value])
        best = min(best, time.thread_time() - started)
    return best


# --- properties ----------------------------------------------------------------------------------

tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
error_texts = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'),
    min_size=1,
    max_size=30,
)
members = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'),
    min_size=1,
    max_size=12,
)
builder_arguments = st.fixed_dictionaries(
    {"scheme": tokens},
    optional={
        "realm": printable,
        "error": error_texts,
        "error_description": error_texts,
        "acr_values": st.lists(members, max_size=4),
        "max_age": st.integers(0, 10**10 - 1),
        "scope": st.lists(members, max_size=4),
        "resource_metadata": printable,
        "algs": st.lists(members, max_size=4),
    },
).filter(lambda arguments: any(v or v in (0, "") for k, v in arguments.items() if k != "scheme"))

ORDER = (
    "realm",
    "error",
    "error_description",
    "acr_values",
    "max_age",
    "scope",
    "resource_metadata",
    "algs",
)


def expected(arguments: dict[str, Any]) -> Challenge:
    params: dict[str, str] = {}
    for name in ORDER:
        value = arguments.get(name)
        if value is not None and value != []:
            params[name] = " ".join(value) if isinstance(value, list) else str(value)
    return Challenge(arguments["scheme"], params)


@given(st.lists(builder_arguments, min_size=1, max_size=4))
def test_what_the_builder_writes_the_parser_reads(all_arguments: list[dict[str, Any]]) -> None:
    """On lines of their own and joined to one line (RFC 9110 §5.3): the same."""
    written = [build_challenge(**arguments) for arguments in all_arguments]
    wanted = [expected(arguments) for arguments in all_arguments]
    for lines in (written, [", ".join(written)], [" ,, ".join(written)]):
        read = parse_challenges(lines)
        assert seen(read) == seen(wanted)
        assert [list(c.params) for c in read] == [list(c.params) for c in wanted]
    for challenge, arguments in zip(parse_challenges(written), all_arguments, strict=True):
        assert challenge.error == arguments.get("error")
        assert challenge.max_age == arguments.get("max_age")
        assert challenge.acr_values == tuple(arguments.get("acr_values", ()))
        assert challenge.scope == tuple(arguments.get("scope", ()))


anything = st.text(max_size=20)


@given(
    scheme=anything | tokens,
    realm=st.none() | anything,
    error=st.none() | anything,
    error_description=st.none() | anything,
    acr_values=st.lists(anything, max_size=3),
    max_age=st.none() | st.integers(),
    scope=st.lists(anything, max_size=3),
    resource_metadata=st.none() | anything,
)
def test_built_challenge_is_one_line_of_printable_ascii(**arguments: Any) -> None:
    try:
        written = build_challenge(**arguments)
    except ValueError:
        return
    assert all(" " <= character <= "~" for character in written)
    assert len(parse_challenges([written])) == 1


grammar_bits = st.sampled_from(
    [
        "Bearer",
        "a",
        "B",
        "=",
        '"',
        "\\",
        ",",
        " ",
        "\t",
        "realm=",
        '="x"',
        "abc==",
        "\xe9",
        "\x00",
        "é",
    ]
)
texts = st.text(max_size=60) | st.lists(grammar_bits, max_size=25).map("".join)


@given(st.lists(texts, max_size=4))
def test_no_text_raises_anything_but_a_syntax_error(values: list[str]) -> None:
    try:
        challenges = parse_challenges(values)
    except ChallengeSyntaxError as error:
        fault = error
    else:
        for challenge in challenges:
            assert list(challenge.params) == [name.lower() for name in challenge.params]
            assert challenge.token68 is None or not challenge.params
        assert seen(parse_challenges([", ".join(values)])) == seen(challenges)
        return
    assert fault.line is not None
    assert fault.offset is not None
    assert 0 <= fault.line < len(values)
    assert 0 <= fault.offset <= len(values[fault.line])
