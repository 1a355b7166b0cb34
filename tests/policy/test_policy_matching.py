"""Which API and operation a request addresses (spec §4)."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterable
from itertools import permutations
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.errors import RequestError
from bridge.policy.hosts import read_host
from bridge.policy.matching import Conflict, Match, OperationTrie, PolicyIndex, find_conflicts
from bridge.policy.methods import read_method
from bridge.policy.operations import STRICT_PATH_RULES, Api, Operation, PathRules, Policy
from bridge.policy.paths import read_segments, split_target
from bridge.policy.templates import Starred, Template, parse_template


def api(name: str, base_path: str = "/", hosts: Iterable[str] = (), **more: Any) -> Api:
    operations = more.pop("operations", (Operation("all", ("/**",)),))
    return Api(name, ("https://login.example.com",), operations, tuple(hosts), base_path, **more)


def operations(**templates: str) -> tuple[Operation, ...]:
    """Make operations from `name="GET /a"`; without a method it takes any."""
    made = []
    for name, text in templates.items():
        methods, _, path = text.rpartition(" ")
        made.append(Operation(name, (path,), tuple(methods.split(",")) if methods else ()))
    return tuple(made)


def name_found(index: PolicyIndex, host: str, path: str) -> str | None:
    found = index.find_api(host, path)
    return None if found is None else found.name


def operation_found(
    candidates: tuple[Operation, ...], method: str, path: str, rules: PathRules = STRICT_PATH_RULES
) -> str | None:
    """Find an operation the way a check does, and give its name."""
    only = api("only", operations=candidates, path=rules)
    match = PolicyIndex(Policy((only,))).find_operation(only, method, path)
    return None if match is None else match.operation.name


BY_HOST = PolicyIndex(
    Policy(
        (
            api("wildcard", hosts=["*.example.com"]),
            api("longer-wildcard", hosts=["*.pay.example.com"]),
            api("exact", hosts=["api.pay.example.com", "other.example"]),
            api("exact-apex", hosts=["apex.example"]),
            api("apex-wildcard", hosts=["*.apex.example"]),
        )
    )
)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param("nowhere.example", None, id="no-host"),
        pytest.param("example.com", None, id="wildcard-is-not-its-own-parent"),
        pytest.param("xexample.com", None, id="wildcard-begins-at-a-dot"),
        pytest.param("com", None, id="parent-of-a-wildcards-parent"),
        pytest.param("api.other.example", None, id="label-before-an-exact-name"),
        pytest.param("api.example.com.evil.example", None, id="ours-as-a-prefix"),
        pytest.param("a.example.com", "wildcard", id="one-label-before"),
        pytest.param("a.b.example.com", "wildcard", id="two-labels-before"),
        pytest.param("pay.example.com", "wildcard", id="parent-of-the-longer-wildcard"),
        pytest.param("x.pay.example.com", "longer-wildcard", id="longest-wildcard-first"),
        pytest.param("x.y.pay.example.com", "longer-wildcard", id="longest-with-two-labels"),
        pytest.param("api.pay.example.com", "exact", id="exact-name-before-wildcards"),
        pytest.param("x.api.pay.example.com", "longer-wildcard", id="label-before-the-exact-name"),
        pytest.param("other.example", "exact", id="second-host-of-an-api"),
        pytest.param("apex.example", "exact-apex", id="apex"),
        pytest.param("x.apex.example", "apex-wildcard", id="below-the-apex"),
    ],
)
def test_api_is_found_by_host(host: str, name: str | None) -> None:
    assert name_found(BY_HOST, host, "/x") == name


@pytest.mark.parametrize(
    "order", [pytest.param(1, id="as-listed"), pytest.param(-1, id="reversed")]
)
def test_the_order_of_apis_does_not_matter(order: int) -> None:
    apis = (
        api("any"),
        api("wildcard", hosts=["*.example.com"]),
        api("exact", hosts=["a.example.com"]),
        api("exact-below", "/p", hosts=["a.example.com"]),
    )
    index = PolicyIndex(Policy(apis[::order]))
    assert [name_found(index, "a.example.com", path) for path in ("/", "/p", "/p/q")] == [
        "exact",
        "exact-below",
        "exact-below",
    ]
    assert name_found(index, "b.example.com", "/p") == "wildcard"
    assert name_found(index, "b.example.org", "/p") == "any"


def test_api_without_hosts_is_found_on_any_host_after_those_with_one() -> None:
    index = PolicyIndex(Policy((api("any", "/a"), api("exact", "/b", hosts=["x.example"]))))
    assert name_found(index, "x.example", "/b") == "exact"
    assert name_found(index, "x.example", "/a") == "any"
    assert name_found(index, "[::1]", "/a") == "any"
    assert name_found(index, "y.example", "/b") is None


NESTED = (api("root-of-a", "/a"), api("below", "/a/b/c"), api("limits", "/a/bc"))
BY_PATH = PolicyIndex(Policy(NESTED))
ALLOWING = PolicyIndex(Policy(NESTED, unmatched_host="allow"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param("/", None, id="above-every-base-path"),
        pytest.param("", None, id="empty"),
        pytest.param("/ax", None, id="base-path-ends-at-a-slash"),
        pytest.param("/A", None, id="case-sensitive"),
        pytest.param("/x/a", None, id="not-at-the-start"),
        pytest.param("//a", None, id="double-slash-first"),
        pytest.param("/x%61", None, id="encoded-elsewhere"),
        pytest.param("/%41", None, id="encoded-in-another-case"),
        pytest.param("a", None, id="no-leading-slash"),
        pytest.param("/a", "root-of-a", id="the-base-path-itself"),
        pytest.param("/a/", "root-of-a", id="the-base-path-and-a-slash"),
        pytest.param("/a/x/y/z", "root-of-a", id="below"),
        pytest.param("/a/b", "root-of-a", id="above-the-longer-base-path"),
        pytest.param("/a/b/cx", "root-of-a", id="longer-base-path-ends-at-a-slash-too"),
        pytest.param("/a/b/c", "below", id="longest-base-path-first"),
        pytest.param("/a/b/c/d", "below", id="below-the-longest"),
        pytest.param("/a/bc", "limits", id="another-at-the-same-depth"),
        pytest.param("/a/b/../bc", "root-of-a", id="dots-are-not-resolved"),
        pytest.param("/a/%62x", "root-of-a", id="encoded-below-the-base-path"),
        pytest.param("/a/b/c/%64", "below", id="encoded-below-the-longest"),
    ],
)
def test_api_is_found_by_the_literal_prefix_of_the_raw_path(path: str, name: str | None) -> None:
    assert name_found(BY_PATH, "any.example", path) == name


def refusal_of_the_api(index: PolicyIndex, host: str, path: str) -> str:
    with pytest.raises(RequestError) as refused:
        index.find_api(host, path)
    assert str(refused.value) == "The request path is ambiguous"
    return refused.value.reason


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/%61", id="base-path-of-an-api"),
        pytest.param("/%61/x", id="below-it"),
        pytest.param("/a%2Fx", id="its-slash"),
        pytest.param("/a%2fx", id="its-slash-in-lower-case"),
        pytest.param("/%61%2fb%2fc", id="all-of-it"),
        pytest.param("/a/%62/c", id="base-path-of-a-longer-api"),
        pytest.param("/a/b%2Fc/d", id="slash-of-a-longer-api"),
        pytest.param("/a/%62c/../x", id="whatever-else-is-wrong"),
        pytest.param("/%61/" + "x" * 8187, id="longest-path"),
    ],
)
def test_path_that_decoded_belongs_to_another_api_is_refused(path: str) -> None:
    assert refusal_of_the_api(ALLOWING, "any.example", path) == "path_encoded_base_path"


def test_encoded_base_path_is_no_api_where_that_is_denied() -> None:
    assert name_found(BY_PATH, "any.example", "/%61/x") is None
    assert refusal_of_the_api(BY_PATH, "any.example", "/a/%62/c") == "path_encoded_base_path"


def test_encoded_base_path_never_falls_to_a_laxer_api() -> None:
    lax = PathRules(allow_encoded_slash=True, allow_double_encoding=True)
    index = PolicyIndex(
        Policy(
            (
                api("lax", path=lax),
                api("payments", "/payments"),
                api("of-a-host", "/admin", hosts=["a.example"]),
            )
        )
    )
    for path in (
        "/%70ayments/x",
        "/payments%2Fx",
        "/%70ayments%2fx",
        "/%2570ayments/x",
        "/payments%252Fx",
    ):
        assert refusal_of_the_api(index, "h", path) == "path_encoded_base_path", path
    assert refusal_of_the_api(index, "a.example", "/%61dmin") == "path_encoded_base_path"
    assert name_found(index, "b.example", "/%61dmin") == "lax"
    assert name_found(index, "h", "/a%2Fpayments") == "lax"
    assert name_found(index, "h", "/%50ayments") == "lax"


@pytest.mark.parametrize(
    ("option", "path"),
    [
        pytest.param("allow_double_slash", "//payments", id="two-slashes-first"),
        pytest.param("allow_double_slash", "///payments/x", id="three-slashes-first"),
        pytest.param("allow_double_slash", "/payments//admin", id="two-slashes-inside"),
        pytest.param("allow_double_slash", "//%70ayments", id="two-slashes-and-encoded"),
        pytest.param("allow_encoded_slash", "/%2fpayments", id="encoded-slash-first"),
        pytest.param("allow_encoded_slash", "/%2f%2fpayments", id="two-encoded-slashes-first"),
        pytest.param("allow_semicolon", "/payments;v=1/x", id="parameters"),
        pytest.param("allow_semicolon", "/payments;", id="empty-parameters"),
        pytest.param("allow_semicolon", "/payments%3bv=1/x", id="encoded-parameters"),
        pytest.param("allow_semicolon", "/;v=1/payments", id="parameters-of-nothing"),
        pytest.param("allow_semicolon", "/%70ayments;%61", id="parameters-and-encoded"),
        pytest.param("allow_double_encoding", "/%2570ayments", id="double-encoded"),
        pytest.param("allow_double_encoding", "/payments%253bv=1", id="double-encoded-parameters"),
        pytest.param("allow_double_encoding", "/%252fpayments", id="double-encoded-slash"),
    ],
)
def test_option_of_one_api_lets_in_nothing_that_repaired_is_another_ones(
    option: str, path: str
) -> None:
    rules = PathRules(**{option: True})
    lax = [api("root", path=rules), api("payments", "/payments", path=rules)]
    index = PolicyIndex(Policy((*lax, api("admin", "/payments/admin"))))
    assert refusal_of_the_api(index, "h", path) == "path_encoded_base_path"


def test_option_lets_in_what_repaired_is_no_other_apis() -> None:
    rules = PathRules(allow_semicolon=True, allow_encoded_slash=True, allow_double_slash=True)
    index = PolicyIndex(Policy((api("root", path=rules), api("payments", "/payments"))))
    for path in ("//x", "/x//payments", "/x;/payments", "/https:%2f%2fa.example", "/paymentsX;v"):
        assert name_found(index, "h", path) == "root", path


def test_path_that_is_too_long_is_refused_as_that_and_not_decoded() -> None:
    path = "/%61/" + "x" * 8188
    assert BY_PATH.find_api("any.example", path) is None
    assert ALLOWING.find_api("any.example", path) is None
    with pytest.raises(RequestError) as refused:
        BY_PATH.find_operation(None, "GET", path)
    assert refused.value.reason == "path_too_long"


def test_doubly_encoded_base_path_is_left_to_the_rule_about_double_encoding() -> None:
    index = PolicyIndex(Policy((api("root"), api("payments", "/payments"))))
    root = index.find_api("h", "/%2570ayments")
    with pytest.raises(RequestError) as refused:
        index.find_operation(root, "GET", "/%2570ayments")
    assert refused.value.reason == "path_double_encoding"


def test_api_at_the_root_takes_what_no_longer_base_path_has() -> None:
    index = PolicyIndex(Policy((api("root"), api("payments", "/payments"))))
    assert name_found(index, "h", "/") == "root"
    assert name_found(index, "h", "/paymentsX") == "root"
    assert name_found(index, "h", "/payments/x") == "payments"


def test_operations_are_matched_below_the_base_path() -> None:
    payments = api(
        "payments",
        "/v1/payments",
        operations=operations(root="/", one="/{id}", deep="/v1/payments", rest="/a/**"),
    )
    index = PolicyIndex(Policy((payments,)))

    def found(path: str) -> Match | None:
        return index.find_operation(payments, "GET", path)

    root, one, deep, rest = payments.operations
    assert found("/v1/payments") == Match(root, "/")
    assert found("/v1/payments/") == Match(root, "/")
    assert found("/v1/payments/7") == Match(one, "/{id}")
    assert found("/v1/payments/v1/payments") == Match(deep, "/v1/payments")
    assert found("/v1/payments/a/b/c") == Match(rest, "/a/**")
    assert found("/v1/payments/b/c") is None


def test_a_match_names_the_template_that_was_found() -> None:
    both = Operation("both", ("/a", "/b/{id}"))
    only = api("only", operations=(both,))
    index = PolicyIndex(Policy((only,)))
    assert index.find_operation(only, "GET", "/a") == Match(both, "/a")
    assert index.find_operation(only, "GET", "/b/1") == Match(both, "/b/{id}")


def test_without_an_api_the_strict_rules_apply() -> None:
    index = PolicyIndex(Policy((api("lax", path=PathRules(allow_semicolon=True)),)))
    with pytest.raises(RequestError) as refused:
        index.find_operation(None, "GET", "/a;b")
    assert refused.value.reason == "path_semicolon"
    assert index.find_operation(None, "GET", "/a") is None


def test_the_rules_of_the_api_apply_and_no_others() -> None:
    lax = api("lax", "/lax", path=PathRules(allow_semicolon=True))
    strict = api("strict", "/strict")
    index = PolicyIndex(Policy((lax, strict)))
    assert index.find_operation(lax, "GET", "/lax/a;b") is not None
    with pytest.raises(RequestError) as refused:
        index.find_operation(strict, "GET", "/strict/a;b")
    assert refused.value.reason == "path_semicolon"


@pytest.mark.parametrize(
    ("template", "path"),
    [
        pytest.param("/a", "/A", id="literal-in-another-case"),
        pytest.param("/a", "/ab", id="literal-is-no-prefix"),
        pytest.param("/a", "/", id="literal-missing"),
        pytest.param("/a", "/a/b", id="one-segment-more"),
        pytest.param("/a/b", "/a", id="one-segment-less"),
        pytest.param("/{x}", "/", id="name-needs-a-segment"),
        pytest.param("/{x}", "/a/b", id="name-is-one-segment"),
        pytest.param("/a/{x}", "/a/", id="name-is-not-empty"),
        pytest.param("/a/*", "/a/", id="lone-star-is-not-empty"),
        pytest.param("/v*", "/", id="starred-needs-a-segment"),
        pytest.param("/v*", "/v1/x", id="star-stops-at-a-slash"),
        pytest.param("/v*", "/w", id="prefix-missing"),
        pytest.param("/*.json", "/a.jsonx", id="suffix-missing"),
        pytest.param("/a/**", "/b", id="rest-below-another-literal"),
        pytest.param("/a/**", "/ab", id="rest-begins-at-a-slash"),
        pytest.param("/a/{x}/**", "/a", id="rest-after-a-missing-segment"),
        pytest.param("/a/{x}/**", "/a/", id="rest-after-an-empty-segment"),
    ],
)
def test_template_does_not_match(template: str, path: str) -> None:
    assert operation_found(operations(it=template), "GET", path) is None


@pytest.mark.parametrize(
    ("template", "path"),
    [
        pytest.param("/", "/", id="root"),
        pytest.param("/a", "/a", id="literal"),
        pytest.param("/a", "/a/", id="trailing-slash-of-the-request"),
        pytest.param("/a/", "/a", id="trailing-slash-of-the-template"),
        pytest.param("/a", "/%61", id="decoded-first"),
        pytest.param("/café", "/caf%C3%A9", id="utf-8"),
        pytest.param("/{x}", "/a", id="name"),
        pytest.param("/{x}", "/a;b".replace(";", "%20"), id="name-takes-any-characters"),
        pytest.param("/*", "/a", id="lone-star"),
        pytest.param("/v*", "/v", id="star-of-nothing"),
        pytest.param("/v*", "/v1", id="star-of-one"),
        pytest.param("/*.json", "/a.json", id="suffix"),
        pytest.param("/a/**", "/a", id="rest-of-zero"),
        pytest.param("/a/**", "/a/", id="rest-of-zero-and-a-slash"),
        pytest.param("/a/**", "/a/b", id="rest-of-one"),
        pytest.param("/a/**", "/a/b/c/d/", id="rest-of-many"),
        pytest.param("/**", "/", id="everything-zero"),
        pytest.param("/**", "/a/b", id="everything"),
    ],
)
def test_template_matches(template: str, path: str) -> None:
    assert operation_found(operations(it=template), "GET", path) == "it"


def test_empty_segment_is_matched_by_no_name_but_by_its_literal() -> None:
    rules = PathRules(allow_double_slash=True)
    assert operation_found(operations(it="/a/{x}/b"), "GET", "/a//b", rules) is None
    assert operation_found(operations(it="/a/*/b"), "GET", "/a//b", rules) is None
    assert operation_found(operations(it="/a//b"), "GET", "/a//b", rules) == "it"
    assert operation_found(operations(it="/a/**"), "GET", "/a//b", rules) == "it"
    assert operation_found(operations(it="//"), "GET", "//", rules) == "it"
    assert operation_found(operations(it="//"), "GET", "/", rules) is None


def test_star_takes_no_slash_that_came_encoded() -> None:
    """Spec §4: "any run of characters but `/`"; an upstream that decodes sees two segments."""
    rules = PathRules(allow_encoded_slash=True)
    public = operations(report="/report*", one="/files/{name}")
    assert operation_found(public, "GET", "/report%2fsecret", rules) is None
    assert operation_found(public, "GET", "/files/a%2fb", rules) == "one"


@pytest.mark.parametrize(
    ("method", "found"),
    [
        pytest.param("DELETE", None, id="not-listed"),
        pytest.param("get", None, id="in-another-case"),
        pytest.param("GET", "it", id="first-listed"),
        pytest.param("PUT", "it", id="second-listed"),
    ],
)
def test_operation_is_found_by_a_listed_method(method: str, found: str | None) -> None:
    assert operation_found(operations(it="GET,PUT /a"), method, "/a") == found


def test_operation_without_methods_takes_any() -> None:
    assert operation_found(operations(it="/a"), "PROPFIND", "/a") == "it"


@pytest.mark.parametrize(
    ("candidates", "method", "path", "found"),
    [
        pytest.param(
            operations(literal="/a", starred="/a*", one="/{x}", rest="/**"),
            "GET", "/a", "literal", id="literal-first",
        ),
        pytest.param(
            operations(starred="/a*", one="/{x}", rest="/**"),
            "GET", "/a", "starred", id="starred-before-name",
        ),
        pytest.param(operations(one="/{x}", rest="/**"), "GET", "/a", "one", id="name-before-rest"),
        pytest.param(operations(one="/*", rest="/**"), "GET", "/a", "one", id="star-before-rest"),
        pytest.param(
            operations(short="/a*", long="/ab*"), "GET", "/abc", "long", id="more-characters"
        ),
        pytest.param(
            operations(short="/a*", long="/*bc"), "GET", "/abc", "long", id="longer-suffix"
        ),
        pytest.param(
            operations(literal_late="/{x}/b", literal_early="/a/{x}"),
            "GET", "/a/b", "literal_early", id="from-the-left",
        ),
        pytest.param(
            operations(starred_early="/a*/{x}", one_early="/{x}/b"),
            "GET", "/a/b", "starred_early", id="starred-from-the-left",
        ),
        pytest.param(
            operations(end="/a", rest="/a/**"), "GET", "/a", "end", id="end-before-rest-of-zero"
        ),
        pytest.param(
            operations(one="/a/{x}/c", rest="/a/b/**"),
            "GET", "/a/b/c", "rest", id="literal-then-rest-before-name",
        ),
        pytest.param(
            operations(deep="/a/b/c", rest="/a/**"), "GET", "/a/b/d", "rest", id="back-from-literal"
        ),
        pytest.param(
            operations(deep="/a/b/c", one="/{x}/b/d"), "GET", "/a/b/d", "one", id="back-to-name"
        ),
        pytest.param(
            operations(starred="/a*/c", one="/{x}/d"), "GET", "/a/d", "one", id="back-from-starred"
        ),
        pytest.param(
            operations(long="/ab*/c", short="/a*/d"), "GET", "/ab/d", "short", id="back-to-shorter"
        ),
        pytest.param(
            operations(listed="GET /a", any="/a"), "GET", "/a", "listed", id="listed-before-any"
        ),
        pytest.param(
            operations(listed="GET /a", any="/a"), "PUT", "/a", "any", id="any-where-not-listed"
        ),
        pytest.param(
            operations(any="/a", listed="GET /{x}"), "GET", "/a", "any", id="path-before-method"
        ),
        pytest.param(
            operations(put="PUT /a", one="GET /{x}"), "GET", "/a", "one", id="method-must-match"
        ),
        pytest.param(
            operations(put="PUT /a", rest="GET /a/**"), "GET", "/a", "rest", id="back-to-rest"
        ),
        pytest.param(
            operations(listed="GET /a/**", any="/a/**"), "GET", "/a", "listed", id="rest-and-method"
        ),
        pytest.param(
            operations(first="/ab*/{x}", second="/*bc/d"),
            "GET", "/abc/d", "second", id="equal-starred-siblings-are-told-apart-by-what-follows",
        ),
        pytest.param(
            operations(first="/*bc/d", second="/ab*/{x}"),
            "GET", "/abc/d", "first", id="whichever-comes-first",
        ),
        pytest.param(
            operations(first="/ab*", second="GET /*bc"),
            "GET", "/abc", "second", id="or-by-the-method",
        ),
        pytest.param(
            operations(long="/ab*/{x}", short="/a*/d"),
            "GET", "/ab/d", "long", id="longer-starred-even-with-less-specific-below",
        ),
    ],
)  # fmt: skip
def test_most_specific_operation_wins(
    candidates: tuple[Operation, ...], method: str, path: str, found: str
) -> None:
    assert operation_found(candidates, method, path) == found
    assert operation_found(candidates[::-1], method, path) == found


@pytest.mark.parametrize(
    "above",
    [
        pytest.param("", id="at-the-root"),
        pytest.param("/x", id="below-a-literal"),
        pytest.param("/*x", id="below-a-starred-segment"),
        pytest.param("/{id}", id="below-a-name"),
    ],
)
def test_longest_of_many_starred_siblings_wins_in_whatever_order_they_are_listed(
    above: str,
) -> None:
    for stars in permutations(["a*", "ab*", "abc*", "abcd*"], 3):
        candidates = operations(**{star[:-1]: f"{above}/{star}" for star in stars})
        path = "/abcde" if not above else "/x/abcde"
        assert operation_found(candidates, "GET", path) == max(stars, key=len)[:-1]


@pytest.mark.parametrize(
    ("candidates", "found"),
    [
        pytest.param(operations(put="PUT /a"), None, id="neither-listed"),
        pytest.param(operations(get="GET /a"), "get", id="as-get"),
        pytest.param(operations(any="/a"), "any", id="any-method"),
        pytest.param(operations(get="GET /a", any="/a"), "get", id="as-get-before-any-method"),
        pytest.param(operations(head="HEAD /a", get="GET /a"), "head", id="as-head"),
        pytest.param(
            operations(head="HEAD /**", get="GET /a"),
            "head",
            id="as-head-by-any-matching-operation",
        ),
        pytest.param(
            operations(head="HEAD /b", get="GET /a"), "get", id="not-by-one-for-another-path"
        ),
        pytest.param(
            operations(head="HEAD /**", any="/a", get="GET /{x}"),
            "any",
            id="once-as-head-the-most-specific-that-takes-head-wins",
        ),
    ],
)
def test_head_is_matched_as_head_where_one_lists_it_else_as_get(
    candidates: tuple[Operation, ...], found: str | None
) -> None:
    assert operation_found(candidates, "HEAD", "/a") == found
    assert operation_found(candidates[::-1], "HEAD", "/a") == found


@pytest.mark.parametrize(
    ("candidates", "method"),
    [
        pytest.param(operations(a="GET /x", b="GET /x"), "GET", id="same-template"),
        pytest.param(operations(a="GET /x", b="GET /x/"), "GET", id="trailing-slash"),
        pytest.param(operations(a="GET,PUT /x", b="PUT /x"), "PUT", id="one-method-shared"),
        pytest.param(operations(a="/x", b="/x"), None, id="both-any-method"),
        pytest.param(operations(a="GET /{x}", b="GET /{y}"), "GET", id="names-do-not-count"),
        pytest.param(operations(a="GET /{x}", b="GET /*"), "GET", id="name-and-lone-star"),
        pytest.param(operations(a="GET /**", b="GET /**"), "GET", id="rest"),
        pytest.param(operations(a="GET /", b="GET /"), "GET", id="root"),
        pytest.param(operations(a="GET /ab*", b="GET /*bc"), "GET", id="prefix-and-suffix"),
        pytest.param(operations(a="GET /a*c", b="GET /ab*"), "GET", id="overlapping-prefixes"),
        pytest.param(
            operations(a="GET /a*/{x}/c", b="GET /*b/{y}/c"), "GET", id="starred-with-more-below"
        ),
    ],
)
def test_two_templates_that_could_tie_are_a_conflict(
    candidates: tuple[Operation, ...], method: str | None
) -> None:
    assert find_conflicts(candidates, STRICT_PATH_RULES) == [Conflict(0, 0, 1, 0, method)]


@pytest.mark.parametrize(
    "candidates",
    [
        pytest.param(operations(a="GET /x", b="PUT /x"), id="other-methods"),
        pytest.param(operations(a="GET /x", b="/x"), id="listed-and-any-method"),
        pytest.param(operations(a="/x", b="GET /x"), id="any-and-listed-method"),
        pytest.param(operations(a="GET /x", b="HEAD /x"), id="get-and-head"),
        pytest.param(operations(a="GET /x", b="GET /y"), id="other-literals"),
        pytest.param(operations(a="GET /x", b="GET /X"), id="other-case"),
        pytest.param(operations(a="GET /x", b="GET /{x}"), id="other-kinds"),
        pytest.param(operations(a="GET /x", b="GET /x/**"), id="end-and-rest"),
        pytest.param(operations(a="GET /a*", b="GET /ab*"), id="other-number-of-characters"),
        pytest.param(operations(a="GET /a*", b="GET /b*"), id="prefixes-exclude-each-other"),
        pytest.param(operations(a="GET /*a", b="GET /*b"), id="suffixes-exclude-each-other"),
        pytest.param(operations(a="GET /{x}/a", b="GET /{x}/b"), id="literals-after-names"),
        pytest.param(operations(a="GET /{x}", b="GET /{x}/{y}"), id="other-lengths"),
    ],
)
def test_templates_that_cannot_tie_are_no_conflict(candidates: tuple[Operation, ...]) -> None:
    assert find_conflicts(candidates, STRICT_PATH_RULES) == []


def test_a_conflict_names_both_places() -> None:
    candidates = (
        Operation("a", ("/p", "/q"), ("GET",)),
        Operation("b", ("/r",), ("GET",)),
        Operation("c", ("/s", "/t", "/q"), ("PUT", "GET")),
        Operation("d", ("/r", "/r"), ("DELETE",)),
    )
    assert find_conflicts(candidates, STRICT_PATH_RULES) == [
        Conflict(0, 1, 2, 2, "GET"),
        Conflict(3, 0, 3, 1, "DELETE"),
    ]


def test_a_template_that_ties_with_several_is_named_once_with_the_first() -> None:
    candidates = (
        Operation("a", ("/ab*", "/*bc"), ("GET",)),
        Operation("b", ("/a*c",), ("PUT",)),
        Operation("c", ("/a*c",), ("POST", "PUT", "GET", "GET")),
    )
    assert find_conflicts(candidates, STRICT_PATH_RULES) == [
        Conflict(0, 0, 0, 1, "GET"),
        Conflict(0, 0, 2, 0, "GET"),
    ]


def test_template_that_does_not_parse_is_no_conflict_but_a_problem_of_its_own() -> None:
    candidates = operations(a="GET /a;b", b="GET /a;b")
    assert find_conflicts(candidates, STRICT_PATH_RULES) == []
    assert find_conflicts(candidates, PathRules(allow_semicolon=True)) == [
        Conflict(0, 0, 1, 0, "GET")
    ]


def reference_rank(segment: str) -> tuple[int, int]:
    """Rank a template's segment: literal, starred (more literal characters first), {name}, **."""
    if segment == "**":
        return (0, 0)
    if segment == "*" or segment.startswith("{"):
        return (1, 0)
    if "*" in segment:
        return (2, len(segment) - 1)
    return (3, 0)


