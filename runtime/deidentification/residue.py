"""The search before release: nothing that identified the source may be left in the result.

Searched is what was copied from the source or cleaned. What the de-identification wrote itself, pseudonyms and moved
dates, can't be the source's. A value is read as what it is in fact: text in any character set by the cleaner, which
knows that an ordinary word may be a name; numbers as whole values; anything else as bytes. All texts are read at once,
and only a hit asks which attribute it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from runtime.deidentification.identifiers import SourceIdentifiers
from runtime.deidentification.text import TextCleaner
from runtime.deidentification.text.words import spellings
from runtime.dicom.character_sets import encode_text, readings
from runtime.dicom.dictionary import effective_vr
from runtime.dicom.elements import Element, attribute_text
from runtime.dicom.header import Header
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.vr import DATE_VRS, SYNTAX, TEXT_VRS, TOLERATED_UID

_SEARCHED_AS_TEXT: Final = TEXT_VRS | DATE_VRS | {"PN", "UR"}
_SYNTAX: Final = {vr: SYNTAX[vr] for vr in ("AS", "DS", "IS", "TM")} | {"UI": TOLERATED_UID}
"""Syntax of VRs whose values are no text unless they look otherwise."""
_DEFINED_TERMS: Final = frozenset(
    b"ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER OTHER NONE NORM MOSAIC MIXED RESAMPLED VOLUME SUM MAX MIN "
    b"MEAN SINGLE STATIC DYNAMIC GATED SPIRAL CONSTANT FILTERED ANGIO STANDARD PHANTOM FAST LARGE SMALL WHOLE BODY "
    b"TEXT CODE NUM DATE TIME DATETIME PNAME UIDREF COMPOSITE IMAGE WAVEFORM SCOORD SCOORD3D TCOORD CONTAINER".split()
)
"""Terms of DICOM PS3.3 and of manufacturers that a name, above all a phantom's, may hold."""
_FEWEST_DIGITS: Final = 6
_SHORTEST_IN_BINARY: Final = 5
_BETWEEN_TEXTS: Final = b"\n\n\n\nx\n\n\n\n"
"""Longer than any gap that the cleaner sees names and numbers across; the word ends a sentence in lower case."""
_SEPARATORS: Final = b"\0 -._/:,#()^"
_PART: Final = re.compile(r"[^\s^=,;/]+")
_ESCAPE_SEQUENCE: Final = re.compile(rb"\x1b[$()-]+[ -~]")
_EIGHT_DIGITS: Final = re.compile(r"\d{8}", re.ASCII)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_NOT_DIGITS: Final = re.compile(r"[^\d]", re.ASCII)
_UID: Final = re.compile(rb"[0-2](?:\.\d+){5,}")
_DATE: Final = re.compile(rb"(?<![\d.])(?:18|19|20)\d{6}(?=(?:\d{4}|\d{6})?(?!\d))")


def is_well_formed(vr: str, value: bytes) -> bool:
    """Tell whether each value of a multi-valued element of VR AS, DS, IS, TM or UI looks as one of its VR does."""
    syntax = _SYNTAX[vr]
    return all(not part or syntax.fullmatch(part) for part in (p.strip(b"\0 ") for p in value.split(b"\\")))


