"""Dates in free text: found in the forms that people and scanners write, and moved where they can't be misread."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple

from runtime.deidentification.text.edits import Edit

ShiftDate = Callable[[datetime.date], datetime.date | None]

_ENGLISH: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_ENGLISH_SHORT: Final = tuple(name[:3] for name in _ENGLISH)
# "may 2 nodules" and "march 4" are no dates.
_ENGLISH_UNMISTAKABLE: Final = tuple(name for name in _ENGLISH if name not in {"march", "may"})
_OTHER_LANGUAGES: Final = {
    1: "januar jänner jaenner janvier janv",
    2: "februar février fevrier févr fevr fév fev",
    3: "märz maerz mars mär mrz",
    4: "avril avr",
    5: "mai",
    6: "juni juin",
    7: "juli juillet juil",
    8: "août aout",
    9: "sept septembre",
    10: "oktober octobre okt",
    12: "dezember dez décembre decembre déc",
}
_MONTHS: Final = (
    {name: number for number, name in enumerate(_ENGLISH, 1)}
    | {name[:3]: number for number, name in enumerate(_ENGLISH, 1)}
    | {name: number for number, names in _OTHER_LANGUAGES.items() for name in names.split()}
)

_MONTH: Final = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_YEAR: Final = r"(?P<year>(?:1[89]|20)\d\d)"
_DAY: Final = r"(?P<day>\d\d?)(?P<ordinal>st|nd|rd|th|er)?"
_WEEKDAY: Final = r"(?P<weekday>(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_GAP: Final = r"[ \t.,/_'-]{0,3}"
_TIME: Final = r"(?P<time>(?:T|,?[ \t]{1,2})\d\d?:\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
_SEPARATORS: Final = r"[-./\uFF0E\uFF0F\uFF0D]"

# In order of precedence: where two overlap the first counts.
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 2024-01-31, 2024/1/31, 2024. 1. 31
        rf"(?<!\d){_YEAR}(?P<separator>{_SEPARATORS})(?P<space> ?)(?P<second>\d\d?)(?P=separator)(?P=space)"
        rf"(?P<third>\d\d?)(?!\d){_TIME}",
        # 31.01.2024, 1/31/2024, 31-01-24
        rf"(?<!\d)(?P<first>\d\d?)(?P<separator>{_SEPARATORS})(?P<space> ?)(?P<second>\d\d?)(?P=separator)(?P=space)"
        rf"(?:{_YEAR}|(?P<short_year>\d\d))(?!\d){_TIME}",
        # 20240131, 20240131123000.5
        rf"(?<!\d){_YEAR}(?P<second>0[1-9]|1[0-2])(?P<third>0[1-9]|[12]\d|3[01])"
        r"(?P<time>(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?:\.\d{1,6})?)?(?!\d)",
        # 31 January 2024, 31-Jan-24, 31st of January 2024, 31. Januar 2024
        rf"{_WEEKDAY}(?<!\d){_DAY}{_GAP}(?:of )?{_MONTH}(?:{_GAP}{_YEAR}|[-/.']?(?P<short_year>\d\d))(?!\d){_TIME}",
        # January 31, 2024
        rf"{_WEEKDAY}(?<![^\W\d_]){_MONTH}{_GAP}{_DAY}[ \t.,/_'-]{{1,3}}{_YEAR}(?!\d){_TIME}",
        # 2024-Jan-31
        rf"(?<!\d){_YEAR}{_GAP}{_MONTH}{_GAP}{_DAY}(?!\d){_TIME}",
        # January 2024
        rf"(?<![^\W\d_]){_MONTH}{_GAP}{_YEAR}(?!\d)",
        # 2024-01
        rf"(?<![\d./-]){_YEAR}[-/](?P<second>0[1-9]|1[0-2])(?!\d)(?![-./]\d)",
        # 01/2024
        rf"(?<![\d./-])(?P<second>0?[1-9]|1[0-2])/{_YEAR}(?!\d)(?![-./]\d)",
        # 2024年1月31日
        rf"(?<!\d){_YEAR} ?[年년] ?(?P<second>\d\d?) ?[月월](?: ?(?P<third>\d\d?) ?[日일])?",
    )
)
# Dates that can only be cut: a day without its year, and years of Japanese eras.
_UNREADABLE: Final = (
    re.compile(
        rf"(?<![^\W_])(?:\d\d?(?:st|nd|rd|th)?(?:[ \t]|\. |-)(?:of )?(?:{'|'.join(_ENGLISH_UNMISTAKABLE)})"
        rf"|(?:{'|'.join(_ENGLISH_UNMISTAKABLE)})[ \t-]\d\d?(?:st|nd|rd|th)?"
        rf"|(?:{'|'.join(_MONTHS)})\.?[ \t-]\d\d?(?:st|nd|rd|th)|\d\d?(?:st|nd|rd|th) (?:of )?(?:{'|'.join(_MONTHS)}))"
        r"(?![^\W_])",
        re.IGNORECASE,
    ),
    re.compile(r"(?:明治|大正|昭和|平成|令和) ?(?:\d\d?|元) ?年(?: ?\d\d? ?月(?: ?\d\d? ?日)?)?"),
)
_DIGIT_RUN: Final = re.compile(r"(?<!\d)\d{6,}")
_MAY_HOLD_A_DATE: Final = re.compile(
    rf"\d{{6}}|\d ?{_SEPARATORS} ?\d{{1,2}} ?{_SEPARATORS} ?\d|(?:1[89]|20)\d\d|[年년]"
    rf"|\d[^\W\d_]{{0,2}}{_GAP}(?:of )?(?:{'|'.join(_MONTHS)})|(?:{'|'.join(_MONTHS)}){_GAP}\d",
    re.IGNORECASE,
)
_MIDDLE_OF_MONTH: Final = 15
_DA_LENGTH: Final = 8


_UID_LENGTH: Final = 64
_UID_BEFORE: Final = re.compile(r"(?:\d\.\d*){4}(?<=\.)$")
MONTH_NAMES: Final = frozenset(_MONTHS)


class _Reading(NamedTuple):
    """One way to read a match: the date and the groups that hold its month and day."""

    date: datetime.date
    month_group: str
    day_group: str | None


class TextDates:
    """Moves the dates of a text by a patient's shift, or cuts them.

    Parameters
    ----------
    known
        Dates of the header. They settle whether 01/02/2024 is in January, and are found in forms too terse to be
        taken for a date otherwise (``240131``).
    birth_dates
        Dates that are cut even where others move.
    shift_date
        Returns the moved date, the same date to keep it, or ``None`` to cut it; ``None`` in its place cuts all dates.
    """

    def __init__(
        self, known: Iterable[datetime.date], birth_dates: Iterable[datetime.date], shift_date: ShiftDate | None
    ) -> None:
        self._birth_dates = frozenset(birth_dates)
        self._known = frozenset(known) | self._birth_dates
        self._shift_date = shift_date

    def edits(self, text: str) -> Iterator[Edit]:
        """Yield an edit for each date, also for one that stays, so that nothing else takes it for a number."""
        if _MAY_HOLD_A_DATE.search(text) is None:
            return
        taken = bytearray(len(text))
        for match, readings in self._matches(text):
            start, end = match.span()
            if taken.find(1, start, end) >= 0:
                continue
            taken[start:end] = b"\1" * (end - start)
            yield Edit(start, end, self._replacement(match, readings))

    def reveals(self, text: str) -> bool:
        """Tell whether the text holds one of the known dates."""
        if text.isascii() and not any(year in text for year in self._short_years):
            return False
        if not self._known or _MAY_HOLD_A_DATE.search(text) is None:
            return False
        return any(
            not readings or any(reading.day_group and reading.date in self._known for reading in readings)
            for match, readings in self._matches(text)
            if readings or match.re is _DIGIT_RUN
        )

    def _matches(self, text: str) -> Iterator[tuple[re.Match[str], list[_Reading]]]:
        """Yield what is a date, in order of precedence; without a reading, what can only be cut."""
        for pattern in _PATTERNS:
            for match in pattern.finditer(text):
                if readings := _readings(match):
                    yield match, readings
        for pattern in _UNREADABLE:
            for match in pattern.finditer(text):
                yield match, []
        terse = self._terse_forms
        for match in _DIGIT_RUN.finditer(text):
            if match[0] in terse or any(form in match[0] for form in terse if len(form) == _DA_LENGTH):
                yield match, []

    @cached_property
    def _short_years(self) -> frozenset[str]:
        """The digits that each form of a known date has."""
        return frozenset(f"{date.year % 100:02}" for date in self._known)

    @cached_property
    def _terse_forms(self) -> frozenset[str]:
        forms = ("{0:%Y%m%d}", "{0:%d%m%Y}", "{0:%m%d%Y}", "{0:%y%m%d}", "{0:%d%m%y}", "{0:%m%d%y}")
        return frozenset(form.format(date) for date in self._known for form in forms)

    def _replacement(self, match: re.Match[str], readings: list[_Reading]) -> str:
        """Return what stands for the match, ``""`` if it can't be read in one way only."""
        if any(reading.date in self._birth_dates for reading in readings):
            return ""
        known = [reading for reading in readings if reading.day_group and reading.date in self._known]
        moved = {self._moved(match, reading) for reading in known or readings}
        return moved.pop() if len(moved) == 1 else ""

    def _moved(self, match: re.Match[str], reading: _Reading) -> str:
        moved = self._shift_date(reading.date) if self._shift_date else None
        if moved is None:
            return ""
        return match[0] if moved == reading.date else _written_alike(match, reading, moved)


