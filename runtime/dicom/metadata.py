"""Facts of an object that may leave the PHI zone, and the description of its image."""

from __future__ import annotations

from dataclasses import dataclass
from struct import unpack_from
from typing import Final

from pydicom.config import IGNORE
from pydicom.uid import UID

from runtime.contract.objects import ObjectFacts
from runtime.dicom import tags
from runtime.dicom.header import Header
from runtime.dicom.nesting import nested_data_sets

MAXIMUM_FRAMES: Final = 2**31 - 1
"""Greatest Number of Frames (0028,0008) that its VR IS holds (DICOM PS3.5 6.2)."""

_LONGEST_NUMBER: Final = 64
MODALITIES: Final = frozenset(
    {"ANN", "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DG", "DMS", "DOC", "DX"}
    | {"ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO"}
    | {"LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS"}
    | {"OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTINTENT"}
    | {"RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "STAIN"}
    | {"TEXTUREMAP", "TG", "US", "VA", "XA", "XAPROTOCOL", "XC"}
    | {"AS", "CD", "CF", "CP", "CS", "DD", "DF", "DM", "DS", "EC", "FA", "FS", "LP", "MA", "MS", "OPR", "ST", "VF"}
)
"""Defined terms of Modality (0008,0060), the retired ones last (DICOM PS3.3 C.7.3.1.1.1)."""


@dataclass(frozen=True, slots=True, repr=False)
class ImageDescription:
    """Image Pixel Module (DICOM PS3.3 C.7.6.3). Absent, empty and unreadable values are None."""

    photometric_interpretation: str | None
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    """between 1 and `MAXIMUM_FRAMES`; None also where the attribute is absent, which means one frame"""
    samples_per_pixel: int | None
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None


def describe_image(header: Header) -> ImageDescription:
    """Return what the header tells of its image. Odd values never raise."""
    return ImageDescription(
        photometric_interpretation=header.text(tags.PHOTOMETRIC_INTERPRETATION),
        rows=_unsigned_short(header, tags.ROWS),
        columns=_unsigned_short(header, tags.COLUMNS),
        number_of_frames=_number_of_frames(header),
        samples_per_pixel=_unsigned_short(header, tags.SAMPLES_PER_PIXEL),
        bits_allocated=_unsigned_short(header, tags.BITS_ALLOCATED),
        bits_stored=_unsigned_short(header, tags.BITS_STORED),
        high_bit=_unsigned_short(header, tags.HIGH_BIT),
    )


def object_facts(header: Header, *, bytes_read: int) -> ObjectFacts:
    """Return what may leave the PHI zone: numbers within their VR's bounds, and coded values that DICOM defines.

    Parameters
    ----------
    header
        The object's header.
    bytes_read
        Bytes that the step fetched from S3.
    """
    image = describe_image(header)
    modality = header.text(tags.MODALITY)
    sop_class_uid = UID(header.text(tags.SOP_CLASS_UID) or "", IGNORE)
    return ObjectFacts(
        sop_class_uid=sop_class_uid if sop_class_uid.type == "SOP Class" else None,
        transfer_syntax_uid=header.transfer_syntax,
        modality=modality if modality in MODALITIES else None,
        rows=image.rows,
        columns=image.columns,
        number_of_frames=image.number_of_frames,
        samples_per_pixel=image.samples_per_pixel,
        bits_allocated=image.bits_allocated,
        element_count=sum(len(data_set.elements) for data_set in nested_data_sets(header)),
        header_size=header.data_set.stop,
        bytes_read=bytes_read,
    )


def _unsigned_short(header: Header, tag: int) -> int | None:
    element = header.find(tag)
    if element is None or element.items is not None or element.value_stop - element.value_start < 2:
        return None
    return int(unpack_from(f"{header.encoding.byte_order}H", header.content, element.value_start)[0])


def _number_of_frames(header: Header) -> int | None:
    text = header.text(tags.NUMBER_OF_FRAMES) or ""
    try:
        frames = int(text[:_LONGEST_NUMBER])
    except ValueError:
        return None
    return frames if 1 <= frames <= MAXIMUM_FRAMES else None
