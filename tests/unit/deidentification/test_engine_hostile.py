"""Mutated and hostile objects: each ends released or rejected, within bounded time and memory."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.deidentification.engine import RejectedError
from runtime.dicom.elements import MAXIMUM_DEPTH
from runtime.dicom.errors import DicomError
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource, FileSource
from tests.deidentification import bundled_file, bundled_files, deidentified, deidentifier, encoded, opened

SECONDS = 10
MUTATIONS = 10_000
LARGEST = 40_000

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def small_files() -> list[bytes]:
    return [path.read_bytes() for path in bundled_files() if path.stat().st_size < LARGEST]


def mutated(content: bytes, random_: random.Random) -> bytes:
    """Return the content with one to four accidents of transmission, storage or software."""
    changed = bytearray(content)
    for _ in range(random_.randint(1, 4)):
        position = random_.randrange(132, max(min(len(changed), 6000), 133))
        length = random_.choice((1, 2, 4, 8, 40))
        match random_.randrange(6):
            case 0:
                changed[position : position + length] = random_.randbytes(length)
            case 1:
                del changed[position : position + length]
            case 2:
                changed[position:position] = random_.randbytes(length)
            case 3:
                changed[position : position + 4] = random_.choice(
                    (b"\xff" * 4, b"\xfe\xff\0\xe0", b"\0\0\0\x7f", b"UN\0\0")
                )
            case 4:
                other = random_.randrange(132, len(content))
                changed[position:position] = content[other : other + 200]
            case _:
                del changed[random_.randrange(132, len(changed) + 132) :]
    return bytes(changed)


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_release_or_reject_whatever_becomes_of_a_file(profile_name: str) -> None:
    random_ = random.Random(20261123)
    files = small_files()
    ends = {"released": 0, "rejected": 0}
    slowest = 0.0
    started = time.monotonic()
    for _ in range(MUTATIONS):
        content = mutated(random_.choice(files), random_)
        before = time.monotonic()
        try:
            result = deidentified(content, profile_name)
        except (DicomError, RejectedError):
            ends["rejected"] += 1
        else:
            ends["released"] += 1
            read_header(BytesSource(result.content))
        slowest = max(slowest, time.monotonic() - before)
        if time.monotonic() - started > SECONDS:
            break
    assert min(ends.values()) > 100, ends
    assert slowest < 5


def nested(depth: int, *, undefined: bool, inner: bytes = b"") -> bytes:
    """Return a file whose Content Sequence is nested so deep."""
    value = inner
    for _ in range(depth):
        if undefined:
            item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + value + b"\xfe\xff\x0d\xe0\0\0\0\0"
            value = b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
        else:
            item = b"\xfe\xff\0\xe0" + struct.pack("<L", len(value)) + value
            value = b"\x40\0\x30\xa7SQ\0\0" + struct.pack("<L", len(item)) + item
    source = opened(ct_small())
    del source.PixelData
    source.remove_private_tags()
    for element in [element.tag for element in source if element.tag > 0x0040A730]:
        del source[element]
    return encoded(source) + value


def ct_small() -> bytes:
    return bundled_file("CT_small.dcm")


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_reach_hundreds_of_levels_deep(profile_name: str, *, undefined: bool) -> None:
    name = b"\x40\0\x60\xa1UT\0\0\x10\0\0\0Dr. Doctor Smith" + b"\x40\0\x23\xa1PN\x0a\0Smith^Jane"
    result = deidentified(nested(900, undefined=undefined, inner=name), profile_name)
    assert b"Smith" not in result.content
    inner = read_header(BytesSource(result.content)).data_set.elements[-1]
    depth = 0
    while inner.items:
        depth, inner = depth + 1, inner.items[0].elements[-1]
    assert depth == 900


def test_should_reject_deeper_nesting_than_any_object_needs() -> None:
    with pytest.raises(DicomError, match="NESTED_TOO_DEEP"):
        deidentified(nested(MAXIMUM_DEPTH + 1, undefined=True))


def test_should_stay_within_memory_when_many_items_lie_deep() -> None:
    items = b"\xfe\xff\0\xe0\0\0\0\0" * 5_000
    many = b"\x40\0\x30\xa7SQ\0\0" + struct.pack("<L", len(items)) + items
    content = nested(800, undefined=True, inner=many)
    deidentified(content)
    tracemalloc.start()
    try:
        deidentified(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "keyword", ["PatientID", "PatientName", "StudyDescription", "FrameOfReferenceUID", "SliceThickness"]
)
def test_should_not_keep_items_in_an_attribute_that_is_no_sequence(keyword: str) -> None:
    source = opened(ct_small())
    tag = source[keyword].tag
    hidden = b"\x40\0\x60\xa1UT\0\0\x0a\0\0\0Smith Jane"
    item = b"\xfe\xff\0\xe0" + struct.pack("<L", len(hidden)) + hidden
    encoded_tag = struct.pack("<HH", tag.group, tag.element)
    content = encoded(source)
    header = read_header(BytesSource(content))
    element = header.find(tag)
    assert element is not None
    forged = encoded_tag + b"SQ\0\0" + struct.pack("<L", len(item)) + item
    content = content[: element.start] + forged + content[element.stop :]
    for profile_name in ("basic", "research"):
        try:
            result = deidentified(content, profile_name)
        except (DicomError, RejectedError):
            continue
        if keyword != "SliceThickness":  # which no rule names: what it holds identifies nobody the header knows
            assert b"Smith" not in result.content


def test_should_not_depend_on_where_a_file_lies(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(ct_small())
    from_file = deidentifier("research").deidentify(read_header(FileSource(tmp_path / "a.dcm")))
    from_bytes = deidentified(ct_small()).deidentified
    assert replace(from_file, origin=None) == replace(from_bytes, origin=None)
    assert from_file.origin is not None
    assert from_bytes.origin is not None
    assert from_file.origin.read() == from_bytes.origin.read()
