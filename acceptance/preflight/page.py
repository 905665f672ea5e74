"""How findings are shown: a table for people, JSON Lines for machines."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Final

from acceptance.preflight.findings import Finding, Verdict
from cli.tables import shorten

COLUMNS: Final = 80
VERDICT: Final = 8
CHECK: Final = 24
NEEDED: Final = "  > "
LONGEST: Final = 1000
COUNTED: Final = {
    Verdict.FAILURE: "will fail",
    Verdict.WARNING: "to think about",
    Verdict.UNSEEN: "not looked at",
    Verdict.OK: "fine",
}


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table of 80 columns, what to do below what was seen, and the verdicts' counts."""
    counts = Counter(finding.verdict for finding in findings)
    lines = [_line("", "CHECK", "SEEN, and what is needed")]
    lines += [line for finding in findings for line in _row(finding)]
    lines += ["", ", ".join(f"{counts[verdict]} {words}" for verdict, words in COUNTED.items())]
    return "".join(f"{line}\n" for line in lines)


def json_lines(findings: Sequence[Finding]) -> str:
    """Return one JSON object a finding, nothing cut."""
    return "".join(f"{json.dumps(asdict(finding))}\n" for finding in findings)


def _row(finding: Finding) -> Iterator[str]:
    checks, seen = _wrapped(finding.check, CHECK - 2), _wrapped(finding.seen, COLUMNS - VERDICT - CHECK)
    verdicts = [finding.verdict.value]
    for verdict, check, part in zip_longest(verdicts, checks, seen, fillvalue=""):
        yield _line(verdict, check, part)
    # As wide as can be, since commands are to be copied.
    for part in _wrapped(finding.needed, COLUMNS - len(NEEDED)):
        yield f"{NEEDED}{part}"


def _line(verdict: str, check: str, rest: str) -> str:
    return f"{verdict:{VERDICT}}{check:{CHECK}}{rest}".rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(shorten(text, LONGEST), width, break_on_hyphens=False)