class ResidueSearch:
    """Searches the result of one header.

    Parameters
    ----------
    header
        The source.
    identifiers
        Its identifiers.
    cleaner
        Tells whether a text reveals one of them.
    """

    def __init__(self, header: Header, identifiers: SourceIdentifiers, cleaner: TextCleaner) -> None:
        self._header = header
        self._identifiers = identifiers
        self._cleaner = cleaner
        self._uids = frozenset(uid.encode("ascii", "replace") for uid in identifiers.uids)

    def find(self, copied: list[Element], cleaned: list[tuple[Element, bytes]]) -> dict[Element, str]:
        """Return the source's elements that left an identifier in the result, with their paths.

        Parameters
        ----------
        copied
            Elements of the source that the result holds as they were.
        cleaned
            Elements whose text was cleaned, with their new values.
        """
        texts: list[tuple[Element, bytes]] = []
        found = set()
        for element in copied:
            value = self._header.content[element.value_start : element.value_stop]
            vr = effective_vr(element.tag, element.vr)
            if not value:
                continue
            if vr in _SEARCHED_AS_TEXT:
                texts.append((element, value))
            elif vr in _SYNTAX:
                if not is_well_formed(vr, value):
                    texts.append((element, value))
                elif vr not in ("AS", "TM") and len(value) >= _FEWEST_DIGITS and self._is_identifying_number(vr, value):
                    found.add(element.start)
            elif len(value) >= _SHORTEST_IN_BINARY and self._is_in_binary(value):
                found.add(element.start)
        found.update(self._revealing(texts))
        found.update(self._revealing(cleaned, dates=False))
        if not found:
            return {}
        places = {
            element: data_set.path + attribute_text(element.tag)
            for data_set in nested_data_sets(self._header)
            for element in data_set.elements
            if element.start in found
        }
        return dict(sorted(places.items(), key=lambda place: place[0].start))

    def _revealing(self, texts: list[tuple[Element, bytes]], *, dates: bool = True) -> list[int]:
        """Return where the elements start whose text reveals an identifier; in cleaned text dates have been moved."""
        if not texts or not self._reveals(map(_worth_reading, texts), dates=dates):
            return []
        return [text[0].start for text in texts if self._reveals([_worth_reading(text)], dates=dates)]

    def _reveals(self, values: Iterable[bytes], *, dates: bool) -> bool:
        text = _BETWEEN_TEXTS.join(values).replace(b"\0", b"")
        if not self._uids.isdisjoint(_UID.findall(text)):
            return True
        return any(self._cleaner.reveals(reading, dates=dates) for reading in readings(text, self._identifiers.codecs))

    def _is_identifying_number(self, vr: str, value: bytes) -> bool:
        """Tell whether one of the values is one of the source's identifiers, dates or UIDs as a whole."""
        if vr == "UI":
            return not self._uids.isdisjoint(value.strip(b"\0 ").split(b"\\"))
        numbers = (part.strip().lstrip(b"+-0").partition(b".")[0] for part in value.split(b"\\"))
        return not self._numbers.isdisjoint(numbers)

    @cached_property
    def _numbers(self) -> frozenset[bytes]:
        """Identifiers and dates that are numbers, and numbers in identifiers, without leading zeros."""
        text = self._identifiers.text
        codes = {digits for code in text.codes for digits in (*_DIGITS.findall(code), _NOT_DIGITS.sub("", code))}
        numbers = {digits.lstrip("0") for digits in codes} | self._dates
        return frozenset(digits.encode("ascii") for digits in numbers if len(digits) >= _FEWEST_DIGITS)

    @cached_property
    def _dates(self) -> frozenset[str]:
        text = self._identifiers.text
        return frozenset(
            match[0] for date in (*text.dates, *text.birth_dates) if (match := _EIGHT_DIGITS.match(_day(date)))
        )

    @cached_property
    def _words(self) -> frozenset[bytes]:
        """Parts of names, and codes, in lower case as they would be found in bytes."""
        text = self._identifiers.text
        parts = {part for value in (*text.people, *text.codes) for part in _PART.findall(value)}
        parts |= {re.sub(r"[\W_]", "", code) for code in text.codes}
        spelled = {spelling for part in parts for spelling in (part.lower(), part.upper(), *spellings(part))}
        words = {
            piece.lower()
            for part in spelled
            for codecs in (*self._identifiers.codecs, ("utf-8",), ("latin-1",))
            for piece in _ESCAPE_SEQUENCE.split(encode_text(part, codecs))
        }
        return frozenset(word for word in words if len(word) >= _SHORTEST_IN_BINARY)

    def _is_in_binary(self, value: bytes) -> bool:
        lower = value.lower()
        compact = lower.translate(None, _SEPARATORS)
        if any(word in lower or word in compact for word in self._words) or not self._uids.isdisjoint(
            _UID.findall(lower)
        ):
            return True
        return any(date.decode("ascii") in self._dates for date in _DATE.findall(lower))


def _worth_reading(text: tuple[Element, bytes]) -> bytes:
    """Return a text's value without defined terms; values are also read as if nothing separated them."""
    element, value = text
    if element.vr == "CS":
        return b"\\".join(term for term in map(bytes.strip, value.split(b"\\")) if term not in _DEFINED_TERMS)
    return value + _BETWEEN_TEXTS + value.replace(b"\\", b"") if b"\\" in value else value


def _day(date: str) -> str:
    """Return a DA value without the separators that older and careless software writes."""
    return re.sub(r"[-./]", "", date)
