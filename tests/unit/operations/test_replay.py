import io
import json
import os
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Decision, ExecutionInput, ObjectCoordinates
from runtime.contract.replay import ReplayInput
from runtime.contract.variables import StartingVariables
from runtime.ledger.rows import Row
from runtime.operations.replay import selects
from tests.unit.conftest import RAW
from tests.unit.operations.conftest import (
    DELIVERED,
    KEY,
    REPLAY_MACHINE,
    Operator,
    Stage,
    answer_requests,
    http_answer,
    refusal,
)

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
    status, out, _ = operator.run("replay", "--json", "--yes", *arguments)
    assert status == 0
    assert json.loads(out)["execution"].startswith(REPLAY_MACHINE.replace(":stateMachine:", ":execution:"))
    [started] = operator.stage.started(REPLAY_MACHINE)
    parsed = ReplayInput.model_validate(started)
    assert parsed.prefix == ("2026/" if "--prefix" in arguments else "")
    given = parsed.filter.model_dump(exclude_defaults=True)
    assert given.pop("requested_at").startswith("20")
    assert given == filter_


@pytest.mark.parametrize(("answer", "started"), [("y\n", 1), ("Yes\n", 1), ("\n", 0), ("no\n", 0), ("", 0)])
def test_should_ask_before_it_replays_everything(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, answer: str, started: int
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    status, _, err = operator.run("replay", "--all")
    assert status == (0 if started else 2)
    assert "every object of stage 'test'" in err
    assert len(operator.stage.started(REPLAY_MACHINE)) == started


def test_should_not_replay_everything_where_nobody_can_be_asked(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, _, err = operator.run("replay", "--all")
    assert status == 2
    assert "add --yes" in err
    assert operator.stage.started(REPLAY_MACHINE) == []


def test_should_start_the_objects_that_are_named_by_id_or_key(operator: Operator) -> None:
    stage = operator.stage
    first = stage.finish(upload(stage), LedgerStatus.DELIVERED)
    newest = stage.finish(upload(stage, b"corrected"), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    unknown = stage.buckets.upload(b"another", "lost.dcm")
    ignored = stage.buckets.upload(b"ignored", "scan.raw")
    stage.ledger.ignore(ignored)
    status, _, err = operator.run("replay", first.object_id, KEY, "lost.dcm", "scan.raw")
    assert (status, err) == (0, "replay: 4 started, 0 not\n")
    started = {each["object"]["version_id"]: each["attempt"] for each in stage.started()}
    assert started == {first.version_id: 2, newest.version_id: 2, unknown.version_id: 1, ignored.version_id: 1}
    assert stage.started(REPLAY_MACHINE) == []


def test_should_follow_the_objects_that_are_named_to_their_verdicts(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = operator.stage
    row = stage.finish(upload(stage), LedgerStatus.FAILED, error="States.Timeout")

    def judge(_: float) -> None:
        stage.ledger.record(
            stage.row(row.coordinates).current_attempt, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM"
        )

    monkeypatch.setattr("cli.operations.replays.time.sleep", judge)
    lines = operator.table("replay", KEY, "--follow")
    assert lines[-1] == [row.object_id, "quarantined", "NOT_DICOM"]


@pytest.fixture
def accepting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let AWS Lambda tell the replay function's variables."""

    def describe(request: Any, **_: Any) -> AWSResponse:
        assert "/functions/medical-imaging-pipeline-test-replay/" in request.url
        variables = {name: os.environ[name] for name in StartingVariables.model_fields if name in os.environ}
        return http_answer(request, {"Environment": {"Variables": variables}})

    answer_requests("lambda.GetFunctionConfiguration", describe, monkeypatch)


@pytest.mark.usefixtures("accepting")
def test_should_say_how_many_it_would_start(operator: Operator) -> None:
    """By the rules of the replay itself."""
    stage = operator.stage
    stage.finish(upload(stage), LedgerStatus.DELIVERED)
    stage.finish(upload(stage, b"two"), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    stage.finish(stage.buckets.upload(b"1", "2026/a.dcm"), LedgerStatus.FAILED, error="States.Timeout")
    stage.buckets.upload(b"1", "2026/lost.dcm")
    stage.ledger.ignore(stage.buckets.upload(b"1", "2026/ignored.dcm"))
    stage.ledger.ignore(stage.buckets.upload(b"1", "2026/notes.txt"))
    running = stage.buckets.upload(b"1", "running.dcm")
    stage.ledger.receive(ExecutionInput(object=running))
    stage.ledger.run(ExecutionInput(object=running), "arn")
    stage.finish(stage.buckets.upload(b"1", "deleted.dcm"), LedgerStatus.DELIVERED)
    stage.buckets.s3.delete_object(Bucket=RAW, Key="deleted.dcm")

    def planned(*arguments: str) -> tuple[int, int]:
        status, out, _ = operator.run("replay", *arguments, "--dry-run", "--json")
        assert status == 0
        plan = json.loads(out)
        return plan["objects"], plan["keys"]

    assert planned("--all") == (5, 4)
    assert planned("--unfinished") == (3, 3)
    assert planned("--unfinished", "--prefix", "2026/l") == (1, 1)
    assert planned("--reason", "NOT_DICOM") == (1, 1)
    assert planned(KEY) == (1, 1)
    assert "It would start 5 attempts, at versions of 4 keys." in operator.run("replay", "--all", "--dry-run")[1]
    assert stage.started() == stage.started(REPLAY_MACHINE) == []


def test_should_not_select_by_its_reason_what_was_dismissed(stage: Stage) -> None:
    row = stage.finish(upload(stage), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    stage.ledger.dismiss(row, Decision(by="Dr. Ada Byron", reason="It was never a file of ours."))
    assert ask(stage, reason_code="NOT_DICOM") == {row.object_id: "not-selected"}
    assert ask(stage) == {row.object_id: "started"}


class MapRuns:
    """Step Functions with a replay that gets on with every look."""

    def __init__(self, states: Any, *statuses: str) -> None:
        self.start_execution = states.start_execution
        self.statuses = list(statuses)
        self.looks = 0

    def describe_execution(self, **_: Any) -> Any:
        self.looks += 1
        return {"status": self.statuses.pop(0)}

    def list_map_runs(self, **_: Any) -> Any:
        if self.looks == 1:
            raise refusal("AccessDeniedException")
        return {"mapRuns": [{"mapRunArn": "arn"}]}

    def describe_map_run(self, **_: Any) -> Any:
        counts = dict.fromkeys(("failed", "timedOut", "aborted"), 0)
        return {"itemCounts": counts | {"succeeded": 10 * self.looks, "total": 30}}


@pytest.mark.parametrize(("end", "expected"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_should_follow_a_replay_to_its_end(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, end: str, expected: int
) -> None:
    states = MapRuns(operator.stage.states, "RUNNING", "RUNNING", end)
    monkeypatch.setattr("cli.commands.replay.client", lambda _: states)
    monkeypatch.setattr("cli.operations.replays.time.sleep", lambda _: None)
    status, out, err = operator.run("replay", "--unfinished", "--follow")
    assert status == expected
    assert out.startswith(REPLAY_MACHINE.replace(":stateMachine:", ":execution:"))
    assert err.splitlines() == [
        "replay: running",
        "replay: running: 20 of 30 keys done, 0 failed",
        f"replay: {end.lower()}: 30 of 30 keys done, 0 failed",
    ]


def test_should_not_replay_without_being_told_what(operator: Operator) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.run("replay")
    assert stopped.value.code == 2
    assert operator.stage.started(REPLAY_MACHINE) == []
