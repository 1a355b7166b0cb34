"""What pydantic found, in the operator's words and with the place in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.config.model import FileSection, Section
from bridge.config.places import Node, Place, locate
from bridge.errors import Problem

_BOOL_WORDS = frozenset(("yes", "no", "on", "off", "y", "n"))  # booleans of YAML 1.1


def schema_problems(
    root: Node, error: ValidationError, top: type[Section] = FileSection
) -> Iterator[Problem]:
    """Translate what the models found; the configuration's empty values are left to `empty_values`.

    Args:
        top: The model of the file, or of the items of a file that is a list.
    """
    for details in error.errors(include_url=False, include_input=False):
        loc = details["loc"]
        place = locate(root, loc[:-1] if loc[-1:] == ("[key]",) else loc)
        told_elsewhere = top is FileSection and place.node.value is None
        if details["type"] in ("missing", "extra_forbidden") or not told_elsewhere:
            yield place.problem(_message(details, place, top))


def empty_values(place: Place) -> Iterator[Problem]:
    """Find keys and items without a value: what stood below was commented out, most often."""
    if place.node.value is None:
        must = "must have a value; leave it out for the default"
        yield place.problem(must if place.path else "is empty")
    for inner in (*(value for _, value in place.entries()), *place.elements()):
        yield from empty_values(inner)


def _message(details: ErrorDetails, place: Place, top: type[Section]) -> str:
    value = place.node.value
    if value is None and details["type"] not in ("missing", "extra_forbidden"):
        return "must have a value"
    match details["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return _unknown_key(details["loc"], top)
        case "value_error":
            return str(details["ctx"]["error"])
        case "string_type":
            scalar = not isinstance(value, dict | list)
            return "must be text: put it in quotes" if scalar else "must be text"
        case "int_type":
            return "must be a whole number"
        case "bool_type":
            word = isinstance(value, str) and value.lower() in _BOOL_WORDS
            return "must be true or false" + (", not yes, no, on or off" if word else "")
        case "list_type":
            return "must be a list"
        case "model_type" | "dict_type":
            return "must be a mapping of keys to values"
        case "too_short":
            return "must not be empty"
        case "literal_error":
            return "must be " + str(details["ctx"]["expected"]).replace("'", "")
        case _:
            return "has a value that does not fit"


def _unknown_key(loc: Sequence[str | int], top: type[Section]) -> str:
    key = str(loc[-1])
    section = _section_at(loc[:-1], top)
    near = get_close_matches(key.lower().replace("-", "_"), section.model_fields, n=1)
    if near:
        return f"is not a known key; did you mean {near[0]}?"
    return f"is not a known key here; known are {', '.join(section.model_fields)}"


def _section_at(loc: Sequence[str | int], section: type[Section]) -> type[Section]:
    """Find the model of a mapping of the file."""
    for part in loc:
        if isinstance(part, str):
            section = _section_in(section.model_fields[part].annotation) or section
    return section


def _section_in(annotation: object) -> type[Section] | None:
    """Find the model in `X`, `list[X]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = (_section_in(inner) for inner in get_args(annotation))
    return next((section for section in found if section is not None), None)
