"""What the command line says of an attribute must be what the engine does to it."""

import re
from pathlib import Path

import pytest

from cli.__main__ import main
from cli.deidentification.explanation import explain
from runtime.deidentification.engine import Deidentifier
from runtime.deidentification.profile import profile_names
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.rules.decision import CAPPED_AGE, IDLE_CREATOR, PROSE, RESIDUE, UNNAMED
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import rules
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from runtime.dicom.tags import SOP_CLASS_UID
from tests.deidentification import KEY, releasing
from tests.marker_file import UNSAFE_CREATOR, marker_file


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", profile_names())
def test_should_say_what_the_engine_decided_for_every_attribute(name: str) -> None:
    header = read_header(BytesSource(marker_file().content))
    profile = releasing(name)
    result = Deidentifier(profile, Pseudonyms(KEY)).deidentify(header)
    decisions = {element.start: decision for element, decision in result.decisions}
    compared = 0
    for element in header.data_set.elements:
        explanation = explain(
            Ruleset(profile),
            element.tag,
            sop_class_uid=header.text(SOP_CLASS_UID) or "",
            creator=UNSAFE_CREATOR if element.tag >> 16 == 0x0019 else None,
        )
        decision = decisions.get(element.start, UNNAMED)
        if decision not in (PROSE, RESIDUE, CAPPED_AGE, IDLE_CREATOR):  # no tag alone tells these
            assert explanation.decision.resolved(explanation.type) == decision, hex(element.tag)
            compared += 1
    assert compared > 600


def test_should_give_the_row_of_the_table_with_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "StudyDate")

    assert "(0008,0020)  StudyDate  Study Date  DA" in text
    assert re.search(r"^0008,0020 +Z +Basic Profile$", text, re.MULTILINE)
    assert re.search(r"^ +C +Retain Longitudinal Temporal Information Modified Dates", text, re.MULTILINE)
    assert re.search(r"^basic +Z empty ", text, re.MULTILINE)
    assert re.search(r"^research +C clean +Retain Longitudinal.*113107", text, re.MULTILINE)


@pytest.mark.parametrize("tag", ["PatientName", "(0010,0010)", "00100010", "0010,0010"])
def test_should_take_a_tag_in_any_form(tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, tag).startswith("(0010,0010)  PatientName")


def test_should_resolve_a_compound_action_by_the_sop_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert "D if Type 1, Z if Type 2" in said(capsys, "ContentDate", "--profile", "basic")
    by_class = said(capsys, "ContentDate", "--profile", "basic", "--sop-class", "CTImageStorage")
    assert re.search(r"Z/D: Z empty \(Type [23]C?\)", by_class)
    assert said(capsys, "ContentDate", "--profile", "basic", "--sop-class", "1.2.840.10008.5.1.4.1.1.2") == by_class


def test_should_judge_a_private_attribute_by_its_creator(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "0043,1039", "--profile", "research", "--creator", "GEMS_PARM_01")
    assert "K keep" in listed
    assert "X remove" in said(capsys, "0043,1039", "--profile", "research")
    assert "X remove" in said(capsys, "0043,1039", "--profile", "research", "--creator", "SOMEBODY")
    assert "X remove" in said(capsys, "0043,1039", "--profile", "basic", "--creator", "GEMS_PARM_01")


def test_should_give_the_reason_of_an_override(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = Path(__file__).parents[3] / "runtime/deidentification/profiles/basic.toml"
    override = (
        'overrides = [{ attribute = "ProtocolName", action = "K", reason = "Cohorts are chosen by the protocol." }]'
    )
    draft = tmp_path / "draft.toml"
    draft.write_text(shipped.read_text().replace("overrides = []", override))

    assert "Cohorts are chosen by the protocol." in said(capsys, "ProtocolName", "--profile", str(draft))


def test_should_list_every_row_of_the_table_for_a_signature(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "--all", "--profile", "research")

    listed = re.findall(r"^\(([0-9A-F]{4},[0-9A-F]{4})\) ", text, re.MULTILINE)
    assert {rule.pattern for rule in rules() if rule.tag} <= set(listed)
    for promised in ("113111", "Content hash", "Dates move 1 to 3650 days", "secondary-capture: release-when-attested"):
        assert promised in text


@pytest.mark.parametrize("arguments", [[], ["NoSuchKeyword"], ["PatientName", "--sop-class", "CT"], ["--all", "x"]])
def test_should_refuse_what_names_no_attribute(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *arguments])

    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
