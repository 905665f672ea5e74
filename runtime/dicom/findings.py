"""Findings: the one table of codes, each with its severity and its message.

An error is what makes an object unusable or unsafe to process. The rest is a warning, recorded and let through,
because real scanners break the standard daily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from runtime.contract.objects import Finding, Severity
from runtime.dicom.errors import DicomError

MAXIMUM_REPORTED: Final = 100
"""Findings that a step answers with: what passes between states is limited to 256 KiB."""
MAXIMUM_PATH: Final = 200
"""Characters of an attribute's path in a finding; of a longer one the two ends remain."""


class FindingRule(NamedTuple):
    """Severity of a code, and the sentence that says what is wrong and what to do."""

    severity: Severity
    message: str


def _errors(rules: Mapping[str, str]) -> dict[str, FindingRule]:
    return {code: FindingRule(Severity.ERROR, message) for code, message in rules.items()}


def _warnings(rules: Mapping[str, str]) -> dict[str, FindingRule]:
    return {code: FindingRule(Severity.WARNING, message) for code, message in rules.items()}


_UNREADABLE: Final = {
    "OBJECT_DELETED": "The object's version was deleted before it was read; upload the file again.",
    "EMPTY_OBJECT": "The object has no bytes; upload the file again.",
    "NOT_DICOM": "There is no DICM prefix after a preamble of 128 bytes; export the file in DICOM Part 10 format.",
    "DICOM_DIRECTORY": "The object is a DICOMDIR, an index of other files; upload the files it lists instead.",
    "TRUNCATED_HEADER": "The object ends inside its header; upload the complete file again.",
    "MALFORMED_HEADER": "An element can't be parsed where it must be; export the file again from its source.",
    "NESTED_TOO_DEEP": "Sequences are nested deeper than any real object needs; have the source's export checked.",
    "HEADER_TOO_LARGE": "The header is larger than can be processed; export the file without bulk data in its header.",
    "TOO_MANY_ELEMENTS": "The header has more elements than can be processed; have the source's export checked.",
    "MISSING_TRANSFER_SYNTAX": "The file meta information names no transfer syntax; export the file again.",
    "UNKNOWN_TRANSFER_SYNTAX": "The transfer syntax is none of DICOM's; export the file in a standard one.",
    "CORRUPT_DEFLATE_STREAM": "The deflated data set can't be inflated; upload the complete file again.",
    "INFLATES_TOO_LARGE": "The deflated data set inflates to more than can be processed; export it undeflated.",
}

_UNIDENTIFIED: Final = {
    "MISSING_SOP_CLASS_UID": "Without a SOP Class UID nothing tells what the object is; export it again.",
    "MISSING_SOP_INSTANCE_UID": "Without a SOP Instance UID the object can't be identified; export it again.",
    "MISSING_STUDY_INSTANCE_UID": "Without a Study Instance UID the object belongs to no study; export it again.",
    "MISSING_SERIES_INSTANCE_UID": "Without a Series Instance UID the object belongs to no series; export it again.",
}

_CONTRADICTORY_PIXELS: Final = {
    "TRUNCATED_PIXEL_DATA": "The object ends inside its pixel data; upload the complete file again.",
    "MISSING_PIXEL_DATA": "An image without pixel data is cut short or was exported empty; upload the complete file.",
    "MISSING_PIXEL_DESCRIPTION": "Pixel data can't be decoded without this attribute; export the file again.",
    "CONTRADICTORY_PIXEL_DESCRIPTION": "The attribute contradicts others that describe the pixels; export it again.",
    "PIXEL_DATA_TOO_SHORT": "There is less pixel data than rows, columns, samples, bits and frames say; upload again.",
    "MISSING_ENCAPSULATION": "The transfer syntax is compressed but the pixel data is not; export the file again.",
    "UNEXPECTED_ENCAPSULATION": "Pixel data is encapsulated but its transfer syntax or VR is not; export again.",
    "MALFORMED_FRAGMENTS": "Compressed pixel data is not a sequence of items; upload the complete file again.",
    "TOO_MANY_FRAGMENTS": "There are more fragments of pixel data than can be processed; have the export checked.",
    "TOO_FEW_FRAGMENTS": "There are fewer fragments of pixel data than frames; upload the complete file again.",
    "FRAGMENTS_CONTRADICT_FRAMES": "This compression has one fragment a frame, the object has not; export it again.",
    "OFFSET_TABLE_INCONSISTENT": "The table of frame offsets does not point at the frames; export the file again.",
}

_RISKS: Final = {
    "RISK_BURNED_IN_ANNOTATION": "The object declares text burned into its pixels; review and redact the pixels.",
    "RISK_SECONDARY_CAPTURE": "A secondary capture or screen save often shows the patient's name; review the pixels.",
    "RISK_ULTRASOUND": "Ultrasound images often show the patient's name; review the pixels.",
    "RISK_VISIBLE_LIGHT": "A photograph may show the patient or a label; review the pixels.",
    "RISK_VIDEO": "A video may show or name the patient; review the pixels.",
    "RISK_SCANNED_DOCUMENT": "A scanned document usually names the patient; review the pixels.",
    "RISK_ENCAPSULATED_DOCUMENT": "An encapsulated document can't be judged from its header; review the document.",
    "RISK_AUDIO": "A recording may say who speaks or of whom; review the waveform.",
    "RISK_OPAQUE_DATA": "Raw data is in a form of its vendor's that can't be searched; review it with its software.",
    "RISK_SLIDE_LABEL": "A slide's label or overview usually names the patient; review the pixels.",
    "RISK_RECOGNIZABLE_FACE": "A face could be rendered from the images; deface them, or choose another profile.",
    "TOO_MANY_IDENTIFIERS": "The header names more people and ids than can be searched for; have the export checked.",
    "RESIDUAL_IDENTIFIER": "An identifier of the source is left in the result, which was not released.",
}

