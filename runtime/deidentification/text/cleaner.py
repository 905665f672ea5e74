"""Clean Descriptors (DICOM PS3.15 E.3.5): free text without what identifies people, and with all the rest."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

from runtime.deidentification.text.codes import Codes
from runtime.deidentification.text.dates import ShiftDate, TextDates
from runtime.deidentification.text.edits import FIRST_SET_ASIDE, apply_edits
from runtime.deidentification.text.identifiers import Identifiers, parsed_date
from runtime.deidentification.text.people import People
from runtime.deidentification.text.recognisers import may_be_recognised, recognised
from runtime.deidentification.text.words import clinical_words, folded_words

# A date that has been dealt with is one of these characters until the text is done, so that nothing takes it for
# something else. Unicode assigns them to nobody; a text that holds them loses them.
_MOST_SET_ASIDE: Final = 0xFFFD
_SET_ASIDE: Final = re.compile("[\U000f0000-\U000ffffd]")
_MOST_PASSES: Final = 10


class TextCleaner:
    """Cleans the texts of one header.

    Parameters
    ----------
    identifiers
        What the header reveals.
    shift_date
        Moves a date by the patient's shift; returns the same date where the profile retains dates, ``None`` to cut
        one. Without it every date is cut.
    """

    def __init__(self, identifiers: Identifiers, shift_date: ShiftDate | None) -> None:
        self._identifiers = identifiers
        self._shift_date = shift_date

    def clean(self, text: str) -> str:
        """Return the text without identifiers; dates that can be read in one way only move, all others go.

        Nothing but ASCII is ever added, so the result can be encoded wherever the text could. Cleaning a cleaned text
        changes nothing, except that dates which moved move again. A text in which each cut uncovers another
        identifier, over and over, is dropped as a whole.
        """
        if text.isascii() and self._is_harmless(text):
            return text
        cleaned = text if text.isascii() else _SET_ASIDE.sub("", text)
        dates: list[str] = []
        for _ in range(_MOST_PASSES):
            before = cleaned
            cleaned = self._pass(cleaned, dates)
            if cleaned == before:
                break
        else:
            return ""
        if dates:
            cleaned = _SET_ASIDE.sub(lambda match: dates[ord(match[0]) - ord(FIRST_SET_ASIDE)], cleaned)
        return cleaned if cleaned == text else cleaned.strip(" ")

    def reveals(self, text: str, *, dates: bool = True) -> bool:
        """Tell whether the text holds a name, an identifier or a date that the header reveals.

        Places don't count: an institution called after the scanner's manufacturer says nothing about the patient.
        """
        return (
            self._codes.reveals(text)
            or (dates and self._dates.reveals(text))
            or self._persons.reveals(text, folded_words(text) if text.isascii() else None)
        )

    def _is_harmless(self, text: str) -> bool:
        """Tell at a glance that there is nothing to clean: true of most descriptions."""
        folded = folded_words(text)
        return not (may_be_recognised(text, folded) or self._people.may_edit(folded) or self._codes.may_edit(text))

    def _pass(self, text: str, dates: list[str]) -> str:
        text = apply_edits(text, self._codes.edits(text))
        edits = []
        for edit in sorted(self._dates.edits(text)):
            if edit.replacement and len(dates) < _MOST_SET_ASIDE:
                edits.append(edit._replace(replacement=chr(ord(FIRST_SET_ASIDE) + len(dates))))
                dates.append(edit.replacement)
            else:
                edits.append(edit._replace(replacement=""))
        text = apply_edits(text, edits)
        return apply_edits(text, [*self._people.edits(text), *recognised(text, clinical_words())])

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self._identifiers.codes, self._identifiers.people)

    @cached_property
    def _people(self) -> People:
        return People(self._named, self._identifiers.places)

    @cached_property
    def _persons(self) -> People:
        return People(self._named, ()) if self._identifiers.places else self._people

    @property
    def _named(self) -> list[str]:
        """People, and identifiers without a digit, which are found as names are."""
        worded = (code for code in self._identifiers.codes if not any(character.isdigit() for character in code))
        return [*self._identifiers.people, *worded]

    @cached_property
    def _dates(self) -> TextDates:
        known = filter(None, map(parsed_date, self._identifiers.dates))
        birth_dates = filter(None, map(parsed_date, self._identifiers.birth_dates))
        return TextDates(known, birth_dates, self._shift_date)
