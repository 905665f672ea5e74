from __future__ import annotations

import pytest
from pydantic import ValidationError
from pydicom.sr.codedict import codes

from runtime.deidentification.profile import (
    Override,
    Policy,
    Profile,
    ProfileError,
    Risk,
    load_profile,
    parse_profile,
    profile_names,
)
from runtime.deidentification.rules.options import BASIC_PROFILE_CODE, Option
from runtime.deidentification.rules.table import Action

RISKS = "\n".join(["[risks]", *(f'{risk} = "quarantine"' for risk in Risk)])
REASON = "The cohort is selected by this attribute."


def parse(head: str, risks: str = RISKS) -> Profile:
    return parse_profile(f'name = "test"\ndescription = "A test."\n{head}\n{risks}')


def override(attribute: str, action: str, reason: str = REASON) -> str:
    return f'[[overrides]]\nattribute = "{attribute}"\naction = "{action}"\nreason = "{reason}"\n'


def test_should_ship_basic_and_research() -> None:
    assert profile_names() == ("basic", "research")
    assert load_profile("basic").options == frozenset()
    assert load_profile("research").options == {
        Option.RETAIN_LONGITUDINAL_MODIFIED_DATES,
        Option.RETAIN_PATIENT_CHARACTERISTICS,
        Option.CLEAN_DESCRIPTORS,
        Option.CLEAN_STRUCTURED_CONTENT,
        Option.CLEAN_GRAPHICS,
        Option.RETAIN_SAFE_PRIVATE,
    }


@pytest.mark.parametrize("name", ["basic", "research"])
def test_should_release_no_unattested_risk_but_a_face(name: str) -> None:
    risks = load_profile(name).risks
    assert {risk for risk in Risk if risks[risk].releases(attested=False)} == {Risk.RECOGNIZABLE_FACE}
    assert {risk for risk in Risk if not risks[risk].releases(attested=True)} == {
        Risk.BURNED_IN_ANNOTATION,
        Risk.ENCAPSULATED_DOCUMENT,
        Risk.AUDIO,
        Risk.OPAQUE_DATA,
        Risk.SLIDE_LABEL,
    }


@pytest.mark.parametrize(
    ("policy", "unattested", "attested"),
    [(Policy.QUARANTINE, False, False), (Policy.RELEASE_WHEN_ATTESTED, False, True), (Policy.RELEASE, True, True)],
)
def test_should_release_as_the_policy_says(policy: Policy, unattested: bool, attested: bool) -> None:
    assert (policy.releases(attested=False), policy.releases(attested=True)) == (unattested, attested)


def test_should_give_each_option_its_concept_of_cid_7050() -> None:
    concepts = [getattr(codes.cid7050, name) for name in codes.cid7050.dir()]
    meanings = {concept.value: concept.meaning for concept in concepts}
    pixels = {"113101", "113102"}
    ours = [BASIC_PROFILE_CODE, *(option.code for option in Option)]
    assert {code.value: code.meaning for code in ours} == {k: v for k, v in meanings.items() if k not in pixels}
    for option in Option:
        words = {word.lower() for word in option.code.meaning.split()} - {"option", "temporal", "information"}
        assert set(option.value.split("-")) == words


def test_should_declare_the_methods_with_the_basic_profile_first() -> None:
    assert [code.value for code in load_profile("basic").method_codes] == ["113100"]
    assert [code.value for code in load_profile("research").method_codes] == [
        "113100",
        "113103",
        "113104",
        "113105",
        "113107",
        "113108",
        "113111",
    ]


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ("", "REMOVED"),
        ('"retain-longitudinal-full-dates"', "UNMODIFIED"),
        ('"retain-longitudinal-modified-dates"', "MODIFIED"),
    ],
)
def test_should_declare_what_became_of_dates(options: str, value: str) -> None:
    shift = "[date_shift]\nminimum_days = 1\nmaximum_days = 99" if value == "MODIFIED" else ""
    assert parse(f"options = [{options}]\n{shift}").longitudinal_temporal_information_modified == value


