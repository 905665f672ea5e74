import json
from typing import Any

import pytest

from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.contract.replay import ReplayInput
from runtime.ledger.rows import Row
from runtime.operations.replay import selects
from tests.unit.conftest import RAW
from tests.unit.operations.conftest import DELIVERED, KEY, REPLAY_MACHINE, Operator, Stage, refusal

LATER = "2100-01-01T00:00:00.000Z"


def first_question(key: str = KEY, *, requested_at: str = LATER, **filter_: Any) -> dict[str, Any]:
    return {"bucket": RAW, "key": key, "filter": {"requested_at": requested_at, **filter_}}


def ask(stage: Stage, key: str = KEY, **filter_: Any) -> dict[str, str]:
    """Invoke the function as the workflow does first; return the outcome for each version."""
    outcomes: dict[str, str] = stage.invoke("replay", first_question(key, **filter_))["outcomes"]
    return outcomes


def upload(stage: Stage, content: bytes = b"content") -> ObjectCoordinates:
    return stage.buckets.upload(content, KEY)


@pytest.mark.parametrize(
    ("filter_", "selected"),
    [
        ({}, {"delivered", "quarantined", "failed", "duplicate", "unknown"}),
        ({"unfinished": True}, {"failed", "unknown"}),
        ({"reason_code": "NOT_DICOM"}, {"quarantined"}),
        ({"reason_code": "NOT"}, set()),
        ({"profile_hash": "abab"}, {"delivered", "failed"}),
        ({"profile_hash": "abac"}, set()),
        ({"received_since": "2026-11-23"}, {"delivered", "quarantined", "failed", "duplicate", "unknown"}),
        ({"received_since": "2026-11-24"}, {"unknown"}),
        ({"received_before": "2026-11-24"}, {"delivered", "quarantined", "failed", "duplicate", "unknown"}),
        ({"received_before": "2026-11-23"}, {"unknown"}),
        ({"unfinished": True, "received_since": "2026-11-24"}, {"unknown"}),
    ],
)
def test_should_select_by_verdict_reason_profile_and_date(filter_: dict[str, Any], selected: set[str]) -> None:
    times = {"received_at": "2026-11-23T10:00:00.000Z", "updated_at": "2026-11-25T10:00:00.000Z"}
    facts = {
        LedgerStatus.DELIVERED: DELIVERED,
        # After an attempt that was delivered: the old result is there, and its profile.
        LedgerStatus.QUARANTINED: DELIVERED | {"reason_codes": "NOT_DICOM OTHER"},
        LedgerStatus.FAILED: DELIVERED | {"error": "NOT_DICOM"},
        LedgerStatus.DUPLICATE: DELIVERED | {"duplicate_of": "0" * 32},
    }
    place = {"object_id": "0" * 32, "bucket": RAW, "key": KEY, "version_id": "v", "size": 1, "etag": "e"}
    rows: dict[str, Row | None] = {
        status: Row.model_validate({**place, **times, "status": status, "attempt": 1, **given})
        for status, given in facts.items()
    }
    rows["unknown"] = None
    [parsed] = [ReplayInput.model_validate({"prefix": "", "filter": {"requested_at": LATER, **filter_}}).filter]
    assert {name for name, row in rows.items() if selects(parsed, row)} == selected


def test_should_start_the_next_attempt_once_however_often_it_is_asked(stage: Stage) -> None:
    coordinates = upload(stage)
    stage.finish(coordinates, LedgerStatus.DELIVERED)
    assert ask(stage) == {coordinates.object_id: "started"}
    assert ask(stage) == {coordinates.object_id: "in-work"}
    [started] = stage.started()
    assert started["attempt"] == 2


def test_should_leave_alone_what_the_same_replay_finished(stage: Stage) -> None:
    coordinates = upload(stage)
    row = stage.finish(coordinates, LedgerStatus.DELIVERED)
    assert ask(stage, requested_at=row.updated_at) == {coordinates.object_id: "changed-since"}
    assert stage.started() == []


def test_should_go_on_where_it_died_after_it_opened_the_attempt(stage: Stage) -> None:
    coordinates = upload(stage)
    row = stage.finish(coordinates, LedgerStatus.DELIVERED)
    stage.ledger.receive(row.next_attempt())
    assert ask(stage) == {coordinates.object_id: "started"}
    assert [started["attempt"] for started in stage.started()] == [2]


def test_should_start_what_was_never_started_with_its_first_attempt(stage: Stage) -> None:
    coordinates = upload(stage)
    assert ask(stage, unfinished=True) == {coordinates.object_id: "started"}
    assert stage.started() == [ExecutionInput(object=coordinates).model_dump(mode="json")]


