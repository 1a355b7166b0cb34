"""YAML text → a tree whose every value knows its line. First step of loading.

Built from PyYAML's events, without recursion; nesting and the expansion of aliases are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from bridge.config.places import Node, Scalar, quote_key, render_path
from bridge.config.yaml_scalars import resolve
from bridge.errors import Problem

MAX_DEPTH = 32
MAX_VALUES = 1_000_000  # aliases expanded

DEFAULT_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used

# c-printable (YAML 1.2 §5.1), without the line breaks that only some readers and editors honour
# (NEL, LS, PS): a line that a reviewer sees as a comment must not be one that we read.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

_YAML_TAG = "tag:yaml.org,2002:"


class UnreadableYamlError(Exception):
    """The text as a whole is no usable YAML document.

    Attributes:
        problem: What is wrong, and where.
    """

    def __init__(self, line: int, message: str, path: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(line, path, message)


def read_yaml(text: str, loader: Any = DEFAULT_LOADER) -> tuple[Node, list[Problem]]:
    """Read one YAML document.

    Args:
        text: The whole document.
        loader: The class whose parser gives the events: libyaml's where PyYAML has it.

    Returns:
        The tree, and the problems that do not keep the rest from being checked: a key set twice
        (its first value counts), a merge key (it is left out), a tag (it means nothing).

    Raises:
        UnreadableYamlError: No document, several, not YAML, or beyond the bounds.
    """
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        line = text.count("\n", 0, unprintable.start()) + 1
        raise UnreadableYamlError(
            line, f"is not valid YAML: contains the character U+{ord(unprintable[0]):04X}"
        )
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # PyYAML's own parser lets numbers through
        raise UnreadableYamlError(0, "is not valid YAML") from None
    if builder.root is None:
        raise UnreadableYamlError(0, "is empty")
    return builder.root, builder.problems


def _not_yaml(error: yaml.MarkedYAMLError) -> UnreadableYamlError:
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "cannot be parsed"
    if "cannot start any token" in said:
        said += " (tabs cannot indent; text that starts with @, ` or % needs quotes)"
    return UnreadableYamlError(mark.line + 1 if mark else 0, f"is not valid YAML: {said}")


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been reached."""

    node: Node
    anchor: str | None
    key: str | None = None  # the mapping's key that waits for its value
    key_line: int = 0
    skip: bool = False  # its value is dropped: the key was set before, or merges


@dataclass(slots=True)
class _Builder:
    """Assembles nodes from events."""

    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, Node | None] = field(default_factory=dict)

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._take_alias(event, line)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise UnreadableYamlError(line, "has more than one YAML document")

    def _take_scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if _SURROGATE.search(event.value):
            raise UnreadableYamlError(line, "is not valid YAML: escapes a surrogate", self._here())
        if self._awaits_key():
            self._take_key(event.value, line, plain=bool(event.implicit[0]))
            return
        node = Node(line, self._scalar(event, line))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._place(node)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Scalar:
        if event.tag in ("!", _YAML_TAG + "str") or not (event.tag or event.implicit[0]):
            return str(event.value)
        if event.tag is not None:
            self._refuse_tag(event.tag, line)
        return resolve(event.value)

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        if len(self._open) == MAX_DEPTH:
            raise UnreadableYamlError(line, f"is nested more than {MAX_DEPTH} levels deep")
        if self._awaits_key():
            raise UnreadableYamlError(line, "has a key that is no plain text", self._here())
        mapping = isinstance(event, yaml.MappingStartEvent)
        usual = ("!", _YAML_TAG + ("map" if mapping else "seq"))
        if event.tag is not None and event.tag not in usual:
            self._refuse_tag(event.tag, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # an alias within itself finds this
        self._open.append(_Open(Node(line, {} if mapping else []), event.anchor))

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor is not None:
            self._anchors[ended.anchor] = ended.node
        self._place(ended.node)

    def _take_alias(self, event: yaml.AliasEvent, line: int) -> None:
        name = quote_key(event.anchor or "")
        if self._awaits_key():
            raise UnreadableYamlError(line, "has a key that is no plain text", self._here())
        if event.anchor not in self._anchors:
            raise UnreadableYamlError(line, f"has no anchor &{name} before *{name}", self._here())
        node = self._anchors[event.anchor]
        if node is None:
            raise UnreadableYamlError(line, f"has an alias *{name} within itself", self._here())
        self._place(replace(node, line=line))  # what is wrong with it is told where it is used

    def _take_key(self, key: str, line: int, *, plain: bool) -> None:
        top = self._open[-1]
        top.key, top.key_line = key, line
        first = top.node.key_lines.get(key)
        is_merge = key == "<<" and plain
        top.skip = is_merge or first is not None
        if is_merge:
            self._note(line, "merge keys are not supported: repeat the keys")
        elif first is not None:
            self._note(line, f"is set twice (first on line {first})")

    def _place(self, node: Node) -> None:
        """Put a finished value where it belongs."""
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.node.size += node.size
        if top.node.size > MAX_VALUES:
            raise UnreadableYamlError(
                node.line, f"has more than {MAX_VALUES:,} values, aliases expanded"
            )
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict) and top.key is not None:
            if not top.skip:
                top.node.value[top.key] = node
                top.node.key_lines[top.key] = top.key_line
            top.key = None

    def _awaits_key(self) -> bool:
        return (
            bool(self._open)
            and isinstance(self._open[-1].node.value, dict)
            and self._open[-1].key is None
        )

    def _here(self) -> str:
        """Tell where the builder stands, for a problem."""
        parts: list[str | int] = []
        for each in self._open:
            if isinstance(each.node.value, list):
                parts.append(len(each.node.value))
            elif each.key is not None:
                parts.append(each.key)
        return render_path(parts)

    def _refuse_tag(self, tag: str, line: int) -> None:
        shown = quote_key(tag.replace(_YAML_TAG, "!!"))
        self._note(line, f"has a tag that is not supported: {shown}")

    def _note(self, line: int, message: str) -> None:
        self.problems.append(Problem(line, self._here(), message))
