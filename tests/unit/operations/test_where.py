import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract.audit import AuditEvent, AuditRecord, verdict_record_id
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Decision
from runtime.ledger.claims import Claims
from runtime.ledger.fingerprint import Fingerprint
from runtime.ledger.rows import Row
from runtime.ledger.table import hashed
from tests.unit.conftest import PROCESSED, RAW, dicom_file
from tests.unit.intake.conftest import STATE_MACHINE
from tests.unit.operations.conftest import KEY, Operator, Stage

CT = dicom_file("CT_small.dcm")
STUDY_UID = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
INSTANCE_UID = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


def finish(stage: Stage, status: LedgerStatus, content: bytes = CT, key: str = KEY, **facts: Any) -> Row:
    return stage.finish(stage.buckets.upload(content, key), status, study_id=hashed(STUDY_UID), **facts)


def found(operator: Operator, what: str, *options: str) -> list[str]:
    """Return the ids of the versions that a command found."""
    status, out, _ = operator.run("where", what, "--json", *options)
    assert status == 0
    return [json.loads(line)["object_id"] for line in out.splitlines()]


def test_should_say_why_an_object_is_in_quarantine_in_words(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = finish(operator.stage, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    status, out, _ = operator.run("where", KEY)
    assert status == 0
    assert row.object_id in out
    assert "quarantined" in out
    words = " ".join(out.split())
    assert "NOT_DICOM: There is no DICM prefix after a preamble of 128 bytes" in words
    assert max(map(len, out.splitlines())) <= 80


def test_should_tell_the_result_whole_on_a_line_of_its_own(operator: Operator) -> None:
    row = finish(operator.stage, LedgerStatus.DELIVERED, output_key="/".join(["p" * 16, *["2.25." + "1" * 39] * 3]))
    lines = operator.run("where", KEY)[1].splitlines()
    assert f"result      {row.output_key}" in lines
    assert any("profile" in line and "research" in line for line in lines)


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "{}-2",
        STATE_MACHINE.replace("stateMachine", "execution") + ":{}-2",
    ],
)
def test_should_understand_an_id_and_an_execution(operator: Operator, form: str) -> None:
    row = finish(operator.stage, LedgerStatus.FAILED, error="States.Timeout")
    assert found(operator, form.format(row.object_id)) == [row.object_id]
    assert found(operator, form.format(row.object_id.upper())) == [row.object_id]


def test_should_take_for_a_key_what_looks_like_an_id_and_is_none(operator: Operator) -> None:
    key = "0123456789abcdef" * 2
    row = finish(operator.stage, LedgerStatus.FAILED, key=key, error="States.Timeout")
    assert found(operator, key) == [row.object_id]


def test_should_understand_the_key_of_a_result(operator: Operator) -> None:
    row = finish(operator.stage, LedgerStatus.DELIVERED)
    assert row.output_key
    operator.stage.audit.record(
        AuditRecord(
            subject=row.object_id,
            record_id=verdict_record_id(1, AuditEvent.DELIVERED),
            event=AuditEvent.DELIVERED,
            at=row.updated_at,
            attempt=1,
            output_study="P1/2.25.1",
            output_key=row.output_key,
        )
    )
    assert found(operator, row.output_key) == [row.object_id]
    assert found(operator, f"s3://{PROCESSED}/{row.output_key}") == [row.object_id]
    assert found(operator, f"s3://{RAW}/{KEY}") == [row.object_id]


def test_should_tell_every_version_of_a_key_and_which_are_superseded(operator: Operator) -> None:
    old = finish(operator.stage, LedgerStatus.QUARANTINED, b"bad", reason_codes="NOT_DICOM")
    new = finish(operator.stage, LedgerStatus.DELIVERED)
    out = operator.run("where", KEY, "--json")[1]
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["object_id"], each["superseded_by"]) for each in told] == [
        (new.object_id, None),
        (old.object_id, new.object_id),
    ]
    assert [
        each["object_id"] for each in map(json.loads, operator.run("where", old.object_id, "--json")[1].splitlines())
    ] == [old.object_id]
    assert f"superseded  by {new.object_id}" in operator.run("where", old.object_id)[1]


