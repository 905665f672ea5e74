"""Identifying values of a header, and the attributes that hold them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from runtime.dicom import tags


class Kind(StrEnum):
    """Kind of an identifying value, by which it is searched for in free text."""

    PERSON = "person"
    CODE = "code"
    DATE = "date"
    BIRTH_DATE = "birth-date"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifying values of one header, decoded, of every depth.

    Attributes
    ----------
    people
        PN values, with all their component groups.
    codes
        Identifiers that an institution assigns: PatientID, AccessionNumber, telephone numbers and the like.
    dates, birth_dates
        DA and DT values.
    places
        Institutions, departments, addresses.
    """

    people: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    birth_dates: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Iterable[tuple[Kind, str]]) -> Self:
        """Collect values by their kind, each distinct one once; backslashes separate values as in DICOM PS3.5 6.4."""
        found: dict[Kind, dict[str, None]] = {kind: {} for kind in Kind}
        for kind, value in values:
            found[kind].update(dict.fromkeys(filter(None, (part.strip(" \0") for part in value.split("\\")))))
        return cls(
            people=tuple(found[Kind.PERSON]),
            codes=tuple(found[Kind.CODE]),
            dates=tuple(found[Kind.DATE]),
            birth_dates=tuple(found[Kind.BIRTH_DATE]),
            places=tuple(found[Kind.PLACE]),
        )


def kind_of(tag: int, vr: str) -> Kind | None:
    """Tell how the values of an attribute identify, if they do: by its VR, or by its tag for codes and places."""
    return _KIND_OF_TAG.get(tag) or _KIND_OF_VR.get(vr)


def parsed_date(value: str) -> datetime.date | None:
    """Return the day of a DA or DT value, ``None`` where it has none."""
    match = re.match(r"(\d{4})[-./]?(\d\d)[-./]?(\d\d)", value)
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


_KIND_OF_VR: Final = {"PN": Kind.PERSON, "DA": Kind.DATE, "DT": Kind.DATE}
_CODES: Final = (
    tags.ACCESSION_NUMBER,
    tags.REFERRING_PHYSICIAN_TELEPHONE_NUMBERS,
    tags.STATION_NAME,
    tags.PATIENT_ID,
    tags.OTHER_PATIENT_IDS,
    tags.MEDICAL_RECORD_LOCATOR,
    tags.PATIENT_TELEPHONE_NUMBERS,
    tags.CLINICAL_TRIAL_SUBJECT_ID,
    tags.CLINICAL_TRIAL_SUBJECT_READING_ID,
    tags.DEVICE_SERIAL_NUMBER,
    tags.STUDY_ID,
    tags.ADMISSION_ID,
    tags.SERVICE_EPISODE_ID,
    tags.SCHEDULED_PROCEDURE_STEP_ID,
    tags.PERFORMED_PROCEDURE_STEP_ID,
    tags.CONTAINER_IDENTIFIER,
    tags.SPECIMEN_IDENTIFIER,
    tags.REQUESTED_PROCEDURE_ID,
    tags.PERSON_TELEPHONE_NUMBERS,
    tags.PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
    tags.FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
)
_PLACES: Final = (
    tags.INSTITUTION_NAME,
    tags.INSTITUTION_ADDRESS,
    tags.REFERRING_PHYSICIAN_ADDRESS,
    tags.INSTITUTIONAL_DEPARTMENT_NAME,
    tags.ISSUER_OF_PATIENT_ID,
    tags.PATIENT_ADDRESS,
    tags.REGION_OF_RESIDENCE,
    tags.RESPONSIBLE_ORGANIZATION,
    tags.CLINICAL_TRIAL_SITE_NAME,
    tags.CURRENT_PATIENT_LOCATION,
    tags.PATIENT_INSTITUTION_RESIDENCE,
    tags.PERSON_ADDRESS,
)
_KIND_OF_TAG: Final = {
    tags.PATIENT_BIRTH_DATE: Kind.BIRTH_DATE,
    **dict.fromkeys(_CODES, Kind.CODE),
    **dict.fromkeys(_PLACES, Kind.PLACE),
}
