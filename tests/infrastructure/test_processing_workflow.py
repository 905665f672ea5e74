"""The state machine: its states and their order, and what it does about errors."""

from __future__ import annotations

import json
import re
from typing import Any

import botocore.session
import pytest
from pydantic import BaseModel

from imaging_pipeline.building_blocks.runtime_code import code_version
from runtime.contract.audit import EVENT_SHARD, AuditEvent, AuditRecord
from runtime.contract.events import InstanceDelivered, InstanceQuarantined
from runtime.contract.ledger import LEDGER_VERDICTS, LedgerStatus
from runtime.contract.names import STEP_FAILED, Function, Metric, State
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.contract.steps import DeidentificationBody, IngestionBody, RejectionBody, ValidationBody
from runtime.operations.completeness import FAR_OVERLAP
from tests.infrastructure.conftest import StageTemplate

STEPS: dict[str, tuple[str, str, str, type[BaseModel]]] = {
    "IngestionStep": ("CheckIngestionStatus", "ParseIngestionResult", "ValidationStep", IngestionBody),
    "ValidationStep": ("CheckValidationStatus", "ParseValidationResult", "DeidentificationStep", ValidationBody),
    "DeidentificationStep": (
        "CheckDeidentificationStatus",
        "ParseDeidentificationResult",
        "AuditDelivery",
        DeidentificationBody,
    ),
}
each_step = pytest.mark.parametrize("step", STEPS)


def chain(states: dict[str, Any], start: str) -> list[str]:
    names = [start]
    while "Next" in states[names[-1]]:
        names.append(states[names[-1]]["Next"])
    return names


def test_should_have_exactly_the_states_of_the_contract(every_stage: StageTemplate) -> None:
    assert every_stage.definition["StartAt"] == "IngestionStep"
    assert set(every_stage.states) == set(State)


@each_step
def test_should_go_on_when_accepted_quarantine_when_rejected_and_fail_otherwise(dev: StageTemplate, step: str) -> None:
    check, parse, following, _ = STEPS[step]
    assert dev.states[step]["Next"] == check
    duplicate = {
        "And": [
            {"Variable": "$.step.statusCode", "NumericEquals": 200},
            {"Variable": "$.step.body.outcome", "StringEquals": "duplicate"},
        ],
        "Next": "AuditDuplicate",
    }
    assert dev.states[check] == {
        "Type": "Choice",
        "Choices": [
            *([duplicate] if step == "DeidentificationStep" else []),
            {"Variable": "$.step.statusCode", "NumericEquals": 200, "Next": parse},
            {"Variable": "$.step.statusCode", "NumericEquals": 422, "Next": "QuarantineHandler"},
        ],
        "Default": "ErrorHandler",
    }
    assert dev.states[parse]["Next"] == following


def test_should_end_in_four_ways(dev: StageTemplate) -> None:
    assert chain(dev.states, "AuditDelivery") == [
        "AuditDelivery",
        "RecordDelivery",
        "AnnounceDelivery",
        "PublishSuccessMetric",
        "SuccessState",
    ]
    assert chain(dev.states, "AuditDuplicate") == [
        "AuditDuplicate",
        "RecordDuplicate",
        "PublishDuplicateMetric",
        "DuplicateState",
    ]
    assert chain(dev.states, "QuarantineHandler") == [
        "QuarantineHandler",
        "TagQuarantinedObject",
        "AuditQuarantine",
        "RecordQuarantine",
        "AnnounceQuarantine",
        "PublishQuarantineMetric",
        "QuarantinedState",
    ]
    assert chain(dev.states, "ErrorHandler") == [
        "ErrorHandler",
        "AuditFailure",
        "RecordFailure",
        "PublishFailureMetric",
        "FailureState",
    ]
    ends = {name: state["Type"] for name, state in dev.states.items() if state["Type"] in {"Succeed", "Fail"}}
    assert ends == {
        "SuccessState": "Succeed",
        "DuplicateState": "Succeed",
        "QuarantinedState": "Succeed",
        "FailureState": "Fail",
    }


# The first four as AWS advises: https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
TROUBLE = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.EC2UnexpectedException",
)
CRASHES = ("Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory")
NOT_READY = (
    "TooManyRequestsException",
    "EC2ThrottledException",
    "ENINotReadyException",
    "ResourceConflictException",
    "ResourceNotReadyException",
)


