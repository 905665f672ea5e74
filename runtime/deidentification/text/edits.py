"""Edits of a text: what is cut out, what is put in its place, and how the gap closes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple


class Edit(NamedTuple):
    """Replace ``text[start:end]``; an empty replacement cuts."""

    start: int
    end: int
    replacement: str = ""


FIRST_SET_ASIDE: Final = "\U000f0000"
"""The first of the characters that stand for dates while a text is cleaned, see `cleaner`."""
_CLOSES_UP: Final = " \t_,;/^|-"


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with its edits applied.

    Overlapping edits become one cut, since each names something that must go. A cut that leaves the same separator on
    both sides takes one of them along, and one that would join two words or numbers leaves a space.
    """
    pieces: list[str] = []
    position = 0
    for edit in _merged(edits):
        if position < edit.start:
            pieces.append(text[position : edit.start])
        position = edit.end
        if edit.replacement:
            pieces.append(edit.replacement)
            continue
        before = pieces[-1][-1] if pieces else ""
        after = text[position : position + 1]
        if _is_in_word(before) and _is_in_word(after):
            pieces.append(" ")
        elif after and after in _CLOSES_UP and before in ("", after):
            position += 1
    pieces.append(text[position:])
    return "".join(pieces)


def _is_in_word(character: str) -> bool:
    return character.isalnum() or character >= FIRST_SET_ASIDE


def _merged(edits: Iterable[Edit]) -> list[Edit]:
    merged: list[Edit] = []
    for edit in sorted(edits):
        if merged and edit.start < merged[-1].end:
            last = merged[-1]
            same = (edit.start, edit.end, edit.replacement) == last
            merged[-1] = last if same else Edit(last.start, max(last.end, edit.end))
        else:
            merged.append(edit)
    return merged
