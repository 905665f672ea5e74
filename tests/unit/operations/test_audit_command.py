import json
from typing import Any

import pytest

from runtime.aws.audit import study_of
from runtime.contract.audit import AuditEvent, AuditRecord, verdict_record_id
from tests.unit.audit_tables import away
from tests.unit.conftest import PROCESSED
from tests.unit.operations.conftest import LINK_AUDIT_TABLE, Operator, Stage

OBJECT_ID, OTHER_ID = "0" * 32, "1" * 32
KEY, OTHER_KEY = "p1/2.25.1/2.25.2/2.25.3.dcm", "p1/2.25.9/2.25.2/2.25.4.dcm"
ADA, GRACE = "arn:aws:sts::123456789012:assumed-role/Operator/ada", "arn:aws:sts::123456789012:assumed-role/R/grace"
DELIVERED: dict[str, Any] = {"profile": "research", "profile_hash": "ab" * 32, "code_version": "cd" * 32}


def verdict(stage: Stage, at: str, event: AuditEvent, subject: str = OBJECT_ID, attempt: int = 1, **facts: Any) -> None:
    record_id = verdict_record_id(attempt, event)
    if "output_key" in facts:
        facts |= {"output_study": study_of(facts["output_key"])}
    stage.audit.record(AuditRecord(subject=subject, record_id=record_id, event=event, at=at, attempt=attempt, **facts))


def link(stage: Stage, at: str, key: str, principal: str) -> None:
    facts = {"output_key": key, "output_study": study_of(key), "expires_at": "2026-12-01", "recipient": "a study"}
    record = AuditRecord(subject=key, record_id=at, event=AuditEvent.LINK_ISSUED, at=at, principal=principal, **facts)
    stage.link_audit.record(record)


@pytest.fixture
def history(operator: Operator) -> Operator:
    """An object that was released, another that failed, and links."""
    stage = operator.stage
    verdict(stage, "2026-11-20T10", AuditEvent.QUARANTINED, reason_codes="RISK_ULTRASOUND")
    released = {"record_id": "r", "by": "Dr. Ada Byron", "principal": ADA, "reason_codes": "RISK_ULTRASOUND"}
    stage.audit.record(
        AuditRecord(subject=OBJECT_ID, event=AuditEvent.RELEASED, at="2026-11-21T10", attempt=2, **released)
    )
    verdict(stage, "2026-11-21T11", AuditEvent.DELIVERED, attempt=2, output_key=KEY, **DELIVERED)
    verdict(stage, "2026-11-22T10", AuditEvent.FAILED, OTHER_ID, error="States.Timeout")
    other = DELIVERED | {"profile_hash": "ef" * 32}
    verdict(stage, "2026-11-22T11", AuditEvent.DELIVERED, OTHER_ID, attempt=2, output_key=OTHER_KEY, **other)
    link(stage, "2026-11-23T10", KEY, GRACE)
    link(stage, "2026-11-24T10", OTHER_KEY, ADA)
    return operator


def asked(operator: Operator, *question: str) -> list[tuple[str, str]]:
    status, out, _ = operator.run("audit", "--json", *question)
    records = [json.loads(line) for line in out.splitlines()]
    assert status == (0 if records else 1)
    return [(record["at"][8:], record["event"]) for record in records]


def test_should_tell_all_about_an_object_and_who_got_links_to_its_result(history: Operator) -> None:
    assert asked(history, "--object", OBJECT_ID) == [
        ("20T10", "quarantined"),
        ("21T10", "released"),
        ("21T11", "delivered"),
        ("23T10", "link-issued"),
    ]


