"""Which API and operation a request addresses: tables by host and base path, then a trie.

The cost of a match depends on the length of the path, not on the number of operations, but for
starred siblings, and where one path fits the beginnings of many templates: it may look at each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeVar

from bridge.policy.operations import STRICT_PATH_RULES, Api, Operation, PathRules, Policy
from bridge.policy.paths import MAX_PATH_BYTES, ambiguous, other_spellings, read_segments
from bridge.policy.templates import (
    Literal,
    OneSegment,
    Specificity,
    Starred,
    Template,
    parse_template,
)

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Match:
    """An operation, and the path template of it by which it was found."""

    operation: Operation
    path: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two path templates of one API that match the same method and path equally well.

    Attributes:
        first_operation, first_path: Index of the earlier one in `operations` and in its `paths`.
        second_operation, second_path: The same of the later one.
        method: A method that both list; None where both take any method.
    """

    first_operation: int
    first_path: int
    second_operation: int
    second_path: int
    method: str | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An operation at the end of one of its templates. The greater `key` wins."""

    key: tuple[Specificity, bool]  # path first, then a listed method before any method
    match: Match


@dataclass(slots=True)
class _Ends:
    """The operations whose template ends at one node, by method; None is any method."""

    by_method: dict[str | None, _Candidate] = field(default_factory=dict)

    def add(self, template: Template, match: Match) -> None:
        for method in match.operation.methods or (None,):
            candidate = _Candidate((template.specificity, method is not None), match)
            self.by_method.setdefault(method, candidate)

    def find(self, method: str, listed_only: bool) -> _Candidate | None:
        found = self.by_method.get(method)
        return found if found is not None or listed_only else self.by_method.get(None)


@dataclass(slots=True)
class _Node:
    """One position in the trie of an API's templates."""

    literals: dict[str, _Node] = field(default_factory=dict)
    starred: list[tuple[Starred, _Node]] = field(default_factory=list)  # most literal first
    one: _Node | None = None
    ends: _Ends | None = None
    rest: _Ends | None = None


class OperationTrie:
    """All templates of one API, for look-up by method and decoded segments."""

    def __init__(self, operations: Sequence[Operation], rules: PathRules) -> None:
        self._root = _Node()
        self._lists_head = any("HEAD" in operation.methods for operation in operations)
        starred_nodes: dict[tuple[int, Starred], _Node] = {}
        for operation in operations:
            for path in operation.paths:
                self._add(parse_template(path, rules), Match(operation, path), starred_nodes)
        _sort_starred(self._root)

    def _add(
        self,
        template: Template,
        found: Match,
        starred_nodes: dict[tuple[int, Starred], _Node],
    ) -> None:
        node = self._root
        for segment in template.segments:
            match segment:
                case Literal(text):
                    node = node.literals.setdefault(text, _Node())
                case Starred():
                    key = (id(node), segment)
                    if key not in starred_nodes:
                        starred_nodes[key] = _Node()
                        node.starred.append((segment, starred_nodes[key]))
                    node = starred_nodes[key]
                case OneSegment():
                    node.one = node.one or _Node()
                    node = node.one
                case _:
                    node.rest = node.rest or _Ends()
                    node.rest.add(template, found)
                    return
        node.ends = node.ends or _Ends()
        node.ends.add(template, found)

    def find(self, method: str, segments: Sequence[str]) -> Match | None:
        """Find the most specific operation that takes the method and matches the path.

        `HEAD` is matched as `HEAD` if an operation that matches the path lists it, else as `GET`.
        """
        if method == "HEAD" and not (
            self._lists_head and _find(self._root, method, segments, 0, listed_only=True)
        ):
            method = "GET"
        found = _find(self._root, method, segments, 0, listed_only=False)
        return None if found is None else found.match


def _find(
    node: _Node, method: str, segments: Sequence[str], at: int, *, listed_only: bool
) -> _Candidate | None:
    """Search depth first, the most specific branch first; the first hit is the best one."""
    if at == len(segments):
        found = node.ends.find(method, listed_only) if node.ends else None
    else:
        found = _find_below(node, method, segments, at, listed_only)
    if found is None and node.rest is not None:
        found = node.rest.find(method, listed_only)
    return found


