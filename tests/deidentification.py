"""De-identifiers of the shipped profiles, and what tests do with a result."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from runtime.deidentification.engine import Deidentified, Deidentifier
from runtime.deidentification.profile import DateShiftRange, Policy, Profile, load_profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.rules.options import Option
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource

KEY = bytes(range(32))
FAR = DateShiftRange(minimum_days=1000, maximum_days=2000)


@cache
def releasing(name: str) -> Profile:
    """Return a shipped profile that releases whatever risk an object bears."""
    profile = load_profile(name)
    return profile.model_copy(update={"risks": dict.fromkeys(profile.risks, Policy.RELEASE)})


@cache
def with_options(*options: Option) -> Profile:
    """Return the Basic Profile with options; dates move further than any two dates of a test lie apart."""
    shift = FAR if Option.RETAIN_LONGITUDINAL_MODIFIED_DATES in options else None
    return releasing("basic").model_copy(update={"options": frozenset(options), "date_shift": shift})


@cache
def deidentifier(profile_name: str, key: bytes = KEY) -> Deidentifier:
    return Deidentifier(releasing(profile_name), Pseudonyms(key))


class Result:
    """A de-identified object, put together as delivery does it."""

    def __init__(self, content: bytes, by: Deidentifier) -> None:
        self.header = read_header(BytesSource(content))
        self.deidentified: Deidentified = by.deidentify(self.header)
        origin = self.deidentified.origin
        self.content = self.deidentified.header + (b"" if origin is None else origin.read())

    @property
    def data_set(self) -> Dataset:
        return opened(self.content)


def deidentified(content: bytes, profile_name: str = "research") -> Result:
    return Result(content, deidentifier(profile_name))


def opened(content: bytes) -> Dataset:
    return dcmread(io.BytesIO(content))


def encoded(data_set: Dataset) -> bytes:
    """Return a data set as a file in explicit VR little endian, where it doesn't say otherwise."""
    if not hasattr(data_set, "file_meta"):
        data_set.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in data_set.file_meta:
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def bundled_files() -> list[Path]:
    """Return pydicom's bundled files."""
    return sorted(path for path in map(Path, get_testdata_files()) if path.is_file())


def bundled_file(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()
