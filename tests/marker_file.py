"""A DICOM file with a unique marker wherever identity may hide.

Every attribute of PS3.15 Table E.1-1 is in it, at top level and two sequences deep, and so are private attributes,
sequences hidden in VR UN, file meta information and the preamble. What must survive is in it too: attributes that
describe how an image was acquired. A tool that de-identifies by the Basic Profile leaves no marker and all of those.
"""

import datetime
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID, CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from runtime.deidentification.rules.table import Rule, rules

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian)

ACQUISITION = {
    "Modality": b"CT",
    "ScanningSequence": b"SE",
    "SliceThickness": b"2.5",
    "KVP": b"120",
    "RepetitionTime": b"500",
    "EchoTime": b"15",
    "MagneticFieldStrength": b"3",
    "SpacingBetweenSlices": b"2.5",
    "DataCollectionDiameter": b"500",
    "ReconstructionDiameter": b"360",
    "GantryDetectorTilt": b"0",
    "ExposureTime": b"1000",
    "XRayTubeCurrent": b"170",
    "FilterType": b"BODY FILTER",
    "FocalSpots": b"0.7",
    "ConvolutionKernel": b"STANDARD",
    "FlipAngle": b"90",
    "PatientPosition": b"FFS",
    "ImagePositionPatient": b"-158.1\\-179.0\\-75.7",
    "ImageOrientationPatient": b"1\\0\\0\\0\\1\\0",
    "SliceLocation": b"-77.2",
    "PixelSpacing": b"0.66\\0.66",
    "WindowCenter": b"40",
    "WindowWidth": b"400",
    "RescaleIntercept": b"-1024",
}
"""25 attributes that should survive."""

NESTED_IN = ("SharedFunctionalGroupsSequence", "PixelMeasuresSequence")
HIDDEN_IN_UNKNOWN = ("FrameVOILUTSequence", "RealWorldValueMappingSequence")
"""Sequences that are written in VR UN: the first with a defined, the second with an undefined length."""
UNSAFE_CREATOR = "QZ MARKER CREATOR"