def _find_below(
    node: _Node, method: str, segments: Sequence[str], at: int, listed_only: bool
) -> _Candidate | None:
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _find(child, method, segments, at + 1, listed_only=listed_only)
        if found is not None:
            return found
    if node.starred:
        found = _find_starred(node, method, segments, at, listed_only)
        if found is not None:
            return found
    if node.one is not None and segment:
        return _find(node.one, method, segments, at + 1, listed_only=listed_only)
    return None


def _find_starred(
    node: _Node, method: str, segments: Sequence[str], at: int, listed_only: bool
) -> _Candidate | None:
    """Siblings with equally many literal characters rank alike here: what follows decides."""
    best: _Candidate | None = None
    best_length = -1
    for starred, child in node.starred:
        if best is not None and starred.literal_length < best_length:
            break
        if starred.matches(segments[at]):
            found = _find(child, method, segments, at + 1, listed_only=listed_only)
            if found is not None and (best is None or found.key > best.key):
                best, best_length = found, starred.literal_length
    return best


def _sort_starred(root: _Node) -> None:
    pending = [root]
    while pending:
        node = pending.pop()
        node.starred.sort(key=lambda edge: -edge[0].literal_length)
        pending += node.literals.values()
        pending += (child for _, child in node.starred)
        if node.one is not None:
            pending.append(node.one)


class PolicyIndex:
    """A policy prepared for look-ups. Immutable once built; a reload builds another."""

    def __init__(self, policy: Policy) -> None:
        self._tries = {api.name: OperationTrie(api.operations, api.path) for api in policy.apis}
        self._exact: dict[str, _BasePaths] = {}
        self._wildcards: dict[str, _BasePaths] = {}  # by what follows `*.`
        self._any_host = _BasePaths()
        self._denies_unmatched = policy.unmatched_host == "deny"
        for api in policy.apis:
            if not api.hosts:
                self._any_host.add(api)
            for host in api.hosts:
                if host.startswith("*."):
                    self._wildcards.setdefault(host[2:], _BasePaths()).add(api)
                else:
                    self._exact.setdefault(host, _BasePaths()).add(api)

    def find_api(self, host: str, path: str) -> Api | None:
        """Find the API of a host and a raw path: exact host, longest wildcard, any host.

        Args:
            host: As `policy.hosts.read_host` gives it.
            path: Raw path without the query.

        Raises:
            RequestError: Decoded, or repaired where the API's rules let in what some servers
                repair, the path belongs to another API. An upstream that does so first would serve
                the one API by the rules of the other.
        """
        api = self._find_api(host, path)
        if api is None and self._denies_unmatched:
            return None  # whatever it belongs to decoded
        if ("%" in path or ";" in path or "//" in path) and len(path) <= MAX_PATH_BYTES:
            for spelling in other_spellings(path, STRICT_PATH_RULES if api is None else api.path):
                if self._find_api(host, spelling) is not api:
                    raise ambiguous("path_encoded_base_path")
        return api

    def _find_api(self, host: str, path: str) -> Api | None:
        exact = self._exact.get(host)
        if exact is not None and (api := exact.find(path)) is not None:
            return api
        if self._wildcards:
            _, dot, parent = host.partition(".")
            while dot:
                wildcard = self._wildcards.get(parent)
                if wildcard is not None and (api := wildcard.find(path)) is not None:
                    return api
                _, dot, parent = parent.partition(".")
        return self._any_host.find(path)

    def find_operation(self, api: Api | None, method: str, path: str) -> Match | None:
        """Read the path by the API's rules and find its operation.

        Raises:
            RequestError: The path is ambiguous (row 1); without an API the strict rules apply.
        """
        if api is None:
            read_segments(path, STRICT_PATH_RULES)
            return None
        segments = read_segments(path, api.path)
        below = segments[api.base_path.count("/") :] if api.base_path != "/" else segments
        return self._tries[api.name].find(method, below)


@dataclass(slots=True)
class _BasePaths:
    """The APIs of one host, by base path."""

    by_path: dict[str, Api] = field(default_factory=dict)
    depth: int = 0  # of the longest base path, in segments: bounds the look-up

    def add(self, api: Api) -> None:
        self.by_path.setdefault(api.base_path, api)
        if api.base_path != "/":
            self.depth = max(self.depth, api.base_path.count("/"))

    def find(self, path: str) -> Api | None:
        found = self.by_path.get("/")
        end = 0
        for _ in range(self.depth):
            end = path.find("/", end + 1)
            prefix = path if end < 0 else path[:end]
            found = self.by_path.get(prefix, found)
            if end < 0:
                break
        return found