def test_should_replay_the_versions_of_a_key_one_after_the_other(stage: Stage) -> None:
    """Each as an object of its own; at most one is in work, however many there are."""
    versions = [upload(stage, content) for content in (b"one", b"two", b"three")]
    stage.buckets.upload(b"another", f"{KEY}.dcm")
    for coordinates in versions:
        stage.finish(coordinates, LedgerStatus.DELIVERED)
    question = first_question()
    for number, coordinates in enumerate(reversed(versions), start=1):  # the newest is the first
        for _ in range(2):
            question["answer"] = stage.invoke("replay", question)
            assert question["answer"]["in_work"] == coordinates.object_id
            assert len(stage.started()) == number
        execution = stage.row(coordinates).current_attempt
        assert stage.ledger.record(execution, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    answer = stage.invoke("replay", question)
    assert answer == {"outcomes": {each.object_id: "started" for each in versions}, "in_work": None}
    assert {started["object"]["version_id"] for started in stage.started()} == {each.version_id for each in versions}


@pytest.mark.parametrize("filter_", [{}, {"unfinished": True}, {"reason_code": "NOT_DICOM"}, {"profile_hash": "ab"}])
def test_should_wait_for_what_it_started_where_the_answer_was_lost(stage: Stage, filter_: dict[str, Any]) -> None:
    coordinates = upload(stage)
    status = LedgerStatus.FAILED if "unfinished" in filter_ else LedgerStatus.QUARANTINED
    if "profile_hash" in filter_:
        row = stage.finish(coordinates, LedgerStatus.DELIVERED)
    elif status is LedgerStatus.FAILED:
        row = stage.finish(coordinates, status, error="States.Timeout")
    else:
        row = stage.finish(coordinates, status, reason_codes="NOT_DICOM")
    stage.change(coordinates, updated_at="2026-11-23T10:00:00.000Z")
    asked = {"requested_at": row.received_at, **filter_}
    for _ in range(2):
        answer = stage.invoke("replay", first_question(**asked))
        assert answer == {"outcomes": {coordinates.object_id: "started"}, "in_work": coordinates.object_id}
    assert len(stage.started()) == 1


def test_should_start_what_it_opened_where_the_start_was_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt that is open hides the reason for which its object was selected."""
    coordinates = upload(stage)
    row = stage.finish(coordinates, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    stage.change(coordinates, updated_at="2026-11-23T10:00:00.000Z")
    start, refusals = stage.states.start_execution, [refusal("ThrottlingException")]

    def refuse_first(**arguments: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return start(**arguments)

    monkeypatch.setattr(stage.states, "start_execution", refuse_first)
    outcomes = ask(stage, requested_at=row.received_at, reason_code="NOT_DICOM")
    assert outcomes == {coordinates.object_id: "started"}
    assert [started["attempt"] for started in stage.started()] == [2]


def test_should_not_wait_for_what_is_in_work_since_before_the_replay(stage: Stage) -> None:
    """Executions may have died by the thousand: reconciliation starts these again."""
    coordinates = upload(stage)
    execution = ExecutionInput(object=coordinates)
    stage.ledger.receive(execution)
    stage.ledger.run(execution, "arn")
    answer = stage.invoke("replay", first_question())
    assert answer == {"outcomes": {coordinates.object_id: "in-work"}, "in_work": None}


def test_should_ignore_what_the_pipeline_does_not_accept(stage: Stage) -> None:
    stage.buckets.upload(b"text", "readme.txt")
    assert ask(stage, "readme.txt") == {}
    assert stage.started() == []


def test_should_start_what_was_ignored_once_the_stage_accepts_it(stage: Stage) -> None:
    """Its first attempt: none was opened when it arrived."""
    coordinates = upload(stage)
    assert stage.ledger.ignore(coordinates)
    assert ask(stage, reason_code="NOT_DICOM") == {coordinates.object_id: "not-selected"}
    assert ask(stage, unfinished=True) == {coordinates.object_id: "started"}
    assert [started["attempt"] for started in stage.started()] == [1]


def test_should_keep_the_profile_and_the_release_of_the_attempt_before(stage: Stage) -> None:
    coordinates = upload(stage)
    stage.finish(coordinates, LedgerStatus.DELIVERED)
    execution = ExecutionInput(object=coordinates, attempt=2, profile="basic")
    stage.ledger.receive(execution)
    stage.ledger.record(execution, LedgerStatus.FAILED, error="States.Timeout")
    ask(stage)
    assert [(started["attempt"], started["profile"]) for started in stage.started()] == [(3, "basic")]


@pytest.mark.parametrize(
    ("arguments", "filter_"),
    [
        (("--all",), {}),
        (("--unfinished", "--prefix", "2026/"), {"unfinished": True}),
        (("--reason", "NOT_DICOM"), {"reason_code": "NOT_DICOM"}),
        (("--profile-hash", "abab"), {"profile_hash": "abab"}),
        (
            ("--all", "--received-since", "2026-11-23", "--received-before", "2026-11-24T12:00Z"),
            {"received_since": "2026-11-23", "received_before": "2026-11-24T12:00"},
        ),
    ],
)
def test_should_start_the_replay_workflow(
    operator: Operator, arguments: tuple[str, ...], filter_: dict[str, Any]
) -> None:
    status, out, _ = operator.run("replay", "--json", *arguments)
    assert status == 0
    assert json.loads(out)["execution"].startswith(REPLAY_MACHINE.replace(":stateMachine:", ":execution:"))
    [started] = operator.stage.started(REPLAY_MACHINE)
    parsed = ReplayInput.model_validate(started)
    assert parsed.prefix == ("2026/" if "--prefix" in arguments else "")
    given = parsed.filter.model_dump(exclude_defaults=True)
    assert given.pop("requested_at").startswith("20")
    assert given == filter_


def test_should_not_replay_without_being_told_what(operator: Operator) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.run("replay")
    assert stopped.value.code == 2
    assert operator.stage.started(REPLAY_MACHINE) == []
