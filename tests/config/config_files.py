"""A valid configuration, and ways to change one thing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.load import load_config
from bridge.errors import ConfigError

# The comments mark where `with_line` adds.
VALID = """\
# file
issuers:
  - issuer: https://login.example.com
    audiences: [https://api.example.com]
    # issuer
assurance_levels: [pwd, mfa, phr]
apis:
  - name: payments
    # api
    operations:
      - name: read
        paths: [/accounts]
        # operation
      - name: pay
        paths: [/transfers]
        require:
          scopes: [payments:write]
          # require
"""


def with_line(place: str, lines: str) -> str:
    """Add lines at a marked place, which they replace, so that the first keeps its number."""
    marker = f"# {place}\n"
    assert marker in VALID
    start = VALID.index(marker)
    indent = " " * (start - VALID.rindex("\n", 0, start) - 1 if "\n" in VALID[:start] else 0)
    added = ("\n" + indent).join(lines.splitlines()) + "\n"
    return VALID.replace(marker, added)


def replaced(old: str, new: str) -> str:
    """Replace a part of the valid file."""
    assert VALID.count(old) == 1
    return VALID.replace(old, new)


def problems_of(directory: Path, text: str | bytes) -> list[str]:
    """Load a text that is refused, and give the problems as the operator sees them."""
    file = directory / "bridge.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    return [problem.render(file.name) for problem in refused.value.problems]