@each_step
@pytest.mark.parametrize("error", [*TROUBLE, *CRASHES, "States.Timeout", STEP_FAILED])
def test_should_retry_trouble_three_times_from_two_seconds_on(
    every_stage: StageTemplate, step: str, error: str
) -> None:
    rules = [rule for rule in every_stage.states[step]["Retry"] if error in rule["ErrorEquals"]]
    # The emulator tells throttling as it tells a crash, and so has a patient rule before.
    assert len(rules) == 1 + (every_stage.config.runs_on_this_machine and error in CRASHES)
    assert (rules[-1]["IntervalSeconds"], rules[-1]["BackoffRate"], rules[-1]["MaxAttempts"]) == (2, 2, 3)


@each_step
def test_should_not_retry_what_a_handler_raises(every_stage: StageTemplate, step: str) -> None:
    errors = {error for rule in every_stage.states[step]["Retry"] for error in rule["ErrorEquals"]}
    assert not {"States.ALL", "States.TaskFailed"} & errors


def test_should_know_errors_of_lambda_by_the_names_that_it_gives_them() -> None:
    """Not the four of AWS's advice, some of which are Step Functions' own."""
    invoke = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    assert {*NOT_READY, "EC2UnexpectedException"} <= {shape.name for shape in invoke.error_shapes}


@each_step
def test_should_wait_patiently_and_spread_out_when_throttled(every_stage: StageTemplate, step: str) -> None:
    (rule,) = [r for r in every_stage.states[step]["Retry"] if "Lambda.TooManyRequestsException" in r["ErrorEquals"]]
    crashes = set(CRASHES) if every_stage.config.runs_on_this_machine else set()
    assert set(rule["ErrorEquals"]) == {f"Lambda.{name}" for name in NOT_READY} | crashes
    assert rule["JitterStrategy"] == "FULL"
    assert rule["MaxDelaySeconds"] == 60
    assert rule["MaxAttempts"] >= 30


@each_step
def test_should_catch_every_error_of_a_step(every_stage: StageTemplate, step: str) -> None:
    assert every_stage.states[step]["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.step", "Next": "ErrorHandler"}
    ]


def test_should_bound_every_task_and_the_whole_machine(every_stage: StageTemplate) -> None:
    tasks = {name: state for name, state in every_stage.states.items() if state["Type"] == "Task"}
    assert len(tasks) == 18
    assert all(task["TimeoutSeconds"] > 0 for task in tasks.values())
    for name in (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION):
        timeout = every_stage.config.functions[name].timeout_seconds
        assert tasks[f"{name.capitalize()}Step"]["TimeoutSeconds"] == timeout + 15
    assert every_stage.definition["TimeoutSeconds"] == 7200


def test_should_bound_an_express_execution_by_the_five_minutes_that_it_may_take() -> None:
    express = StageTemplate("dev", workflow_type="EXPRESS")
    assert express.definition["TimeoutSeconds"] == 300
    assert express.one("AWS::StepFunctions::StateMachine", "Workflow")["StateMachineType"] == "EXPRESS"
    replay = express.one("AWS::StepFunctions::StateMachine", "Replay")
    assert "StateMachineType" not in replay, "a distributed map needs a STANDARD workflow"


def test_should_be_a_standard_workflow_by_default(every_stage: StageTemplate) -> None:
    assert every_stage.one("AWS::StepFunctions::StateMachine", "Workflow")["StateMachineType"] == "STANDARD"


RECORDS: dict[str, tuple[LedgerStatus, str, type[BaseModel] | None]] = {
    "RecordDelivery": (LedgerStatus.DELIVERED, "AnnounceDelivery", DeidentificationBody),
    "RecordDuplicate": (LedgerStatus.DUPLICATE, "PublishDuplicateMetric", DeidentificationBody),
    "RecordQuarantine": (LedgerStatus.QUARANTINED, "AnnounceQuarantine", RejectionBody),
    "RecordFailure": (LedgerStatus.FAILED, "PublishFailureMetric", None),
}
AUDITS: dict[str, tuple[AuditEvent, str, type[BaseModel] | None]] = {
    "AuditDelivery": (AuditEvent.DELIVERED, "RecordDelivery", DeidentificationBody),
    "AuditDuplicate": (AuditEvent.DUPLICATE, "RecordDuplicate", DeidentificationBody),
    "AuditQuarantine": (AuditEvent.QUARANTINED, "RecordQuarantine", RejectionBody),
    "AuditFailure": (AuditEvent.FAILED, "RecordFailure", None),
}
each_audit = pytest.mark.parametrize("state", AUDITS)
each_record = pytest.mark.parametrize("state", RECORDS)


