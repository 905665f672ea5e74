"""Text tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], *, widest: int = 60) -> str:
    """Return rows as aligned columns, one line each, the last column as long as it is.

    Parameters
    ----------
    rows
        The first one holds the headings.
    widest
        Characters after which a cell is cut, the last column's excepted.
    """
    shown = [[*(shorten(cell, widest) for cell in row[:-1]), shorten(row[-1], 1000)] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]) - 1)]
    lines = (
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in shown
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def shorten(text: str, width: int) -> str:
    """Return text that fits, without characters that would control the terminal or can't be encoded."""
    safe = "".join(character if character.isprintable() else "\N{MIDDLE DOT}" for character in text)
    return safe if len(safe) <= width else f"{safe[: width - 3]}..."
