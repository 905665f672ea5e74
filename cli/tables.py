"""Text tables that fit a terminal: 80 columns where nothing tells its width, else the terminal's or `COLUMNS`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Final

_GAP: Final = "  "
_LONGEST: Final = 1000
"""Characters of a cell that are shown at all."""
_ID_LENGTH: Final = 32
"""Characters of an object's id, and of a word that stays whole where that is possible."""
_ENDS: Final = 16
"""Characters of a `OneLine` that are left where space is short."""


class OneLine(str):
    """Cell of which both ends matter, as a key or a value: shortened in the middle, never wrapped."""

    __slots__ = ()


def text_table(rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """Return rows as aligned columns. Text is wrapped between words, what has none is shortened in the middle.

    Parameters
    ----------
    rows
        The first one holds the headings. None is shown as a hyphen.
    width
        Columns of the terminal; by default those that it has.
    """
    shown = [[_cell(cell) for cell in row] for row in rows]
    columns = list(zip(*shown, strict=True))
    available = (width or shutil.get_terminal_size().columns) - len(_GAP) * (len(columns) - 1)
    natural = [max(map(len, column)) for column in columns]
    readable = [max(map(_narrowest, column)) for column in columns]
    ids = [_ID_LENGTH if any(map(_is_id, column)) else 1 for column in columns]
    widths = _fit(natural, [readable, ids, [1] * len(columns)], available)
    return "".join(line for row in shown for line in _lines(row, widths))


def shorten(text: str, width: int) -> str:
    """Return text that fits, without its middle if need be, and with what would control the terminal escaped."""
    safe = printable(text)
    if len(safe) <= width:
        return safe
    kept = max(width - 3, 0)
    return f"{safe[: kept - kept // 2]}{'...'[:width]}{safe[len(safe) - kept // 2 :]}"


def printable(text: str) -> str:
    """Return text with characters escaped that would control the terminal or can't be encoded."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _cell(value: object) -> str:
    text = shorten("-" if value is None else str(value), _LONGEST)
    return OneLine(text) if isinstance(value, OneLine) else text


def _narrowest(cell: str) -> int:
    """Return how much of its width a cell should not lose."""
    if isinstance(cell, OneLine):
        return min(len(cell), _ENDS)
    return min(max(map(len, cell.split(" "))), _ID_LENGTH)


def _is_id(cell: str) -> bool:
    return len(cell) == _ID_LENGTH and set(cell) <= set("0123456789abcdef")


def _fit(natural: Sequence[int], floors: Sequence[Sequence[int]], available: int) -> list[int]:
    """Return the columns' widths: the wide ones give first, down to the first floor, and then to the next."""
    widths = list(natural)
    for floor in floors:
        for most in range(max(natural), 0, -1):
            fitted = [max(low, min(each, most)) for each, low in zip(widths, floor, strict=True)]
            if sum(fitted) <= available:
                return fitted
        widths = fitted
    return widths


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    padded = [[*lines, *[""] * (height - len(lines))] for lines in cells]
    return [
        _GAP.join(f"{part:{width}}" for part, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in zip(*padded, strict=True)
    ]


def _wrapped(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    if isinstance(cell, OneLine):
        return [shorten(cell, width)]
    words = " ".join(shorten(word, width) for word in cell.split(" "))
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)
