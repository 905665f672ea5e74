import pytest
from botocore.exceptions import ClientError

from runtime.aws.audit import AuditLog, study_of
from runtime.contract.audit import AuditEvent, AuditRecord, audit_insert, verdict_record_id
from runtime.contract.objects import ObjectCoordinates
from tests.unit.conftest import AUDIT_TABLE

OBJECT_ID = ObjectCoordinates(bucket="raw", key="DOE^JANE.dcm", version_id="v1", size=7, etag="e1").object_id
KEY = "p1/2.25.1/2.25.2/2.25.3.dcm"


def verdict(
    attempt: int = 1, event: AuditEvent = AuditEvent.DELIVERED, at: str = "2026-11-23T10:00", **facts: str
) -> AuditRecord:
    given = {"output_key": KEY, "output_study": study_of(KEY)} if event is AuditEvent.DELIVERED else {}
    return AuditRecord.model_validate(
        {
            "subject": OBJECT_ID,
            "record_id": verdict_record_id(attempt, event),
            "event": event,
            "at": at,
            "attempt": attempt,
            **given,
            **facts,
        }
    )


def test_should_read_a_record_back_as_it_was_written(audit: AuditLog) -> None:
    written = verdict(profile="research", profile_hash="ab" * 32, key_id="k1", code_version="cd" * 32)
    audit.record(written)
    assert list(audit.of_subject(OBJECT_ID)) == [written]


def test_should_leave_a_record_as_it_is_when_it_is_written_again(audit: AuditLog) -> None:
    audit.record(verdict(profile="research"))
    audit.record(verdict(profile="forged", at="2026-12-24T00:00"))
    assert list(audit.of_subject(OBJECT_ID)) == [verdict(profile="research")]


def test_should_keep_each_verdict_of_each_attempt(audit: AuditLog) -> None:
    records = [
        verdict(1, AuditEvent.FAILED, "2026-11-23T10:00", error="States.Timeout"),
        verdict(1, AuditEvent.QUARANTINED, "2026-11-23T10:01", reason_codes="NOT_DICOM"),
        verdict(2, AuditEvent.QUARANTINED, "2026-11-23T10:02", reason_codes="NOT_DICOM"),
    ]
    for record in records * 2:
        audit.record(record)
    assert sorted(audit.of_subject(OBJECT_ID), key=lambda record: record.at) == records


def test_should_refuse_to_go_on_when_the_log_takes_no_record(audit: AuditLog) -> None:
    audit._client.delete_table(TableName=AUDIT_TABLE)
    with pytest.raises(ClientError):
        audit.record(verdict())


def test_should_find_the_records_of_a_study_a_series_and_an_instance(audit: AuditLog) -> None:
    other = "p1/2.25.1/2.25.9/2.25.4.dcm"
    elsewhere = "p1/2.25.7/2.25.2/2.25.3.dcm"
    for attempt, key in enumerate((KEY, other, elsewhere), 1):
        audit.record(verdict(attempt, output_key=key, output_study=study_of(key)))

    def keys(beginning: str) -> list[str | None]:
        return [record.output_key for record in audit.of_output(beginning)]

    assert keys("p1/2.25.1/") == [KEY, other]
    assert keys("p1/2.25.1/2.25.9/") == [other]
    assert keys(KEY) == [KEY]
    assert keys("p2/2.25.1/") == []


def test_should_find_what_happened_between_two_times_in_order(audit: AuditLog) -> None:
    for attempt, at in enumerate(("2026-11-24T00:00", "2026-11-22T23:59", "2026-11-23T12:00"), 1):
        audit.record(verdict(attempt, at=at))
    audit.record(verdict(4, AuditEvent.FAILED, "2026-11-23T13:00"))
    found = audit.of_event(AuditEvent.DELIVERED, since="2026-11-23", until="2026-11-24")
    assert [record.at for record in found] == ["2026-11-23T12:00"]
    assert [record.at for record in audit.of_event(AuditEvent.DELIVERED)] == [
        "2026-11-22T23:59",
        "2026-11-23T12:00",
        "2026-11-24T00:00",
    ]


def test_should_read_what_the_workflow_could_only_leave_empty_as_nothing(audit: AuditLog) -> None:
    """A state can't leave an attribute out, so a verdict without a profile has an empty one."""
    item = {"subject": "s", "record_id": "1#quarantined", "event": "quarantined", "at": "2026", "profile": ""}
    audit._client.execute_statement(
        Statement=audit_insert(AUDIT_TABLE, item), Parameters=[{"S": value} for value in item.values()]
    )
    [record] = audit.of_subject("s")
    assert record.profile is None


def test_should_insert_and_do_nothing_else_by_the_only_statement_it_runs() -> None:
    assert (
        audit_insert("stage-audit", ["subject", "at"]) == """INSERT INTO "stage-audit" VALUE {'subject': ?, 'at': ?}"""
    )
