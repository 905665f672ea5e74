"""The table of a verification, a line as soon as it is known: for a terminal of 80 columns, or as JSON Lines."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from itertools import zip_longest
from typing import Final

from acceptance.verification.check import Line, Outcome

HEADER: Final = ("", "CHECK", "EXPECTED", "SEEN")
WIDTHS: Final = (8, 24, 21, 24)
GAP: Final = " "


class Page:
    """Prints lines, and counts how they ended.

    Parameters
    ----------
    as_json
        One JSON object a line instead of a table.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._counts: Counter[Outcome] = Counter()
        if not as_json:
            self._write(_row(HEADER))

    def add(self, line: Line) -> None:
        """Print a line."""
        self._counts[line.outcome] += 1
        self._write(json.dumps(line.model_dump(mode="json")) if self._as_json else _in_columns(line))

    @property
    def passed(self) -> bool:
        """Whether every check that was not skipped held."""
        return set(self._counts) <= {Outcome.OK, Outcome.SKIPPED}

    def close(self) -> None:
        """Print how many checks ended how; to standard error where a machine reads the lines."""
        counts = ", ".join(f"{self._counts[outcome]} {outcome}" for outcome in Outcome if self._counts[outcome])
        (sys.stderr if self._as_json else sys.stdout).write(f"{counts}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()  # the next line may take minutes


def _in_columns(line: Line) -> str:
    if not line.expected:  # of a check that could not be made there is but one thing to say
        mark, name, *rest = WIDTHS
        return _row((line.outcome, line.check, line.seen), (mark, name, sum(rest) + len(GAP)))
    return _row((line.outcome, line.check, line.expected, line.seen))


def _row(cells: tuple[str, ...], widths: tuple[int, ...] = WIDTHS) -> str:
    """Return cells in columns, broken into as many lines as the longest takes."""
    columns = [textwrap.wrap(_printable(cell), width) for cell, width in zip(cells, widths, strict=True)]
    return "\n".join(
        GAP.join(f"{cell:{width}}" for cell, width in zip(cells_of_line, widths, strict=True)).rstrip()
        for cells_of_line in zip_longest(*columns, fillvalue="")
    )


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{MIDDLE DOT}" for character in text)
