import json
import random
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from runtime.aws.retries import is_transient
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput
from runtime.operations.attempts import accepts
from tests.unit.audit_tables import away
from tests.unit.conftest import AUDIT_TABLE, CODE_VERSION, RAW, dicom_file
from tests.unit.intake.conftest import STATE_MACHINE, Stage, execution, message

CT = dicom_file("CT_small.dcm")
KEY = "DOE^JANE/scan 1.dcm"


def client_error(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": KEY}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "StartExecution")


class FailingStates:
    """Step Functions that raises some errors before it answers."""

    def __init__(self, states: Any, *errors: Exception, answers: bool = False) -> None:
        self.states = states
        self.exceptions = states.exceptions
        self.errors = list(errors)
        self.answers = answers
        self.calls = 0

    def start_execution(self, **arguments: Any) -> Any:
        self.calls += 1
        if not self.errors:
            return self.states.start_execution(**arguments)
        if self.answers:
            self.states.start_execution(**arguments)
        raise self.errors.pop(0)


def fail(stage: Stage, monkeypatch: pytest.MonkeyPatch, *errors: Exception, answers: bool = False) -> FailingStates:
    states = FailingStates(stage.states, *errors, answers=answers)
    monkeypatch.setattr(stage.dispatcher.executions, "_client", states)
    return states


def test_should_start_an_execution_named_by_the_object_with_every_input(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    assert stage.dispatch(message(coordinates)) == []
    [started] = stage.executions()
    assert started["name"] == coordinates.object_id
    given = stage.states.describe_execution(executionArn=started["executionArn"])["input"]
    assert ExecutionInput.model_validate_json(given) == execution(coordinates)
    assert set(json.loads(given)) == {"object", "attempt", "profile", "release"}
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.execution) == (LedgerStatus.RUNNING, started["executionArn"])


def test_should_find_the_version_of_an_event_without_its_id(stage: Stage) -> None:
    first = stage.buckets.upload(CT, KEY)
    second = stage.buckets.upload(CT + b"\0\0", KEY)
    stage.dispatch(message(first, version=False))
    assert stage.status(first) == "running"
    assert stage.ledger.row(second.object_id) is None


def test_should_start_one_execution_for_events_delivered_three_times_and_shuffled(stage: Stage) -> None:
    uploaded = [stage.buckets.upload(CT, f"{number}.dcm") for number in range(4)]
    bodies = [message(coordinates) for coordinates in uploaded] * 3
    random.shuffle(bodies)
    for body in bodies:
        assert stage.dispatch(body) == []
    assert {started["name"] for started in stage.executions()} == {coordinates.object_id for coordinates in uploaded}
    assert len(stage.executions()) == 4


def test_should_ask_step_functions_once_for_an_event_that_comes_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An EXPRESS execution's name does not keep a second one from starting: the ledger has to."""
    states = fail(stage, monkeypatch)
    body = message(stage.buckets.upload(CT, KEY))
    stage.dispatch(body, body)
    stage.dispatch(body)
    assert states.calls == 1


def test_should_leave_a_finished_object_alone_when_its_event_comes_late(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.ledger.receive(execution(coordinates))
    stage.ledger.record(execution(coordinates), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert stage.dispatch(message(coordinates)) == []
    assert stage.executions() == []
    assert stage.status(coordinates) == "quarantined"


def test_should_start_no_first_attempt_where_a_later_one_waits_for_its_start(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.ledger.receive(execution(coordinates, 2))
    assert stage.dispatch(message(coordinates)) == []
    assert [each["name"] for each in stage.executions()] == [f"{coordinates.object_id}-2"]


def test_should_start_an_attempt_as_it_was_opened(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.ledger.receive(execution(coordinates, profile="basic"))
    stage.dispatch(message(coordinates))
    [started] = stage.executions()
    given = stage.states.describe_execution(executionArn=started["executionArn"])["input"]
    assert ExecutionInput.model_validate_json(given).profile == "basic"


def test_should_go_on_where_a_dispatcher_died_after_it_started_the_execution(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.ledger.receive(execution(coordinates))
    stage.dispatcher.executions.start(execution(coordinates))
    assert stage.dispatch(message(coordinates)) == []
    [started] = stage.executions()
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.execution) == (LedgerStatus.RUNNING, started["executionArn"])


def test_should_name_the_execution_that_another_input_started_before(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.dispatcher.executions.start(execution(coordinates))
    again = stage.dispatcher.executions.start(execution(coordinates, profile="basic"))
    assert [again] == [started["executionArn"] for started in stage.executions()]


def test_should_start_the_next_attempt_where_the_ledger_was_lost_after_the_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of an execution stays taken for 90 days after its end. Looking at each would take 0.1 s of a quota."""
    coordinates = stage.buckets.upload(CT, KEY)
    for attempt in (1, 2):
        arn = stage.dispatcher.executions.start(execution(coordinates, attempt))
        stage.states.stop_execution(executionArn=arn)
    with monkeypatch.context() as patch:
        looked_at: list[dict[str, Any]] = []
        patch.setattr(stage.states, "describe_execution", lambda **arguments: looked_at.append(arguments))
        assert stage.dispatch(message(coordinates)) == []
    assert looked_at == [], "attempts that were opened a moment ago"
    running = [each["executionArn"] for each in stage.executions() if each["status"] == "RUNNING"]
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt, [row.execution]) == (LedgerStatus.RUNNING, 3, running)
    assert stage.dispatch(message(coordinates)) == []
    assert len(stage.executions()) == 3


def test_should_start_once_where_the_first_answer_was_lost_and_the_client_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    start, lost = stage.states.start_execution, [True]

    def start_and_lose_the_answer(**arguments: Any) -> Any:
        answer = start(**arguments)
        if not lost:
            return answer
        lost.clear()
        taken = {"Code": "ExecutionAlreadyExists", "Message": ""}
        raise stage.states.exceptions.ExecutionAlreadyExists(
            {"Error": taken, "ResponseMetadata": {"RetryAttempts": 1}},
            "StartExecution",
        )

    monkeypatch.setattr(stage.states, "start_execution", start_and_lose_the_answer)
    assert stage.dispatch(message(coordinates)) == []
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt, len(stage.executions())) == (LedgerStatus.RUNNING, 1, 1)


def test_should_wait_out_throttling_where_the_next_attempt_is_started(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition begins with the first attempt, whose name is taken, while the next is open already."""
    coordinates = stage.buckets.upload(CT, KEY)
    stage.states.stop_execution(executionArn=stage.dispatcher.executions.start(execution(coordinates)))
    start, throttles = stage.states.start_execution, [client_error("ThrottlingException")]

    def throttle_second(**arguments: Any) -> Any:
        if arguments["name"].endswith("-2") and throttles:
            raise throttles.pop()
        return start(**arguments)

    monkeypatch.setattr(stage.states, "start_execution", throttle_second)
    assert stage.dispatch(message(coordinates)) == []
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt) == (LedgerStatus.RUNNING, 2)


def test_should_look_at_the_execution_of_an_attempt_that_was_opened_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened it may have started it, and died before saying so."""
    coordinates = stage.buckets.upload(CT, KEY)
    arn = stage.dispatcher.executions.start(execution(coordinates, profile="basic"))
    stage.ledger.receive(execution(coordinates))
    assert stage.dispatch(message(coordinates)) == []
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt, row.execution) == (LedgerStatus.RUNNING, 1, arn)


def test_should_start_one_attempt_where_another_starts_what_this_one_opened(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    start, others = stage.states.start_execution, [message(coordinates)]

    def start_after_another(**arguments: Any) -> Any:
        while others:
            assert stage.dispatch(others.pop()) == []
        return start(**arguments)

    monkeypatch.setattr(stage.states, "start_execution", start_after_another)
    assert stage.dispatch(message(coordinates)) == []
    [started] = stage.executions()
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt, row.execution) == (LedgerStatus.RUNNING, 1, started["executionArn"])


@pytest.mark.parametrize("request_", ["start_execution", "describe_execution"])
def test_should_leave_it_at_the_verdict_of_an_execution_that_ended_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    """Of an attempt that was opened just now, or before."""
    coordinates = stage.buckets.upload(CT, KEY)
    first = execution(coordinates)
    stage.states.stop_execution(executionArn=stage.dispatcher.executions.start(first))
    if request_ == "describe_execution":
        stage.ledger.receive(first)
    ask = getattr(stage.states, request_)

    def ask_late(**arguments: Any) -> Any:
        stage.ledger.record(first, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
        return ask(**arguments)

    monkeypatch.setattr(stage.states, request_, ask_late)
    assert stage.dispatch(message(coordinates)) == []
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.attempt) == (LedgerStatus.QUARANTINED, 1)
    assert len(stage.executions()) == 1


@pytest.mark.parametrize(
    "error",
    [
        client_error("ThrottlingException"),
        client_error("KmsThrottlingException"),
        client_error("ExecutionLimitExceeded"),
        client_error("InternalServerError", 500),
        EndpointConnectionError(endpoint_url="https://states"),
    ],
)
def test_should_wait_out_what_passes(stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    states = fail(stage, monkeypatch, *[error] * 7)
    coordinates = stage.buckets.upload(CT, KEY)
    assert stage.dispatch(message(coordinates)) == []
    assert states.calls == 8
    assert stage.status(coordinates) == "running"


def test_should_start_once_when_the_answer_to_a_start_was_lost(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(stage, monkeypatch, EndpointConnectionError(endpoint_url="https://states"), answers=True)
    coordinates = stage.buckets.upload(CT, KEY)
    assert stage.dispatch(message(coordinates)) == []
    assert len(stage.executions()) == 1
    assert stage.status(coordinates) == "running"


def test_should_give_a_message_back_when_no_time_is_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    states = fail(stage, monkeypatch, *[client_error("ThrottlingException")] * 9)
    coordinates = stage.buckets.upload(CT, KEY)
    body = message(coordinates)
    assert stage.dispatch(body, milliseconds_left=15_000) == [body]
    assert states.calls == 1
    states.errors.clear()
    assert stage.dispatch(body) == []
    assert stage.status(coordinates) == "running"


def test_should_give_back_only_what_failed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(stage, monkeypatch, client_error("AccessDeniedException"))
    bodies = [message(stage.buckets.upload(CT, f"{number}.dcm")) for number in range(3)]
    assert stage.dispatch(*bodies) == bodies[:1]
    assert len(stage.executions()) == 2


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"detail": {"object": {"key": "DOE^JANE.dcm"}}}'])
def test_should_give_a_poison_message_back_and_tell_nothing_of_it(
    stage: Stage, output: pytest.CaptureFixture[str], body: str
) -> None:
    good = message(stage.buckets.upload(CT, KEY))
    assert stage.dispatch(body, good) == [body]
    assert len(stage.executions()) == 1
    written = output.readouterr()
    assert "not dispatched" in written.out
    assert "DOE" not in written.out + written.err


def test_should_answer_for_a_batch_of_nothing_but_poison(stage: Stage) -> None:
    assert stage.dispatch("{", "[]") == ["{", "[]"]


def test_should_never_log_a_key(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    fail(stage, monkeypatch, client_error("AccessDeniedException"))
    stage.dispatch(*[message(stage.buckets.upload(CT, f"DOE^JANE-{number}.dcm")) for number in range(2)])
    written = output.readouterr()
    assert "AccessDeniedException" in written.out
    assert "dispatched" in written.out
    assert "DOE" not in written.out + written.err


def test_should_count_what_it_does_not_take(stage: Stage) -> None:
    ignored = [stage.buckets.upload(b"text", f"{number}.txt") for number in range(3)]
    taken = stage.buckets.upload(CT, "scan.DCM")
    assert stage.dispatch(*[message(coordinates) for coordinates in (*ignored, taken)]) == []
    assert [started["name"] for started in stage.executions()] == [taken.object_id]
    assert stage.count("PipelineIgnored") == 3


@pytest.mark.parametrize("version", [True, False])
def test_should_record_once_what_it_does_not_take(stage: Stage, version: bool) -> None:
    ignored = [stage.buckets.upload(b"text", key) for key in ("DOE^JANE/notes.txt", "DOE^JANE/")]
    bodies = [message(coordinates, version=version) for coordinates in ignored]
    stage.buckets.requests.clear()
    assert stage.dispatch(*bodies, *bodies) == []
    assert stage.dispatch(*bodies) == []
    rows = [stage.ledger.row(coordinates.object_id) for coordinates in ignored]
    assert [(row.status, row.attempt, row.coordinates) for row in rows if row] == [
        (LedgerStatus.IGNORED, 0, coordinates) for coordinates in ignored
    ]
    assert {row.object_id for row in stage.ledger.with_status(LedgerStatus.IGNORED)} == {
        coordinates.object_id for coordinates in ignored
    }
    assert stage.count("PipelineIgnored") == 2
    assert stage.executions() == []
    assert not (version and stage.buckets.operations()), "the event tells all that is recorded"


def test_should_not_tell_the_key_of_what_it_does_not_take(stage: Stage, output: pytest.CaptureFixture[str]) -> None:
    stage.dispatch(message(stage.buckets.upload(b"text", "DOE^JANE/notes.txt")))
    written = output.readouterr()
    assert "ignored" in written.out
    assert "DOE" not in written.out + written.err


def test_should_record_as_ignored_what_is_gone_since(stage: Stage) -> None:
    coordinates = stage.buckets.upload(b"text", "notes.txt")
    stage.buckets.s3.delete_object(Bucket=RAW, Key="notes.txt", VersionId=coordinates.version_id)
    assert stage.dispatch(message(coordinates), message(coordinates, version=False)) == []
    assert {row.version_id for row in stage.ledger.with_status(LedgerStatus.IGNORED)} == {
        coordinates.version_id,
        "null",
    }


def test_should_take_what_it_ignored_once_the_stage_accepts_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinates = stage.buckets.upload(CT, "scan.raw")
    stage.dispatch(message(coordinates))
    assert stage.status(coordinates) == "ignored"
    monkeypatch.setattr(
        stage.dispatcher, "variables", stage.dispatcher.variables.model_copy(update={"ACCEPTED_SUFFIXES": (".raw",)})
    )
    assert stage.dispatch(message(coordinates)) == []
    assert [each["name"] for each in stage.executions()] == [coordinates.object_id]
    assert stage.status(coordinates) == "running"
    assert not list(stage.ledger.with_status(LedgerStatus.IGNORED))


def test_should_acknowledge_even_when_the_count_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> None:
    class Refusing:
        def put_metric_data(self, **_: Any) -> None:
            raise client_error("AccessDenied", 403)

    monkeypatch.setattr(stage.dispatcher, "cloudwatch", Refusing())
    assert stage.dispatch(message(stage.buckets.upload(b"text", "DOE.txt"))) == []
    assert "count not published" in output.readouterr().out


def test_should_quarantine_what_was_deleted_before_anything_read_it(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.buckets.s3.delete_object(Bucket=RAW, Key=KEY, VersionId=coordinates.version_id)
    assert stage.dispatch(message(coordinates), message(coordinates)) == []
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.reason_codes) == (LedgerStatus.QUARANTINED, "OBJECT_DELETED")
    assert row.coordinates == coordinates
    assert stage.executions() == []
    assert stage.count("PipelineQuarantine") == 1
    [record] = stage.audit.of_subject(coordinates.object_id)
    assert (record.event, record.attempt, record.reason_codes) == ("quarantined", 1, "OBJECT_DELETED")
    assert (record.record_id, record.code_version) == ("1#quarantined", CODE_VERSION)


def test_should_give_no_verdict_that_the_audit_log_does_not_know(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.buckets.s3.delete_object(Bucket=RAW, Key=KEY, VersionId=coordinates.version_id)
    body = message(coordinates)
    with away(AUDIT_TABLE):
        assert stage.dispatch(body, milliseconds_left=1000) == [body]
        assert stage.ledger.row(coordinates.object_id) is None
    assert stage.dispatch(body) == []
    assert len(list(stage.audit.of_subject(coordinates.object_id))) == 1


def test_should_leave_the_verdict_to_the_execution_of_what_was_deleted_since(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    stage.dispatch(message(coordinates))
    stage.buckets.s3.delete_object(Bucket=RAW, Key=KEY, VersionId=coordinates.version_id)
    assert stage.dispatch(message(coordinates)) == []
    assert stage.status(coordinates) == "running"
    assert list(stage.audit.of_subject(coordinates.object_id)) == []


@pytest.mark.parametrize(
    ("prefixes", "suffixes", "expected"),
    [
        ((), (), True),
        (("ct/",), (), True),
        (("mr/", "ct/"), (".dcm",), True),
        (("mr/",), (".dcm",), False),
        ((), (".DCM",), True),
        ((), (".dicom",), False),
        (("CT/",), (), False),
    ],
)
def test_should_accept_by_prefix_and_by_suffix_in_any_case(
    prefixes: tuple[str, ...], suffixes: tuple[str, ...], expected: bool
) -> None:
    assert accepts("ct/Scan.dCm", prefixes, suffixes) is expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ct/IM0001", True),
        ("DICOM/00000001/IMAGE.001", True),
        ("1.2.840.10008.5.1.4.1.1.2", True),
        ("ct/MR.1.2.840.113619.2.55", True),
        ("scan.IMA", True),
        ("a.folder/scan", True),
        ("notes.txt", False),
        ("ct/scan.dcm.gz", False),
        (".DS_Store", False),
        ("ct/", False),
        ("", False),
    ],
)
def test_should_accept_names_without_suffix_where_the_stage_does(key: str, expected: bool) -> None:
    assert accepts(key, (), (".dcm", ".dicom", ".ima", "")) is expected


@pytest.mark.parametrize("suffixes", [(), (".dcm",), ("",)])
def test_should_not_take_a_marker_of_a_folder(suffixes: tuple[str, ...]) -> None:
    assert not accepts("2026/scan.dcm/", (), suffixes)


def test_should_not_take_names_without_suffix_where_the_stage_does_not_say_so() -> None:
    assert not accepts("IM0001", (), (".dcm",))
    assert accepts("IM0001", (), ("",))
    assert not accepts("scan.dcm", (), ("",))


@pytest.mark.parametrize(
    "error", [client_error("AccessDenied", 403), ValueError(), client_error("StateMachineDoesNotExist")]
)
def test_should_not_wait_for_what_does_not_pass(error: Exception) -> None:
    assert not is_transient(error)


def test_should_use_the_state_machine_it_was_told_of(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT, KEY)
    arn = stage.dispatcher.executions.start(execution(coordinates, 3))
    assert arn.startswith(STATE_MACHINE.replace("stateMachine", "execution"))
    assert arn.endswith(f":{coordinates.object_id}-3")
