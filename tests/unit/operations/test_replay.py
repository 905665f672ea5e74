import json
from typing import Any

import pytest

from runtime.contract import ExecutionInput, LedgerStatus, ObjectCoordinates, ReplayInput
from runtime.ledger import Row
from runtime.operations.replay import selects
from tests.unit.conftest import RAW
from tests.unit.operations.conftest import DELIVERED, KEY, REPLAY_MACHINE, Operator, Stage

LATER = "2100-01-01T00:00:00.000Z"


def ask(stage: Stage, key: str = KEY, *, requested_at: str = LATER, **filter_: Any) -> dict[str, str]:
    """Invoke the function as the workflow does; return the outcome for each version."""
    event = {"bucket": RAW, "key": key, "filter": {"requested_at": requested_at, **filter_}}
    outcomes: dict[str, str] = stage.invoke("replay", event)["outcomes"]
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


def test_should_replay_each_version_of_a_key_as_an_object_of_its_own(stage: Stage) -> None:
    versions = [upload(stage, b"one"), upload(stage, b"two")]
    stage.buckets.upload(b"another", f"{KEY}.dcm")
    for coordinates in versions:
        stage.finish(coordinates, LedgerStatus.DELIVERED)
    assert ask(stage) == {coordinates.object_id: "started" for coordinates in versions}
    assert {started["object"]["version_id"] for started in stage.started()} == {each.version_id for each in versions}


def test_should_ignore_what_the_pipeline_does_not_accept(stage: Stage) -> None:
    stage.buckets.upload(b"text", "readme.txt")
    assert ask(stage, "readme.txt") == {}
    assert stage.started() == []


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