_IMAGE = {"SamplesPerPixel": 1, "Rows": 4, "Columns": 4, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
_PIXELS = bytes(range(16))
_CODE_MEANING = 0x00080104
_LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_FIRST_DATE = datetime.date(1931, 1, 1)
_ALPHABET = "BCDFGHJKLMNPRSTV"


class Place(StrEnum):
    """Where a marker is."""

    TOP = "top"
    NESTED = "nested"
    PRIVATE = "private"
    UNKNOWN_VR = "UN"
    FILE_META = "meta"


class Marker(NamedTuple):
    """One marker and the attribute that holds it."""

    place: Place
    tag: int
    """0 for the preamble"""
    vr: str
    content: bytes


class MarkerFile(NamedTuple):
    """The file, and what is in it."""

    content: bytes
    markers: list[Marker]

    def survivors(self, result: bytes) -> list[Marker]:
        """Return the markers that a result still holds."""
        return [marker for marker in self.markers if marker.content in result]


def marker_file(transfer_syntax: UID = ExplicitVRLittleEndian, *, every_attribute: bool = False) -> MarkerFile:
    """Build the file: a CT image of 4 x 4 pixels in one of `TRANSFER_SYNTAXES`.

    Dates are consecutive days from 1931 on: a shift of more than 300 days moves none of them onto another one.

    Parameters
    ----------
    transfer_syntax
        Of the file.
    every_attribute
        Put a marker into every other attribute of DICOM PS3.6 too that has room for one, but for those without which
        the pixels are others.
    """
    return _Builder(transfer_syntax, every_attribute=every_attribute).build()


class _Builder:
    def __init__(self, transfer_syntax: UID, *, every_attribute: bool = False) -> None:
        self._transfer_syntax = transfer_syntax
        self._every_attribute = every_attribute
        self._implicit = transfer_syntax.is_implicit_VR
        self._order = "<" if transfer_syntax.is_little_endian else ">"
        self._markers: list[Marker] = []

    def build(self) -> MarkerFile:
        elements = dict(self._other_attributes(Place.TOP)) | dict(self._table_rows(Place.TOP))
        elements.update(self._acquisition())
        elements.update(self._unknown_sequences())
        elements.update(self._private(Place.PRIVATE))
        nested = dict(self._other_attributes(Place.NESTED)) | dict(self._table_rows(Place.NESTED))
        nested.update(self._private(Place.PRIVATE))
        outer, inner = (_tag(keyword) for keyword in NESTED_IN)
        elements[outer] = self._sequence(outer, self._sequence(inner, _joined(nested.items())))
        preamble = self._marker(Place.FILE_META, 0, "OB").ljust(128, b"\0")
        sop_instance_uid = next(marker.content for marker in self._markers if marker.tag == 0x00080018)
        content = preamble + b"DICM" + self._file_meta(sop_instance_uid) + _joined(elements.items())
        return MarkerFile(content, self._markers)

    def _table_rows(self, place: Place) -> Iterator[tuple[int, bytes]]:
        for rule in rules():
            tag = rule.tag or _FIRST_OF_REPEATING.get(rule.pattern, 0)
            if tag >> 16 >= 0x0008 and not (place is Place.NESTED and tag >= 0x7FE00000):
                yield tag, self._marked(place, tag, _vr(rule))

    def _other_attributes(self, place: Place) -> Iterator[tuple[int, bytes]]:
        """Yield the attributes that no row of the table names."""
        if not self._every_attribute:
            return
        named = {rule.tag for rule in rules()} | {_tag(keyword) for keyword in (*ACQUISITION, *_STRUCTURE)}
        for tag, (vr, *_) in DicomDictionary.items():
            if tag not in named and tag >> 16 >= 0x0008 and tag >> 16 not in _PIXEL_GROUPS and vr in _ROOMY:
                yield tag, self._marked(place, tag, vr)

    def _acquisition(self) -> Iterator[tuple[int, bytes]]:
        yield _tag("SOPClassUID"), self._element(_tag("SOPClassUID"), "UI", CTImageStorage.encode())
        yield _tag("PhotometricInterpretation"), self._element(_tag("PhotometricInterpretation"), "CS", b"MONOCHROME2")
        yield _tag("PixelRepresentation"), self._element(_tag("PixelRepresentation"), "US", bytes(2))
        yield _tag("PixelData"), self._element(_tag("PixelData"), "OB", _PIXELS)
        for keyword, number in _IMAGE.items():
            yield _tag(keyword), self._element(_tag(keyword), "US", struct.pack(self._order + "H", number))
        for keyword, value in ACQUISITION.items():
            yield _tag(keyword), self._element(_tag(keyword), dictionary_VR(_tag(keyword)), value)

    def _unknown_sequences(self) -> Iterator[tuple[int, bytes]]:
        """Yield sequences in VR UN, whose items are in implicit VR little endian whatever the file is in."""
        for keyword, undefined in zip(HIDDEN_IN_UNKNOWN, (False, True), strict=True):
            tag, name = _tag(keyword), 0x00100010
            marker = self._marker(Place.UNKNOWN_VR, name, "PN")
            order = self._order if self._implicit else "<"
            item = struct.pack(order + "HHL", 0x0010, 0x0010, len(marker)) + marker
            value = struct.pack(order + "HHL", 0xFFFE, 0xE000, len(item)) + item
            if not undefined or self._order == ">":  # pydicom can't read an undefined length there
                yield tag, self._element(tag, "UN", value)
                continue
            header = self._element(tag, "UN", b"")[:-4]
            yield tag, header + b"\xff" * 4 + value + struct.pack(order + "HHL", 0xFFFE, 0xE0DD, 0)

    def _private(self, place: Place) -> Iterator[tuple[int, bytes]]:
        """Yield a block of private attributes: its creator, six values and, last, one without a creator."""
        creator = UNSAFE_CREATOR.encode()
        yield 0x00190010, self._element(0x00190010, "LO", creator)
        for number, vr in enumerate(("LO", "PN", "UI", "DA", "OB", "SQ")):
            tag = 0x00191001 + number
            yield tag, self._marked(place, tag, vr)
        yield 0x00211001, self._marked(place, 0x00211001, "LO")

    def _file_meta(self, sop_instance_uid: bytes) -> bytes:
        meta = _Builder(ExplicitVRLittleEndian)
        elements = [
            meta._element(0x00020001, "OB", b"\0\1"),
            meta._element(0x00020002, "UI", CTImageStorage.encode()),
            meta._element(0x00020003, "UI", sop_instance_uid),
            meta._element(0x00020010, "UI", self._transfer_syntax.encode()),
            meta._element(0x00020012, "UI", b"1.2.3.4"),
            *(meta._marked(Place.FILE_META, 0x00020000 + number, "AE") for number in (0x16, 0x17, 0x18)),
            meta._element(0x00020100, "UI", b"1.2.3.4.5"),
            meta._marked(Place.FILE_META, 0x00020102, "OB"),
        ]
        self._markers += meta._markers
        content = b"".join(elements)
        return meta._element(0x00020000, "UL", struct.pack("<L", len(content))) + content

    def _marked(self, place: Place, tag: int, vr: str) -> bytes:
        """Encode an attribute that holds a marker; a sequence holds it as a code's meaning."""
        marker = self._marker(place, tag, vr)
        if vr == "SQ":
            return self._sequence(tag, self._element(_CODE_MEANING, "LO", marker))
        return self._element(tag, vr, marker)

    def _marker(self, place: Place, tag: int, vr: str) -> bytes:
        offset = 0x8000 if place is Place.FILE_META else 0  # file meta has a builder of its own
        content = _CONTENTS.get(vr, _letters)(len(self._markers) + offset)
        self._markers.append(Marker(place, tag, vr, content))
        return content

    def _sequence(self, tag: int, item: bytes) -> bytes:
        return self._element(tag, "SQ", struct.pack(self._order + "HHL", 0xFFFE, 0xE000, len(item)) + item)

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return struct.pack(self._order + "HHL", group, number, len(value)) + value
        if vr in _LONG_VRS:
            return struct.pack(self._order + "HH2sHL", group, number, vr.encode(), 0, len(value)) + value
        return struct.pack(self._order + "HH2sH", group, number, vr.encode(), len(value)) + value


_STRUCTURE = ("SpecificCharacterSet", "SOPClassUID", *NESTED_IN, *HIDDEN_IN_UNKNOWN)
_PIXEL_GROUPS = (0x0028, 0x5400, 0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE)
_ROOMY = {
    *("AE", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "OB", "PN", "SH", "SQ", "ST", "TM"),
    *("UC", "UI", "UR", "UT"),
}
_FIRST_OF_REPEATING = {"50xx,xxxx": 0x50003000, "60xx,3000": 0x60003000, "60xx,4000": 0x60004000}


def _vr(rule: Rule) -> str:
    return "OB" if " or " in rule.vr else rule.vr


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _joined(elements: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(encoded for _, encoded in sorted(elements))


def _letters(number: int) -> bytes:
    """Return eight capitals, which no VR of text refuses and which are no word; as binary, whole values of any VR."""
    digits = (_ALPHABET[number >> shift & 0xF] for shift in (12, 8, 4, 0))
    return f"QZ{''.join(digits)}QZ".encode()


def _day(number: int) -> str:
    return f"{_FIRST_DATE + datetime.timedelta(days=number % 0x4000):%Y%m%d}"


_CONTENTS: dict[str, Callable[[int], bytes]] = {
    "DA": lambda number: _day(number).encode(),
    "DT": lambda number: f"{_day(number)}0102{number % 60:02}.{number:06}".encode(),
    "TM": lambda number: f"0102{number % 60:02}.{number:06}".encode(),
    "AS": lambda number: f"{number % 1000:03}D".encode(),
    "DS": lambda number: f"7310.{number:05}".encode(),
    "IS": lambda number: f"731{number:05}".encode(),
    "UI": lambda number: f"1.2.826.0.1.3680043.10.7310.{number + 10000}".encode(),
    "UR": lambda number: b"https://" + _letters(number).lower() + b".example/",
}
"""The marker for a VR, unique for each number below 65,536 in a VR that has room for it."""
