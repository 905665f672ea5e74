from __future__ import annotations

import pytest
from pydicom._uid_dict import UID_dictionary

from runtime.deidentification.rules.table import Action, Rule, rules
from runtime.deidentification.rules.types import AttributeType, attribute_type, resolve

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
RETIRED_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6"
PRIVATE_SOP_CLASS = "1.3.12.2.1107.5.9.1"

PATIENT_ID = 0x00100020
SERIES_DATE = 0x00080021
CONTENT_DATE = 0x00080023
DEVICE_SERIAL_NUMBER = 0x00181000
INSTITUTION_NAME = 0x00080080
OBSERVATION_DATE_TIME = 0x0040A032
REFERENCED_IMAGE_SEQUENCE = 0x00081140
SOURCE_IMAGE_SEQUENCE = 0x00082112
CONTENT_SEQUENCE = 0x0040A730


@pytest.mark.parametrize(
    ("sop_class_uid", "tag", "type_"),
    [
        (CT, PATIENT_ID, "2"),
        (CT, SERIES_DATE, "3"),
        (CT, CONTENT_DATE, "2C"),
        (CT, DEVICE_SERIAL_NUMBER, "3"),
        (ENHANCED_MR, DEVICE_SERIAL_NUMBER, "1"),
        (ENHANCED_MR, CONTENT_DATE, "1"),
        (COMPREHENSIVE_SR, CONTENT_DATE, "1"),
        (SEGMENTATION, CONTENT_DATE, "1"),
        (RETIRED_ULTRASOUND, PATIENT_ID, "2"),
    ],
)
def test_should_know_types_at_top_level(sop_class_uid: str, tag: int, type_: AttributeType) -> None:
    assert attribute_type(sop_class_uid, (tag,)) == type_


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ((0x00080096, INSTITUTION_NAME), "1C"),
        ((0x0018A001, INSTITUTION_NAME), "3"),
        ((0x00081072, INSTITUTION_NAME), "1C"),
        ((0x300A0731, 0x30080060, 0x00081072, INSTITUTION_NAME), "2"),
        ((CONTENT_SEQUENCE, OBSERVATION_DATE_TIME), "1C"),
        ((CONTENT_SEQUENCE,) * 500 + (OBSERVATION_DATE_TIME,), "1C"),
        ((0x52009230, REFERENCED_IMAGE_SEQUENCE), "2"),
        ((0x52009230, 0x00089124, SOURCE_IMAGE_SEQUENCE), "2"),
        ((0x00700001, REFERENCED_IMAGE_SEQUENCE), "1C"),
        ((0x00189506, 0x00081070), "1C"),
    ],
)
@pytest.mark.parametrize("sop_class_uid", [CT, PRIVATE_SOP_CLASS])
def test_should_know_types_within_sequences(sop_class_uid: str, path: tuple[int, ...], type_: AttributeType) -> None:
    assert attribute_type(sop_class_uid, path) == type_


def test_should_take_an_attribute_that_the_iod_does_not_define_for_an_addition() -> None:
    assert attribute_type(CT, (CONTENT_SEQUENCE,)) == "3"


@pytest.mark.parametrize(
    ("sop_class_uid", "path"), [(PRIVATE_SOP_CLASS, (PATIENT_ID,)), ("", (PATIENT_ID,)), (CT, (0x00091001, PATIENT_ID))]
)
def test_should_admit_not_to_know(sop_class_uid: str, path: tuple[int, ...]) -> None:
    assert attribute_type(sop_class_uid, path) is None


def test_should_know_the_image_storage_sop_classes() -> None:
    images = {
        uid
        for uid, (name, kind, other_standard, retired, _) in UID_dictionary.items()
        if kind == "SOP Class" and name.endswith("Image Storage") and not other_standard and not retired
    }
    assert len(images) > 40
    assert [uid for uid in images if attribute_type(uid, (PATIENT_ID,)) != "2"] == []


@pytest.mark.parametrize(
    ("action", "by_type"),
    [
        (Action.EMPTY_OR_DUMMY, "DDZZZD"),
        (Action.REMOVE_OR_EMPTY, "DDZZXZ"),
        (Action.REMOVE_OR_DUMMY, "DDDDXD"),
        (Action.REMOVE_OR_EMPTY_OR_DUMMY, "DDZZXD"),
        (Action.REMOVE_OR_EMPTY_OR_MAP_UID, "UUUUXU"),
        (Action.REMOVE, "XXXXXX"),
        (Action.KEEP, "KKKKKK"),
    ],
)
def test_should_resolve_a_compound_action_by_type(action: Action, by_type: str) -> None:
    types: tuple[AttributeType | None, ...] = ("1", "1C", "2", "2C", "3", None)
    assert "".join(resolve(action, type_) for type_ in types) == by_type


@pytest.mark.parametrize("rule", [rule for rule in rules() if rule.basic.is_compound], ids=lambda rule: rule.keyword)
def test_should_never_remove_what_the_iod_requires(rule: Rule) -> None:
    action = rule.basic
    assert resolve(action, "1") in (Action.DUMMY, Action.MAP_UID)
    assert resolve(action, "2") is not Action.REMOVE
    assert resolve(action, None) is not Action.REMOVE
