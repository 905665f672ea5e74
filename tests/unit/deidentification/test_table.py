from __future__ import annotations

from collections import Counter

import pytest
from pydicom._dicom_dict import RepeatersDictionary
from pydicom.datadict import dictionary_description, dictionary_keyword, dictionary_VR

from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.table import Action, Rule, rule_for, rules

NEWER_THAN_PYDICOM = 26
"""Rows whose attributes DICOM PS3.6 gained after the edition that pydicom 3.0 carries."""


def single_rows() -> dict[int, Rule]:
    return {rule.tag: rule for rule in rules() if rule.tag is not None}


def keeps_or_cleans(option: Option) -> Counter[Action]:
    return Counter(rule.options[option] for rule in rules() if option in rule.options)


def test_should_hold_every_row_of_the_edition_once() -> None:
    assert len(rules()) == len({rule.pattern for rule in rules()}) == 657
    assert Counter(rule.basic.value for rule in rules()) == {
        "X": 417, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8, "Z/D": 6, "X/Z/U*": 2,
    }  # fmt: skip


def test_should_hold_every_cell_of_the_option_columns() -> None:
    assert {option: dict(keeps_or_cleans(option)) for option in Option} == {
        Option.RETAIN_SAFE_PRIVATE: {Action.CLEAN: 1},
        Option.RETAIN_UIDS: {Action.KEEP: 60},
        Option.RETAIN_DEVICE_IDENTITY: {Action.KEEP: 48, Action.CLEAN: 11},
        Option.RETAIN_INSTITUTION_IDENTITY: {Action.KEEP: 10},
        Option.RETAIN_PATIENT_CHARACTERISTICS: {Action.KEEP: 14, Action.CLEAN: 5},
        Option.RETAIN_LONGITUDINAL_FULL_DATES: {Action.KEEP: 169},
        Option.RETAIN_LONGITUDINAL_MODIFIED_DATES: {Action.CLEAN: 169},
        Option.CLEAN_DESCRIPTORS: {Action.CLEAN: 141},
        Option.CLEAN_STRUCTURED_CONTENT: {Action.CLEAN: 4},
        Option.CLEAN_GRAPHICS: {Action.CLEAN: 4},
    }


@pytest.mark.parametrize(
    ("tag", "keyword", "basic", "options"),
    [
        (0x00100010, "PatientName", "Z", {}),
        (0x00100020, "PatientID", "Z/D", {}),
        (0x00100040, "PatientSex", "Z", {Option.RETAIN_PATIENT_CHARACTERISTICS: "K"}),
        (0x00080018, "SOPInstanceUID", "U", {Option.RETAIN_UIDS: "K"}),
        (0x00081140, "ReferencedImageSequence", "X/Z/U*", {Option.RETAIN_UIDS: "K"}),
        (0x00081030, "StudyDescription", "X", {Option.CLEAN_DESCRIPTORS: "C"}),
        (0x00321033, "RequestingService", "X", {Option.CLEAN_DESCRIPTORS: "C"}),
        (0x0040A730, "ContentSequence", "D", {Option.CLEAN_STRUCTURED_CONTENT: "C"}),
        (0x00700001, "GraphicAnnotationSequence", "D", {Option.CLEAN_GRAPHICS: "C"}),
        (
            0x0008002A,
            "AcquisitionDateTime",
            "X/Z/D",
            {Option.RETAIN_LONGITUDINAL_FULL_DATES: "K", Option.RETAIN_LONGITUDINAL_MODIFIED_DATES: "C"},
        ),
        (
            0x00102110,
            "Allergies",
            "X",
            {Option.RETAIN_PATIENT_CHARACTERISTICS: "C", Option.CLEAN_DESCRIPTORS: "C"},
        ),
        (0x00100013, "NameToUseComment", "X", {}),
        (0xFFFAFFFA, "DigitalSignaturesSequence", "X", {}),
        (0xFFFCFFFC, "DataSetTrailingPadding", "X", {}),
    ],
)
def test_should_hold_a_well_known_row(tag: int, keyword: str, basic: str, options: dict[Option, str]) -> None:
    rule = rule_for(tag)
    assert rule is not None
    assert (rule.keyword, rule.basic, rule.options) == (keyword, basic, options)


