"""Operations: announcements, scheduled checks and replays."""

from __future__ import annotations

import json

import pytest

from imaging_pipeline.operations.cost.templates import Templates
from runtime.contract.names import Function, ReplayState
from runtime.contract.replay import ReplayAnswer, ReplayInput, ReplayItem
from tests.infrastructure.conftest import StageTemplate, as_list


def test_should_announce_on_a_bus_of_the_stage(every_stage: StageTemplate) -> None:
    bus = every_stage.one("AWS::Events::EventBus")
    assert bus["Name"] == f"medical-imaging-pipeline-{every_stage.config.stage}"


def test_should_tell_the_subscribers_of_each_complete_study() -> None:
    stage = StageTemplate("dev", delivery_emails="r@example.org")
    rule = stage.one("AWS::Events::Rule", "StudyDelivered")
    assert rule["EventPattern"] == {"source": ["medical-imaging-pipeline"], "detail-type": ["StudyDelivered"]}
    (bus,) = stage.resources("AWS::Events::EventBus")
    assert rule["EventBusName"] == {"Ref": bus}
    (subscription,) = stage.resources("AWS::SNS::Subscription").values()
    assert subscription["Properties"]["TopicArn"] == rule["Targets"][0]["Arn"]
    assert (subscription["Properties"]["Protocol"], subscription["Properties"]["Endpoint"]) == (
        "email",
        "r@example.org",
    )


def test_should_leave_failed_executions_to_the_alarm(every_stage: StageTemplate) -> None:
    """Ten thousand that fail together would be as many mails."""
    (topic,) = [name for name in every_stage.resources("AWS::SNS::Topic") if "Notifications" in name]
    targets = [t for rule in every_stage.resources("AWS::Events::Rule").values() for t in rule["Properties"]["Targets"]]
    assert targets
    assert {"Ref": topic} not in [target["Arn"] for target in targets]


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_should_tell_the_operators_of_each_failed_execution_without_its_input_where_the_stage_wants_it(
    name: str,
) -> None:
    stage = StageTemplate(name, failure_notifications=True)
    rule = stage.one("AWS::Events::Rule", "ExecutionFailed")
    machine = next(name for name in stage.resources("AWS::StepFunctions::StateMachine") if "Workflow" in name)
    assert rule["EventPattern"]["detail"] == {
        "stateMachineArn": [{"Ref": machine}],
        "status": ["FAILED", "TIMED_OUT", "ABORTED"],
    }
    (target,) = rule["Targets"]
    assert sorted(target["InputTransformer"]["InputPathsMap"].values()) == ["$.detail.executionArn", "$.detail.status"]


@pytest.mark.parametrize(("name", "rate"), [("reconciliation", "rate(1 hour)"), ("completeness", "rate(1 minute)")])
def test_should_run_each_check_by_a_rule_that_is_named_as_its_function(
    every_stage: StageTemplate, name: str, rate: str
) -> None:
    rule = every_stage.schedule(name)
    assert rule["ScheduleExpression"] == rate
    (target,) = rule["Targets"]
    function = every_stage.resources("AWS::Lambda::Function")[target["Arn"]["Fn::GetAtt"][0]]["Properties"]
    assert function["FunctionName"] == rule["Name"] == f"{every_stage.config.name}-{name}"
    assert "Input" not in target, "the event names its rule"


def test_should_take_the_rate_of_reconciliation_from_the_stage() -> None:
    rule = StageTemplate("dev", reconciliation_minutes=15).schedule("reconciliation")
    assert rule["ScheduleExpression"] == "rate(15 minutes)"


