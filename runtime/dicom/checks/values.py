"""Check of encoded values against their VR (DICOM PS3.5 6.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final, NamedTuple

from runtime.dicom.character_sets import DEFAULT_CODECS, decode_text
from runtime.dicom.vr import SYNTAX, UNIT_SIZES


class _StringRule(NamedTuple):
    """Rule for a VR in the default repertoire, beside its syntax: a length, and what a breach is called."""

    maximum_length: int
    code: str
    is_possible: Callable[[bytes], bool] = lambda _: True
    """beyond what the syntax says, such as a date that exists"""


class _TextRule(NamedTuple):
    """Rule for a VR whose values are in the Specific Character Set."""

    maximum_length: int | None
    """in characters; of a person name in each component group"""
    is_multiple: bool
    controls: re.Pattern[str]
    """control characters that are not allowed"""


_BINARY_NUMBERS: Final = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))


def check_value(vr: str, value: bytes, codecs: tuple[str, ...]) -> tuple[set[str], int | None]:
    """Return the codes of what is wrong with a value, and its multiplicity (None where its VR has always one).

    Parameters
    ----------
    vr
        One of DICOM PS3.5 6.2 but SQ.
    value
        As encoded, padding included.
    codecs
        Of the data set's character set.
    """
    codes = {"INVALID_LENGTH"} if len(value) & 1 else set()
    size = UNIT_SIZES.get(vr)
    if size is not None:
        if len(value) % size:
            codes.add("INVALID_LENGTH")
        return codes, len(value) // size if vr in _BINARY_NUMBERS else None
    rule = _STRING_RULES.get(vr)
    if rule is None:
        return _check_text(vr, value, codecs, codes)
    pattern = SYNTAX[vr]
    values = _unpadded(vr, value).split(b"\\") if vr != "UR" else [value.rstrip(b" ")]
    for part in values:
        if part and not (pattern.fullmatch(part) and rule.is_possible(part)):
            codes.add(rule.code)
        if len(part) > rule.maximum_length:
            codes.add("VALUE_TOO_LONG")
    return codes, len(values) if vr != "UR" else None


def _unpadded(vr: str, value: bytes) -> bytes:
    return value.removesuffix(b"\0") if vr == "UI" else value.rstrip(b" ")


def _check_text(vr: str, value: bytes, codecs: tuple[str, ...], codes: set[str]) -> tuple[set[str], int | None]:
    rule = _TEXT_RULES[vr]
    if value.isascii() and b"\x1b" not in value:
        text = value.decode("ascii").rstrip(" ")
    else:
        text = decode_text(value, codecs, person_name=vr == "PN").rstrip(" ")
        if codecs == DEFAULT_CODECS or _UNDECODED.search(text):
            codes.add("UNDECODABLE_TEXT")
    if rule.controls.search(text):
        codes.add("INVALID_CHARACTER")
    values = text.split("\\") if rule.is_multiple else [text]
    if vr == "PN":
        groups = [part.split("=") for part in values]
        if any(len(group) > 3 or any(component.count("^") > 4 for component in group) for group in groups):
            codes.add("INVALID_PERSON_NAME")
        parts = [group for name in groups for group in name]
    else:
        parts = values
    if rule.maximum_length is not None and any(len(part) > rule.maximum_length for part in parts):
        codes.add("VALUE_TOO_LONG")
    return codes, len(values) if rule.is_multiple else None


def _date_exists(value: bytes) -> bool:
    try:
        date(int(value[:4]), int(value[4:6] or 1), int(value[6:8] or 1))
    except ValueError:
        return False
    return True


def _date_time_exists(value: bytes) -> bool:
    """Tell whether the date is in the calendar and the offset from UTC is one that is used on Earth."""
    moment, sign, offset = (
        re.split(rb"([+-])", value, maxsplit=1) if b"+" in value or b"-" in value else (value, b"", b"")
    )
    if sign and not (offset[2:] < b"60" and (b"0000" < offset <= b"1200" if sign == b"-" else offset <= b"1400")):
        return False
    return _date_exists(moment.partition(b".")[0][:8])


def _fits_integer_string(value: bytes) -> bool:
    return -(2**31) <= int(value) <= 2**31 - 1


_STRING_RULES: Final = {
    "AE": _StringRule(16, "INVALID_CHARACTER"),
    "AS": _StringRule(4, "INVALID_AGE"),
    "CS": _StringRule(16, "INVALID_CODE"),
    "DA": _StringRule(8, "INVALID_DATE", _date_exists),
    "DS": _StringRule(16, "INVALID_NUMBER"),
    "DT": _StringRule(26, "INVALID_DATE_TIME", _date_time_exists),
    "IS": _StringRule(12, "INVALID_NUMBER", _fits_integer_string),
    "TM": _StringRule(14, "INVALID_TIME"),
    "UI": _StringRule(64, "INVALID_UID"),
    "UR": _StringRule(2**32 - 2, "INVALID_URI"),
}

_ANY_CONTROL: Final = re.compile("[\0-\x1f\x7f]")
_OTHER_THAN_FORMAT: Final = re.compile("[\0-\x08\x0b\x0e-\x1f\x7f]")
"""Control characters but TAB, LF, FF and CR (DICOM PS3.5 6.1.3)."""
_UNDECODED: Final = re.compile("[\x1b\ufffd\udc80-\udcff]")
_TEXT_RULES: Final = {
    "LO": _TextRule(64, is_multiple=True, controls=_ANY_CONTROL),
    "LT": _TextRule(10240, is_multiple=False, controls=_OTHER_THAN_FORMAT),
    "PN": _TextRule(64, is_multiple=True, controls=_ANY_CONTROL),
    "SH": _TextRule(16, is_multiple=True, controls=_ANY_CONTROL),
    "ST": _TextRule(1024, is_multiple=False, controls=_OTHER_THAN_FORMAT),
    "UC": _TextRule(None, is_multiple=True, controls=_ANY_CONTROL),
    "UT": _TextRule(None, is_multiple=False, controls=_OTHER_THAN_FORMAT),
}
