"""Intake: which objects start an execution, and what becomes of events that can't."""

from __future__ import annotations

import json

import pytest

from imaging_pipeline.stages import StageError
from tests.infrastructure.conftest import StageTemplate


def test_should_start_an_execution_for_each_dcm_object_in_any_case(every_stage: StageTemplate) -> None:
    rule = every_stage.one("AWS::Events::Rule")
    (raw,) = [name for name in every_stage.resources("AWS::S3::Bucket") if "Raw" in name]
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [{"Ref": raw}]}, "object": {"key": [{"suffix": {"equals-ignore-case": ".dcm"}}]}},
    }
    (target,) = rule["Targets"]
    assert target["Arn"]["Ref"] in every_stage.resources("AWS::StepFunctions::StateMachine")
    assert target["InputPath"] == "$.detail"
    assert "InputTransformer" not in target


def test_should_accept_every_key_when_the_stage_names_no_suffix() -> None:
    rule = StageTemplate("dev", accepted_suffixes=()).one("AWS::Events::Rule")
    assert "object" not in rule["EventPattern"]["detail"]


def test_should_accept_prefixes_without_suffixes() -> None:
    config = StageTemplate("dev", accepted_suffixes=(), accepted_prefixes="ct/,mr/").config
    assert config.key_patterns == [{"prefix": "ct/"}, {"prefix": "mr/"}]


def test_should_ask_for_prefix_and_suffix_when_the_stage_names_both() -> None:
    config = StageTemplate("dev", accepted_suffixes=".i1", accepted_prefixes="ct*/,mr/").config
    assert config.key_patterns == [
        {"wildcard": "ct\\*/*.i1"},
        {"wildcard": "ct\\*/*.I1"},
        {"wildcard": "mr/*.i1"},
        {"wildcard": "mr/*.I1"},
    ]


def test_should_refuse_more_spellings_than_an_event_pattern_holds() -> None:
    with pytest.raises(StageError, match="over 32 event patterns"):
        StageTemplate("dev", accepted_prefixes="a/,b/", accepted_suffixes=".dicom")


def test_should_keep_events_that_start_nothing_for_two_weeks(every_stage: StageTemplate) -> None:
    (target,) = every_stage.one("AWS::Events::Rule")["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    queue_id = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
    queue = every_stage.resources("AWS::SQS::Queue")[queue_id]["Properties"]
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["SqsManagedSseEnabled"] is True
    statements = every_stage.one("AWS::SQS::QueuePolicy")["PolicyDocument"]["Statement"]
    denial, grant = sorted(statements, key=lambda statement: str(statement["Effect"]), reverse=True)
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert grant["Principal"] == {"Service": "events.amazonaws.com"}
    assert "aws:SourceArn" in json.dumps(grant["Condition"])


def test_should_let_the_rule_start_this_state_machine_only(every_stage: StageTemplate) -> None:
    (machine,) = every_stage.resources("AWS::StepFunctions::StateMachine")
    (statement,) = every_stage.statements("EventsRole")
    assert statement["Action"] == "states:StartExecution"
    assert statement["Resource"] == {"Ref": machine}
