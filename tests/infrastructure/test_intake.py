"""Intake: what is queued, who takes it from the queue, and what becomes of events that can't go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imaging_pipeline.stages.config import StageConfig
from runtime.contract.variables import DispatcherVariables
from tests.infrastructure.conftest import StageTemplate, joined


def queue(stage: StageTemplate, name: str) -> tuple[str, dict[str, Any]]:
    """Logical id and properties of the queue whose name ends so."""
    (found,) = [
        (logical_id, body["Properties"])
        for logical_id, body in stage.resources("AWS::SQS::Queue").items()
        if body["Properties"]["QueueName"].removeprefix(f"{stage.config.name}-") == name
    ]
    return found


def test_should_queue_every_object_that_arrives_whatever_its_key(every_stage: StageTemplate) -> None:
    rule = every_stage.one("AWS::Events::Rule", "IntakeObjectCreated")
    (raw,) = [name for name in every_stage.resources("AWS::S3::Bucket") if "Raw" in name]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [{"Ref": raw}]}},
    }
    (target,) = rule["Targets"]
    assert target["Arn"]["Fn::GetAtt"][0] == queue(every_stage, "intake")[0]
    assert not {"InputTransformer", "InputPath", "Input"} & set(target), "the dispatcher reads the whole event"


def test_should_tell_the_dispatcher_which_keys_the_stage_accepts() -> None:
    stage = StageTemplate("dev", accepted_prefixes="ct/,mr/", accepted_suffixes=())
    variables = stage.function("dispatcher")["Environment"]["Variables"]
    read = DispatcherVariables.model_validate({name: joined(value) for name, value in variables.items()})
    assert read.ACCEPTED_PREFIXES == ("ct/", "mr/")
    assert read.ACCEPTED_SUFFIXES == ()


@pytest.mark.parametrize(
    ("text", "suffixes"), [(".dcm,", (".dcm", "")), (".dcm,.ima", (".dcm", ".ima")), (",", ("", "")), ("", ())]
)
def test_should_read_an_empty_suffix_from_the_command_line(text: str, suffixes: tuple[str, ...]) -> None:
    assert StageConfig(stage="dev", accepted_suffixes=text).accepted_suffixes == suffixes


def test_should_keep_stranded_events_for_a_week_at_least(every_stage: StageTemplate) -> None:
    dead_letters, properties = queue(every_stage, "intake-dead-letters")
    waiting, intake = queue(every_stage, "intake")
    (target,) = every_stage.one("AWS::Events::Rule", "IntakeObjectCreated")["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    assert target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0] == dead_letters
    assert intake["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": [dead_letters, "Arn"]},
        "maxReceiveCount": 5,
    }
    assert properties["MessageRetentionPeriod"] - intake["MessageRetentionPeriod"] == 7 * 24 * 3600
    assert waiting != dead_letters


def test_should_encrypt_every_queue_and_refuse_access_without_tls(every_stage: StageTemplate) -> None:
    queues = every_stage.resources("AWS::SQS::Queue")
    assert len(queues) == 4
    own_key = every_stage.config.encryption == "kms"
    for body in queues.values():
        assert ("KmsMasterKeyId" in body["Properties"]) is own_key
        assert body["Properties"].get("SqsManagedSseEnabled", False) is not own_key
    policies = {
        policy["Properties"]["Queues"][0]["Ref"]: policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in every_stage.resources("AWS::SQS::QueuePolicy").values()
    }
    assert set(policies) == set(queues)
    for statements in policies.values():
        assert {"Bool": {"aws:SecureTransport": "false"}} in [
            s["Condition"] for s in statements if s["Effect"] == "Deny"
        ]
        for grant in [s for s in statements if s["Effect"] == "Allow"]:
            assert grant["Principal"]["Service"] in {"events.amazonaws.com", "sns.amazonaws.com"}
            assert "aws:SourceArn" in json.dumps(grant["Condition"])


def test_should_give_the_dispatcher_batches_of_which_it_may_give_single_messages_back(
    every_stage: StageTemplate,
) -> None:
    mapping = every_stage.one("AWS::Lambda::EventSourceMapping")
    assert mapping["BatchSize"] == 10
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}
    assert mapping["EventSourceArn"]["Fn::GetAtt"][0] == queue(every_stage, "intake")[0]
    assert mapping["FunctionName"] == {"Ref": every_stage.named("AWS::Lambda::Function", "dispatcher")}


def test_should_hide_a_batch_six_times_as_long_as_the_dispatcher_may_work_on_it() -> None:
    for seconds in (30, 120):
        stage = StageTemplate("dev", functions={"dispatcher": {"timeout_seconds": seconds}})
        assert queue(stage, "intake")[1]["VisibilityTimeout"] == 6 * seconds


def test_should_take_the_pressure_from_the_stage() -> None:
    stage = StageTemplate("dev", dispatcher_concurrency=3, functions={"deidentification": {"reserved_concurrency": 7}})
    assert stage.one("AWS::Lambda::EventSourceMapping")["ScalingConfig"] == {"MaximumConcurrency": 3}
    functions = {
        body["Properties"]["FunctionName"].rpartition("-")[2]: body["Properties"].get("ReservedConcurrentExecutions")
        for body in stage.resources("AWS::Lambda::Function").values()
    }
    assert {name for name, bound in functions.items() if bound} == {"deidentification"}
    assert functions["deidentification"] == 7