def test_should_replay_what_is_listed_below_a_prefix_one_child_execution_a_key(every_stage: StageTemplate) -> None:
    definition = every_stage.machine("Replay")
    assert definition["StartAt"] == ReplayState.REPLAY_OBJECTS
    replay = definition["States"][ReplayState.REPLAY_OBJECTS]
    assert replay["ItemReader"]["Resource"].endswith(":s3:listObjectsV2")
    assert replay["ItemReader"]["Parameters"]["Prefix.$"] == "$.prefix"
    assert replay["ItemProcessor"]["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    assert {name.removesuffix(".$") for name in replay["ItemSelector"]} == set(ReplayItem.model_fields) - {"answer"}
    read = {path.split(".")[1] for path in (replay["ItemSelector"]["filter.$"], "$.prefix")}
    assert read == set(ReplayInput.model_fields)
    assert (replay["MaxConcurrency"], replay["ToleratedFailureCount"]) == (150, 100)
    assert definition["States"][ReplayState.REPLAYED] == {"Type": "Succeed"}


def test_should_end_a_replay_well_only_where_it_got_to_every_key(every_stage: StageTemplate) -> None:
    """A map succeeds as long as no more fail than are tolerated."""
    states = every_stage.machine("Replay")["States"]
    following = states[ReplayState.REPLAY_OBJECTS]["Next"]
    if every_stage.config.stage == "local":
        assert following == ReplayState.REPLAYED, "in the emulator a map doesn't tell its run"
        return
    counting, choice = states[following], states[states[following]["Next"]]
    assert counting["Resource"].endswith(":aws-sdk:sfn:describeMapRun")
    assert counting["Parameters"] == {"MapRunArn.$": "$.run.MapRunArn"}
    counts = {f"$.counts.{name.removesuffix('.$')}" for name in counting["ResultSelector"]}
    assert set(counting["ResultSelector"].values()) == {
        f"$.ItemCounts.{name}" for name in ("Failed", "TimedOut", "Aborted")
    }
    (rule,) = choice["Choices"]
    assert {each["Variable"] for each in rule["Or"]} == counts
    assert {each["NumericGreaterThan"] for each in rule["Or"]} == {0}
    assert states[rule["Next"]]["Type"] == "Fail"
    assert choice["Default"] == ReplayState.REPLAYED


def test_should_wait_patiently_when_a_replay_is_throttled(every_stage: StageTemplate) -> None:
    states = every_stage.machine("Replay")["States"][ReplayState.REPLAY_OBJECTS]["ItemProcessor"]["States"]
    task = states[ReplayState.REPLAY_OBJECT]
    assert task["Retry"] == every_stage.states["IngestionStep"]["Retry"]
    assert task["TimeoutSeconds"] == every_stage.config.functions[Function.REPLAY].timeout_seconds + 15


def test_should_bound_a_replay_as_the_stage_says() -> None:
    stage = StageTemplate("dev", replay_concurrency=3, replay_tolerated_failures=1)
    replay = stage.machine("Replay")["States"][ReplayState.REPLAY_OBJECTS]
    assert (replay["MaxConcurrency"], replay["ToleratedFailureCount"]) == (3, 1)
    assert "ToleratedFailurePercentage" not in replay, "a share grows with the replay, and what is in flight with it"


def test_should_hold_a_keys_place_in_a_replay_until_its_attempt_has_a_verdict(every_stage: StageTemplate) -> None:
    """What the map starts is bounded by its concurrency only as far as its children wait."""
    processor = every_stage.machine("Replay")["States"][ReplayState.REPLAY_OBJECTS]["ItemProcessor"]
    states = processor["States"]
    task = states[processor["StartAt"]]
    assert (task["ResultPath"], "Parameters" in task) == ("$.answer", False), "asks again with the answer before"
    choice = states[task["Next"]]
    (rule,) = choice["Choices"]
    (answered,) = {name for name in ReplayAnswer.model_fields if name != "outcomes"}
    assert (rule["Variable"], rule["IsNull"]) == (f"$.answer.{answered}", True)
    assert states[rule["Next"]] == {"Type": "Succeed", "OutputPath": "$.answer"}, "what is kept is the last answer"
    wait = states[choice["Default"]]
    assert (wait["Type"], wait["Seconds"], wait["Next"]) == ("Wait", 5, processor["StartAt"])


def test_should_leave_half_of_an_accounts_state_transitions_to_uploads(prod: StageTemplate) -> None:
    """In most regions an account has 800 a second. A key holds its place for the first look at least."""
    processor = prod.machine("Replay")["States"][ReplayState.REPLAY_OBJECTS]["ItemProcessor"]["States"]
    started_a_second = prod.config.replay_concurrency / processor[ReplayState.AWAIT_VERDICT]["Seconds"]
    assert started_a_second * len(Templates(prod.json).delivery_states()) < 0.55 * 800


def test_should_write_a_replays_results_into_the_operations_bucket(every_stage: StageTemplate) -> None:
    replay = every_stage.machine("Replay")["States"][ReplayState.REPLAY_OBJECTS]
    if every_stage.config.stage == "local":
        assert "ResultWriter" not in replay, "the emulator knows none"
        return
    assert replay["ResultWriter"]["Parameters"]["Prefix"] == "replays/"
    assert "BucketsOperations" in replay["ResultWriter"]["Parameters"]["Bucket"]


def test_should_let_a_replay_list_raw_keys_and_read_no_object(every_stage: StageTemplate) -> None:
    allowed = {
        (action, json.dumps(resource))
        for statement in every_stage.statements("ReplayStateMachineRole")
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    raw = {(action, resource) for action, resource in allowed if "BucketsRaw" in resource and "kms:" not in action}
    assert {action for action, _ in raw} == {"s3:ListBucket"}, sorted(raw)
