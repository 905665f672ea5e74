"""The search before release: nothing that identified the source may be left in the result.

Searched is what was copied from the source or cleaned. What the de-identification wrote itself, pseudonyms and moved
dates, can't be the source's. All bytes are searched at once; only a hit asks which attribute it is in, and whether
what was found there identifies or is an ordinary word that a name is made of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtime.deidentification.identifiers import SourceIdentifiers, known_vr
from runtime.deidentification.text import TextCleaner
from runtime.deidentification.text.words import spellings
from runtime.dicom.character_sets import decode_text, encode_text
from runtime.dicom.elements import Element, attribute_text, walk
from runtime.dicom.header import Header

TEXT_VRS: Final = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_NO_TEXT: Final = frozenset(
    {"AS", "AT", "CS", "DS", "FD", "FL", "IS", "OD", "OF", "SL", "SS", "SV", "TM", "UL", "US", "UV"}
)
"""VRs whose values are numbers or codes."""

_SHORTEST_WORD: Final = 3
_SHORTEST_IN_BINARY: Final = 5
_PART: Final = re.compile(r"[^\s^=,;/]+")
_ESCAPE_SEQUENCE: Final = re.compile(rb"\x1b[$()-]+[ -~]")
_EIGHT_DIGITS: Final = re.compile(r"\d{8}", re.ASCII)
_UID: Final = re.compile(rb"[0-2](?:\.\d+){5,}")
_DATE: Final = re.compile(rb"(?<![\d.])(?:18|19|20)\d{6}(?=(?:\d{4}|\d{6})?(?!\d))")


@dataclass(frozen=True)
class Needles:
    """What is searched for: bytes in lower case."""

    words: frozenset[bytes]
    """parts of names, and codes"""
    dates: frozenset[bytes]
    uids: frozenset[bytes]

    def are_in(self, value: bytes, *, shortest: int = _SHORTEST_WORD) -> bool:
        """Tell whether one of them stands in `value`, which is in lower case."""
        return (
            any(word in value and len(word) >= shortest for word in self.words)
            or self.uids_are_in(value)
            or not self.dates.isdisjoint(_DATE.findall(value))
        )

    def within(self, haystack: bytes) -> Needles:
        """Return those that stand in `haystack`, which is in lower case: usually none, and then no more is to do."""
        return Needles(
            words=frozenset(word for word in self.words if word in haystack),
            dates=self.dates.intersection(_DATE.findall(haystack)),
            uids=self.uids.intersection(_UID.findall(haystack)),
        )

    def __bool__(self) -> bool:
        return bool(self.words or self.dates or self.uids)

    def uids_are_in(self, value: bytes) -> bool:
        """Tell whether one of the UIDs stands in `value`."""
        return not self.uids.isdisjoint(_UID.findall(value))


def needles_of(identifiers: SourceIdentifiers) -> Needles:
    """Return the bytes by which a header's identifiers would be found in it, in each of its character sets."""
    text = identifiers.text
    parts = {part for value in (*text.people, *text.codes) for part in _PART.findall(value)}
    parts |= {re.sub(r"[\W_]", "", code) for code in text.codes}
    spelled = {spelling for part in parts for spelling in (part.lower(), part.upper(), *spellings(part))}
    words = {
        piece.lower()
        for part in spelled
        for codecs in identifiers.codecs
        for piece in _ESCAPE_SEQUENCE.split(encode_text(part, codecs))
    }
    dates = {match[0] for date in (*text.dates, *text.birth_dates) if (match := _EIGHT_DIGITS.match(date))}
    return Needles(
        words=frozenset(word for word in words if len(word) >= _SHORTEST_WORD),
        dates=frozenset(date.encode("ascii") for date in dates),
        uids=frozenset(uid.encode("ascii", "replace") for uid in identifiers.uids),
    )


@dataclass(frozen=True)
class ResidueSearch:
    """Searches the result of one header.

    Parameters
    ----------
    header
        The source.
    needles
        Its identifiers.
    cleaner
        Tells in text whether a needle's bytes identify.
    codecs
        Of the header's character sets.
    """

    header: Header
    needles: Needles
    cleaner: TextCleaner
    codecs: frozenset[tuple[str, ...]]

    def find(self, copied: list[tuple[int, int]], cleaned: list[tuple[Element, bytes]]) -> dict[Element, str]:
        """Return the source's elements that left an identifier in the result, with their paths.

        Parameters
        ----------
        copied
            Ranges of the source that the result consists of.
        cleaned
            Elements whose text was cleaned, with their new values; dates in them have been moved.
        """
        haystack = b"\0".join([self.header.content[start:stop] for start, stop in copied]).lower()
        needles = self.needles.within(haystack)
        found = dict(self._copied_with_residue(copied, needles)) if needles else {}
        haystack = b"\0".join([value for _, value in cleaned]).lower()
        needles = Needles(self.needles.words, frozenset(), self.needles.uids).within(haystack)
        left = {element.start for element, value in cleaned if self._reveals(value, needles)} if needles else set()
        if left:
            elements = walk(self.header.data_set.elements)
            found |= {
                element: path + attribute_text(element.tag) for element, _, path in elements if element.start in left
            }
        return found

    def _copied_with_residue(self, copied: list[tuple[int, int]], needles: Needles) -> Iterator[tuple[Element, str]]:
        """Yield the copied elements that hold a needle, with their paths."""
        ranges = iter(copied)
        start, stop = next(ranges)
        for element, _, path in walk(self.header.data_set.elements):
            while element.start >= stop:
                start, stop = next(ranges, (len(self.header.content), len(self.header.content) + 1))
            if element.start >= start and not element.items and self._holds_residue(element, needles):
                yield element, path + attribute_text(element.tag)

    def _holds_residue(self, element: Element, needles: Needles) -> bool:
        value = self.header.value(element)
        if element.vr in _NO_TEXT:
            return False
        if known_vr(element) in TEXT_VRS:
            return self._reveals(value, needles)
        return needles.are_in(value.lower(), shortest=_SHORTEST_IN_BINARY)

    def _reveals(self, value: bytes, needles: Needles) -> bool:
        """Tell whether a text's bytes hold a needle, and identify by it."""
        lower = value.lower()
        if not needles.are_in(lower):
            return False
        return needles.uids_are_in(lower) or any(self.cleaner.reveals(decode_text(value, c)) for c in self.codecs)
