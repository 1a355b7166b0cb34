"""The reference, the example and the models say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from bridge.config.load import load_config
from bridge.config.model import FileSection, Section
from bridge.config.values import duration
from bridge.config.yaml_marks import read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "bridge.yaml"
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
BY_DEFAULT_ELSEWHERE = {"upstream_headers"}  # six headers, which the example shows


def sections_in(annotation: object) -> Iterator[tuple[type[Section], str]]:
    """Find the models in a field's type, with what an item of it is called."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, ""
    suffix = "[]" if get_origin(annotation) is list else ""
    for inner in get_args(annotation):
        yield from ((section, suffix + rest) for section, rest in sections_in(inner))


def walk(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Give every key of the file, as the reference writes it."""
    for name, field in section.model_fields.items():
        yield prefix + name, field
        for inner, suffix in sections_in(field.annotation):
            yield from walk(inner, f"{prefix}{name}{suffix}.")


KEYS = dict(walk(FileSection))


def entry(key: str) -> str:
    """Give the text below a key's heading."""
    match = re.search(
        rf"^###? `{re.escape(key)}`\n\n?(.*?)(?=^##|\Z)", REFERENCE, flags=re.MULTILINE | re.DOTALL
    )
    return match[1] if match else ""


def enum_values(annotation: object) -> list[str]:
    return [str(value) for value in get_args(annotation) if isinstance(value, str)]


def test_the_reference_names_no_key_that_does_not_exist() -> None:
    named = re.findall(r"^###? `(.+)`$", REFERENCE, flags=re.MULTILINE)
    assert sorted(set(named)) == sorted(named)
    assert set(named) - {"apis[].operations[]"} == set(KEYS)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_the_reference_tells_the_default_of_each_key(key: str) -> None:
    field = KEYS[key]
    first_sentence = entry(key).splitlines()[0]
    if field.is_required():
        assert first_sentence.endswith(", required.")
    elif field.default is None:
        assert first_sentence.endswith(", unset by default.")
    elif isinstance(field.default, Section):
        assert first_sentence == "Mapping."
    elif key not in BY_DEFAULT_ELSEWHERE:
        shown = first_sentence.rpartition("default `")[2].removesuffix("`.")
        value: Any = read_yaml(shown)[0].plain()
        assert (
            duration(value) if first_sentence.startswith("Duration") else value
        ) == field.default


@pytest.mark.parametrize("key", sorted(KEYS))
def test_the_reference_names_every_value_of_an_enumeration(key: str) -> None:
    for value in enum_values(KEYS[key].annotation):
        assert f"`{value}`" in entry(key)


def test_the_reference_has_one_sentence_per_line() -> None:
    prose = re.sub(r"```.*?```", "", REFERENCE, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if re.search(r"\. [A-Z]", line)] == []


def test_the_example_loads_and_shows_every_key() -> None:
    load_config(EXAMPLE)
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=")
    for key in KEYS:
        assert re.search(rf"[\s{{-]{re.escape(key.rpartition('.')[2])}:", text), key


def test_what_the_example_calls_default_is_the_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    shown = FileSection.model_validate(read_yaml(text)[0].plain())
    for name in FileSection.model_fields.keys() - {"issuers", "apis", "assurance_levels"}:
        assert getattr(shown, name) == FileSection.model_fields[name].default, name