def _readings(match: re.Match[str]) -> list[_Reading]:
    """Return the dates that the match may mean; none if it is no date after all."""
    groups = match.groupdict()
    if _is_part_of_a_version(match, groups):
        return []
    year, short_year = groups.get("year"), groups.get("short_year")
    years = [int(year)] if year else [1900 + int(short_year or 0), 2000 + int(short_year or 0)]
    readings = [reading for year_ in years for order in _orders(groups) if (reading := _reading(groups, year_, *order))]
    # Days come first where dots separate: 1.2.2024 is in February.
    return readings[:1] if year and groups.get("separator") == "." else readings


def _orders(groups: Mapping[str, str | None]) -> tuple[tuple[str, str | None], ...]:
    """Return which groups may hold the month and the day."""
    if groups.get("month"):
        return (("month", "day" if groups.get("day") else None),)
    if "first" in groups:
        return (("second", "first"), ("first", "second"))
    return (("second", "third" if groups.get("third") else None),)


def _reading(groups: Mapping[str, str | None], year: int, month_group: str, day_group: str | None) -> _Reading | None:
    month = groups[month_group] or ""
    number = int(month) if month.isdecimal() else _MONTHS[month.lower()]
    day = int(groups[day_group] or 0) if day_group else _MIDDLE_OF_MONTH
    try:
        return _Reading(datetime.date(year, number, day), month_group, day_group)
    except ValueError:
        return None


