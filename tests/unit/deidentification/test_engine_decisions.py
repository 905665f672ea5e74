"""Every change has a decision, and every decision says why."""

from pathlib import Path

import pytest
from pydicom import Dataset

from runtime.deidentification.engine import RejectedError
from runtime.deidentification.rules import decision as decisions
from runtime.deidentification.rules.decision import Decision
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.dicom.elements import attribute_text
from runtime.dicom.errors import DicomError
from runtime.dicom.header import Header, read_header
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.source import BytesSource
from tests.deidentification import bundled_file, bundled_files, deidentified, encoded, opened, releasing
from tests.marker_file import marker_file

OPTION = "Clean Structured Content Option (113104)"


def decided(data_set: Dataset, profile_name: str = "research") -> dict[str, Decision]:
    return deidentified(encoded(data_set), profile_name).deidentified.attributes


def image(**changes: object) -> Dataset:
    data_set = opened(bundled_file("CT_small.dcm"))
    for keyword, value in changes.items():
        setattr(data_set, keyword, value)
    return data_set


def values(header: Header) -> dict[str, bytes]:
    """Return all values by their place; of one that is there twice the last."""
    return {
        data_set.path + attribute_text(element.tag): header.value(element)
        for data_set in nested_data_sets(header)
        for element in data_set.elements
        if element.items is None
    }


def unexplained(content: bytes, profile_name: str) -> set[str]:
    """Return the places where a value changed or went without a decision for it or to remove what it is in."""
    try:
        result = deidentified(content, profile_name)
    except (DicomError, RejectedError):
        return set()
    known = {element.start: decision for element, decision in result.deidentified.decisions}
    after = values(read_header(BytesSource(result.content)))
    found: set[str] = set()
    removed: set[str] = set()
    for data_set in nested_data_sets(result.header):
        for element in data_set.elements:
            place = data_set.path + attribute_text(element.tag)
            decision = known.get(element.start)
            if decision is not None:
                removed |= {f"{place}["} if decision.action in (Action.REMOVE, Action.EMPTY) else set()
            elif element.items is None and after.get(place) != result.header.value(element):
                found.add(place)
    return {place for place in found if not any(place.startswith(sequence) for sequence in removed)}


@pytest.mark.parametrize("profile_name", ["basic", "research"])
@pytest.mark.parametrize("path", bundled_files(), ids=lambda path: path.name)
def test_should_change_no_value_without_a_decision(path: Path, profile_name: str) -> None:
    assert unexplained(path.read_bytes(), profile_name) == set()


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_change_no_value_of_any_vr_at_any_depth_without_a_decision(profile_name: str) -> None:
    assert unexplained(marker_file().content, profile_name) == set()


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_decide_simple_actions_with_reasons(profile_name: str) -> None:
    found = deidentified(marker_file().content, profile_name).deidentified.decisions
    assert len(found) > 500
    assert not [decision for _, decision in found if decision.action.is_compound or len(decision.reason) < 20]


def test_should_give_the_rule_of_the_table_as_the_reason() -> None:
    found = decided(image())
    assert found["PatientID"].action is Action.EMPTY
    assert found["PatientID"].reason == "Basic Application Level Confidentiality Profile"
    assert found["StudyInstanceUID"].action is Action.MAP_UID
    assert found["StudyDate"].action is Action.CLEAN
    assert found["StudyDate"].reason.endswith("(113107)")


def test_should_decide_that_an_age_is_capped_where_it_is() -> None:
    assert decided(image(PatientAge="094Y"))["PatientAge"] == decisions.CAPPED_AGE
    assert decided(image(PatientAge="089Y"))["PatientAge"].action is Action.KEEP


def test_should_decide_by_what_the_search_found() -> None:
    found = decided(image(PatientName="Quillfeather^Zebediah", SequenceName="Quillfeather"))
    assert found["SequenceName"] == decisions.RESIDUE


def test_should_name_the_sequence_whose_rule_asks_for_clean_text() -> None:
    found = deidentified(bundled_file("test-SR.dcm")).deidentified.attributes
    assert found["TextValue"] == Decision(Action.CLEAN, f"text inside ContentSequence: {OPTION}")


def test_should_say_that_a_value_contradicts_its_attribute() -> None:
    data_set = image()
    data_set.add_new(0x00180088, "LO", "no number")  # Spacing Between Slices
    data_set.add_new(0x00180024, "US", 7)  # Sequence Name
    found = decided(data_set)
    assert found["SequenceName"].reason == decisions.MISREPRESENTED.reason
    assert found["SequenceName"].action is Action.REMOVE


def test_should_say_why_private_attributes_stay_or_go() -> None:
    data_set = image()
    del data_set[0x00190010:0x001A0000]
    block = data_set.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 1000)
    block.add_new(0x0D, "CS", "FREE")
    block.add_new(0x0E, "LO", "a direction")  # FD on the list
    block.add_new(0x77, "LO", "not on the list")
    data_set.private_block(0x0021, "SOMEBODY", create=True).add_new(0x01, "LO", "anything")
    found = decided(data_set)
    assert found["(0019,0010)"] == decisions.CREATOR
    assert found["(0019,100C)"] == decisions.safe_private(Action.KEEP)
    assert found["(0019,100D)"] == decisions.safe_private(Action.CLEAN)
    assert found["(0019,100E)"] == decisions.PRIVATE_MISREPRESENTED
    assert found["(0019,1077)"] == decisions.PRIVATE_NOT_LISTED
    assert found["(0021,0010)"] == decisions.IDLE_CREATOR
    assert set(decided(data_set, "basic").values()) >= {decisions.PRIVATE_NOT_RETAINED}


def test_should_keep_no_private_attribute_of_a_wrong_vr_beside_one_of_the_right_vr() -> None:
    data_set = image()
    del data_set[0x00190010:0x001A0000]
    block = data_set.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 1000)
    content = encoded(data_set)
    known = b"\x19\0\x0c\x10IS\x04\x001000"
    assert content.count(known) == 1
    wrong = b"\x19\0\x0c\x10OB\0\0\x06\0\0\0secret"
    result = deidentified(content.replace(known, known + wrong))
    assert known in result.content
    assert b"secret" not in result.content


def test_should_say_why_a_repeating_group_an_unknown_tag_and_a_group_length_go() -> None:
    ruleset = Ruleset(releasing("research"))
    assert ruleset.decide(0x60023000) == decisions.REPEATING_GROUP
    assert ruleset.decide(0x00089999) == decisions.UNKNOWN
    assert ruleset.decide(0x00080000) == decisions.GROUP_LENGTH
    assert ruleset.decide(0x00041130) == decisions.FILE_GROUPS