def reference_matches(template: str, path: str) -> bool:
    pattern = ""
    for segment in template.strip("/").split("/") if template != "/" else []:
        if segment == "**":
            pattern += "(?:/.*)?"
        elif segment == "*" or segment.startswith("{"):
            pattern += "/[^/]+"
        else:
            pattern += "/" + re.escape(segment).replace(re.escape("*"), "[^/]*")
    return re.fullmatch(pattern, path.rstrip("/"), re.DOTALL) is not None


def reference_find(candidates: Iterable[Operation], method: str, path: str) -> set[str]:
    """Give the names of the best candidates; several where they tie."""
    matching = [
        (
            (
                [reference_rank(s) for s in template.strip("/").split("/") if s]
                + ([] if template.endswith("**") else [(4, 0)]),
                bool(operation.methods),
            ),
            operation,
        )
        for operation in candidates
        for template in operation.paths
        if reference_matches(template, path)
    ]
    if method == "HEAD" and not any("HEAD" in operation.methods for _, operation in matching):
        method = "GET"
    taking = [(key, o) for key, o in matching if not o.methods or method in o.methods]
    if not taking:
        return set()
    best = max(key for key, _ in taking)
    return {operation.name for key, operation in taking if key == best}


_SEGMENTS = ["a", "b", "ab", "aba", "*", "{x}", "a*", "*a", "*b", "a*a", "ab*", "*ba", "a*b"]
templates = st.tuples(
    st.lists(st.sampled_from(_SEGMENTS), max_size=3), st.sampled_from(["", "", "**"])
).map(lambda parts: "/" + "/".join([*parts[0], *([parts[1]] if parts[1] else [])]))
random_operations = st.lists(
    st.tuples(
        st.lists(templates, min_size=1, max_size=2, unique=True),
        st.lists(st.sampled_from(["GET", "HEAD", "PUT"]), max_size=2, unique=True),
    ),
    min_size=1,
    max_size=7,
).map(
    lambda drawn: tuple(
        Operation(str(at), tuple(paths), tuple(methods))
        for at, (paths, methods) in enumerate(drawn)
    )
)
request_paths = st.tuples(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "aba", "abba", "c"]), max_size=4),
    st.sampled_from(["", "/"]),
).map(lambda parts: "/" + "/".join(parts[0]) + (parts[1] if parts[0] else ""))


