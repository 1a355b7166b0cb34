"""docs/conformance.md and the kit say the same."""

from __future__ import annotations

import re
from pathlib import Path

from bridge.conformance.profile import TokensSection, read_profile
from bridge.conformance.requirements import REQUIREMENTS

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("| requirement |")[2].partition("\n<!-- end")[0]
HEAD, _, *ROWS = [[cell.strip() for cell in line.split(" | ")] for line in TABLE.splitlines()]
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_table_has_every_requirement_as_the_code_says_it() -> None:
    shown = [[cell.removeprefix("| ") for cell in row[:4]] for row in ROWS]

    assert shown == [
        [
            f"`{requirement.id}`",
            f"{requirement.rfc} §{requirement.section}",
            requirement.level + ("*" if requirement.ours else ""),
            requirement.text,
        ]
        for requirement in REQUIREMENTS
    ]


def test_table_has_a_result_of_every_gateway_and_no_must_fails() -> None:
    gateways = [cell.removesuffix(" |").partition("-")[0] for cell in HEAD[3:]]

    assert set(gateways) == {"envoy", "kong", "nginx", "caddy", "haproxy", "traefik"}
    for row, requirement in zip(ROWS, REQUIREMENTS, strict=True):
        outcomes = [cell.removesuffix(" |") for cell in row[4:]]
        assert len(outcomes) == len(gateways)
        assert set(outcomes) <= {"pass", "**fail**", "-"}
        assert requirement.level != "MUST" or "**fail**" not in outcomes


def test_profiles_of_the_page_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text("".join(BLOCKS))

    profile, _ = read_profile(file)

    assert profile.mint is not None
    assert profile.sensitive.max_age == 300


def test_every_token_is_explained() -> None:
    explained = PAGE.partition("| token | is |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)`", explained, re.MULTILINE) == list(TokensSection.model_fields)