@pytest.mark.parametrize("name", ["missing", "", "../basic", "basic.toml"])
def test_should_refuse_a_profile_that_does_not_exist(name: str) -> None:
    with pytest.raises(ProfileError, match="profiles: basic, research"):
        load_profile(name)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ('options = ["retain-longitudinal-full-dates", "retain-longitudinal-modified-dates"]', "exclude each other"),
        ('options = ["retain-longitudinal-modified-dates"]', "needs \\[date_shift\\]"),
        ("[date_shift]\nminimum_days = 1\nmaximum_days = 99", "has no effect"),
        ("[date_shift]\nminimum_days = 0\nmaximum_days = 99", "date_shift.minimum_days"),
        ("[date_shift]\nminimum_days = 5\nmaximum_days = 7", "can be guessed"),
        ('options = ["retain-everything"]', "options"),
        ("colour = 1", "colour"),
        (override("PatientSexx", "K"), "neither a keyword"),
        (override("(0018,1030", "K").replace("(0018,1030", "(0018,103"), "neither a keyword"),
        (override("(0019,1001)", "K"), "private"),
        (override("PatientName", "K"), "names the patient"),
        (override("(0010,0020)", "K"), "names the patient"),
        (override("DeidentificationMethod", "X"), "written by the de-identification"),
        (override("PixelData", "X"), "written by the de-identification"),
        (override("ProtocolName", "U"), "holds no UID"),
        (override("(0018,FFF0)", "U"), "isn't in the dictionary"),
        (override("ProtocolName", "X/Z"), "says it plainly"),
        (override("ProtocolName", "Q"), "overrides.0.action"),
        (override("ProtocolName", "K", "because"), "overrides.0.reason"),
        (override("ProtocolName", "K") + override("(0018,1030)", "X"), "overridden twice"),
        ("name = ", "not a TOML file"),
    ],
)
def test_should_refuse_a_contradiction_with_its_reason(head: str, reason: str) -> None:
    with pytest.raises(ProfileError, match=reason):
        parse(head)


@pytest.mark.parametrize(
    ("risks", "reason"),
    [
        (RISKS.replace('video = "quarantine"', ""), "missing: video"),
        (RISKS + '\nboredom = "release"', "risks.boredom"),
        (RISKS.replace('video = "quarantine"', 'video = "shrug"'), "risks.video"),
        (
            RISKS.replace('burned-in-annotation = "quarantine"', 'burned-in-annotation = "release-when-attested"'),
            "nothing can attest",
        ),
    ],
)
def test_should_refuse_an_incomplete_or_impossible_policy(risks: str, reason: str) -> None:
    with pytest.raises(ProfileError, match=reason):
        parse("", risks)


@pytest.mark.parametrize("attribute", ["ProtocolName", "(0018,1030)", "00181030", "0018,1030"])
def test_should_override_by_keyword_or_tag(attribute: str) -> None:
    (only,) = parse(override(attribute, "K")).overrides
    assert (only.tag, only.action, only.reason) == (0x00181030, Action.KEEP, REASON)


def test_should_map_a_uid_by_override() -> None:
    assert Override(attribute="StorageMediaFileSetUID", action=Action.MAP_UID, reason=REASON).tag == 0x00880140


def test_should_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        load_profile("basic").name = "other"  # type: ignore[misc]


def test_should_change_the_hash_with_whatever_changes_the_output() -> None:
    variants = [
        parse(""),
        parse('options = ["clean-graphics"]'),
        parse('options = ["clean-graphics", "clean-descriptors"]'),
        parse(override("ProtocolName", "X")),
        parse(override("ProtocolName", "K")),
        parse("", RISKS.replace('video = "quarantine"', 'video = "release"')),
        *(
            parse(
                f'options = ["retain-longitudinal-modified-dates"]\n[date_shift]\nminimum_days=1\nmaximum_days={days}'
            )
            for days in (99, 100)
        ),
    ]
    hashes = {variant.content_hash(digest) for variant in variants for digest in ("2025e", "2026c")}
    assert len(hashes) == 2 * len(variants)


def test_should_hash_content_not_its_order() -> None:
    first = parse('options = ["clean-graphics", "clean-descriptors", "retain-uids"]')
    second = parse('options = ["retain-uids", "clean-descriptors", "clean-graphics"]')
    assert first.content_hash("") == second.content_hash("")
    assert len(first.content_hash("")) == 64