def test_should_tell_each_attempt(operator: Operator) -> None:
    stage = operator.stage
    row = finish(stage, LedgerStatus.DELIVERED)
    for attempt, event, facts in (
        (1, AuditEvent.FAILED, {"error": "States.Timeout"}),
        (2, AuditEvent.DELIVERED, {"profile": "research"}),
    ):
        at, record_id = f"2026-11-2{attempt}T10:00:00.000Z", verdict_record_id(attempt, event)
        stage.audit.record(
            AuditRecord(subject=row.object_id, record_id=record_id, event=event, at=at, attempt=attempt, **facts)
        )
    lines = operator.run("where", KEY)[1].splitlines()
    attempts = [line.split() for line in lines[lines.index("") + 2 :]]
    assert attempts == [
        ["2026-11-21", "10:00", "failed", "1", "States.Timeout"],
        ["2026-11-22", "10:00", "delivered", "2", "research"],
    ]


def test_should_say_what_has_not_been_received(operator: Operator) -> None:
    operator.stage.buckets.upload(CT, KEY)
    out = operator.run("where", KEY)[1]
    assert "none: not received" in out
    assert "intake queue" in out


def test_should_say_why_an_object_was_ignored(operator: Operator) -> None:
    operator.stage.ledger.ignore(operator.stage.buckets.upload(b"text", "notes.txt"))
    out = " ".join(operator.run("where", "notes.txt")[1].split())
    assert "verdict ignored" in out
    assert "attempt 0" not in out
    assert "its key is none that the stage accepts" in out


def test_should_say_who_dismissed_an_object_and_why(operator: Operator) -> None:
    row = finish(operator.stage, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    operator.stage.ledger.dismiss(row, Decision(by="Dr. Ada Byron", reason="It was never a file of ours."))
    assert "dismissed by Dr. Ada Byron" in operator.run("where", KEY)[1]


def test_should_tell_keys_only_when_asked(operator: Operator) -> None:
    row = finish(operator.stage, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    for options in ((), ("--json",)):
        assert "DOE" not in operator.run("where", row.object_id, *options)[1]
        assert KEY in operator.run("where", row.object_id, "--keys", *options)[1]


def test_should_find_a_file_by_its_content_and_by_its_name(operator: Operator, tmp_path: Path) -> None:
    """Uploaded under another name, and corrected since it was uploaded."""
    stage = operator.stage
    renamed = finish(stage, LedgerStatus.DELIVERED, CT, "2026/renamed.dcm")
    finish(stage, LedgerStatus.DELIVERED, CT + b"\0\0", "2026/another.dcm")
    corrected = finish(stage, LedgerStatus.QUARANTINED, CT[:-2], "2026/scan.dcm", reason_codes="TRUNCATED_PIXEL_DATA")
    file = tmp_path / "scan.dcm"
    file.write_bytes(CT)
    assert set(found(operator, str(file))) == {renamed.object_id, corrected.object_id}


def test_should_find_a_file_by_its_instance(operator: Operator, tmp_path: Path) -> None:
    stage = operator.stage
    row = stage.finish(stage.buckets.upload(CT + b"\0\0", KEY), LedgerStatus.DELIVERED)
    Claims(stage.ledger.table).claim(INSTANCE_UID, row.object_id, Fingerprint(size=1, etag="e", checksum=None))
    file = tmp_path / "scan.dcm"
    file.write_bytes(CT)
    assert found(operator, str(file)) == [row.object_id]


def test_should_find_a_file_that_is_no_dicom_by_its_name(operator: Operator, tmp_path: Path) -> None:
    row = operator.stage.finish(
        operator.stage.buckets.upload(b"text", "letter"), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM"
    )
    file = tmp_path / "letter"
    file.write_bytes(b"text")
    assert found(operator, str(file)) == [row.object_id]


@pytest.mark.parametrize("what", ["DOE^JANE/nowhere.dcm", "0" * 32, "P1/2.25.1/2.25.2/2.25.3.dcm"])
def test_should_say_in_a_sentence_that_there_is_nothing(operator: Operator, what: str) -> None:
    status, out, err = operator.run("where", what)
    assert (status, out) == (1, "")
    assert err.startswith("where: No object has this id or key")
    assert "DOE" not in err


def test_should_give_a_link_to_what_an_object_became(operator: Operator) -> None:
    delivered = finish(operator.stage, LedgerStatus.DELIVERED)
    failed = finish(operator.stage, LedgerStatus.FAILED, key="b.dcm", error="States.Timeout")
    status, out, _ = operator.run("links", "--for", "a study", delivered.object_id)
    assert (status, len(out.splitlines())) == (0, 1)
    [record] = operator.stage.link_audit.of_subject(delivered.output_key or "")
    assert record.recipient == "a study"
    status, out, err = operator.run("links", "--for", "a study", failed.object_id)
    assert (status, out) == (1, "")
    assert "no result comes from such an object" in err
