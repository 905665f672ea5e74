"""The threats of `docs/security.md`, each with the test that shows its protection."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parent
TABLE: Final = TESTS.parent / "docs" / "security.md"
HEADING: Final = "| threat | protection | test |"


class Threat(NamedTuple):
    """A row of the table."""

    threat: str
    protection: str
    test: str
    """``<path below tests>::<function>``"""


def threats() -> list[Threat]:
    """Return the rows of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = lines[lines.index(HEADING) + 2 :]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")]
    return [Threat(threat, protection, test.strip("`")) for threat, protection, test in cells]