def find_conflicts(operations: Sequence[Operation], rules: PathRules) -> list[Conflict]:
    """Find every template that leaves a request no choice between itself and an earlier one.

    Two templates tie when they rank alike segment by segment, can match the same path, and list the
    same method or both take any. Each is named once, with the first that it ties with, since the
    pairs could be millions. Templates that do not parse are skipped: they are problems of their
    own.
    """
    places: list[tuple[int, int]] = []
    alike: dict[tuple[object, ...], list[_Rival]] = {}
    for operation_index, operation in enumerate(operations):
        for path_index, path in enumerate(operation.paths):
            try:
                template = parse_template(path, rules)
            except ValueError:
                continue
            starred = tuple(part for part in template.segments if isinstance(part, Starred))
            for method in dict.fromkeys(operation.methods or (None,)):
                rivals = alike.setdefault((method, *_shape(template)), [])
                rivals.append((len(places), starred))
            places.append((operation_index, path_index))
    first_of: dict[int, int] = {}
    for rivals in alike.values():
        for later, earlier in _ties(rivals, rivals):
            first_of[later] = min(earlier, first_of.get(later, earlier))
    conflicts = []
    for later, earlier in sorted(first_of.items()):
        first, second = places[earlier], places[later]
        method = _shared_method(operations[first[0]], operations[second[0]])
        conflicts.append(Conflict(*first, *second, method))
    return conflicts


_Rival = tuple[int, tuple[Starred, ...]]
"""One of several templates that differ only in their starred segments: its number, and these."""


def _ties(ones: list[_Rival], others: list[_Rival], at: int = 0) -> Iterator[tuple[int, int]]:
    """Give each of the others with the first of the ones that it ties with, if that is earlier.

    Args:
        ones, others: In the order of their numbers; before the starred segment `at` each of the
            ones may match the same as each of the others.
    """
    first, starred = ones[0]
    if at == len(starred):
        yield from ((number, first) for number, _ in others if first < number)
        return
    groups = [
        list(_grouped(rivals, lambda segment: len(segment.prefix), at).values())
        for rivals in (ones, others)
    ]
    for some, more in product(*groups):
        yield from _ties_by_length(some, more, at)


def _ties_by_length(ones: list[_Rival], others: list[_Rival], at: int) -> Iterator[tuple[int, int]]:
    """Do the same where the prefixes of each side are equally long at `at`, and so the suffixes.

    Then what the shorter prefixes and suffixes say decides, and equal ones are found by look-up.
    """
    (first, starred), (_, other_starred) = ones[0], others[0]
    if first >= others[-1][0]:
        return
    if len(ones) == len(others) == 1:  # the same without the overhead
        if all(map(Starred.may_match_the_same_as, starred[at:], other_starred[at:])):
            yield others[0][0], first
        return
    prefix = min(len(starred[at].prefix), len(other_starred[at].prefix))
    suffix = min(len(starred[at].suffix), len(other_starred[at].suffix))

    def ends(segment: Starred) -> tuple[str, str]:
        return segment.prefix[:prefix], segment.suffix[len(segment.suffix) - suffix :]

    groups = _grouped(others, ends, at)
    for key, group in _grouped(ones, ends, at).items():
        if key in groups:
            yield from _ties(group, groups[key], at + 1)


def _grouped(
    rivals: list[_Rival], key: Callable[[Starred], _Key], at: int
) -> dict[_Key, list[_Rival]]:
    groups: dict[_Key, list[_Rival]] = {}
    for rival in rivals:
        groups.setdefault(key(rival[1][at]), []).append(rival)
    return groups


def _shape(template: Template) -> tuple[object, ...]:
    """Give what two templates share if they tie: literals, and the rank of everything else."""
    return tuple(
        ("*", segment.literal_length) if isinstance(segment, Starred) else segment
        for segment in template.segments
    )


def _shared_method(first: Operation, second: Operation) -> str | None:
    """Give the first method that both list; None where both take any."""
    return next((method for method in first.methods if method in second.methods), None)