@each_record
def test_should_record_a_verdict_unless_the_ledger_knows_a_later_one(every_stage: StageTemplate, state: str) -> None:
    status, following, _ = RECORDS[state]
    task = every_stage.states[state]
    parameters = task["Parameters"]
    assert task["Resource"].endswith(":states:::dynamodb:updateItem")
    assert "LedgerTable" in parameters["TableName"]
    assert parameters["UpdateExpression"] == LEDGER_VERDICTS[status]
    assert parameters["ConditionExpression"] == "#attempt < :attempt OR (#attempt = :attempt AND #rank < :rank)"
    assert parameters["ExpressionAttributeValues"][":status"] == {"S": status}
    assert parameters["ExpressionAttributeValues"][":rank"] == {"N": str(status.rank)}
    late = "DynamoDB.ConditionalCheckFailedException"
    assert task["Catch"] == [{"ErrorEquals": [late], "ResultPath": None, "Next": following}]
    assert task["Retry"][0] == {"ErrorEquals": [late], "MaxAttempts": 0}
    assert task["Next"] == following
    assert task["ResultPath"] is None


@each_record
def test_should_give_a_value_for_every_placeholder_of_a_record_and_none_else(dev: StageTemplate, state: str) -> None:
    """DynamoDB refuses a request with a name or value too many or too few."""
    parameters = dev.states[state]["Parameters"]
    expressions = parameters["UpdateExpression"] + parameters["ConditionExpression"]
    assert set(parameters["ExpressionAttributeNames"]) == set(re.findall(r"#\w+", expressions))
    assert set(parameters["ExpressionAttributeValues"]) == set(re.findall(r":\w+", expressions))


@each_record
def test_should_record_only_fields_that_the_step_answers_with(dev: StageTemplate, state: str) -> None:
    body = RECORDS[state][2]
    read = re.findall(r'"\$\.(?:step\.body\.|deidentification\.)?(\w+)"', json.dumps(dev.states[state]["Parameters"]))
    assert read
    assert set(read) <= (set(body.model_fields) if body else {"error"})


@pytest.mark.parametrize("state", [*RECORDS, *AUDITS, "AnnounceDelivery", "AnnounceQuarantine"])
def test_should_wait_a_quarter_of_an_hour_for_the_tables_and_the_bus(every_stage: StageTemplate, state: str) -> None:
    patient = every_stage.states[state]["Retry"][-1]
    assert patient["ErrorEquals"] == ["States.ALL"]
    assert patient["JitterStrategy"] == "FULL"
    assert patient["MaxAttempts"] == 40
    assert (patient["IntervalSeconds"], patient["BackoffRate"], patient["MaxDelaySeconds"]) == (1, 2, 60)
    delays = [min(2.0**attempt, 60) for attempt in range(40)]
    assert sum(delays) / 2 > 15 * 60, "full jitter halves them on average"


@each_record
def test_should_give_up_a_record_before_completeness_stops_looking_for_it(
    every_stage: StageTemplate, state: str
) -> None:
    """A row bears the time at which its record was begun."""
    task = every_stage.states[state]
    patient = task["Retry"][-1]
    longest = (patient["MaxAttempts"] + 1) * (patient["MaxDelaySeconds"] + task["TimeoutSeconds"])
    assert longest < FAR_OVERLAP.total_seconds()


def audited(stage: StageTemplate, state: str) -> dict[str, dict[str, str]]:
    """What a state adds to the audit log: values, as DynamoDB has them, by attribute."""
    parameters = stage.states[state]["Parameters"]
    statement = re.fullmatch(r'INSERT INTO "\$\{AuditTable\w+\}" VALUE \{(.+)\}', parameters["Statement"])
    assert statement is not None
    attributes = [re.fullmatch(r"'(\w+)': \?", each) for each in statement[1].split(", ")]
    return dict(zip((each[1] for each in attributes if each), parameters["Parameters"], strict=True))


@each_audit
def test_should_add_every_verdict_to_the_audit_log_before_anything_tells_of_it(
    every_stage: StageTemplate, state: str
) -> None:
    event, following, _ = AUDITS[state]
    task = every_stage.states[state]
    assert task["Resource"].endswith(":states:::aws-sdk:dynamodb:executeStatement")
    record = audited(every_stage, state)
    assert set(record) <= {*AuditRecord.model_fields, EVENT_SHARD}
    required = {name for name, field in AuditRecord.model_fields.items() if field.is_required()}
    assert required | {"version", "attempt", "execution", "code_version"} <= set(record)
    assert (record["event"], record["version"]) == ({"S": event}, {"N": "1"})
    assert record["at"] == {"S.$": "$$.State.EnteredTime"}
    assert task["Next"] == following
    assert task["ResultPath"] is None


