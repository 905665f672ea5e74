"""Pseudonyms and date shifts, derived from a secret key and nothing else.

Stateless: every process, machine and year that holds the same key gives the same answer, so references between objects
still resolve and a patient's studies stay together without a shared table. HMAC-SHA256 with a label for each kind of
value keeps the kinds apart: a patient whose PatientID equals somebody's AccessionNumber gets an unrelated pseudonym.
"""

from __future__ import annotations

import base64
import datetime
import hmac
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

KEY_BYTES: Final = 32
PSEUDONYM_LENGTH: Final = 16
"""Characters of an identifier's pseudonym: 80 bits in base 32, and the most that SH holds (DICOM PS3.5 6.2)."""

# Registered UIDs have short components (DICOM PS3.6 Annex A); the UIDs that careless software makes up under the same
# root carry serial numbers and times, and are mapped like any other.
_WELL_KNOWN_UID: Final = re.compile(r"1\.2\.840\.10008(?:\.\d{1,4}){1,9}")
_NOT_SIGNIFICANT: Final = " \0"
_DA: Final = re.compile(r"(\d{4})(?:(\d\d)(\d\d)|\.(\d\d)\.(\d\d))", re.ASCII)
_DT: Final = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)"
    r"(?P<time>(?:(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?))?)?"
    r"(?P<offset>(?:\+(?:0\d|1[0-4])|-(?:0\d|1[0-2]))[0-5]\d)?",
    re.ASCII,
)
_AS: Final = re.compile(r"(\d{1,4})([DWMY])", re.ASCII)


class Domain(StrEnum):
    """The kinds of identifiers. A value is the label that goes into the HMAC, so it never changes."""

    PATIENT = "patient"
    PERSON_NAME = "person-name"
    ACCESSION_NUMBER = "accession"
    STUDY_ID = "study-id"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class DateShift:
    """A patient's dates moved by the same number of days, so that the days between any two of them survive.

    Attributes
    ----------
    days
        Whole days added to each date; negative, as dates move into the past.
    """

    days: int

    def shift_date(self, date: datetime.date) -> datetime.date | None:
        """Return the moved date, or ``None`` if it leaves the years 0001 to 9999."""
        ordinal = date.toordinal() + self.days
        return datetime.date.fromordinal(ordinal) if 1 <= ordinal <= _LAST_ORDINAL else None

    def shift_da(self, value: str) -> str | None:
        """Move one DA value (DICOM PS3.5 6.2), also in the retired form ``YYYY.MM.DD``.

        Returns
        -------
        str or None
            ``YYYYMMDD``; ``""`` for an empty value; ``None`` where the value is no date or the result leaves the
            years 0001 to 9999, so that the caller empties or replaces it.
        """
        value = value.strip(_NOT_SIGNIFICANT)
        if not value:
            return ""
        match = _DA.fullmatch(value)
        if match is None:
            return None
        year, month, day, dotted_month, dotted_day = match.groups()
        moved = self._moved(int(year), int(month or dotted_month), int(day or dotted_day))
        return None if moved is None else _format_date(moved)

    def shift_dt(self, value: str) -> str | None:
        """Move one DT value (DICOM PS3.5 6.2), its time, fraction and offset from UTC unchanged.

        A value that stops at the month or the year keeps that precision: the middle of its period is moved and cut
        again, so it is off by at most half a period.

        Returns
        -------
        str or None
            As `shift_da`.
        """
        value = value.strip(_NOT_SIGNIFICANT)
        if not value:
            return ""
        match = _DT.fullmatch(value)
        if match is None:
            return None
        month, day = match["month"], match["day"]
        moved = self._moved(int(match["year"]), int(month or 7), int(day or (15 if month else 2)))
        if moved is None:
            return None
        precision = 8 if day else 6 if month else 4
        return _format_date(moved)[:precision] + (match["time"] or "") + (match["offset"] or "")

    def _moved(self, year: int, month: int, day: int) -> datetime.date | None:
        try:
            return self.shift_date(datetime.date(year, month, day))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class PatientPseudonyms:
    """Pseudonyms of one patient.

    Attributes
    ----------
    patient_id
        Pseudonym for PatientID, 16 characters ``A-Z2-7``. It is also the family name of the patient's pseudonymous PN,
        so that a viewer which lists patients by name tells them apart.
    """

    patient_id: str
    _shift_seed: int

    @property
    def patient_name(self) -> str:
        """The patient's PN value: a family name alone."""
        return self.patient_id

    def date_shift(self, minimum_days: int, maximum_days: int) -> DateShift:
        """Return the patient's shift into the past, uniform over the range and the same each time.

        Parameters
        ----------
        minimum_days, maximum_days
            The profile's range in days, both ends included, at least 1: a shift of zero would publish the true dates.

        Raises
        ------
        ValueError
            If the range is empty or holds zero.
        """
        if not 1 <= minimum_days <= maximum_days:
            raise ValueError("the date shift's range must be 1 <= minimum_days <= maximum_days")
        return DateShift(-(minimum_days + self._shift_seed % (maximum_days - minimum_days + 1)))


