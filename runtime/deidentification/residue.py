"""The search before release: nothing that identified the source may be left in the result.

Searched is what was copied from the source or cleaned. What the de-identification wrote itself, pseudonyms and moved
dates, can't be the source's. Everything is searched at once first; which attribute it was is asked only after a hit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtime.deidentification.identifiers import SourceIdentifiers
from runtime.deidentification.text import is_clinical_word
from runtime.dicom.elements import Element, attribute_text, walk
from runtime.dicom.header import Header

_SHORTEST_NAME: Final = 3
_SHORTEST_ID: Final = 4
_UID: Final = re.compile(rb"[0-2](?:\.\d+){5,}")
_DATE: Final = re.compile(rb"(?<![\d.])(?:19|20)\d{6}(?=(?:\d{4}|\d{6})?(?!\d))")
_NAME_PART: Final = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_NO_TEXT: Final = frozenset(
    ("AS", "AT", "CS", "DS", "FD", "FL", "IS", "OD", "OF", "SL", "SS", "SV", "TM", "UL", "US", "UV")
)
"""VRs whose values are numbers or codes, no text."""


@dataclass(frozen=True)
class Needles:
    """What is searched for, as bytes in lower case."""

    words: frozenset[bytes]
    """parts of names, and ids"""
    dates: frozenset[bytes]
    uids: frozenset[bytes]

    def found_in(self, value: bytes) -> Iterator[bytes]:
        """Yield the needles that stand in `value` (in lower case) as words of their own."""
        yield from self.dates.intersection(_DATE.findall(value))
        yield from self.uids.intersection(_UID.findall(value))
        for word in self.words:
            if word in value and re.search(rb"(?<![a-z0-9])" + re.escape(word) + rb"(?![a-z0-9])", value):
                yield word


def needles_of(identifiers: SourceIdentifiers, codecs: tuple[str, ...]) -> Needles:
    """Choose what can be searched for: too short a word, or one of clinical language, is found everywhere."""
    parts = {part.lower() for name in identifiers.names for part in _NAME_PART.findall(name)}
    words = {part for part in parts if len(part) >= _SHORTEST_NAME and not is_clinical_word(part)}
    words |= {identifier.lower() for identifier in identifiers.ids if len(identifier) >= _SHORTEST_ID}
    return Needles(
        words=frozenset(word.encode(codecs[0], "replace") for word in words),
        dates=frozenset(date.encode("ascii") for date in identifiers.dates),
        uids=frozenset(uid.encode("ascii", "replace") for uid in identifiers.uids),
    )


def find_residue(
    header: Header, copied: list[tuple[int, int]], cleaned: list[tuple[Element, bytes]], needles: Needles
) -> list[str]:
    """Return the paths of attributes that still hold an identifier of the source.

    Parameters
    ----------
    header
        The source.
    copied
        Ranges of it that the result consists of.
    cleaned
        Elements whose text was cleaned, with their new values; dates in them have been moved.
    needles
        What to search for.
    """
    haystack = b"\0".join([header.content[start:stop] for start, stop in copied]).lower()
    paths = []
    if next(needles.found_in(haystack), None) is not None:
        paths += _copied_with(header, copied, needles)
    without_dates = Needles(needles.words, frozenset(), needles.uids)
    for element, value in cleaned:
        if next(without_dates.found_in(value.lower()), None) is not None:
            paths.append(attribute_text(element.tag))
    return list(dict.fromkeys(paths))


def _copied_with(header: Header, copied: list[tuple[int, int]], needles: Needles) -> Iterator[str]:
    """Yield the paths of copied elements that hold a needle."""
    ranges = iter(copied)
    start, stop = next(ranges)
    for element, _, path in walk(header.data_set.elements):
        while element.start >= stop:
            start, stop = next(ranges, (len(header.content), len(header.content) + 1))
        if element.items or element.start < start or element.vr in _NO_TEXT:
            continue
        if next(needles.found_in(header.value(element).lower()), None) is not None:
            yield path + attribute_text(element.tag)
