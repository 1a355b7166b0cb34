"""Path templates: what an operation's `paths` may say, parsed once at load.

A segment is a literal, `{name}` or a lone `*` (one non-empty segment), a literal with one `*` in
it, or, only last, `**` (zero or more segments). Literals are written decoded and compared exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.policy.operations import STRICT_PATH_RULES, PathRules

# The order of specificity within one segment: literal, starred, {name}, **.
_RANK_END = (4, 0)  # the template ends here: more specific than a `**` that matches nothing
_RANK_LITERAL = (3, 0)
_RANK_STARRED = 2  # then the number of literal characters
_RANK_ONE = (1, 0)
_RANK_REST = (0, 0)

MAX_SEGMENTS = 64  # the search in the trie is as deep as the longest template

Specificity = tuple[tuple[int, int], ...]

_NAME = re.compile(r"\{[A-Za-z_][A-Za-z0-9_.-]*\}")
_PERCENT_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\?#]")


@dataclass(frozen=True, slots=True)
class Literal:
    """A segment that must be equal."""

    text: str


@dataclass(frozen=True, slots=True)
class Starred:
    """A segment with this prefix and suffix and anything, also nothing, between them."""

    prefix: str
    suffix: str

    @property
    def literal_length(self) -> int:
        """How many characters are literal; more is more specific."""
        return len(self.prefix) + len(self.suffix)

    def matches(self, segment: str) -> bool:
        """Tell whether the segment fits; prefix and suffix may not overlap, `*` takes no slash."""
        return (
            "/" not in segment  # one that came encoded
            and len(segment) >= len(self.prefix) + len(self.suffix)
            and segment.startswith(self.prefix)
            and segment.endswith(self.suffix)
        )

    def may_match_the_same_as(self, other: Starred) -> bool:
        """Tell whether some segment fits both; then neither prefixes nor suffixes exclude it."""
        prefixes = self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        suffixes = self.suffix.endswith(other.suffix) or other.suffix.endswith(self.suffix)
        return prefixes and suffixes


@dataclass(frozen=True, slots=True)
class OneSegment:
    """`{name}` or `*`: any one non-empty segment."""


@dataclass(frozen=True, slots=True)
class Rest:
    """`**`: zero or more segments, to the end."""


Segment = Literal | Starred | OneSegment | Rest


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template; `/` is the template without segments."""

    segments: tuple[Segment, ...]

    @property
    def specificity(self) -> Specificity:
        """Sort key: of two templates that match a path, the greater one wins."""
        ranks: list[tuple[int, int]] = []
        for segment in self.segments:
            match segment:
                case Literal():
                    ranks.append(_RANK_LITERAL)
                case Starred():
                    ranks.append((_RANK_STARRED, segment.literal_length))
                case OneSegment():
                    ranks.append(_RANK_ONE)
                case _:
                    ranks.append(_RANK_REST)
        if not (self.segments and isinstance(self.segments[-1], Rest)):
            ranks.append(_RANK_END)
        return tuple(ranks)


def parse_template(text: str, rules: PathRules = STRICT_PATH_RULES) -> Template:
    """Parse one path template of an operation.

    Args:
        text: As configured, e.g. `/accounts/{id}/limits/**`. One trailing `/` is ignored, as it is
            in requests.
        rules: The API's path options; a literal that no request could ever contain is refused.

    Raises:
        ValueError: Says what is wrong; starts with a verb phrase fit to follow the field's name.
    """
    if not text.startswith("/"):
        raise ValueError("must start with /")
    parts = text[1:].split("/")
    if "**" in parts[:-1]:
        raise ValueError("must have ** only as its last segment")
    if parts[-1] == "":
        parts.pop()
    if len(parts) > MAX_SEGMENTS:
        raise ValueError(f"must have at most {MAX_SEGMENTS} segments")
    return Template(tuple(_segment(part, rules) for part in parts))


def _segment(text: str, rules: PathRules) -> Segment:
    if text == "**":
        return Rest()
    if text == "*" or _NAME.fullmatch(text):
        return OneSegment()
    if "{" in text or "}" in text:
        raise ValueError("must have {name} as a whole segment (name: letters, digits, _, -, .)")
    _refuse_unmatchable(text, rules)
    match text.count("*"):
        case 0:
            return Literal(text)
        case 1:
            prefix, _, suffix = text.partition("*")
            return Starred(prefix, suffix)
        case _:
            raise ValueError("must have at most one * in a segment, and ** only as a whole segment")


def _refuse_unmatchable(text: str, rules: PathRules) -> None:
    """Refuse a literal that no request path can contain (see `policy.paths`)."""
    if not text and not rules.allow_double_slash:
        raise ValueError("must not contain // (requests with it are refused)")
    if text in (".", ".."):
        raise ValueError("must not contain . or .. segments (requests with them are refused)")
    if _PERCENT_ENCODED.search(text) and not rules.allow_double_encoding:
        raise ValueError("must be written decoded, without percent-encoding")
    if ";" in text and not rules.allow_semicolon:
        raise ValueError("must not contain ; unless path.allow_semicolon is true")
    if _FORBIDDEN.search(text):
        raise ValueError("must not contain \\, ?, # or control characters")