_CONFLICTS: Final = {
    "CONFLICTING_INSTANCE": "An object of other content came first with this SOP Instance UID; correct the source.",
}

_BROKEN_VALUES: Final = {
    "INVALID_UID": "A UID has components without leading zeros, at most 64 characters in all; correct the source.",
    "INVALID_DATE": "A date is written YYYYMMDD and exists in the calendar; correct the source.",
    "INVALID_TIME": "A time is written HHMMSS.FFFFFF or its beginning and exists on a clock; correct the source.",
    "INVALID_DATE_TIME": "A date time is written YYYYMMDDHHMMSS.FFFFFF&ZZXX or its beginning; correct the source.",
    "INVALID_AGE": "An age is three digits and one of D, W, M, Y; correct the source.",
    "INVALID_CODE": "A code string has capitals, digits, space and underscore only; correct the source.",
    "INVALID_NUMBER": "The text is no number of its VR or exceeds its range; correct the source.",
    "INVALID_PERSON_NAME": "A person name has at most three groups of at most five components; correct the source.",
    "INVALID_URI": "A URI has no spaces before its end and only characters of RFC 3986; correct the source.",
    "INVALID_CHARACTER": "The VR does not allow a control character or backslash that is in it; correct the source.",
    "UNDECODABLE_TEXT": "The text has bytes outside its Specific Character Set; declare the right character set.",
    "UNKNOWN_CHARACTER_SET": "A term of Specific Character Set is none of DICOM's; declare the right character set.",
    "VALUE_TOO_LONG": "A value is longer than its VR allows; correct the source.",
    "INVALID_LENGTH": "The length is odd or no multiple of what one value of its VR takes; correct the source.",
    "VALUE_MULTIPLICITY": "The attribute has fewer or more values than DICOM PS3.6 allows; correct the source.",
    "VR_MISMATCH": "The VR is not the one that DICOM PS3.6 gives the attribute; correct the source.",
    "UNKNOWN_VR": "The VR is none of DICOM's; have the source's export checked.",
    "ELEMENTS_OUT_OF_ORDER": "Elements are not in the order of their tags; have the source's export checked.",
    "DUPLICATE_ELEMENT": "The element is there more than once, and readers differ in which they take; correct it.",
}

_INCOMPLETE: Final = {
    "MISSING_TYPE_1": "The attribute is required with a value (Type 1) but absent or empty; complete it at the source.",
    "MISSING_TYPE_2": "The attribute is required, empty if unknown (Type 2), but absent; complete it at the source.",
    "MISSING_FILE_META": "The attribute is required in the file meta information; have the source's export checked.",
    "FILE_META_LENGTH": "The group length of the file meta information is wrong; have the source's export checked.",
    "FILE_META_MISMATCH": "The file meta information contradicts the data set; have the source's export checked.",
}

_ODD_PIXELS: Final = {
    "PIXEL_DATA_TOO_LONG": "There is more pixel data than rows, columns, samples, bits and frames say; check it.",
    "UNUSUAL_HIGH_BIT": "High Bit is not Bits Stored less one; check that the source's images display as they should.",
    "ODD_PIXEL_DATA_LENGTH": "Pixel data or a fragment of it has an odd length; have the source's export checked.",
    "EMPTY_FRAGMENT": "A fragment of the pixel data has no bytes; check that all frames display.",
    "FRAMES_NOT_DELIMITED": "There are more fragments than frames and no table of offsets; check that frames display.",
    "TRAILING_DATA": "Bytes that are no element follow the pixel data; have the source's export checked.",
}

_REPORTING: Final = {
    "MORE_FINDINGS": "There are more findings than are listed; correct the listed ones first.",
}

FINDINGS: Final[Mapping[str, FindingRule]] = MappingProxyType(
    _errors(_UNREADABLE | _UNIDENTIFIED | _CONTRADICTORY_PIXELS | _RISKS | _CONFLICTS)
    | _warnings(_BROKEN_VALUES | _INCOMPLETE | _ODD_PIXELS | _REPORTING)
)
"""Every code, with its severity and message. This table alone decides what quarantines an object."""


def finding(code: str, *, attribute: str | None = None, offset: int | None = None) -> Finding:
    """Return the finding for a code.

    Parameters
    ----------
    code
        A key of `FINDINGS`.
    attribute
        Keyword or ``(gggg,eeee)``, with the path of sequences and item numbers before it.
    offset
        Byte offset in the object.
    """
    rule = FINDINGS[code]
    if attribute is not None and len(attribute) > MAXIMUM_PATH:
        attribute = f"{attribute[: MAXIMUM_PATH // 2]}...{attribute[-MAXIMUM_PATH // 2 :]}"
    return Finding(code=code, severity=rule.severity, attribute=attribute, offset=offset, message=rule.message)


def from_error(error: DicomError) -> Finding:
    """Return the finding for what stopped the reading of an object."""
    return finding(error.code, attribute=error.attribute, offset=error.offset)


def as_errors(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings as a strict stage judges them: every warning is an error."""
    return [finding.model_copy(update={"severity": Severity.ERROR}) for finding in findings]


def reported(findings: Sequence[Finding]) -> list[Finding]:
    """Return at most `MAXIMUM_REPORTED` findings, errors first, closed by ``MORE_FINDINGS`` where that isn't all."""
    if len(findings) <= MAXIMUM_REPORTED:
        return list(findings)
    errors_first = sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)
    return [*errors_first[: MAXIMUM_REPORTED - 1], finding("MORE_FINDINGS")]