def without_conflicts(candidates: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Drop the later operation of every conflict, so that what is left is a valid policy."""
    conflicts = find_conflicts(candidates, STRICT_PATH_RULES)
    dropped = {conflict.second_operation for conflict in conflicts}
    return tuple(o for at, o in enumerate(candidates) if at not in dropped)


@given(
    candidates=random_operations,
    requests=st.lists(
        st.tuples(st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]), request_paths),
        min_size=1,
        max_size=8,
    ),
)
@settings(max_examples=400, deadline=None)
def test_the_trie_finds_what_the_spec_says(
    candidates: tuple[Operation, ...], requests: list[tuple[str, str]]
) -> None:
    candidates = without_conflicts(candidates)
    trie = OperationTrie(candidates, STRICT_PATH_RULES)
    for method, path in requests:
        expected = reference_find(candidates, method, path)
        found = trie.find(method, read_segments(path, STRICT_PATH_RULES))
        assert len(expected) <= 1, "a tie that find_conflicts did not see"
        assert ({found.operation.name} if found else set()) == expected, (method, path)


def conflicts_pair_by_pair(candidates: tuple[Operation, ...]) -> list[Conflict]:
    """Compare every template with every earlier one, the first of which counts."""
    conflicts = []
    earlier: list[tuple[int, int, Template, Operation]] = []
    for operation_at, operation in enumerate(candidates):
        for path_at, path in enumerate(operation.paths):
            template = parse_template(path)
            for first_operation, first_path, other, of in earlier:
                shared = [m for m in of.methods or (None,) if m in (operation.methods or (None,))]
                if (
                    shared
                    and other.specificity == template.specificity
                    and overlap(other, template)
                ):
                    conflicts.append(
                        Conflict(first_operation, first_path, operation_at, path_at, shared[0])
                    )
                    break
            earlier.append((operation_at, path_at, template, operation))
    return conflicts


def overlap(first: Template, second: Template) -> bool:
    return all(
        one.may_match_the_same_as(other)
        if isinstance(one, Starred) and isinstance(other, Starred)
        else one == other
        for one, other in zip(first.segments, second.segments, strict=True)
    )


letters = st.text("ab", max_size=3)
starred_segments = st.tuples(letters, letters).map("*".join) | st.sampled_from(["a", "{x}", "*b"])
starred_paths = st.lists(starred_segments, min_size=1, max_size=3).map(
    lambda segments: "/" + "/".join(segments)
)
starred_operations = st.lists(
    st.tuples(
        st.lists(starred_paths, min_size=1, max_size=4),
        st.lists(st.sampled_from(["GET", "PUT"]), max_size=2, unique=True),
    ),
    max_size=12,
).map(
    lambda drawn: tuple(
        Operation(str(at), tuple(paths), tuple(methods))
        for at, (paths, methods) in enumerate(drawn)
    )
)


@given(candidates=starred_operations | random_operations)
@settings(max_examples=1000, deadline=None)
def test_conflicts_are_those_that_a_comparison_of_all_pairs_finds(
    candidates: tuple[Operation, ...],
) -> None:
    assert find_conflicts(candidates, STRICT_PATH_RULES) == conflicts_pair_by_pair(candidates)


@given(
    characters=st.lists(
        st.tuples(st.sampled_from("/abcA."), st.sampled_from(["{}", "%{:02x}", "%{:02X}"])),
        max_size=8,
    )
)
@settings(max_examples=500, deadline=None)
def test_an_api_that_is_found_is_the_one_of_the_decoded_path(
    characters: list[tuple[str, str]],
) -> None:
    raw = "/" + "".join(
        form.format(ord(character) if "%" in form else character) for character, form in characters
    )
    decoded = "/" + "".join(character for character, _ in characters)
    with contextlib.suppress(RequestError):
        assert name_found(ALLOWING, "h", raw) == name_found(ALLOWING, "h", decoded)
    with contextlib.suppress(RequestError):
        assert name_found(BY_PATH, "h", raw) in (None, name_found(BY_PATH, "h", decoded))


SIBLINGS = range(3000)


@pytest.mark.parametrize(
    ("paths", "conflicts"),
    [
        pytest.param([f"/x{n:04}*" for n in SIBLINGS], 0, id="prefixes"),
        pytest.param([f"/*x{n:04}" for n in SIBLINGS], 0, id="suffixes"),
        pytest.param([f"/v*/x{n:04}*" for n in SIBLINGS], 0, id="below-one-starred"),
        pytest.param([f"/x{n:04}*/v*" for n in SIBLINGS], 0, id="above-one-starred"),
        pytest.param(["/a*"] * 3000, 2999, id="equal"),
        pytest.param(
            [f"/*{n:04}b" for n in SIBLINGS] + [f"/{n:04}*b" for n in SIBLINGS], 3000, id="crossed"
        ),
    ],
)
def test_conflicts_among_thousands_of_siblings_are_found_in_no_time(
    paths: list[str], conflicts: int
) -> None:
    candidates = [Operation(str(at), (path,)) for at, path in enumerate(paths)]
    started = time.process_time()
    assert len(find_conflicts(candidates, STRICT_PATH_RULES)) == conflicts
    assert time.process_time() - started < 2  # a fraction of it; pair by pair it is several


@given(candidates=random_operations)
@settings(max_examples=300, deadline=None)
def test_every_conflict_is_a_request_that_could_not_choose(
    candidates: tuple[Operation, ...],
) -> None:
    for found in find_conflicts(candidates, STRICT_PATH_RULES):
        first = candidates[found.first_operation].paths[found.first_path]
        second = candidates[found.second_operation].paths[found.second_path]
        pair = [
            Operation("first", (first,), (found.method,) if found.method else ()),
            Operation("second", (second,), (found.method,) if found.method else ()),
        ]
        witness = "/" + "/".join(
            _common(one, other)
            for one, other in zip(
                first.strip("/").split("/"), second.strip("/").split("/"), strict=True
            )
        )
        assert reference_find(pair, found.method or "PUT", witness) == {"first", "second"}


def _common(one: str, other: str) -> str:
    """Give a segment that both segments of two templates match."""
    if one == "**" or reference_rank(one) == (1, 0):
        return "x"
    if "*" not in one:
        return one
    (prefix, _, suffix), (other_prefix, _, other_suffix) = one.partition("*"), other.partition("*")
    return max(prefix, other_prefix, key=len) + max(suffix, other_suffix, key=len)


def calls_of_a_match(candidates: tuple[Operation, ...], path: str) -> int:
    """Count the Python calls of one look-up."""
    only = api("only", operations=candidates)
    index = PolicyIndex(Policy((only,)))
    count = 0

    def tally(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(tally)
    try:
        found = index.find_operation(only, "GET", path)
    finally:
        sys.setprofile(before)
    assert found is not None
    return count


def test_the_cost_of_a_match_does_not_depend_on_the_number_of_operations() -> None:
    def made(number: int) -> tuple[Operation, ...]:
        return tuple(
            Operation(f"o{at}", (f"/a/{{x}}/r{at}/{{y}}",), ("GET",)) for at in range(number)
        )

    assert calls_of_a_match(made(10), "/a/1/r7/2") == calls_of_a_match(made(2000), "/a/1/r7/2")


def test_the_cost_of_a_host_does_not_depend_on_the_number_of_apis() -> None:
    apis = [api(f"api{at}", f"/p{at}", hosts=["a.example", "*.b.example"]) for at in range(2000)]
    index = PolicyIndex(Policy(tuple(apis)))
    assert name_found(index, "a.example", "/p1999/x") == "api1999"
    assert name_found(index, "x.b.example", "/p0") == "api0"


_EVERYWHERE = PolicyIndex(
    Policy(
        (
            api("root", operations=operations(a="/a*", b="/{x}/b", c="GET /**")),
            api(
                "lax",
                "/lax",
                hosts=["*.example.com", "example.com"],
                operations=operations(a="/a//b", b="HEAD /*;x", c="/**"),
                path=PathRules(True, True, True, True),
            ),
        )
    )
)
_anything = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.lists(
        st.sampled_from(["/", "lax", "a", "b", ";x", "%2f", "%25", "..", "?", "//", "example.com"])
    ).map("".join),
)


@given(
    method=st.one_of(st.sampled_from(["GET", "HEAD"]), _anything), host=_anything, target=_anything
)
@example(method="GET", host="a.example.com", target="/lax" + "/a" * 4000)
@example(method="HEAD", host="a.example.com", target="/lax" + "%2fa" * 1000)
@settings(max_examples=300, deadline=None)
def test_whatever_a_client_sends_is_found_or_not_or_refused(
    method: str, host: str, target: str
) -> None:
    with contextlib.suppress(RequestError):
        path = split_target(target)
        found = _EVERYWHERE.find_api(read_host([host]), path)
        _EVERYWHERE.find_operation(found, read_method(method), path)
