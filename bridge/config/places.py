"""Where a value stands in the file: nodes, their lines, and paths such as `apis[0].name`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bridge.errors import Problem

Scalar = str | int | float | bool | None

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_SHOWN_KEY = 64


@dataclass(slots=True)
class Node:
    """One value of the file.

    Attributes:
        line: 1-based line on which it starts.
        key_lines: The lines of a mapping's keys.
        size: How many values it holds, itself included, aliases expanded.
    """

    line: int
    value: Scalar | dict[str, Node] | list[Node]
    key_lines: dict[str, int] = field(default_factory=dict)
    size: int = 1

    def plain(self) -> object:
        """Give the value as plain dicts and lists."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Place:
    """A value with its path and line.

    What is missing or of another type than asked for is skipped: the models report it.
    """

    node: Node
    path: str = ""
    line: int = 1

    def child(self, key: str) -> Place | None:
        """Give the value of a key, at the key's line."""
        value = self.node.value
        if not isinstance(value, dict) or key not in value:
            return None
        path = f"{self.path}.{quote_key(key)}" if self.path else quote_key(key)
        return Place(value[key], path, self.node.key_lines[key])

    def items(self, key: str) -> list[Place]:
        """Give the items of a list below a key."""
        child = self.child(key)
        return [] if child is None else list(child.elements())

    def elements(self) -> Iterator[Place]:
        """Give the items of this list."""
        if isinstance(self.node.value, list):
            for index, node in enumerate(self.node.value):
                yield Place(node, f"{self.path}[{index}]", node.line)

    def entries(self) -> Iterator[tuple[str, Place]]:
        """Give the keys and values of this mapping."""
        if isinstance(self.node.value, dict):
            for key in self.node.value:
                child = self.child(key)
                if child is not None:
                    yield key, child

    @property
    def text(self) -> str | None:
        """The value, where it is text."""
        return self.node.value if isinstance(self.node.value, str) else None

    def text_of(self, key: str) -> str | None:
        """Give the text of a key."""
        child = self.child(key)
        return None if child is None else child.text

    def has(self, key: str) -> bool:
        """Tell whether a key is set."""
        return isinstance(self.node.value, dict) and key in self.node.value

    def is_true(self, key: str) -> bool:
        """Tell whether a key is set to true."""
        child = self.child(key)
        return child is not None and child.node.value is True

    def problem(self, message: str) -> Problem:
        """Say what is wrong here."""
        return Problem(self.line, self.path, message)


def locate(root: Node, parts: Sequence[str | int]) -> Place:
    """Follow a path as far as the file has it; the rest is missing and gets the last line."""
    place = Place(root, line=root.line)
    for at, part in enumerate(parts):
        value = place.node.value
        step: Place | None = None
        if isinstance(part, str):
            step = place.child(part)
        elif isinstance(value, list) and part < len(value):
            step = Place(value[part], f"{place.path}[{part}]", value[part].line)
        if step is None:
            return Place(Node(place.line, None), _join(place.path, parts[at:]), place.line)
        place = step
    return place


def render_path(parts: Sequence[str | int]) -> str:
    """Write a path as the operator reads it."""
    return _join("", parts)


def _join(path: str, parts: Sequence[str | int]) -> str:
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path = f"{path}.{quote_key(part)}" if path else quote_key(part)
    return path


def quote_key(key: str) -> str:
    """Show a key on one line, whatever it holds."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    shown = key if len(key) <= _MAX_SHOWN_KEY else key[:_MAX_SHOWN_KEY] + "…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())
