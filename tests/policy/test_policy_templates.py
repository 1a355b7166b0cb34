"""Path templates: what they may say, and which of two is the more specific (spec §4)."""

from __future__ import annotations

import re

import pytest

from bridge.policy.operations import STRICT_PATH_RULES, PathRules
from bridge.policy.templates import (
    Literal,
    OneSegment,
    Rest,
    Segment,
    Starred,
    Template,
    parse_template,
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "must start with /", id="empty"),
        pytest.param("accounts", "must start with /", id="no-leading-slash"),
        pytest.param("**", "must start with /", id="rest-without-slash"),
        pytest.param("/**/a", "must have ** only as its last segment", id="rest-first"),
        pytest.param("/a/**/b", "must have ** only as its last segment", id="rest-inside"),
        pytest.param("/a/**/", "must have ** only as its last segment", id="rest-and-slash"),
        pytest.param("/**/**", "must have ** only as its last segment", id="rest-twice"),
        pytest.param("/a**", "must have at most one * in a segment", id="rest-after-a-literal"),
        pytest.param("/***", "must have at most one * in a segment", id="three-stars"),
        pytest.param("/a*b*", "must have at most one * in a segment", id="two-stars"),
        pytest.param("/a{id}", "must have {name} as a whole segment", id="name-after-a-literal"),
        pytest.param("/{id}.json", "must have {name} as a whole segment", id="name-before-one"),
        pytest.param("/{a}{b}", "must have {name} as a whole segment", id="two-names"),
        pytest.param("/{id}*", "must have {name} as a whole segment", id="name-and-star"),
        pytest.param("/{}", "must have {name} as a whole segment", id="empty-name"),
        pytest.param("/{1}", "must have {name} as a whole segment", id="name-that-is-a-digit"),
        pytest.param("/{id", "must have {name} as a whole segment", id="open-brace"),
        pytest.param("/id}", "must have {name} as a whole segment", id="closing-brace"),
        pytest.param("/{*id}", "must have {name} as a whole segment", id="starred-name"),
        pytest.param("/a//b", "must not contain //", id="double-slash"),
        pytest.param("//a", "must not contain //", id="double-slash-first"),
        pytest.param("/a//", "must not contain //", id="double-slash-last"),
        pytest.param("//", "must not contain //", id="double-slash-alone"),
        pytest.param("/.", "must not contain . or ..", id="dot"),
        pytest.param("/a/../b", "must not contain . or ..", id="dots"),
        pytest.param("/caf%C3%A9", "must be written decoded", id="percent-encoded"),
        pytest.param("/a;b", "must not contain ; unless", id="semicolon"),
        pytest.param("/a\\b", "must not contain \\, ?, # or control", id="backslash"),
        pytest.param("/a?b", "must not contain \\, ?, # or control", id="question-mark"),
        pytest.param("/a#b", "must not contain \\, ?, # or control", id="fragment"),
        pytest.param("/a\nb", "must not contain \\, ?, # or control", id="line-break"),
        pytest.param("/a\x80b", "must not contain \\, ?, # or control", id="first-c1-control"),
        pytest.param("/a\x9fb", "must not contain \\, ?, # or control", id="last-c1-control"),
        pytest.param("/a\x7fb", "must not contain \\, ?, # or control", id="del"),
        pytest.param("/a\ud800b", "must not contain \\, ?, # or control", id="surrogate"),
        pytest.param("/a" * 65, "must have at most 64 segments", id="one-segment-above-64"),
    ],
)
def test_template_that_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_template(text)