@pytest.mark.parametrize("beginning", [KEY, "p1/2.25.1/"])
def test_should_tell_all_about_a_result_or_a_study(history: Operator, beginning: str) -> None:
    assert asked(history, "--output-key", beginning) == [("21T11", "delivered"), ("23T10", "link-issued")]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("--by", "Dr. Ada Byron"), [("21T10", "released")]),
        (("--by", ADA), [("21T10", "released"), ("24T10", "link-issued")]),
        (("--by", "assumed-role/R/"), [("23T10", "link-issued")]),
        (("--by", "nobody"), []),
        (
            ("--event", "link-issued", "--event", "failed"),
            [("22T10", "failed"), ("23T10", "link-issued"), ("24T10", "link-issued")],
        ),
        (("--profile-hash", "ab"), [("21T11", "delivered")]),
        (("--code-version", "cd" * 32, "--until", "2026-11-22"), [("21T11", "delivered")]),
    ],
)
def test_should_tell_what_happened_since_a_time_by_whom_and_by_what(
    history: Operator, question: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    assert asked(history, "--since", "2026-11-20", *question) == expected


def test_should_bound_the_time_at_both_ends(history: Operator) -> None:
    assert asked(history, "--since", "2026-11-21T11", "--until", "2026-11-23") == [
        ("21T11", "delivered"),
        ("22T10", "failed"),
        ("22T11", "delivered"),
    ]


def test_should_tell_people_each_record_in_words(history: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = history.run("audit", "--object", OBJECT_ID)
    assert out.splitlines()[3:7] == [
        f"2026-11-21 10  released     {OBJECT_ID}  attempt 2",
        "    by Dr. Ada Byron",
        "    RISK_ULTRASOUND: Ultrasound images often show the patient's name; review the",
        "    pixels.",
    ]
    assert f"    profile=research  profile_hash={'ab' * 6}  code_version={'cd' * 6}" in out.splitlines()
    assert f"    by {GRACE}\n    for a study until 2026-12-01\n" in out


def test_should_say_that_the_log_does_not_know_an_object(history: Operator) -> None:
    status, out, err = history.run("audit", "--object", "f" * 32)
    assert (status, out) == (1, "")
    assert err == f"audit: there is no record of {'f' * 32}: no object with this id has a verdict in this stage.\n"


def test_should_record_links_that_the_command_gives(history: Operator) -> None:
    stage = history.stage
    stage.buckets.s3.put_object(Bucket=PROCESSED, Key=KEY, Body=b"result")
    assert history.run("links", "--for", "a study", KEY)[0] == 0
    assert len(list(stage.link_audit.of_subject(KEY))) == 2
    with away(LINK_AUDIT_TABLE):
        status, out, err = history.run("links", "--for", "a study", KEY)
    assert status == 1
    assert out == ""
    assert "The audit log can't record the link" in err
    assert err.endswith("links: 0 given, 1 failed\n")


def test_should_ask_since_when_if_told_until_when(operator: Operator) -> None:
    status, _, err = operator.run("audit", "--object", OBJECT_ID, "--until", "2026-11-24")
    assert status == 2
    assert "since when" in err


def test_should_understand_a_key_for_an_id_and_an_id_for_a_key(history: Operator) -> None:
    coordinates = history.stage.buckets.upload(b"1", "DOE^JANE.dcm")
    verdict(history.stage, "2026-11-23T10", AuditEvent.FAILED, coordinates.object_id, error="States.Timeout")
    for question in (("--object", "DOE^JANE.dcm"), ("--output-key", coordinates.object_id)):
        assert coordinates.object_id in history.run("audit", *question)[1]
    status, out, err = history.run("audit", "--object", "DOE^JANE/nowhere.dcm")
    assert (status, out) == (1, "")
    assert "No object has this id or key" in err
    assert "DOE" not in err


@pytest.mark.parametrize(
    "question",
    [
        (),
        ("--output-key", "p1/2.25.1"),
        ("--object", OBJECT_ID, "--since", "2026"),
        ("--since", "yesterday"),
        ("--since", "2026", "--event", "deleted"),
    ],
)
def test_should_refuse_questions_that_mean_nothing(operator: Operator, question: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.run("audit", *question)
    assert stopped.value.code == 2