@each_audit
def test_should_record_a_verdict_once_however_often_the_execution_gets_there(dev: StageTemplate, state: str) -> None:
    event, following, _ = AUDITS[state]
    record = audited(dev, state)
    assert record["subject"] == {"S.$": "States.ArrayGetItem(States.StringSplit($$.Execution.Name, '-'), 0)"}
    assert record["record_id"] == {"S.$": f"States.Format('{{}}#{event}', $$.Execution.Input.attempt)"}
    twice = "DynamoDb.DuplicateItemException"
    assert dev.states[state]["Catch"] == [{"ErrorEquals": [twice], "ResultPath": None, "Next": following}]
    assert dev.states[state]["Retry"][0] == {"ErrorEquals": [twice], "MaxAttempts": 0}


@each_audit
def test_should_audit_only_fields_that_the_step_answers_with_and_no_key(dev: StageTemplate, state: str) -> None:
    body = AUDITS[state][2]
    record = audited(dev, state)
    read = re.findall(r"[^$]\$\.(?:step\.body\.|deidentification\.)?([\w.]+)", json.dumps(record))
    assert read
    assert set(read) <= (set(body.model_fields) if body else {"error"})
    assert "$.object." not in json.dumps(record), "the key may identify a patient"


@pytest.mark.parametrize("state", ["AuditDelivery", "AuditDuplicate", "AuditQuarantine"])
def test_should_tell_by_which_profile_and_key_a_verdict_was_reached(dev: StageTemplate, state: str) -> None:
    assert {"profile", "profile_hash", "key_id"} <= set(audited(dev, state))


@each_audit
def test_should_tell_the_version_of_the_code_that_reached_a_verdict(dev: StageTemplate, state: str) -> None:
    assert audited(dev, state)["code_version"] == {"S": code_version()}


@each_record
def test_should_name_the_row_and_the_attempt_by_what_started_the_execution(dev: StageTemplate, state: str) -> None:
    parameters = dev.states[state]["Parameters"]
    assert parameters["Key"] == {
        "object_id": {"S.$": "States.ArrayGetItem(States.StringSplit($$.Execution.Name, '-'), 0)"}
    }
    values = parameters["ExpressionAttributeValues"]
    assert values[":attempt"] == {"N.$": "States.Format('{}', $$.Execution.Input.attempt)"}
    assert values[":updated_at"] == {"S.$": "$$.State.EnteredTime"}
    coordinates = ObjectCoordinates(bucket="b", key="k", version_id="v", size=1, etag="e")
    names = [ExecutionInput(object=coordinates, attempt=attempt).execution_name for attempt in (1, 2)]
    assert [name.split("-")[0] for name in names] == [coordinates.object_id] * 2


@pytest.mark.parametrize(
    ("state", "model"), [("AnnounceDelivery", InstanceDelivered), ("AnnounceQuarantine", InstanceQuarantined)]
)
def test_should_announce_what_the_events_model_says(
    every_stage: StageTemplate, state: str, model: type[BaseModel]
) -> None:
    task = every_stage.states[state]
    assert task["Resource"].endswith(":states:::events:putEvents")
    (entry,) = task["Parameters"]["Entries"]
    assert (entry["Source"], entry["DetailType"]) == ("medical-imaging-pipeline", model.__name__)
    assert "AnnouncementsBus" in entry["EventBusName"]
    assert {name.removesuffix(".$") for name in entry["Detail"]} == set(model.model_fields)
    assert "$.object." not in json.dumps(entry), "the key may identify a patient"
    assert task["ResultPath"] is None
    assert "Catch" not in task, "an event that was not put is put when the execution is redriven"