class Pseudonyms:
    """Pseudonyms under one key.

    Parameters
    ----------
    key
        256 secret random bits.

    Raises
    ------
    ValueError
        If the key isn't 32 bytes.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the pseudonym key must be {KEY_BYTES} bytes, not {len(key)}")
        self._key = bytes(key)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Build from 64 hexadecimal characters, as the secret holds the key.

        Raises
        ------
        ValueError
            If the text is anything else. The message doesn't quote it.
        """
        if re.fullmatch(r"\s*[0-9A-Fa-f]{64}\s*", text, re.ASCII) is None:
            raise ValueError(f"the pseudonym key must be written as {2 * KEY_BYTES} hexadecimal characters")
        return cls(bytes.fromhex(text.strip()))

    @property
    def key_id(self) -> str:
        """16 hexadecimal characters that name the key and tell nothing of it; stamped into results for key rotation."""
        return self._digest("key-id")[:8].hex()

    def uid(self, original: str) -> str:
        """Map a UID to a UUID-derived one, ``2.25.`` and at most 39 digits (DICOM PS3.5 B.2).

        The UUID is of version 8, which RFC 9562 5.8 sets aside for values that an application derives on its own.
        UIDs that the standard registers (DICOM PS3.6 Annex A) identify nobody and are returned as they are, and so is
        an empty value.
        """
        original = original.strip(_NOT_SIGNIFICANT)
        if not original or is_well_known(original):
            return original
        bits = int.from_bytes(self._digest("uid", original)[:16], "big")
        bits = bits & ~(0xF << 76) | 0x8 << 76
        bits = bits & ~(0x3 << 62) | 0x2 << 62
        return f"2.25.{bits}"

    def identifier(self, domain: Domain, *values: str) -> str:
        """Map an identifier to 16 characters ``A-Z2-7``, valid for SH, LO, CS, PN and as a part of a file name.

        Parameters
        ----------
        domain
            The identifier's kind: equal values of different kinds have unrelated pseudonyms.
        *values : str
            The value and, if it is unique within something only, what it is unique in. Leading and trailing spaces
            are not significant (DICOM PS3.5 6.2), case is.
        """
        return _base32(self._digest(domain, *map(_normalised, values)))

    def patient(self, patient_id: str, issuer: str, study_instance_uid: str) -> PatientPseudonyms:
        """Return the pseudonyms of the patient that PatientID names within its issuer's scope.

        Parameters
        ----------
        patient_id, issuer
            PatientID (0010,0020) and IssuerOfPatientID (0010,0021), either may be empty.
        study_instance_uid
            Stands in for an empty PatientID: such a study is a patient of its own, since joining the nameless would
            make one patient of many.

        Raises
        ------
        ValueError
            If both PatientID and Study Instance UID are empty.
        """
        scope = ("id", _normalised(patient_id), _normalised(issuer))
        if not scope[1]:
            scope = ("study", _normalised(study_instance_uid), "")
        if not scope[1]:
            raise ValueError("neither PatientID nor StudyInstanceUID has a value: nothing names the patient")
        seed = int.from_bytes(self._digest("date-shift", *scope)[:16], "big")
        return PatientPseudonyms(_base32(self._digest(Domain.PATIENT, *scope)), seed)

    def _digest(self, label: str, *values: str) -> bytes:
        # The length before each value keeps ("ab", "c") and ("a", "bc") apart.
        parts = [label, *(f"{len(value)}:{value}" for value in values)]
        return hmac.digest(self._key, "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256")


def is_well_known(uid: str) -> bool:
    """Tell whether the standard registers a UID (DICOM PS3.6 Annex A), so that it identifies nobody."""
    return uid.startswith("1.2.840.10008.") and _WELL_KNOWN_UID.fullmatch(uid) is not None


def cap_age(value: str) -> str | None:
    """Replace an AS value over 89 years by ``090Y`` (45 CFR 164.514(b)(2)(i)(C)).

    Returns
    -------
    str or None
        The value itself up to 89 years, ``""`` for an empty one, ``None`` if it is no age.
    """
    value = value.strip(_NOT_SIGNIFICANT)
    if not value:
        return ""
    match = _AS.fullmatch(value)
    if match is None:
        return None
    number, unit = int(match[1]), match[2]
    return "090Y" if number / _UNITS_A_YEAR[unit] >= 90 else value


_UNITS_A_YEAR: Final = {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}
_LAST_ORDINAL: Final = datetime.date.max.toordinal()


def _format_date(date: datetime.date) -> str:
    return f"{date.year:04}{date.month:02}{date.day:02}"


def _normalised(value: str) -> str:
    return unicodedata.normalize("NFC", value.strip(_NOT_SIGNIFICANT))


def _base32(digest: bytes) -> str:
    return base64.b32encode(digest[:10]).decode("ascii")
