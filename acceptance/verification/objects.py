"""The objects of a verification: images of a patient who doesn't exist, with pixels that show nothing."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from runtime.aws.storage import SINGLE_PUT_LIMIT
from runtime.contract.ledger import LedgerStatus

PATIENT_NAME: Final = "ACCEPTANCE^INVENTED"
"""Nobody's. The search of the logs looks for it."""
DESCRIPTION: Final = "Acceptance test of an invented patient"
LARGE_COLUMNS: Final = 1024
LARGE_ROWS: Final = (SINGLE_PUT_LIMIT + 1024**2) // (2 * LARGE_COLUMNS)
"""So many that the pixels are copied inside Amazon S3."""
HOSTILE: Final = "hostile/a  b+c%20d%2F&e=f;g#h?'i'\"j\",Röntgen 胸部 صدر"

_NAMESPACE: Final = uuid.UUID("5b1f2c9e-8a0d-4f55-9d3c-6f3f0f2b7a11")
"""Of the UIDs, which a run's id determines, so that what a killed run left is found by its id alone."""


class Sample(StrEnum):
    """The objects by what has to become of them."""

    DELIVERED = "delivered"
    LARGE = "large"
    HOSTILE = "hostile key"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


FIRST: Final = (Sample.DELIVERED, Sample.LARGE, Sample.HOSTILE, Sample.QUARANTINED)
SECOND: Final = (Sample.DUPLICATE, Sample.CONFLICT)
"""Repeat the delivered object, so they are uploaded after it was delivered."""
RESULTS: Final = (Sample.DELIVERED, Sample.LARGE, Sample.HOSTILE)
"""Those that have a result of their own."""


@dataclass(frozen=True)
class Expected:
    """What has to become of an object."""

    verdict: LedgerStatus
    reason_code: str | None = None

    def __str__(self) -> str:
        return f"{self.verdict} {self.reason_code or ''}".rstrip()


EXPECTED: Final = {
    Sample.DELIVERED: Expected(LedgerStatus.DELIVERED),
    Sample.LARGE: Expected(LedgerStatus.DELIVERED),
    Sample.HOSTILE: Expected(LedgerStatus.DELIVERED),
    Sample.QUARANTINED: Expected(LedgerStatus.QUARANTINED, "TRUNCATED_PIXEL_DATA"),
    Sample.DUPLICATE: Expected(LedgerStatus.DUPLICATE),
    Sample.CONFLICT: Expected(LedgerStatus.QUARANTINED, "CONFLICTING_INSTANCE"),
}


def patient_id(run_id: str) -> str:
    """Return the Patient ID of a run's invented patient: one of its own, so that its results share no folder."""
    return f"ACCEPTANCE-{run_id}"


def study_instance_uid(run_id: str) -> str:
    """Return the Study Instance UID of a run's objects."""
    return _uid(run_id, "study")


def sop_instance_uids(run_id: str) -> list[str]:
    """Return the SOP Instance UIDs of a run's objects."""
    return [_uid(run_id, sample) for sample in FIRST]


def content(run_id: str, sample: Sample) -> bytes:
    """Return an object's content, the same whenever it is asked for."""
    if sample is Sample.LARGE:
        return _image(run_id, sample, LARGE_ROWS, LARGE_COLUMNS)
    if sample is Sample.QUARANTINED:
        return _image(run_id, sample)[:-100]
    if sample is Sample.DUPLICATE:
        return content(run_id, Sample.DELIVERED)
    if sample is Sample.CONFLICT:
        other = bytearray(content(run_id, Sample.DELIVERED))
        other[-1] ^= 1
        return bytes(other)
    return _image(run_id, sample)


def pixels(run_id: str, sample: Sample) -> bytes:
    """Return the pixels of an image: the end of its content."""
    size = LARGE_ROWS * LARGE_COLUMNS if sample is Sample.LARGE else 64 * 64
    return _pixels(run_id, sample, 2 * size)


def _image(run_id: str, sample: Sample, rows: int = 64, columns: int = 64) -> bytes:
    """Return a CT image that complies with DICOM, so that a strict stage takes it too."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = _uid(run_id, sample)
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20200229"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "120000"
    image.AccessionNumber = ""
    image.Modality = "CT"
    image.Manufacturer = "None"
    image.ReferringPhysicianName = ""
    image.StudyDescription = image.SeriesDescription = DESCRIPTION
    image.PatientName = PATIENT_NAME
    image.PatientID = patient_id(run_id)
    image.PatientBirthDate = "19000101"
    image.PatientSex = "O"
    image.PatientComments = "Nobody: made by the pipeline's acceptance test"
    image.BodyPartExamined = "CHEST"
    image.KVP = "120"
    image.PatientPosition = "HFS"
    image.StudyInstanceUID = study_instance_uid(run_id)
    image.SeriesInstanceUID = _uid(run_id, "series")
    image.FrameOfReferenceUID = _uid(run_id, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.StudyID = ""
    image.SeriesNumber = 1
    image.AcquisitionNumber = 1
    image.InstanceNumber = list(Sample).index(sample) + 1
    image.ImagePositionPatient = [0, 0, 0]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.SliceThickness = 1
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = rows, columns
    image.PixelSpacing = [1, 1]
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 0
    image.BurnedInAnnotation = "NO"
    image.RescaleIntercept, image.RescaleSlope = 0, 1
    image.add_new(0x7FE00010, "OW", _pixels(run_id, sample, 2 * rows * columns))
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = BytesIO()
    dcmwrite(written, image, enforce_file_format=True)
    return written.getvalue()


def _pixels(run_id: str, sample: Sample, size: int) -> bytes:
    return random.Random(f"{run_id} {sample}").randbytes(size)  # noqa: S311 - noise, not a secret


def _uid(run_id: str, name: str) -> str:
    """Return a UID by DICOM PS3.5 B.2."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{run_id} {name}').int}"
