"""Identifiers in free text that an institution assigned, also with their characters regrouped.

Names in scripts of East Asia are found the same way, since no spaces set them off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise, permutations
from typing import Final

from runtime.deidentification.text.edits import Edit
from runtime.deidentification.text.words import fold, is_ideographic

_SHORTEST: Final = 4
_SHORTEST_CORE: Final = 5
_SHORTEST_REGROUPED: Final = 6
_SEPARATORS: Final = frozenset(" -./_:,#()^\u3000・")
# Voicing marks that follow their character
_COMBINING: Final = frozenset("\u3099\u309a\uff9e\uff9f")
_NOT_ALPHANUMERIC: Final = re.compile(r"[\W_]+")
_DIGITS: Final = re.compile(r"\d+")
_HONORIFICS: Final = (
    "様",
    "さま",
    "さん",
    "氏",
    "殿",
    "先生",
    "医師",
    "女士",
    "小姐",
    "님",
    "씨",
    "선생",
    "교수",
    "환자",
    "군",
    "양",
)


class Codes:
    """Finds a header's identifiers in a text.

    An identifier goes as a whole word of at least four characters, a digit among them, or of five digits (``b=1000`` is
    no Study ID; what a label introduces is for the recognisers to find). One of six and more goes also with separators
    put in or left out, and without leading zeros. A number of five digits and more within a longer
    identifier (``PAT-0012345``) goes by itself, too.

    Parameters
    ----------
    codes
        Identifiers.
    people
        PN values; only groups in scripts of East Asia are used.
    """

    def __init__(self, codes: Iterable[str], people: Iterable[str]) -> None:
        self._bounded: dict[str, None] = {}
        self._anywhere: dict[str, None] = {}
        for code in codes:
            self._add(_compact(code))
        for person in people:
            if not person.isascii():
                for group in person.split("="):
                    self._add_ideographic(group)

    def may_edit(self, text: str) -> bool:
        """Tell whether an ASCII text may hold an identifier."""
        compact = _compact(text)
        return any(code in compact for code in self._bounded)

    def edits(self, text: str) -> Iterator[Edit]:
        """Yield a cut for each identifier found."""
        compact = _compact(text)
        bounded = [code for code in self._bounded if code in compact]
        anywhere = [code for code in self._anywhere if code in compact] if not text.isascii() else []
        if not bounded and not anywhere:
            return
        compact, positions = _with_positions(text)
        for codes, checked in ((bounded, True), (anywhere, False)):
            for code in codes:
                for start, end in _occurrences(text, code, compact, positions, bounded=checked):
                    yield Edit(start, end)

    def reveals(self, text: str) -> bool:
        """Tell whether the text holds one of the identifiers."""
        return any(True for _ in self.edits(text))

    def _add(self, code: str) -> None:
        if len(code) < (_SHORTEST_CORE if code.isdigit() else _SHORTEST) or _DIGITS.search(code) is None:
            return
        self._bounded[code] = None
        for digits in _DIGITS.findall(code):
            core = digits.lstrip("0")
            if len(core) >= _SHORTEST_CORE:
                self._bounded[core] = None

    def _add_ideographic(self, group: str) -> None:
        names = [_compact(name) for name in re.split(r"[\^ \u3000,]+", group) if is_ideographic(name)][:3]
        self._anywhere.update(dict.fromkeys(first + second for first, second in permutations(names, 2)))
        for name in names:
            # Two hiragana may be anything; a single character is a name only where it is addressed as one.
            if len(name) > (2 if all("\u3041" <= c <= "\u309f" for c in name) else 1):
                self._anywhere[name] = None
            else:
                self._anywhere.update(dict.fromkeys(name + fold(honorific) for honorific in _HONORIFICS))


def _compact(text: str) -> str:
    return _NOT_ALPHANUMERIC.sub("", fold(text))


def _with_positions(text: str) -> tuple[str, list[int]]:
    """Return the text's folded letters and digits, and for each its index in the text."""
    characters: list[str] = []
    positions: list[int] = []
    for index, character in enumerate(text):
        folded = _compact(character)
        characters.append(folded)
        positions += [index] * len(folded)
    return "".join(characters), positions


def _occurrences(
    text: str, code: str, compact: str, positions: list[int], *, bounded: bool
) -> Iterator[tuple[int, int]]:
    at = compact.find(code)
    while at >= 0:
        places = positions[at : at + len(code)]
        start, end = places[0], places[-1] + 1
        while text[end : end + 1] in _COMBINING:
            end += 1
        at = compact.find(code, at + 1)
        if not _grouped(text, places, len(code)):
            continue
        if bounded:
            while text[start].isdigit() and start and text[start - 1] == "0":
                start -= 1
            if _continues(text, start - 1, start) or _continues(text, end - 1, end):
                continue
        yield start, end


def _grouped(text: str, places: list[int], length: int) -> bool:
    """Tell whether only separators, and few, come between an identifier's characters."""
    most = 2 if length >= _SHORTEST_REGROUPED or text[places[0]] >= "\u2e80" else 0
    return all(
        after - before <= 1 or (after - before - 1 <= most and _SEPARATORS.issuperset(text[before + 1 : after]))
        for before, after in pairwise(places)
    )


def _continues(text: str, left: int, right: int) -> bool:
    """Tell whether two neighbours belong to one number or one word."""
    if left < 0 or right >= len(text):
        return False
    before, after = text[left], text[right]
    return (before.isdigit() and after.isdigit()) or (before.isalpha() and after.isalpha())
