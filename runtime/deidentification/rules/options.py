"""The options that DICOM PS3.15 E.3 adds to the Basic Profile, and their codes (PS3.16 CID 7050)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class MethodCode(NamedTuple):
    """One item of De-identification Method Code Sequence (0012,0064); the coding scheme is always DCM."""

    value: str
    meaning: str

    def __str__(self) -> str:
        """Return meaning and value, as in ``Clean Graphics Option (113103)``."""
        return f"{self.meaning} ({self.value})"


BASIC_PROFILE_CODE: Final = MethodCode("113100", "Basic Application Confidentiality Profile")


class Option(StrEnum):
    """Options that a profile may add to the Basic Profile: one column of DICOM PS3.15 Table E.1-1 each.

    Clean Pixel Data and Clean Recognizable Visual Features are no members: both change pixels, which this pipeline
    never does.
    """

    RETAIN_SAFE_PRIVATE = "retain-safe-private"
    RETAIN_UIDS = "retain-uids"
    RETAIN_DEVICE_IDENTITY = "retain-device-identity"
    RETAIN_INSTITUTION_IDENTITY = "retain-institution-identity"
    RETAIN_PATIENT_CHARACTERISTICS = "retain-patient-characteristics"
    RETAIN_LONGITUDINAL_FULL_DATES = "retain-longitudinal-full-dates"
    RETAIN_LONGITUDINAL_MODIFIED_DATES = "retain-longitudinal-modified-dates"
    CLEAN_DESCRIPTORS = "clean-descriptors"
    CLEAN_STRUCTURED_CONTENT = "clean-structured-content"
    CLEAN_GRAPHICS = "clean-graphics"

    @property
    def code(self) -> MethodCode:
        """The option's concept of DICOM PS3.16 CID 7050."""
        return _CODES[self]


_CODES: Final = {
    Option.CLEAN_GRAPHICS: MethodCode("113103", "Clean Graphics Option"),
    Option.CLEAN_STRUCTURED_CONTENT: MethodCode("113104", "Clean Structured Content Option"),
    Option.CLEAN_DESCRIPTORS: MethodCode("113105", "Clean Descriptors Option"),
    Option.RETAIN_LONGITUDINAL_FULL_DATES: MethodCode(
        "113106", "Retain Longitudinal Temporal Information Full Dates Option"
    ),
    Option.RETAIN_LONGITUDINAL_MODIFIED_DATES: MethodCode(
        "113107", "Retain Longitudinal Temporal Information Modified Dates Option"
    ),
    Option.RETAIN_PATIENT_CHARACTERISTICS: MethodCode("113108", "Retain Patient Characteristics Option"),
    Option.RETAIN_DEVICE_IDENTITY: MethodCode("113109", "Retain Device Identity Option"),
    Option.RETAIN_UIDS: MethodCode("113110", "Retain UIDs Option"),
    Option.RETAIN_SAFE_PRIVATE: MethodCode("113111", "Retain Safe Private Option"),
    Option.RETAIN_INSTITUTION_IDENTITY: MethodCode("113112", "Retain Institution Identity Option"),
}
