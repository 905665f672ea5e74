"""What holds for every data set: generated ones, nested, in any encoding and character set."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from runtime.deidentification.engine import RejectedError
from runtime.deidentification.rules.table import rules
from runtime.dicom.header import read_header
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.source import BytesSource
from runtime.dicom.vr import LONG_VRS
from tests.deidentification import Result, deidentified

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

CT_IMAGE_STORAGE = b"1.2.840.10008.5.1.4.1.1.2"
NAME, PATIENT_ID = "Quillfeather^Zebediah", "QZX774411"
TEXTS = st.sampled_from(
    [
        "",
        "CT Chest",
        NAME,
        "for ZEBEDIAH",
        f"MRN {PATIENT_ID}",
        "seen 2004-01-19",
        "T2 ax 1.5mm",
        "Kopf",
        "a\\b\\",
        "  ",
    ]
)
UIDS = st.sampled_from(
    ["1.2.3.4.5.6.77", "1.2.3.4.5.6.78", "1.2.840.10008.1.4.1.1", "", "1.2.3.4.5.6.77\\1.2.3.4.5.6.79"]
)
DATES = st.sampled_from(["20040119", "", "20040119\\20050228", "2004.01.19", "nonsense", "19000101"])
CODES = st.sampled_from(["CT", "ORIGINAL\\PRIMARY", "", "YES"])
VALUES = {
    **dict.fromkeys(("LO", "SH", "ST", "LT", "UT", "UC", "AE"), TEXTS),
    "PN": st.sampled_from([NAME, "", "Miller^Dr.", f"{NAME}\\Other^Name"]),
    "UI": UIDS,
    "DA": DATES,
    "DT": st.sampled_from(["20040119101112.5+0100", "2004", "", "x"]),
    "TM": st.sampled_from(["101112", "", "10"]),
    "AS": st.sampled_from(["095Y", "042Y", "", "?"]),
    "CS": CODES,
    "DS": st.sampled_from(["1.5", "", "1\\2\\3"]),
    "IS": st.sampled_from(["1", "", "-3"]),
    "UR": st.sampled_from(["https://pacs.example/1.2.3.4.5.6.77", ""]),
}
_NAMED = [rule.tag for rule in rules() if rule.tag is not None and 0x00080005 < rule.tag < 0x7FE00000]
_UNNAMED = [0x00080008, 0x00080060, 0x00180015, 0x00180024, 0x00180050, 0x00280010, 0x00080104, 0x0040A160, 0x00081167]
_SEQUENCES = [0x00081115, 0x00081140, 0x0040A730, 0x00400275, 0x00082218, 0x00700001, 0x00409096, 0x52009229]
_FIXED = (0x00080016, 0x00080018, 0x00100010, 0x00100020, 0x0020000D, 0x0020000E)


class Generated(NamedTuple):
    """One element before it is encoded."""

    tag: int
    vr: str
    value: str
    items: list[list[Generated]] | None = None
    undefined: bool = False
    as_unknown: bool = False


def _vr(tag: int) -> str | None:
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return vr if vr in VALUES else None


_TAGS = [tag for tag in (*_NAMED, *_UNNAMED) if tag not in _FIXED and _vr(tag)]


@st.composite
def _plain(draw: st.DrawFn) -> Generated:
    tag = draw(st.sampled_from(_TAGS))
    vr = _vr(tag)
    assert vr is not None
    return Generated(tag, vr, draw(VALUES[vr]), as_unknown=draw(st.integers(0, 9)) == 0)


@st.composite
def _private(draw: st.DrawFn) -> Generated:
    number = draw(st.sampled_from([0x0010, 0x1008, 0x100C, 0x100D, 0x1077]))
    creator = draw(st.sampled_from(["SIEMENS MR HEADER", "QUILLFEATHER"]))
    return Generated(0x00190000 | number, "LO", creator if number == 0x0010 else draw(TEXTS))


def _sequence(children: st.SearchStrategy[list[Generated]]) -> st.SearchStrategy[Generated]:
    return st.builds(
        Generated,
        tag=st.sampled_from(_SEQUENCES),
        vr=st.just("SQ"),
        value=st.just(""),
        items=st.lists(children, max_size=3),
        undefined=st.booleans(),
        as_unknown=st.integers(0, 4).map(lambda number: number == 0),
    )


_DATA_SETS = st.recursive(
    st.lists(st.one_of(_plain(), _plain(), _private()), max_size=8),
    lambda inner: st.lists(st.one_of(_plain(), _sequence(inner)), max_size=5),
    max_leaves=12,
)


@dataclass
class _Encoder:
    implicit: bool
    order: str
    codec: str

    def data_set(self, elements: list[Generated]) -> bytes:
        unique = {element.tag: element for element in elements}
        return b"".join(self.element(unique[tag]) for tag in sorted(unique))

    def element(self, element: Generated) -> bytes:
        hidden = element.as_unknown and not self.implicit
        if element.items is not None:
            within = _Encoder(implicit=True, order="<", codec=self.codec) if hidden else self
            value = b"".join(within.item(item, undefined=element.undefined) for item in element.items)
        else:
            value = element.value.encode(self.codec, "replace")
            value += (b"\0" if element.vr == "UI" else b" ") * (len(value) % 2)
        undefined = element.undefined and element.items is not None and not (hidden and self.order == ">")
        if undefined:
            value += struct.pack(("<" if hidden else self.order) + "HHL", 0xFFFE, 0xE0DD, 0)
        return self.header(element.tag, "UN" if hidden else element.vr, 0xFFFFFFFF if undefined else len(value)) + value

    def item(self, elements: list[Generated], *, undefined: bool) -> bytes:
        content = self.data_set(elements)
        if undefined:
            content += struct.pack(self.order + "HHL", 0xFFFE, 0xE00D, 0)
        return struct.pack(self.order + "HHL", 0xFFFE, 0xE000, 0xFFFFFFFF if undefined else len(content)) + content

    def header(self, tag: int, vr: str, length: int) -> bytes:
        place = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return place + struct.pack(self.order + "L", length)
        if vr in LONG_VRS:
            return place + vr.encode() + b"\0\0" + struct.pack(self.order + "L", length)
        return place + vr.encode() + struct.pack(self.order + "H", length)


CHARACTER_SETS = {"": "ascii", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8", "GB18030": "gb18030"}
ENCODINGS = {
    ExplicitVRLittleEndian: (False, "<"),
    ExplicitVRBigEndian: (False, ">"),
    ImplicitVRLittleEndian: (True, "<"),
}


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    syntax = draw(st.sampled_from(sorted(ENCODINGS)))
    character_set = draw(st.sampled_from(sorted(CHARACTER_SETS)))
    implicit, order = ENCODINGS[syntax]
    fixed = [
        Generated(0x00080005, "CS", character_set),
        Generated(0x00080016, "UI", CT_IMAGE_STORAGE.decode()),
        *(Generated(tag, "UI", f"1.2.3.4.5.6.7{tag & 0xF}") for tag in (0x00080018, 0x0020000D, 0x0020000E)),
        Generated(0x00100010, "PN", NAME),
        Generated(0x00100020, "LO", PATIENT_ID),
    ]
    content = _Encoder(implicit, order, CHARACTER_SETS[character_set]).data_set([*draw(_DATA_SETS), *fixed])
    meta = _Encoder(implicit=False, order="<", codec="ascii")
    elements = meta.data_set(
        [Generated(0x00020002, "UI", CT_IMAGE_STORAGE.decode()), Generated(0x00020010, "UI", syntax)]
    )
    return draw(st.binary(min_size=128, max_size=128)) + b"DICM" + elements + content


def verdict(content: bytes, profile_name: str) -> Result | frozenset[tuple[str, str | None]]:
    try:
        return deidentified(content, profile_name)
    except RejectedError as error:
        return frozenset((reason.code, reason.attribute) for reason in error.findings)


SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@SETTINGS
@given(content=objects(), profile_name=st.sampled_from(["basic", "research"]))
def test_should_leave_no_identifier_and_keep_the_structure_sound(content: bytes, profile_name: str) -> None:
    result = verdict(content, profile_name)
    if not isinstance(result, Result):
        assert {code for code, _ in result} == {"RESIDUAL_IDENTIFIER"}
        return
    after = read_header(BytesSource(result.content))
    assert after.data_set.stop == after.source.size
    for needle in (b"quillfeather", b"zebediah", PATIENT_ID.lower().encode(), b"20040119", b"1.2.3.4.5.6.7"):
        assert needle not in result.content.lower()
    tags = [element.tag for element in after.data_set.elements]
    assert tags == sorted(set(tags))
    for element in (element for data_set in nested_data_sets(after) for element in data_set.elements):
        assert (element.value_stop - element.value_start) % 2 == 0
    assert str(result.data_set)


@SETTINGS
@given(content=objects(), profile_name=st.sampled_from(["basic", "research"]))
def test_should_give_the_same_verdict_each_time_and_release_a_result_again(content: bytes, profile_name: str) -> None:
    first, second = verdict(content, profile_name), verdict(content, profile_name)
    if not isinstance(first, Result):
        assert first == second
        return
    assert isinstance(second, Result)
    assert first.content == second.content
    assert first.deidentified == second.deidentified
    again = verdict(first.content, profile_name)
    assert isinstance(again, Result)
    assert [element.tag for element in again.header.data_set.elements] == [
        element.tag for element in read_header(BytesSource(again.content)).data_set.elements
    ]