@pytest.mark.parametrize(
    ("tag", "pattern"),
    [
        (0x50000010, "50xx,xxxx"),
        (0x50FE3000, "50xx,xxxx"),
        (0x60003000, "60xx,3000"),
        (0x601E4000, "60xx,4000"),
        (0x00091001, "gggg,eeee"),
        (0x00090010, "gggg,eeee"),
        (0x50013000, "gggg,eeee"),
        (0x60033000, "gggg,eeee"),
        (0xFFFD0001, "gggg,eeee"),
    ],
)
def test_should_match_repeating_groups_and_private_attributes(tag: int, pattern: str) -> None:
    rule = rule_for(tag)
    assert rule is not None
    assert rule.pattern == pattern
    assert rule.tag is None


@pytest.mark.parametrize("tag", [0x00280010, 0x7FE00010, 0x60000010, 0x00080005, 0x00620002])
def test_should_know_no_rule_for_what_the_table_does_not_mention(tag: int) -> None:
    assert rule_for(tag) is None


def test_should_find_each_row_by_its_tag() -> None:
    assert all(rule_for(tag) is rule for tag, rule in single_rows().items())


def test_should_describe_attributes_as_the_data_dictionary_does() -> None:
    known = {tag: rule for tag, rule in single_rows().items() if _in_dictionary(tag)}
    assert len(single_rows()) - len(known) == NEWER_THAN_PYDICOM
    assert {tag: (rule.keyword, rule.vr) for tag, rule in known.items()} == {
        tag: (dictionary_keyword(tag), dictionary_VR(tag)) for tag in known
    }
    # The two parts of the standard disagree over a space.
    assert {rule.keyword for tag, rule in known.items() if rule.name != dictionary_description(tag)} == {
        "RadiationGenerationModeDescription",
        "RadiationGenerationModeLabel",
    }


def test_should_name_every_row_but_the_private_one() -> None:
    assert [rule.name for rule in rules() if not rule.keyword] == ["Private Attributes"]
    assert all(rule.keyword.isidentifier() and rule.name for rule in rules()[:-1])


def test_should_map_uids_in_ui_attributes_only() -> None:
    assert {rule.vr for rule in rules() if rule.basic is Action.MAP_UID} == {"UI"}
    assert {rule.vr for rule in rules() if rule.basic is Action.REMOVE_OR_EMPTY_OR_MAP_UID} == {"SQ"}


def test_should_shift_the_dates_that_it_may_keep() -> None:
    full, modified = Option.RETAIN_LONGITUDINAL_FULL_DATES, Option.RETAIN_LONGITUDINAL_MODIFIED_DATES
    assert {rule.pattern for rule in rules() if full in rule.options} == {
        rule.pattern for rule in rules() if modified in rule.options
    }
    # Birth dates are no dates of events; a position's time tells as much as the position.
    unmentioned = {rule.keyword for rule in rules() if rule.vr in ("DA", "TM", "DT") and full not in rule.options}
    assert unmentioned == {"PatientBirthDate", "PatientBirthTime", "GPSTimeStamp"}


def test_should_offer_no_choice_to_an_option() -> None:
    assert {action for rule in rules() for action in rule.options.values()} == {Action.KEEP, Action.CLEAN}


@pytest.mark.parametrize("action", Action)
def test_should_call_an_action_compound_if_it_offers_a_choice(action: Action) -> None:
    assert action.is_compound == (action.value not in "DZXKCU")


def _in_dictionary(tag: int) -> bool:
    try:
        dictionary_VR(tag)
    except KeyError:
        return False
    return True


def test_should_spell_repeating_groups_as_the_data_dictionary_does() -> None:
    overlays = {rule.pattern.replace(",", ""): rule for rule in rules() if rule.pattern.startswith("60")}
    assert {pattern: (rule.vr, rule.keyword) for pattern, rule in overlays.items()} == {
        pattern: (RepeatersDictionary[pattern][0], RepeatersDictionary[pattern][4]) for pattern in overlays
    }
