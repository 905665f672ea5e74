"""Check for the attributes that DICOM PS3.3 and PS3.10 require of every object."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack_from
from typing import Final

from pydicom.config import IGNORE
from pydicom.uid import UID

from runtime.contract.objects import Finding
from runtime.dicom import tags
from runtime.dicom.character_sets import read_ascii
from runtime.dicom.elements import Element, attribute_text
from runtime.dicom.findings import finding
from runtime.dicom.header import Header

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"

_IDENTITY: Final = {
    tags.SOP_CLASS_UID: "MISSING_SOP_CLASS_UID",
    tags.SOP_INSTANCE_UID: "MISSING_SOP_INSTANCE_UID",
    tags.STUDY_INSTANCE_UID: "MISSING_STUDY_INSTANCE_UID",
    tags.SERIES_INSTANCE_UID: "MISSING_SERIES_INSTANCE_UID",
}
_TYPE_1: Final = (
    tags.MODALITY,  # General Series Module, C.7.3.1
)
_TYPE_2: Final = (
    *(tags.PATIENT_NAME, tags.PATIENT_ID, tags.PATIENT_BIRTH_DATE, tags.PATIENT_SEX),  # Patient Module, C.7.1.1
    *(tags.STUDY_DATE, tags.STUDY_TIME, tags.ACCESSION_NUMBER),  # General Study Module, C.7.2.1
    *(tags.REFERRING_PHYSICIAN_NAME, tags.STUDY_ID),
    tags.SERIES_NUMBER,  # General Series Module, C.7.3.1
)
_PIXEL_DESCRIPTION: Final = (tags.SAMPLES_PER_PIXEL, tags.ROWS, tags.COLUMNS, tags.BITS_ALLOCATED)
"""Image Pixel Module, C.7.6.3: without these nobody can decode the pixels."""
_PIXEL_TYPE_1: Final = (tags.PHOTOMETRIC_INTERPRETATION, tags.BITS_STORED, tags.HIGH_BIT, tags.PIXEL_REPRESENTATION)
_FLOATING_PIXEL_TYPE_1: Final = (tags.PHOTOMETRIC_INTERPRETATION,)
"""Floating Point Image Pixel Module, C.7.6.24."""
_PALETTE: Final = (
    tags.RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags.GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags.BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
)

_FILE_META: Final = (
    *(tags.FILE_META_INFORMATION_GROUP_LENGTH, tags.FILE_META_INFORMATION_VERSION),
    *(tags.MEDIA_STORAGE_SOP_CLASS_UID, tags.MEDIA_STORAGE_SOP_INSTANCE_UID),
    *(tags.TRANSFER_SYNTAX_UID, tags.IMPLEMENTATION_CLASS_UID),
)
_SAME_IN_DATA_SET: Final = {
    tags.MEDIA_STORAGE_SOP_CLASS_UID: tags.SOP_CLASS_UID,
    tags.MEDIA_STORAGE_SOP_INSTANCE_UID: tags.SOP_INSTANCE_UID,
}


def is_directory(header: Header) -> bool:
    """Tell whether the object is a DICOMDIR (DICOM PS3.10 8)."""
    classes = (element for element in header.file_meta if element.tag == tags.MEDIA_STORAGE_SOP_CLASS_UID)
    return any(read_ascii(header.value(element)) == MEDIA_STORAGE_DIRECTORY for element in classes)


def check_file_meta(header: Header) -> Iterator[Finding]:
    """Yield what is missing from the file meta information or contradicts the data set (DICOM PS3.10 7.1)."""
    found = {element.tag: element for element in header.file_meta}
    for tag in _FILE_META:
        if tag not in found or not header.value(found[tag]).strip(b"\0 "):
            yield finding("MISSING_FILE_META", attribute=attribute_text(tag))
    length = found.get(tags.FILE_META_INFORMATION_GROUP_LENGTH)
    if length is not None and _unsigned_long(header, length) != header.file_meta[-1].stop - length.stop:
        yield finding("FILE_META_LENGTH", attribute=attribute_text(length.tag), offset=length.start)
    for tag, same in _SAME_IN_DATA_SET.items():
        element, twin = found.get(tag), header.find(same)
        if element and twin and header.value(element).strip(b"\0 ") != header.value(twin).strip(b"\0 "):
            yield finding("FILE_META_MISMATCH", attribute=attribute_text(tag), offset=element.start)


def check_modules(header: Header) -> Iterator[Finding]:
    """Yield the attributes that are missing or empty in the modules every object has, and in those of an image."""
    for tag, code in _IDENTITY.items():
        if _is_empty(header, tag):
            yield finding(code, attribute=attribute_text(tag))
    yield from _check_image(header)
    for tag in _TYPE_1:
        if _is_empty(header, tag):
            yield finding("MISSING_TYPE_1", attribute=attribute_text(tag))
    for tag in _TYPE_2:
        if header.find(tag) is None:
            yield finding("MISSING_TYPE_2", attribute=attribute_text(tag))


def _check_image(header: Header) -> Iterator[Finding]:
    bulk_data = header.data_set.bulk_data
    if bulk_data is None:
        if _is_image_class(header) and header.find(tags.PIXEL_DATA_PROVIDER_URL) is None:
            yield finding("MISSING_PIXEL_DATA", attribute="PixelData", offset=header.data_set.stop)
        return
    for tag in _PIXEL_DESCRIPTION:
        if _is_empty(header, tag):
            yield finding("MISSING_PIXEL_DESCRIPTION", attribute=attribute_text(tag))
    type_1 = _PIXEL_TYPE_1 if bulk_data.tag == tags.PIXEL_DATA else _FLOATING_PIXEL_TYPE_1
    for tag in type_1 + _conditional(header):
        if _is_empty(header, tag):
            yield finding("MISSING_TYPE_1", attribute=attribute_text(tag))


def _conditional(header: Header) -> tuple[int, ...]:
    """Return the Type 1C attributes of the Image Pixel Module that this image needs."""
    samples = header.find(tags.SAMPLES_PER_PIXEL)
    is_multiple = samples is not None and header.value(samples).strip(b"\0") not in (b"", b"\1")
    palette = _PALETTE if header.text(tags.PHOTOMETRIC_INTERPRETATION) == "PALETTE COLOR" else ()
    return palette + ((tags.PLANAR_CONFIGURATION,) if is_multiple else ())


def _is_image_class(header: Header) -> bool:
    uid = UID(header.text(tags.SOP_CLASS_UID) or "", IGNORE)
    return "Image Storage" in uid.name or uid.name in ("Segmentation Storage", "Parametric Map Storage")


def _is_empty(header: Header, tag: int) -> bool:
    element = header.find(tag)
    if element is None or element.value_start == element.value_stop:
        return True
    return element.vr != "US" and not header.value(element).strip(b"\0 ")


def _unsigned_long(header: Header, element: Element) -> int | None:
    value = header.value(element)
    return int(unpack_from("<L", value)[0]) if len(value) == 4 else None
