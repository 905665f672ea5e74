"""Builds DICOM files byte by byte, valid or broken in one way, and finds pydicom's."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from struct import pack
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID

from runtime.dicom.header import Header, read_header
from runtime.dicom.source import BytesSource

DATA = Path(pydicom.__file__).parent / "data"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
LONG_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
UNDEFINED = 0xFFFFFFFF
UNREADABLE = {
    "DICOMDIR-nooffset": "TRUNCATED_HEADER",
    "SC_rgb_jpeg.dcm": "MALFORMED_HEADER",  # an explicit VR transfer syntax over an implicit VR data set
    "meta_missing_tsyntax.dcm": "MISSING_TRANSFER_SYNTAX",
    "rtplan_truncated.dcm": "TRUNCATED_HEADER",
}
"""pydicom's files whose header can't be read, and why."""
ITEM_END = pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END = pack("<HHL", 0xFFFE, 0xE0DD, 0)


def pydicom_files() -> list[Path]:
    """Return every file that pydicom bundles and that begins as DICOM Part 10 says."""
    files = sorted(path for folder in ("test_files", "charset_files") for path in (DATA / folder).rglob("*"))
    return [path for path in files if path.is_file() and path.read_bytes()[128:132] == b"DICM"]


def bundled(name: str) -> bytes:
    """Return the content of one of pydicom's test files."""
    return (DATA / "test_files" / name).read_bytes()


def explicit(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """Encode an element in explicit VR little endian; `length` where it is to be another than the value's."""
    length = len(value) if length is None else length
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (pack("<HL", 0, length) if vr in LONG_VRS else pack("<H", length)) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """Encode an element in implicit VR little endian."""
    return pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes, *, undefined: bool = False) -> bytes:
    """Encode an item."""
    if undefined:
        return pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) + content + ITEM_END
    return pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def part10(data_set: bytes, transfer_syntax: str = EXPLICIT, meta: bytes = b"") -> bytes:
    """Put preamble and file meta information before an encoded data set."""
    uid = transfer_syntax.encode()
    content = meta + explicit(0x00020010, "UI", uid + b"\0" * (len(uid) % 2))
    return bytes(128) + b"DICM" + explicit(0x00020000, "UL", pack("<L", len(content))) + content + data_set


def valid_image(transfer_syntax: str = EXPLICIT, **attributes: Any) -> Dataset:
    """Return an image of 4 x 2 pixels that complies; attributes given as None are left out."""
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": "1.2.3.4",
        "StudyDate": "20240229",
        "StudyTime": "235960.123456",
        "AccessionNumber": "",
        "Modality": "CT",
        "ReferringPhysicianName": "",
        "PatientName": "Doe^Jane",
        "PatientID": "4711",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.5",
        "StudyID": "",
        "SeriesNumber": "1",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 2,
        "Columns": 4,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": bytes(16),
    }
    data_set = data_set_of(**values | attributes)
    if data_set.get("PixelData") is not None:
        data_set["PixelData"].VR = "OW" if transfer_syntax != JPEG else "OB"
    data_set.file_meta = pydicom.dataset.FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return data_set


def data_set_of(**attributes: Any) -> Dataset:
    """Return a data set of any values, valid or not; attributes given as None are left out."""
    data_set = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in attributes.items():
            if value is not None:
                setattr(data_set, keyword, value)
    return data_set


def encode(data_set: Dataset) -> bytes:
    """Return a data set as a DICOM Part 10 file."""
    buffer = BytesIO()
    if data_set.file_meta.TransferSyntaxUID == JPEG and "PixelData" in data_set:
        data_set["PixelData"].is_undefined_length = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(buffer, data_set, enforce_file_format=True)
    return buffer.getvalue()


def header_of(content: bytes) -> Header:
    """Read a header from bytes."""
    return read_header(BytesSource(content))


def fragments(*contents: bytes, table: bytes = b"") -> bytes:
    """Encode encapsulated pixel data."""
    return b"".join(item(content) for content in (table, *contents)) + SEQUENCE_END
