"""A file with a unique marker in every attribute that PS3.15 Table E.1-1 names, through every option."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from runtime.deidentification.engine import Deidentifier
from runtime.deidentification.profile import Profile
from runtime.deidentification.pseudonyms import Pseudonyms, cap_age
from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.resolution import decide
from runtime.deidentification.rules.table import Action, rule_for
from runtime.dicom.dictionary import dictionary_vr
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from tests.deidentification import FAR, KEY, Result, releasing, with_options
from tests.marker_file import ACQUISITION, TRANSFER_SYNTAXES, Marker, MarkerFile, Place, marker_file

SYNTAXES = (*TRANSFER_SYNTAXES, DeflatedExplicitVRLittleEndian)
RESEARCH = releasing("research").model_copy(update={"date_shift": FAR})
PROFILES = {"research": RESEARCH, **{str(option): with_options(option) for option in Option}}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def marked(transfer_syntax: UID) -> MarkerFile:
    if transfer_syntax != DeflatedExplicitVRLittleEndian:
        return marker_file(transfer_syntax)
    plain = marker_file(ExplicitVRLittleEndian)
    stop = read_header(BytesSource(plain.content)).data_set.elements[0].start
    old, new = (uid.encode() + b"\0" * (len(uid) % 2) for uid in (ExplicitVRLittleEndian, transfer_syntax))
    transfer = b"\x02\0\x10\0UI%c\0%s"
    meta = plain.content[:stop].replace(transfer % (len(old), old), transfer % (len(new), new))
    length = int.from_bytes(meta[140:144], "little") + len(new) - len(old)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(plain.content[stop:]) + deflater.flush()
    return MarkerFile(meta[:140] + length.to_bytes(4, "little") + meta[144:] + deflated, plain.markers)


def survivors(source: MarkerFile, profile: Profile) -> tuple[Result, list[Marker]]:
    result = Result(source.content, Deidentifier(profile, Pseudonyms(KEY)))
    content = result.content
    if result.header.transfer_syntax.is_deflated:
        inflated = read_header(BytesSource(content)).source
        content += inflated.read(0, inflated.size)
    return result, source.survivors(content)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_should_leave_no_marker_and_keep_acquisition_under_the_basic_profile(transfer_syntax: UID) -> None:
    source = marked(transfer_syntax)
    result, left = survivors(source, releasing("basic"))
    assert [(marker.place, hex(marker.tag)) for marker in left] == []
    data_set = result.data_set
    before = {keyword: value.decode().rstrip() for keyword, value in ACQUISITION.items()}
    assert len(before) == 25
    assert {keyword: _text(data_set[keyword].value) for keyword in before} == before


@pytest.mark.parametrize("transfer_syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_should_leave_markers_only_where_an_option_keeps_or_cleans(profile: Profile, transfer_syntax: UID) -> None:
    source = marked(transfer_syntax)
    _, left = survivors(source, profile)
    known_vr = {m for m in source.markers if not transfer_syntax.is_implicit_VR or dictionary_vr(m.tag) != "UN"}
    expected = [marker for marker in source.markers if marker in known_vr and _stays(marker, profile)]
    assert [_named(marker) for marker in left if marker in known_vr] == [_named(marker) for marker in expected]
    for marker in left:
        rule = rule_for(marker.tag)
        assert rule is not None
        decision = decide(rule, profile)
        assert decision.action in (Action.KEEP, Action.CLEAN)
        assert any(option.code.meaning in decision.reason for option in profile.options), rule.keyword


def test_should_clear_file_meta_and_preamble() -> None:
    result, left = survivors(marker_file(ExplicitVRLittleEndian), RESEARCH)
    assert not [marker for marker in left if marker.place in (Place.FILE_META, Place.PRIVATE, Place.UNKNOWN_VR)]
    assert result.content[:132] == bytes(128) + b"DICM"


def _stays(marker: Marker, profile: Profile) -> bool:
    """Tell whether a marker is to survive: kept values do but for ages over 89; of cleaned ones text and times."""
    rule = rule_for(marker.tag) if marker.place in (Place.TOP, Place.NESTED) else None
    if rule is None or rule.tag is None:
        return False  # private, or an overlay or curve: pixels and samples, which nothing here could clean
    action = decide(rule, profile).action
    if action is Action.KEEP:
        return marker.vr != "AS" or cap_age(marker.content.decode()) == marker.content.decode()
    return action is Action.CLEAN and marker.vr in _CLEANED_AS_TEXT


_CLEANED_AS_TEXT = {"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT", "TM", "SQ"}


def _named(marker: Marker) -> str:
    return f"{marker.place} ({marker.tag >> 16:04X},{marker.tag & 0xFFFF:04X}) {marker.vr}"


def _text(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
