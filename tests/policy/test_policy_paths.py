"""The raw path: refused where two parsers could read it differently, else read once (spec §4)."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import RequestError
from bridge.policy.operations import STRICT_PATH_RULES, PathRules
from bridge.policy.paths import MAX_PATH_BYTES, read_segments, split_target

LAX_PATH_RULES = PathRules(
    allow_semicolon=True,
    allow_encoded_slash=True,
    allow_double_slash=True,
    allow_double_encoding=True,
)

# What paths are made of, the harmful pieces among them.
_PIECES = [
    *("a", "admin", "/", "//", ".", "..", "...", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\"),
    *(";", "%3b", "#", "%23", "%3f", "?", "%", "%4", "%zz", "%25", "%252f", "%252e", "%41", "%20"),
    *(
        "\x00",
        "%00",
        "%0d%0a",
        "%7f",
        " ",
        "\t",
        "é",
        "%c3%a9",
        "%c0%ae",
        "%ff",
        "%c2%85",
        "~",
        "*",
    ),
    *("{x}", ":", "@", "+", ",", "=", "\ud800", "\u212a", "%\uff12\uff45"),
]
paths = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=8).map(lambda pieces: "/" + "".join(pieces)),
    st.lists(st.sampled_from(["a", "b.c", ".a", "a.", "%41", "%c3%a9", "~", "/"]), max_size=8).map(
        lambda pieces: "/" + "".join(pieces)
    ),
    st.text(),
    st.binary().map(lambda raw: "/" + raw.decode("utf-8", "surrogateescape")),
)
rules_of_any_kind = st.builds(
    PathRules, *(st.booleans() for _ in PathRules.__dataclass_fields__.values())
)


def reason_of(path: str, rules: PathRules = STRICT_PATH_RULES) -> str:
    """Read a path that is refused, and give the code of the refusal."""
    with pytest.raises(RequestError) as refused:
        read_segments(path, rules)
    return refused.value.reason


REFUSED_UNDER_ANY_RULES = [
    # a target that is none of ours
    pytest.param("", "path_without_leading_slash", id="empty"),
    pytest.param("*", "path_without_leading_slash", id="asterisk-form"),
    pytest.param("admin", "path_without_leading_slash", id="no-leading-slash-cve-2026-33186"),
    pytest.param("http://a.example/x", "path_without_leading_slash", id="absolute-form"),
    pytest.param("a.example:443", "path_without_leading_slash", id="authority-form"),
    # dot segments
    pytest.param("/.", "path_dot_segment", id="dot-alone"),
    pytest.param("/..", "path_dot_segment", id="dots-alone"),
    pytest.param("/a/.", "path_dot_segment", id="dot-last"),
    pytest.param("/a/..", "path_dot_segment", id="dots-last"),
    pytest.param("/a/./b", "path_dot_segment", id="dot-inside"),
    pytest.param("/a/./", "path_dot_segment", id="dot-then-slash"),
    pytest.param("/user/../admin", "path_dot_segment", id="dots-ghsa-3q34-rx83-r6mq"),
    pytest.param("/public/../admin", "path_dot_segment", id="dots-cve-2026-33494"),
    pytest.param("/user/%2e%2e/admin", "path_dot_segment", id="dots-encoded"),
    pytest.param("/user/%2E./admin", "path_dot_segment", id="dots-half-encoded"),
    pytest.param("/user/.%2e", "path_dot_segment", id="dots-other-half-encoded-last"),
    pytest.param("/%2e/a", "path_dot_segment", id="dot-encoded-first"),
    # backslash, fragment, encoded question mark
    pytest.param("/a\\b", "path_forbidden_character", id="backslash"),
    pytest.param("/a\\..\\b", "path_forbidden_character", id="backslash-dots"),
    pytest.param("/a%5cb", "path_forbidden_character", id="backslash-encoded"),
    pytest.param("/a%5C..%5Cb", "path_forbidden_character", id="backslash-encoded-upper-case"),
    pytest.param("/a#b", "path_forbidden_character", id="fragment-cve-2021-32779"),
    pytest.param("/a%23b", "path_forbidden_character", id="fragment-encoded"),
    pytest.param("/a%3fb", "path_forbidden_character", id="question-mark-encoded"),
    pytest.param("/a%3Fb", "path_forbidden_character", id="question-mark-encoded-upper-case"),
    # control characters
    pytest.param("/a\x00b", "path_forbidden_character", id="nul-cve-2019-9900"),
    pytest.param("/a%00b", "path_forbidden_character", id="nul-encoded"),
    pytest.param("/a\x1fb", "path_forbidden_character", id="last-c0"),
    pytest.param("/a%1Fb", "path_forbidden_character", id="last-c0-encoded"),
    pytest.param("/a b", "path_forbidden_character", id="space-raw"),
    pytest.param("/a\x7fb", "path_forbidden_character", id="del"),
    pytest.param("/a%7fb", "path_forbidden_character", id="del-encoded"),
    pytest.param("/a\tb", "path_forbidden_character", id="tab"),
    pytest.param("/a\r\nb", "path_forbidden_character", id="line-break"),
    pytest.param("/a%0d%0ab", "path_forbidden_character", id="line-break-encoded"),
    pytest.param("/a%c2%80b", "path_forbidden_character", id="first-c1-encoded"),
    pytest.param("/a%c2%9fb", "path_forbidden_character", id="last-c1-encoded"),
    # broken encodings
    pytest.param("/%", "path_broken_percent_encoding", id="percent-last"),
    pytest.param("/%4", "path_broken_percent_encoding", id="percent-one-digit-last"),
    pytest.param("/%4/a", "path_broken_percent_encoding", id="percent-one-digit"),
    pytest.param("/%zz", "path_broken_percent_encoding", id="percent-no-digits"),
    pytest.param("/%%41", "path_broken_percent_encoding", id="percent-percent"),
    pytest.param("/%u002e", "path_broken_percent_encoding", id="percent-u"),
    pytest.param("/%\uff12\uff15", "path_not_ascii", id="percent-full-width-digits"),
    # bytes that are no UTF-8, raw non-ASCII
    pytest.param("/%c0%ae%c0%ae/a", "path_not_utf8", id="overlong-dots"),
    pytest.param("/%c0%af", "path_not_utf8", id="overlong-slash"),
    pytest.param("/%ff", "path_not_utf8", id="byte-ff"),
    pytest.param("/%c3", "path_not_utf8", id="truncated"),
    pytest.param("/%c3/%a9", "path_not_utf8", id="split-over-segments"),
    pytest.param("/%ed%a0%80", "path_not_utf8", id="surrogate"),
    pytest.param("/é", "path_not_ascii", id="raw-latin"),
    pytest.param("/\udcc3\udca9", "path_not_ascii", id="raw-bytes-as-aiohttp-gives-them"),
    pytest.param("/\uff0e\uff0e/a", "path_not_ascii", id="raw-full-width-dots"),
    pytest.param("/\u212a", "path_not_ascii", id="raw-kelvin-sign"),
]


@pytest.mark.parametrize(("path", "reason"), REFUSED_UNDER_ANY_RULES)
@pytest.mark.parametrize(
    "rules",
    [pytest.param(STRICT_PATH_RULES, id="strict"), pytest.param(LAX_PATH_RULES, id="lax")],
)
def test_path_that_no_option_allows_is_refused(path: str, reason: str, rules: PathRules) -> None:
    assert reason_of(path, rules) == reason


# Each: path, reason, the option that allows it, what it is then.
RELAXED = [
    pytest.param("/a;b", "path_semicolon", "allow_semicolon", ("a;b",), id="semicolon"),
    pytest.param(
        "/api/admin;x", "path_semicolon", "allow_semicolon", ("api", "admin;x"),
        id="semicolon-cve-2026-39852",
    ),
    pytest.param("/a;", "path_semicolon", "allow_semicolon", ("a;",), id="semicolon-last"),
    pytest.param("/a%3bb", "path_semicolon", "allow_semicolon", ("a;b",), id="semicolon-encoded"),
    pytest.param("/a%3Bb", "path_semicolon", "allow_semicolon", ("a;b",), id="semicolon-upper"),
    pytest.param(
        "/a%2fb", "path_encoded_slash", "allow_encoded_slash", ("a/b",),
        id="encoded-slash-cve-2021-29492",
    ),
    pytest.param(
        "/a%2Fb/c", "path_encoded_slash", "allow_encoded_slash", ("a/b", "c"),
        id="encoded-slash-upper-case",
    ),
    pytest.param(
        "/a%2f", "path_encoded_slash", "allow_encoded_slash", ("a/",), id="encoded-slash-last"
    ),
    pytest.param(
        "//admin/x", "path_double_slash", "allow_double_slash", ("", "admin", "x"),
        id="double-slash-first-cve-2026-26205",
    ),
    pytest.param(
        "/a//b", "path_double_slash", "allow_double_slash", ("a", "", "b"), id="double-slash"
    ),
    pytest.param(
        "/a//", "path_double_slash", "allow_double_slash", ("a", ""), id="double-slash-last"
    ),
    pytest.param(
        "/a///b", "path_double_slash", "allow_double_slash", ("a", "", "", "b"), id="triple-slash"
    ),
    pytest.param(
        "/a%252fb", "path_double_encoding", "allow_double_encoding", ("a%2fb",),
        id="double-encoded-slash-ghsa-r9fw-vxmp-hwf2",
    ),
    pytest.param(
        "/%252e%252e/a", "path_double_encoding", "allow_double_encoding", ("%2e%2e", "a"),
        id="double-encoded-dots",
    ),
    pytest.param(
        "/a%2541", "path_double_encoding", "allow_double_encoding", ("a%41",),
        id="double-encoded-letter",
    ),
    pytest.param(
        "/%25%34%31", "path_double_encoding", "allow_double_encoding", ("%41",),
        id="double-encoded-by-parts",
    ),
    pytest.param(
        "/%2500", "path_double_encoding", "allow_double_encoding", ("%00",), id="double-encoded-nul"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "reason", "option", "segments"), RELAXED)
def test_path_that_one_option_allows_is_refused_without_it(
    path: str, reason: str, option: str, segments: tuple[str, ...]
) -> None:
    assert reason_of(path) == reason
    all_others = replace(LAX_PATH_RULES, **{option: False})
    assert reason_of(path, all_others) == reason


@pytest.mark.parametrize(("path", "reason", "option", "segments"), RELAXED)
def test_path_that_one_option_allows_is_read_with_only_it(
    path: str, reason: str, option: str, segments: tuple[str, ...]
) -> None:
    assert read_segments(path, replace(STRICT_PATH_RULES, **{option: True})) == segments


@pytest.mark.parametrize(
    ("path", "rules", "reason"),
    [
        pytest.param(
            "/a/..;p/b", PathRules(allow_semicolon=True), "path_dot_segment", id="cve-2026-73551"
        ),
        pytest.param(
            "/a/.;/b", PathRules(allow_semicolon=True), "path_dot_segment", id="dot-with-semicolon"
        ),
        pytest.param(
            "/a/%2e%2e%3bp", PathRules(allow_semicolon=True), "path_dot_segment", id="all-encoded"
        ),
        pytest.param(
            "/a%2f..%2fb",
            PathRules(allow_encoded_slash=True),
            "path_dot_segment",
            id="dots-between-encoded-slashes",
        ),
        pytest.param(
            "/a%2f%2e%2e",
            PathRules(allow_encoded_slash=True),
            "path_dot_segment",
            id="encoded-dots-after-an-encoded-slash",
        ),
        pytest.param(
            "/..%2fa", PathRules(allow_encoded_slash=True), "path_dot_segment", id="dots-then-slash"
        ),
        pytest.param(
            "/a%2f//b",
            PathRules(allow_encoded_slash=True),
            "path_double_slash",
            id="encoded-and-two-raw-slashes",
        ),
        pytest.param(
            "/%2f..",
            PathRules(allow_encoded_slash=True),
            "path_dot_segment",
            id="dots-after-two-slashes",
        ),
        pytest.param(
            "/a%2f%5c",
            PathRules(allow_encoded_slash=True),
            "path_forbidden_character",
            id="backslash-after-an-encoded-slash",
        ),
        pytest.param(
            "/a/%2e%2e//b",
            PathRules(allow_double_slash=True),
            "path_dot_segment",
            id="dots-slashes",
        ),
        pytest.param(
            "/%255c",
            PathRules(allow_encoded_slash=True),
            "path_double_encoding",
            id="double-encoded-backslash",
        ),
    ],
)
def test_an_option_lets_in_nothing_but_its_own(path: str, rules: PathRules, reason: str) -> None:
    assert reason_of(path, rules) == reason


def test_the_client_is_told_nothing_of_what_it_sent() -> None:
    with pytest.raises(RequestError) as refused:
        read_segments("/secret/../x", STRICT_PATH_RULES)
    assert refused.value.description == "The request path is ambiguous"


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(8193, id="one-above"),
        pytest.param(80_000, id="far-above"),
    ],
)
def test_path_over_8192_bytes_is_refused(length: int) -> None:
    assert reason_of("/" + "a" * (length - 1), LAX_PATH_RULES) == "path_too_long"


@pytest.mark.parametrize(
    "length", [pytest.param(8191, id="one-below"), pytest.param(8192, id="at")]
)
def test_path_up_to_8192_bytes_is_read(length: int) -> None:
    assert MAX_PATH_BYTES == 8192
    assert read_segments("/" + "a" * (length - 1), STRICT_PATH_RULES) == ("a" * (length - 1),)


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        pytest.param("/", (), id="root"),
        pytest.param("/a", ("a",), id="one"),
        pytest.param("/a/", ("a",), id="one-trailing-slash-is-ignored"),
        pytest.param("/a/b/c", ("a", "b", "c"), id="three"),
        pytest.param("/Accounts/ID", ("Accounts", "ID"), id="case-is-kept"),
        pytest.param("/%61", ("a",), id="one-decoding"),
        pytest.param("/%41%4a%4A", ("AJJ",), id="hex-digits-in-any-case"),
        pytest.param("/a%20b", ("a b",), id="encoded-space"),
        pytest.param("/caf%c3%a9", ("café",), id="utf-8"),
        pytest.param("/%f0%9f%94%91/x", ("\U0001f511", "x"), id="utf-8-of-four-bytes"),
        pytest.param("/%c2%a0", ("\xa0",), id="first-after-c1"),
        pytest.param("/100%25", ("100%",), id="percent-sign"),
        pytest.param("/%25zz", ("%zz",), id="percent-sign-without-hex-digits"),
        pytest.param("/.well-known/x", (".well-known", "x"), id="dot-file"),
        pytest.param("/...", ("...",), id="three-dots"),
        pytest.param("/a../b", ("a..", "b"), id="dots-after-a-letter"),
        pytest.param("/..a", ("..a",), id="dots-before-a-letter"),
        pytest.param("/a.b", ("a.b",), id="dot-inside"),
        pytest.param("/%7e", ("~",), id="before-del"),
        pytest.param("/a+b", ("a+b",), id="plus-is-no-space"),
        pytest.param("/!$&'()*,:=@_~-", ("!$&'()*,:=@_~-",), id="every-other-pchar"),
    ],
)
def test_path_is_decoded_once_and_split(path: str, segments: tuple[str, ...]) -> None:
    assert read_segments(path, STRICT_PATH_RULES) == segments


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        pytest.param("/a%2fb/c/", ("a/b", "c"), id="inside"),
        pytest.param("/a%2f/b", ("a/", "b"), id="before-a-raw-slash"),
        pytest.param("/a/%2fb", ("a", "/b"), id="after-a-raw-slash"),
        pytest.param("/%2f", ("/",), id="alone"),
        pytest.param("/a%2f%2fb", ("a//b",), id="two"),
        pytest.param("/https:%2f%2fa.example%2fx", ("https://a.example/x",), id="url"),
    ],
)
def test_a_slash_that_came_encoded_separates_nothing(path: str, segments: tuple[str, ...]) -> None:
    assert read_segments(path, PathRules(allow_encoded_slash=True)) == segments


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param("/a", "/a", id="no-query"),
        pytest.param("/a?", "/a", id="empty-query-cve-2025-54576"),
        pytest.param("/a?x=/../b", "/a", id="query-that-looks-like-a-path"),
        pytest.param("/a?b?c", "/a", id="two-question-marks"),
        pytest.param("/a?b#c", "/a", id="fragment-after-the-query"),
        pytest.param("?a", "", id="query-alone"),
        pytest.param("/a%3fb", "/a%3fb", id="an-encoded-question-mark-begins-no-query"),
    ],
)
def test_only_what_stands_before_the_query_is_the_path(target: str, path: str) -> None:
    assert split_target(target) == path


@given(path=paths, rules=rules_of_any_kind)
@example(path="/%", rules=LAX_PATH_RULES)
@example(path="/\ud800", rules=LAX_PATH_RULES)
@settings(deadline=None)
def test_any_text_is_read_or_refused_and_nothing_else(path: str, rules: PathRules) -> None:
    try:
        segments = read_segments(split_target(path), rules)
    except RequestError:
        return
    assert not any(part in {".", ".."} for segment in segments for part in segment.split("/"))


@given(target=paths)
@settings(max_examples=500, deadline=None)
def test_an_accepted_path_survives_every_normaliser_unchanged(target: str) -> None:
    """What the upstream may do to it (decode, merge slashes, drop dots) changes no segment."""
    path = split_target(target)
    try:
        segments = read_segments(path, STRICT_PATH_RULES)
    except RequestError:
        return
    without_slash = path.rstrip("/") or "/"
    decoded = unquote(without_slash, errors="strict")
    assert posixpath.normpath(path) == without_slash
    assert posixpath.normpath(decoded) == decoded
    assert unquote(decoded, errors="strict") == decoded  # a second decoding finds nothing
    assert tuple(s for s in decoded.split("/") if s) == segments  # decoded first, or split first
    assert urlsplit(f"https://a.example{path}").path == path
    assert urljoin("https://a.example/", path) == f"https://a.example{path}"


@given(path=paths, rules=rules_of_any_kind)
@settings(deadline=None)
def test_an_option_never_refuses_or_changes_what_the_strict_rules_read(
    path: str, rules: PathRules
) -> None:
    try:
        segments = read_segments(path, STRICT_PATH_RULES)
    except RequestError:
        return
    assert read_segments(path, rules) == segments