@pytest.mark.parametrize(
    ("state", "metric", "end"),
    [
        ("PublishSuccessMetric", Metric.SUCCESS, "SuccessState"),
        ("PublishQuarantineMetric", Metric.QUARANTINE, "QuarantinedState"),
        ("PublishFailureMetric", Metric.FAILURE, "FailureState"),
        ("PublishDuplicateMetric", Metric.DUPLICATE, "DuplicateState"),
    ],
)
def test_should_count_a_verdict_and_never_change_it(
    every_stage: StageTemplate, state: str, metric: str, end: str
) -> None:
    task = every_stage.states[state]
    assert task["Parameters"] == {
        "Namespace": "MedicalImaging/Pipeline",
        "MetricData": [
            {
                "MetricName": metric,
                "Dimensions": [{"Name": "Stage", "Value": every_stage.config.stage}],
                "Unit": "Count",
                "Value": 1,
            }
        ],
    }
    assert task["ResultPath"] is None, "the answer must not replace the verdict"
    assert task["Retry"][0]["MaxAttempts"] == 3
    assert task["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": end}]


def test_should_tag_the_version_that_was_judged_and_go_on_when_it_is_gone(dev: StageTemplate) -> None:
    task = dev.states["TagQuarantinedObject"]
    assert task["Resource"].endswith(":aws-sdk:s3:putObjectTagging")
    assert task["Parameters"]["VersionId.$"] == "$.object.version_id"
    assert task["Parameters"]["Tagging"]["TagSet"] == [
        {"Key": "verdict", "Value": "quarantined"},
        {"Key": "reasons", "Value.$": "$.reason_codes"},
    ]
    assert task["ResultPath"] is None
    assert task["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "AuditQuarantine"},
    ]


def test_should_keep_an_errors_name_and_drop_its_text(dev: StageTemplate) -> None:
    assert dev.states["ErrorHandler"]["Parameters"] == {"verdict": "failed", "error.$": "$.step.Error"}
    assert dev.states["FailureState"]["ErrorPath"] == "$.error"
    assert "CausePath" not in dev.states["FailureState"]
    assert "$.step.Cause" not in json.dumps(dev.definition)


@each_step
def test_should_name_an_error_when_a_status_is_neither_accepted_nor_rejected(dev: StageTemplate, step: str) -> None:
    selector = dev.states[step]["ResultSelector"]
    assert selector["Error"] == "Pipeline.UnexpectedStatusCode", "ErrorHandler reads it"
    assert dev.states[step]["ResultPath"] == "$.step"


def test_should_give_every_step_what_started_the_execution(dev: StageTemplate) -> None:
    for step in STEPS:
        assert dev.states[step]["Parameters"]["Payload.$"] == "$$.Execution.Input"


@each_step
def test_should_read_only_fields_that_the_step_answers_with(dev: StageTemplate, step: str) -> None:
    _, parse, _, body = STEPS[step]
    read = re.findall(r"\$\.step\.body\.(\w+)", json.dumps(dev.states[parse]))
    assert set(read) <= set(body.model_fields)
    read = re.findall(r"\$\.step\.body\.(\w+)", json.dumps(dev.states["QuarantineHandler"]))
    assert set(read) == set(RejectionBody.model_fields)


def test_should_keep_every_result_until_the_end(dev: StageTemplate) -> None:
    assert set(dev.states["ParseDeidentificationResult"]["Parameters"]) == {
        "object.$",
        "ingestion.$",
        "validation.$",
        "deidentification.$",
    }


def test_should_trace_and_log_without_the_data_of_executions(every_stage: StageTemplate) -> None:
    machine = every_stage.one("AWS::StepFunctions::StateMachine", "Workflow")
    assert machine["StateMachineName"] == f"medical-imaging-pipeline-{every_stage.config.stage}"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    (destination,) = machine["LoggingConfiguration"]["Destinations"]
    log = destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"][0]
    group = every_stage.resources("AWS::Logs::LogGroup")[log]["Properties"]
    assert group["LogGroupName"] == f"/aws/vendedlogs/states/medical-imaging-pipeline-{every_stage.config.stage}"


def test_should_publish_metrics_of_its_own_namespace_only(every_stage: StageTemplate) -> None:
    (statement,) = [
        statement
        for statement in every_stage.statements("WorkflowStateMachineRole")
        if "cloudwatch:PutMetricData" in statement["Action"]
    ]
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "MedicalImaging/Pipeline"}}


def test_should_update_the_ledger_and_put_events_on_the_stages_bus_and_no_other(every_stage: StageTemplate) -> None:
    allowed = {
        str(statement["Action"]): str(statement["Resource"])
        for statement in every_stage.statements("WorkflowStateMachineRole")
    }
    assert "LedgerTable" in allowed["dynamodb:UpdateItem"]
    assert "index" not in allowed["dynamodb:UpdateItem"]
    assert "AnnouncementsBus" in allowed["events:PutEvents"]
