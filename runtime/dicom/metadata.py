"""What a header tells of patient, study, series and image, as models that don't show their values.

The models hold PHI: they are read where they are made and never logged, returned by a step or put into state.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from struct import unpack_from
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict
from pydicom.config import IGNORE
from pydicom.uid import UID

from runtime.contract.objects import ObjectFacts
from runtime.dicom.character_sets import DEFAULT_CODECS, codecs_of, decode_text
from runtime.dicom.elements import walk
from runtime.dicom.header import Header

MAXIMUM_FRAMES: Final = 2**31 - 1
"""What Number of Frames (0028,0008) holds at most: its VR IS ends there (DICOM PS3.5 6.2)."""

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


_T = TypeVar("_T")


class _Metadata(BaseModel):
    """A frozen model whose text shows no value, wherever it is printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return []


class PatientMetadata(_Metadata):
    """Patient Module (DICOM PS3.3 C.7.1.1). Absent, empty and unreadable values are None, here and below."""

    patient_name: str | None
    """component groups and their delimiters as they are encoded, decoded to text"""
    patient_id: str | None
    issuer_of_patient_id: str | None
    birth_date: date | None
    sex: str | None


class StudyMetadata(_Metadata):
    """General Study Module (DICOM PS3.3 C.7.2.1)."""

    study_instance_uid: str | None
    study_id: str | None
    study_date: date | None
    study_time: time | None
    accession_number: str | None
    referring_physician_name: str | None
    description: str | None


class SeriesMetadata(_Metadata):
    """General Series and General Equipment Modules (DICOM PS3.3 C.7.3.1, C.7.5.1)."""

    series_instance_uid: str | None
    series_number: int | None
    modality: str | None
    description: str | None
    body_part_examined: str | None
    manufacturer: str | None
    model_name: str | None


class ImageMetadata(_Metadata):
    """SOP Common and Image Pixel Modules (DICOM PS3.3 C.12.1, C.7.6.3)."""

    sop_class_uid: str | None
    sop_instance_uid: str | None
    instance_number: int | None
    photometric_interpretation: str | None
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    """between 1 and `MAXIMUM_FRAMES`; None also where the attribute is absent, which means one frame"""
    samples_per_pixel: int | None
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None


class DicomMetadata(_Metadata):
    """All of an object's metadata."""

    patient: PatientMetadata
    study: StudyMetadata
    series: SeriesMetadata
    image: ImageMetadata


def extract_metadata(header: Header) -> DicomMetadata:
    """Return what the header tells. Odd values never raise: they are None here, findings in compliance."""
    read = _Values(header)
    return DicomMetadata(
        patient=PatientMetadata(
            patient_name=read.text(0x00100010),
            patient_id=read.text(0x00100020),
            issuer_of_patient_id=read.text(0x00100021),
            birth_date=read.date(0x00100030),
            sex=read.text(0x00100040),
        ),
        study=StudyMetadata(
            study_instance_uid=read.text(0x0020000D),
            study_id=read.text(0x00200010),
            study_date=read.date(0x00080020),
            study_time=read.time(0x00080030),
            accession_number=read.text(0x00080050),
            referring_physician_name=read.text(0x00080090),
            description=read.text(0x00081030),
        ),
        series=SeriesMetadata(
            series_instance_uid=read.text(0x0020000E),
            series_number=read.integer(0x00200011),
            modality=read.text(0x00080060),
            description=read.text(0x0008103E),
            body_part_examined=read.text(0x00180015),
            manufacturer=read.text(0x00080070),
            model_name=read.text(0x00081090),
        ),
        image=_image(read),
    )


def extract_image_metadata(header: Header) -> ImageMetadata:
    """Return what the header tells of the image alone."""
    return _image(_Values(header))


def object_facts(header: Header, *, bytes_read: int) -> ObjectFacts:
    """Return what may leave the PHI zone: numbers within their VR's bounds, and coded values that DICOM defines.

    Parameters
    ----------
    header
        The object's header.
    bytes_read
        Bytes that the step fetched from S3.
    """
    image = extract_image_metadata(header)
    modality = header.text(0x00080060)
    is_class = UID(image.sop_class_uid or "", IGNORE).type == "SOP Class"
    return ObjectFacts(
        sop_class_uid=image.sop_class_uid if is_class else None,
        transfer_syntax_uid=header.transfer_syntax,
        modality=modality if modality in MODALITIES else None,
        rows=image.rows,
        columns=image.columns,
        number_of_frames=image.number_of_frames,
        samples_per_pixel=image.samples_per_pixel,
        bits_allocated=image.bits_allocated,
        element_count=sum(1 for _ in walk(header.data_set.elements)),
        header_size=header.data_set.stop,
        bytes_read=bytes_read,
    )


def _image(read: _Values) -> ImageMetadata:
    frames = read.integer(0x00280008)
    return ImageMetadata(
        sop_class_uid=read.text(0x00080016),
        sop_instance_uid=read.text(0x00080018),
        instance_number=read.integer(0x00200013),
        photometric_interpretation=read.text(0x00280004),
        rows=read.unsigned_short(0x00280010),
        columns=read.unsigned_short(0x00280011),
        number_of_frames=frames if frames and 1 <= frames <= MAXIMUM_FRAMES else None,
        samples_per_pixel=read.unsigned_short(0x00280002),
        bits_allocated=read.unsigned_short(0x00280100),
        bits_stored=read.unsigned_short(0x00280101),
        high_bit=read.unsigned_short(0x00280102),
    )


class _Values:
    """Tolerant access to the values of a header's top level."""

    def __init__(self, header: Header) -> None:
        self._values = {
            element.tag: header.value(element) for element in header.data_set.elements if element.items is None
        }
        character_set = self._values.get(0x00080005)
        self._codecs = DEFAULT_CODECS if character_set is None else codecs_of(character_set)
        self._byte_order = header.encoding.byte_order

    def text(self, tag: int) -> str | None:
        value = self._values.get(tag)
        return decode_text(value, self._codecs).strip("\0 ") or None if value else None

    def unsigned_short(self, tag: int) -> int | None:
        value = self._values.get(tag, b"")
        return int(unpack_from(f"{self._byte_order}H", value)[0]) if len(value) >= 2 else None

    def integer(self, tag: int) -> int | None:
        return self._parse(tag, int)

    def date(self, tag: int) -> date | None:
        return self._parse(tag, lambda text: date(int(text[:4]), int(text[4:6]), int(text[6:8])))

    def time(self, tag: int) -> time | None:
        """Return a time; second 60, a leap second, becomes 59."""
        return self._parse(tag, lambda text: time(int(text[:2]), int(text[2:4] or 0), min(int(text[4:6] or 0), 59)))

    def _parse(self, tag: int, convert: Callable[[str], _T]) -> _T | None:
        text = (self._values.get(tag) or b"")[:64].decode("ascii", "replace").strip("\0 ")
        try:
            return convert(text)
        except ValueError:
            return None
