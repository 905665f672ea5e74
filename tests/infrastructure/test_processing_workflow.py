"""The state machine: its states and their order, and what it does about errors."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from runtime.contract import (
    STEP_FAILED,
    DeidentificationBody,
    IngestionBody,
    Metric,
    RejectionBody,
    State,
    ValidationBody,
)
from tests.infrastructure.conftest import StageTemplate

STEPS: dict[str, tuple[str, str, str, type[BaseModel]]] = {
    "IngestionStep": ("CheckIngestionStatus", "ParseIngestionResult", "ValidationStep", IngestionBody),
    "ValidationStep": ("CheckValidationStatus", "ParseValidationResult", "DeidentificationStep", ValidationBody),
    "DeidentificationStep": (
        "CheckDeidentificationStatus",
        "ParseDeidentificationResult",
        "PublishSuccessMetric",
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
    assert dev.states[check] == {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.step.statusCode", "NumericEquals": 200, "Next": parse},
            {"Variable": "$.step.statusCode", "NumericEquals": 422, "Next": "QuarantineHandler"},
        ],
        "Default": "ErrorHandler",
    }
    assert dev.states[parse]["Next"] == following


def test_should_end_in_three_ways(dev: StageTemplate) -> None:
    assert chain(dev.states, "PublishSuccessMetric") == ["PublishSuccessMetric", "SuccessState"]
    assert chain(dev.states, "QuarantineHandler") == [
        "QuarantineHandler",
        "TagQuarantinedObject",
        "PublishQuarantineMetric",
        "QuarantinedState",
    ]
    assert chain(dev.states, "ErrorHandler") == ["ErrorHandler", "PublishFailureMetric", "FailureState"]
    ends = {name: dev.states[name]["Type"] for name in ("SuccessState", "QuarantinedState", "FailureState")}
    assert ends == {"SuccessState": "Succeed", "QuarantinedState": "Succeed", "FailureState": "Fail"}


@each_step
def test_should_retry_trouble_at_aws_three_times_from_two_seconds_on(every_stage: StageTemplate, step: str) -> None:
    by_error = {error: rule for rule in every_stage.states[step]["Retry"] for error in rule["ErrorEquals"]}
    for error in ("Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", STEP_FAILED):
        rule = by_error[error]
        assert (rule["IntervalSeconds"], rule["BackoffRate"], rule["MaxAttempts"]) == (2, 2, 3)
    assert not {"States.ALL", "States.TaskFailed"} & set(by_error), "what a handler raises is not retried"


@each_step
def test_should_wait_patiently_and_spread_out_when_throttled(every_stage: StageTemplate, step: str) -> None:
    (rule,) = [r for r in every_stage.states[step]["Retry"] if "Lambda.TooManyRequestsException" in r["ErrorEquals"]]
    assert rule["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
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
    assert len(tasks) == 7
    assert all(task["TimeoutSeconds"] > 0 for task in tasks.values())
    for name, settings in every_stage.config.functions.items():
        assert tasks[f"{name.capitalize()}Step"]["TimeoutSeconds"] == settings.timeout_seconds + 15
    assert every_stage.definition["TimeoutSeconds"] == 7200


@pytest.mark.parametrize(
    ("state", "metric", "end"),
    [
        ("PublishSuccessMetric", Metric.SUCCESS, "SuccessState"),
        ("PublishQuarantineMetric", Metric.QUARANTINE, "QuarantinedState"),
        ("PublishFailureMetric", Metric.FAILURE, "FailureState"),
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
        {"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "PublishQuarantineMetric"},
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


def test_should_give_later_steps_the_coordinates_and_nothing_else(dev: StageTemplate) -> None:
    assert dev.states["IngestionStep"]["Parameters"]["Payload.$"] == "$"
    for step in ("ValidationStep", "DeidentificationStep"):
        assert dev.states[step]["Parameters"]["Payload"] == {"object.$": "$.object"}


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
    machine = every_stage.one("AWS::StepFunctions::StateMachine")
    assert machine["StateMachineName"] == f"medical-imaging-pipeline-{every_stage.config.stage}"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    group = every_stage.one("AWS::Logs::LogGroup", "Workflow")
    assert group["LogGroupName"] == f"/aws/vendedlogs/states/medical-imaging-pipeline-{every_stage.config.stage}"


def test_should_publish_metrics_of_its_own_namespace_only(every_stage: StageTemplate) -> None:
    (statement,) = [
        statement
        for statement in every_stage.statements("WorkflowStateMachineRole")
        if "cloudwatch:PutMetricData" in statement["Action"]
    ]
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": "MedicalImaging/Pipeline"}}