def _is_part_of_a_version(match: re.Match[str], groups: Mapping[str, str | None]) -> bool:
    """Tell a UID or a version (VB20.1.15, 5.10.12.3) from a date with dots."""
    separator = groups.get("separator")
    if groups.get("short_year") and separator in {".", "-"}:
        return len(groups["first"] or "") + len(groups["second"] or "") < len("ddmm") or (
            separator == "." and match.string[match.start() - 1 : match.start()].isalpha()
        )
    before, after = match.string[max(0, match.start() - _UID_LENGTH) : match.start()], match.string[match.end() :][:2]
    if separator is None:
        return _UID_BEFORE.search(before) is not None
    if separator != ".":
        return False
    return (before[-1:] == "." and before[-2:-1].isdecimal()) or (after[:1] == "." and after[1:].isdecimal())


def _written_alike(match: re.Match[str], reading: _Reading, moved: datetime.date) -> str:
    """Write the moved date in the form of the match, with nothing new but ASCII."""
    groups = match.groupdict()
    word = groups.get("month")
    time = groups.get("time") or ""
    if word and word.lower() not in _ENGLISH and word.lower() not in _ENGLISH_SHORT:
        return f"{moved:%Y-%m-%d}{time}" if reading.day_group else f"{moved:%Y-%m}"
    new = {"year": f"{moved.year:04}", "short_year": f"{moved.year % 100:02}", "ordinal": "", "weekday": ""}
    padded = all(len(groups[name] or "") == 2 for name in ("first", "second", "third", "day") if groups.get(name))
    width = 2 if padded else 1
    new[reading.month_group] = _month_like(word, moved.month) if word else f"{moved.month:0{width}}"
    if reading.day_group:
        new[reading.day_group] = f"{moved.day:0{width}}"
    pieces: list[str] = []
    position = match.start()
    for name in sorted((name for name in new if groups.get(name) is not None), key=match.start):
        pieces += [match.string[position : match.start(name)], new[name]]
        position = match.end(name)
    return "".join([*pieces, match.string[position : match.end()]])


def _month_like(word: str, month: int) -> str:
    name = _ENGLISH[month - 1] if word.lower() in _ENGLISH and len(word) > len("may") else _ENGLISH_SHORT[month - 1]
    return name.upper() if word.isupper() else name.title() if word[0].isupper() else name