@pytest.mark.parametrize(
    ("text", "rules", "segments"),
    [
        pytest.param(
            "/a//b",
            PathRules(allow_double_slash=True),
            (Literal("a"), Literal(""), Literal("b")),
            id="double-slash",
        ),
        pytest.param(
            "//", PathRules(allow_double_slash=True), (Literal(""),), id="double-slash-alone"
        ),
        pytest.param("/a;b", PathRules(allow_semicolon=True), (Literal("a;b"),), id="semicolon"),
        pytest.param(
            "/a%2fb",
            PathRules(allow_double_encoding=True),
            (Literal("a%2fb"),),
            id="what-is-still-encoded-after-one-decoding",
        ),
    ],
)
def test_template_may_say_what_its_api_lets_requests_say(
    text: str, rules: PathRules, segments: tuple[Segment, ...]
) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_template(text)
    assert parse_template(text, rules) == Template(segments)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        pytest.param("/", (), id="root"),
        pytest.param("/a", (Literal("a"),), id="literal"),
        pytest.param("/a/", (Literal("a"),), id="one-trailing-slash-is-ignored"),
        pytest.param("/A b", (Literal("A b"),), id="literal-with-space"),
        pytest.param("/café", (Literal("café"),), id="literal-decoded"),
        pytest.param("/a\xa0b", (Literal("a\xa0b"),), id="literal-with-no-break-space"),
        pytest.param("/100%", (Literal("100%"),), id="literal-with-percent"),
        pytest.param("/...", (Literal("..."),), id="three-dots"),
        pytest.param("/{id}", (OneSegment(),), id="name"),
        pytest.param("/{account_id.v-2}", (OneSegment(),), id="name-with-every-character"),
        pytest.param("/*", (OneSegment(),), id="lone-star"),
        pytest.param("/a*", (Starred("a", ""),), id="prefix"),
        pytest.param("/*a", (Starred("", "a"),), id="suffix"),
        pytest.param("/a*b", (Starred("a", "b"),), id="prefix-and-suffix"),
        pytest.param("/**", (Rest(),), id="rest-alone"),
        pytest.param(
            "/a/{id}/v*/**",
            (Literal("a"), OneSegment(), Starred("v", ""), Rest()),
            id="all-kinds",
        ),
        pytest.param("/a" * 63, (Literal("a"),) * 63, id="one-segment-below-64"),
        pytest.param("/a" * 64, (Literal("a"),) * 64, id="64-segments"),
    ],
)
def test_template_is_parsed_into_segments(text: str, segments: tuple[Segment, ...]) -> None:
    assert parse_template(text, STRICT_PATH_RULES) == Template(segments)


@pytest.mark.parametrize(
    ("segment", "matches"),
    [
        pytest.param("ab", False, id="shorter-than-both"),
        pytest.param("aba", False, id="prefix-and-suffix-may-not-overlap"),
        pytest.param("abXab", False, id="suffix-missing"),
        pytest.param("Xabba", False, id="prefix-not-at-the-start"),
        pytest.param("ABba", False, id="other-case"),
        pytest.param("ab/ba", False, id="an-encoded-slash-is-no-part-of-the-run"),
        pytest.param("abba", True, id="nothing-between"),
        pytest.param("abXba", True, id="one-between"),
        pytest.param("ab.*?ba", True, id="anything-between"),
    ],
)
def test_starred_segment_needs_its_prefix_and_its_suffix(segment: str, matches: bool) -> None:
    assert Starred("ab", "ba").matches(segment) is matches


# Each list from the most specific to the least; each is compared with all that follow.
BY_SPECIFICITY = [
    [
        *("/a/b/c", "/a/b/c*e", "/a/b/c*", "/a/b/{x}", "/a/b/**", "/a/bb*/**", "/a/b*/c"),
        *("/a/b*/**", "/a/{x}/c", "/a/{x}/{y}", "/a/{x}/**", "/a/**", "/a*/b/c", "/a*/**"),
        *("/{x}/b/c", "/{x}/**", "/**"),
    ],
    ["/a/b", "/a/b/**", "/a/{x}", "/a/{x}/**", "/a/**", "/**"],
    ["/a", "/a/**", "/**"],
    ["/", "/**"],
]


@pytest.mark.parametrize(
    ("greater", "lesser"),
    [
        pytest.param(greater, lesser, id=f"{greater} before {lesser}")
        for chain in BY_SPECIFICITY
        for at, greater in enumerate(chain)
        for lesser in chain[at + 1 :]
    ],
)
def test_more_specific_template_is_the_greater(greater: str, lesser: str) -> None:
    assert parse_template(greater).specificity > parse_template(lesser).specificity


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("/{a}", "/{b}", id="names-do-not-count"),
        pytest.param("/{a}", "/*", id="name-and-lone-star"),
        pytest.param("/ab*", "/a*b", id="starred-with-as-many-literal-characters"),
        pytest.param("/a/", "/a", id="trailing-slash"),
    ],
)
def test_templates_that_differ_only_in_spelling_rank_alike(first: str, second: str) -> None:
    assert parse_template(first).specificity == parse_template(second).specificity


@pytest.mark.parametrize(
    ("first", "second", "may"),
    [
        pytest.param(Starred("ab", ""), Starred("ac", ""), False, id="prefixes-exclude"),
        pytest.param(Starred("", "ab"), Starred("", "cb"), False, id="suffixes-exclude"),
        pytest.param(Starred("a", "x"), Starred("a", "y"), False, id="same-prefix-other-suffix"),
        pytest.param(Starred("a", ""), Starred("", "b"), True, id="prefix-and-suffix"),
        pytest.param(Starred("a", "c"), Starred("ab", ""), True, id="one-prefix-begins-the-other"),
        pytest.param(Starred("", "c"), Starred("", "bc"), True, id="one-suffix-ends-the-other"),
    ],
)
def test_starred_segments_exclude_each_other_by_prefix_or_suffix(
    first: Starred, second: Starred, may: bool
) -> None:
    assert first.may_match_the_same_as(second) is may
    assert second.may_match_the_same_as(first) is may
