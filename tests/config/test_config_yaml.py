# ruff: noqa: E501 - tables, one case a line
"""Reading YAML: whatever the file holds, the operator gets a line and a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from config_files import VALID, problems_of
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.config.load import load_config
from bridge.config.places import Place
from bridge.config.yaml_marks import UnreadableYamlError, read_yaml
from bridge.errors import ConfigError

LOADERS = [
    pytest.param(yaml.SafeLoader, id="python"),
    pytest.param(
        getattr(yaml, "CSafeLoader", None),
        id="libyaml",
        marks=pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="built without libyaml"),
    ),
]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "bridge.yaml: is empty", id="empty"),
        pytest.param(b"# nothing\n", "bridge.yaml: is empty", id="comment-only"),
        pytest.param(b"---\n...\n", "bridge.yaml:2: is empty", id="empty-document"),
        pytest.param(b"~", "bridge.yaml:1: is empty", id="null"),
        pytest.param(b"just text", "bridge.yaml:1: must be a mapping of keys to values", id="text"),
        pytest.param(b"- a", "bridge.yaml:1: must be a mapping of keys to values", id="list"),
        pytest.param(b"a: 1\nb: \xff\n", "bridge.yaml:2: is not UTF-8", id="not-utf8"),
        pytest.param(
            "a: 1".encode("utf-16"), "bridge.yaml:1: is not UTF-8", id="utf16-with-its-mark"
        ),
        pytest.param(
            b"a: 1\nb: \x00",
            "bridge.yaml:2: is not valid YAML: contains the character U+0000",
            id="nul",
        ),
        pytest.param(
            "# a\u2028public: true".encode(),
            "bridge.yaml:1: is not valid YAML: contains the character U+2028",
            id="line-break-that-editors-do-not-show",
        ),
        pytest.param(b"a: " + b"x" * (16 << 20), "bridge.yaml: is larger than 16 MiB", id="huge"),
    ],
)
def test_content_that_is_no_configuration_is_refused_with_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert problems_of(tmp_path, content) == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("missing.yaml", "missing.yaml: cannot be read: No such file or directory", id="missing"),
        pytest.param(".", ".: cannot be read: Is a directory", id="directory"),
        pytest.param("a\0b", "a\0b: cannot be read: not a file name", id="nul-in-its-name"),
        pytest.param("/dev/zero", "/dev/zero: is larger than 16 MiB", id="endless"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_as_the_operator_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        load_config(name)
    assert str(refused.value) == expected


DEEP = "has more than 1,000,000 values, aliases expanded"


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        pytest.param("a: 1\n---\nb: 1", 2, "", "has more than one YAML document", id="two-documents"),
        pytest.param("[" * 33, 1, "", "is nested more than 32 levels deep", id="33-levels"),
        pytest.param("[" * 100_000, 1, "", "is nested more than 32 levels deep", id="100000-levels"),
        pytest.param("? [a]\n: b", 1, "", "has a key that is no plain text", id="list-as-key"),
        pytest.param("x: &a y\n? *a\n: b", 2, "", "has a key that is no plain text", id="alias-as-key"),
        pytest.param("a: *b", 1, "a", "has no anchor &b before *b", id="unknown-alias"),
        pytest.param("a: &a [*a]", 1, "a[0]", "has an alias *a within itself", id="alias-within-itself"),
        pytest.param("a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)), 7, "", DEEP, id="alias-bomb"),
    ],
)  # fmt: skip
def test_yaml_that_is_not_for_configurations_is_refused(
    loader: Any, text: str, line: int, path: str, message: str
) -> None:
    with pytest.raises(UnreadableYamlError) as refused:
        read_yaml(text, loader)
    problem = refused.value.problem
    assert (problem.line, problem.path, problem.message) == (line, path, message)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a:\n\t- b", 2, id="tab"),
        pytest.param("a: b: c", 1, id="two-colons"),
        pytest.param("a: 'b", 1, id="open-quote"),
        pytest.param("a: @b", 1, id="at-sign"),
        pytest.param('a: "\\ud800"', 1, id="surrogate"),
        pytest.param('a: "\\U00110000"', None, id="beyond-unicode"),
        pytest.param(f"%YAML 1.{'9' * 5000}\n---\na", None, id="version-without-end"),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_its_line(
    loader: Any, text: str, line: int | None
) -> None:
    with pytest.raises(UnreadableYamlError, match=r"^is not valid YAML") as refused:
        read_yaml(text, loader)
    assert line in (None, refused.value.problem.line)


def test_a_tab_is_explained() -> None:
    with pytest.raises(UnreadableYamlError) as refused:
        read_yaml("a:\n\t- b")
    assert str(refused.value) == (
        "is not valid YAML: found character that cannot start any token"
        " (tabs cannot indent; text that starts with @, ` or % needs quotes)"
    )


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("yes", "yes", id="yes"),
        pytest.param("off", "off", id="off"),
        pytest.param("true", True, id="true"),
        pytest.param("FALSE", False, id="upper-case-false"),
        pytest.param("null", None, id="null"),
        pytest.param("~", None, id="tilde"),
        pytest.param("5:00", "5:00", id="sexagesimal"),
        pytest.param("010", "010", id="leading-zero"),
        pytest.param("+010", "+010", id="sign-and-leading-zero"),
        pytest.param("0x10", "0x10", id="hexadecimal"),
        pytest.param("0o10", "0o10", id="octal"),
        pytest.param("1_000", "1_000", id="underscore"),
        pytest.param("2026-01-01", "2026-01-01", id="date"),
        pytest.param("-5", -5, id="negative"),
        pytest.param("9" * 18, 10**18 - 1, id="18-digits"),
        pytest.param("9" * 19, "9" * 19, id="19-digits"),
        pytest.param("9" * 5000, "9" * 5000, id="5000-digits"),
        pytest.param("1.5", 1.5, id="float"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("-.INF", float("-inf"), id="infinity"),
        pytest.param("'5'", "5", id="quoted"),
        pytest.param("!!str 5", "5", id="text-tag"),
        pytest.param("! 5", "5", id="non-specific-tag"),
        pytest.param("=", "=", id="equals"),
        pytest.param("{b: [1]}", {"b": [1]}, id="collections"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says_in_decimal(
    loader: Any, text: str, value: object
) -> None:
    root, problems = read_yaml(text, loader)
    assert problems == []
    assert root.plain() == value
    assert type(root.plain()) is type(value)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_key_set_twice_keeps_its_first_value_and_is_reported(loader: Any) -> None:
    root, problems = read_yaml("a: {b: 1, 'b': 2}\nc: &x [d]\ne: *x\na: 3", loader)
    assert root.plain() == {"a": {"b": 1}, "c": ["d"], "e": ["d"]}
    assert [(each.line, each.path, each.message) for each in problems] == [
        (1, "a.b", "is set twice (first on line 1)"),
        (4, "a", "is set twice (first on line 1)"),
    ]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "value", "problems"),
    [
        pytest.param("a:\n  b: !!python/object:os.system x", {"a": {"b": "x"}}, [(2, "a.b", '"!!python/object:os.system"')], id="python"),
        pytest.param("a: !!python/object/apply:os.system [x]", {"a": ["x"]}, [(1, "a", '"!!python/object/apply:os.system"')], id="python-on-list"),
        pytest.param("a: !b {c: d}\ne: !f g", {"a": {"c": "d"}, "e": "g"}, [(1, "a", '"!b"'), (2, "e", '"!f"')], id="local"),
        pytest.param("a: !!binary aGk=", {"a": "aGk="}, [(1, "a", '"!!binary"')], id="binary"),
        pytest.param("a: [!!int '5', !!bool true]", {"a": [5, True]}, [(1, "a[0]", '"!!int"'), (1, "a[1]", '"!!bool"')], id="int-and-bool"),
    ],
)  # fmt: skip
def test_a_tag_means_nothing_and_is_reported(
    loader: Any, text: str, value: object, problems: list[tuple[int, str, str]]
) -> None:
    root, found = read_yaml(text, loader)
    assert root.plain() == value
    assert [(each.line, each.path, each.message) for each in found] == [
        (line, path, f"has a tag that is not supported: {tag}") for line, path, tag in problems
    ]


@pytest.mark.parametrize("loader", LOADERS)
def test_a_merge_key_is_left_out_and_reported(loader: Any) -> None:
    root, problems = read_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n  '<<': 3", loader)
    assert root.plain() == {"a": {"x": 1}, "b": {"y": 2, "<<": 3}}
    assert [(each.line, each.path, each.message) for each in problems] == [
        (3, 'b."<<"', "merge keys are not supported: repeat the keys")
    ]


@pytest.mark.parametrize("loader", LOADERS)
def test_an_item_that_is_an_alias_is_told_at_its_own_line(loader: Any) -> None:
    root, _ = read_yaml("a: &a x\nb:\n  - c\n  - *a\n", loader)
    assert [place.line for place in Place(root).items("b")] == [3, 4]


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "bridge.yaml"
    file.write_text(VALID, encoding="utf-8-sig")
    assert load_config(file).policy.apis[0].name == "payments"


WORDS = st.sampled_from(
    [
        "a", "yes", "null", "1", "-1", "5m", "1.5", ".nan", "[", "]", "{", "}", ",", ": ", "- ", "\n",
        "  ", "\t", "'", '"', "&a ", "*a", "<<: ", "? ", "| ", "> ", "# ", "--- ", "!!str ", "!x ",
        "%", "@", "\\", "\ud7ff", "\u2028", "issuers", "apis", "operations", "paths", "name", "/",
        "require", "hosts", "claims", "upstream_headers", "listen", "path",
    ]
)  # fmt: skip


@given(st.lists(WORDS, max_size=60).map("".join))
@example("apis: [{operations: [{paths: [/a]}, {paths: [/a]}]}]")
def test_random_text_raises_nothing_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    _load(tmp_path_factory, text)


EXAMPLE = (Path(__file__).parents[2] / "examples" / "bridge.yaml").read_text(encoding="utf-8")


@given(st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 40), WORDS), max_size=4))
def test_a_damaged_example_raises_nothing_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[int, int, str]]
) -> None:
    text = EXAMPLE
    for start, length, word in damages:
        text = text[:start] + word + text[start + length :]
    _load(tmp_path_factory, text)


KEYS = st.sampled_from(
    [
        "version", "listen", "authz", "admin", "workers", "issuers", "issuer", "audiences", "claims",
        "acr", "algorithms", "jwks_uri", "jwks_file", "assurance_levels", "apis", "name", "hosts",
        "base_path", "realm", "resource", "path", "operations", "methods", "paths", "public",
        "require", "scopes", "acr_values", "min_acr", "max_age", "upstream_headers", "x-a", "log",
        "allow_semicolon", "unavailable_status", "introspection", "", "é", "a.b",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["https://a.example", "http://[", "/a/{b}", "/**", "5m", "*.a", "unix:a"])
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=40,
)


@given(DOCUMENTS)
def test_random_documents_raise_nothing_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    _load(tmp_path_factory, yaml.safe_dump(document, allow_unicode=True))


def _load(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "random.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_config(file)
    except ConfigError as error:
        assert len(str(error).splitlines()) == len(error.problems)  # noqa: PT017
