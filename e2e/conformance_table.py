"""Writes the table of `docs/conformance.md`: every requirement, and what became of it where.

`make conformance` runs it. What a gateway of the suite cannot show is no empty column: it fails.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.conformance.requirement import Outcome
from bridge.conformance.requirements import REQUIREMENTS
from e2e.harness.arrangement import Arrangement, Evidence
from e2e.harness.conformance import check, write_profile
from e2e.harness.gateways import PRODUCTS
from e2e.harness.policy import configuration

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
START, END = "<!-- table: written by `make conformance` -->\n", "<!-- end of the table -->\n"
_CELLS: dict[Outcome, str] = {"pass": "pass", "fail": "**fail**", "not testable": "-"}


def main() -> int:
    """Run the kit against every gateway, and write the table."""
    if missing := [f"{product.name}: {product.missing}" for product in PRODUCTS if product.missing]:
        print("\n".join(missing), file=sys.stderr)
        return 1
    with TemporaryDirectory(prefix="conformance-") as directory:
        results = run(Path(directory))
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + START + table(results) + END + after)
    return 0


def run(directory: Path) -> dict[str, dict[str, Outcome]]:
    """Give the outcome of each requirement, by gateway."""
    arrangement = Arrangement(directory, Evidence())
    results: dict[str, dict[str, Outcome]] = {}
    try:
        issuer, upstream = arrangement.issuer(), arrangement.upstream()
        bridge = arrangement.bridge(configuration(issuer))
        profile = write_profile(directory, issuer)
        for product in PRODUCTS:
            gateway = arrangement.gateway(product.make(), bridge, upstream)
            verdicts = check(gateway, profile).verdicts
            results[product.name] = {each.requirement.id: each.outcome for each in verdicts}
            gateway.stop()
    finally:
        arrangement.close()
    return results


def table(results: dict[str, dict[str, Outcome]]) -> str:
    """Write the table: a row for each requirement, a column for each gateway."""
    names = ["requirement", "section", "level", "what must be so", *results]
    rows = [
        [
            f"`{requirement.id}`",
            f"{requirement.rfc} §{requirement.section}",
            f"{requirement.level}{'*' if requirement.ours else ''}",
            requirement.text.replace("*", r"\*"),
            *(_CELLS[outcomes[requirement.id]] for outcomes in results.values()),
        ]
        for requirement in REQUIREMENTS
    ]
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
