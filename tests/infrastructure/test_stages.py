"""Stages: settings are validated, and production is more careful than the others."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from imaging_pipeline.stages.definitions import STAGES, StageError, stage_config
from runtime.contract.names import Function
from tests.infrastructure.conftest import OVERRIDES, StageTemplate
from tests.infrastructure.options import EVERY_OPTION


def test_should_have_four_stages() -> None:
    assert list(STAGES) == ["local", "dev", "staging", "prod"]


ZONES = {"region": "eu-central-1", "vpc_cidr": "10.42.0.0/20"}


@pytest.mark.parametrize("stage", [None, "", "production", "Dev", ["dev"]])
def test_should_refuse_a_missing_or_unknown_stage(stage: object) -> None:
    with pytest.raises(StageError, match=r"local, dev, staging, prod\.$"):
        stage_config(stage, {})


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"infrequent_access_after_days": 29}, "infrequent_access_after_days"),
        ({"glacier_after_days": 100}, "glacier_after_days"),
        ({"access_log_retention_days": 0}, "access_log_retention_days"),
        ({"log_retention": "A_WHILE"}, "log_retention"),
        ({"functions": {"validation": {"memory_mb": 64}}}, "functions.validation.memory_mb"),
        ({"functions": {"validation": {"timeout_seconds": 901}}}, "functions.validation.timeout_seconds"),
        ({"functions": {"validation": {"python_version": "3.9"}}}, "functions.validation.python_version"),
        ({"functions": {"upload": {}}}, "functions.upload"),
        ({"functions": {"validation": {"memory": 512}}}, "functions.validation.memory"),
        ({"workflow_timeout_seconds": 3600}, "workflow_timeout_seconds must exceed the 3600 s"),
        ({"alarms": {"error_rate_percent": 101}}, "alarms.error_rate_percent"),
        ({"alert_emails": "nobody"}, "alert_emails.0"),
        ({"account": "12345"}, "account"),
        ({"region": "Frankfurt"}, "region"),
        ({"profile": "../basic"}, "profile"),
        ({"profile": "strict"}, "profile = 'strict': there is no such profile: choose one of basic, research"),
        ({"colour": "blue"}, "colour"),
        ({"workflow_type": "FAST"}, "workflow_type"),
        ({"dispatcher_concurrency": 1}, "dispatcher_concurrency"),
        ({"functions": {"dispatcher": {"reserved_concurrency": 0}}}, "functions.dispatcher.reserved_concurrency"),
        ({"stuck_after_seconds": 7200}, "stuck_after_seconds must exceed the 7200 s"),
        ({"workflow_type": "EXPRESS", "stuck_after_seconds": 300}, "stuck_after_seconds must exceed the 300 s"),
        ({"study_quiet_seconds": 0}, "study_quiet_seconds"),
        ({"reconciliation_minutes": 1}, "reconciliation_minutes"),
        ({"reconciliation_minutes": 1441}, "reconciliation_minutes"),
        ({"reconciliation_minutes": 14}, "reconciliation_minutes must not be less than the 900 s"),
        ({"functions": {"reconciliation": {"timeout_seconds": 179}}}, "timeout_seconds must be at least 180"),
        ({"replay_concurrency": 0}, "replay_concurrency"),
        ({"replay_tolerated_failures": -1}, "replay_tolerated_failures"),
        ({"delivery_emails": "nobody"}, "delivery_emails.0"),
        ({"alarms": {"queue_age_seconds": 604800}}, "alarms.queue_age_seconds"),
        ({"retain_data": False, "termination_protection": True}, "retain_data must stay true"),
        (
            {"functions": {"dispatcher": {"reserved_concurrency": 4}}},
            "dispatcher_concurrency must not exceed functions.dispatcher.reserved_concurrency",
        ),
        ({"vpc_cidr": "10.42.0.0"}, "vpc_cidr = '10.42.0.0': must be between /16 and /24"),
        ({"vpc_cidr": "10.42.0.0/15"}, "must be between /16 and /24"),
        ({"vpc_cidr": "10.42.0.1/20"}, "must be an IPv4 range such as 10.42.0.0/20"),
        ({"vpc_cidr": "fd00::/20"}, "must be an IPv4 range"),
        ({"vpc_cidr": "198.51.100.0/24"}, "must be a range of private addresses"),
        ({"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": 1}, "vpc_availability_zones"),
        ({"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": 7}, "vpc_availability_zones"),
        ({"vpc_availability_zones": 2}, "vpc_availability_zones needs vpc_cidr"),
        ({"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": "eu-west-1a"}, "must be 2 to 6 zones"),
        ({"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": "eu-west-1a,eu-west-1b"}, "of an explicit region"),
        ({**ZONES, "vpc_availability_zones": "eu-west-1a,eu-west-1b"}, "zones must be of eu-central-1"),
        ({**ZONES, "vpc_availability_zones": "eu-central-1a,eu-central-1a"}, "must name each zone once"),
        ({**ZONES, "vpc_availability_zones": "euc1-az1,euc1-az2"}, "must be a number of zones, or names such as"),
        ({"region": "cn-north-1"}, "region must not be cn-north-1: AWS's services have other names there"),
        ({"region": "us-isob-east-1"}, "region must not be us-isob-east-1"),
        (
            {"account": "123456789012", "region": "cn-north-1", "replica_region": "cn-northwest-1"},
            "replica_region must not be cn-northwest-1",
        ),
        ({"permissions_boundary": "not a name"}, "permissions_boundary"),
        ({"permissions_boundary": "arn:aws:iam::123456789012:role/x"}, "permissions_boundary"),
        (
            {"account": "210987654321", "permissions_boundary": "arn:aws:iam::123456789012:policy/x"},
            "permissions_boundary must be a policy of account 210987654321, or one of AWS",
        ),
        ({"delivery_principals": "*"}, "delivery_principals.0"),
        (
            {"delivery_principals": [f"arn:aws:iam::123456789012:user/{n:040}" for n in range(27)]},
            "than 1900 characters",
        ),
        ({"delivery_principals": "arn:aws:iam::123456789012:root"}, "delivery_principals.0"),
        ({"delivery_principals": "arn:aws:iam::123456789012:role/*"}, "delivery_principals.0"),
        ({"delivery_networks": "vpc-0123456789abcdef0"}, "delivery_networks.0"),
        ({"delivery_networks": "198.51.100.7/24"}, "must be a CIDR range or the id of a VPC endpoint"),
        ({"delivery_networks": "198.51.100.0/24,0.0.0.0/0"}, "is everywhere: leave delivery_networks out"),
        ({"delivery_networks": "::/0"}, "is everywhere"),
        ({"delivery_networks": "192.168.1.0/24"}, "name the VPC endpoint of that network"),
        ({"xray": "sometimes"}, "xray"),
        (
            {"failure_notifications": True, "workflow_type": "EXPRESS"},
            "failure_notifications needs workflow_type STANDARD",
        ),
        ({"cost_tags": "cost-center"}, "say it as <name>=<value>,<name>=<value>"),
        ({"cost_tags": {"stage": "x"}}, "stage are the pipeline's own tags"),
        ({"cost_tags": {"Project": "x"}}, "project are the pipeline's own tags"),
        ({"cost_tags": {"AWS:x": "1"}}, "names that begin with aws: are for AWS"),
        ({"cost_tags": {"owner": "1", "Owner": "2"}}, "names must differ by more than upper and lower case"),
        ({"cost_tags": {"a" * 129: ""}}, "a tag's name has 1 to 128 characters"),
        ({"cost_tags": {"": "1"}}, "a tag's name has 1 to 128 characters"),
        ({"cost_tags": {"a": "b" * 257}}, "and its value up to 256"),
        ({"cost_tags": {"a": "<b>"}}, "a tag holds letters, digits, spaces"),
        ({"cost_tags": {f"tag-{number}": "" for number in range(49)}}, "AWS allows 50 tags a resource"),
    ],
)
def test_should_refuse_a_setting_out_of_range_in_one_sentence(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(StageError) as refusal:
        stage_config("dev", overrides)
    sentence = str(refusal.value)
    assert sentence.startswith("Stage 'dev' is not valid: ")
    assert named in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_should_name_every_inconsistency_at_once() -> None:
    with pytest.raises(StageError) as refusal:
        stage_config("dev", {"stuck_after_seconds": 1, "vpc_availability_zones": 2})
    assert "stuck_after_seconds must" in str(refusal.value)
    assert "vpc_availability_zones needs" in str(refusal.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"vpc_cidr": "10.42.0.0/20"},
        {"delivery_networks": "198.51.100.0/24"},
        {"delivery_principals": "arn:aws:iam::123456789012:user/portal"},
    ],
)
def test_should_refuse_on_this_machine_what_the_emulator_can_not_do(overrides: dict[str, str]) -> None:
    (setting,) = overrides
    with pytest.raises(StageError, match=rf"{setting} .*not for functions that run on this machine"):
        stage_config("local", overrides)


def test_should_refuse_production_that_loses_its_data() -> None:
    with pytest.raises(StageError, match="retain_data must stay true"):
        stage_config("prod", OVERRIDES["prod"] | {"retain_data": "false"})


@pytest.mark.parametrize(
    "overrides",
    [
        {"permissions_boundary": "boundary", "account": "210987654321"},
        {"permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess", "account": "210987654321"},
        {"permissions_boundary": "arn:aws-cn:iam::210987654321:policy/a/b", "account": "210987654321"},
        {"vpc_cidr": "100.64.0.0/16", "vpc_availability_zones": "6"},
        {**ZONES, "vpc_availability_zones": "eu-central-1a,eu-central-1c"},
        {"account": "123456789012", "region": "us-gov-west-1", "replica_region": "us-gov-east-1"},
        {"delivery_principals": "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_R_0a"},
        {"delivery_networks": "198.51.100.7/32,2001:db8::/32,vpce-01234567"},
        {"cost_tags": {"Kostenstelle Süd": "4711 / +-=._:@"}},
        {"functions": {"dispatcher": {"reserved_concurrency": 5}}},
    ],
)
def test_should_accept_what_aws_accepts(overrides: dict[str, Any]) -> None:
    stage_config("dev", overrides)


@pytest.mark.parametrize("given", [{}, {"account": "123456789012"}, {"region": "eu-central-1"}])
def test_should_refuse_production_without_account_and_region(given: dict[str, str]) -> None:
    with pytest.raises(StageError, match="explicit account and region"):
        stage_config("prod", given)


def test_should_deploy_production_where_it_was_told_and_protect_it(prod: StageTemplate) -> None:
    assert (prod.stack.account, prod.stack.region) == (OVERRIDES["prod"]["account"], OVERRIDES["prod"]["region"])
    assert prod.stack.termination_protection is True
    assert prod.config.retain_data is True


def test_should_leave_account_and_region_of_other_stages_to_the_deployment(dev: StageTemplate) -> None:
    assert dev.config.account is None
    assert dev.stack.termination_protection is False


def test_should_follow_the_running_interpreter_and_machine_in_stage_local() -> None:
    config = stage_config("local", {})
    ((python_version, architecture),) = {(each.python_version, each.architecture) for each in config.functions.values()}
    assert python_version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (architecture == "arm64") == (platform.machine() in {"arm64", "aarch64"})
    assert config.runs_on_this_machine


def test_should_carry_the_stage_in_every_name(every_stage: StageTemplate) -> None:
    name = f"medical-imaging-pipeline-{every_stage.config.stage}"
    assert every_stage.stack.stack_name == name
    properties = {
        "AWS::Lambda::Function": "FunctionName",
        "AWS::Lambda::LayerVersion": "LayerName",
        "AWS::StepFunctions::StateMachine": "StateMachineName",
        "AWS::Events::Rule": "Name",
        "AWS::Events::EventBus": "Name",
        "AWS::DynamoDB::Table": "TableName",
        "AWS::SQS::Queue": "QueueName",
        "AWS::SNS::Topic": "TopicName",
        "AWS::CloudWatch::Alarm": "AlarmName",
        "AWS::CloudWatch::Dashboard": "DashboardName",
        "AWS::SecretsManager::Secret": "Name",
        "AWS::Logs::LogGroup": "LogGroupName",
    }
    for resource_type, field in properties.items():
        resources = every_stage.resources(resource_type)
        assert resources
        for resource in resources.values():
            assert name in resource["Properties"][field]


def test_should_keep_a_functions_own_default_where_the_stage_sets_another_of_its_settings() -> None:
    config = stage_config("dev", {"functions": {"dispatcher": {"memory_mb": 1024}}})
    dispatcher = config.functions[Function.DISPATCHER]
    assert (dispatcher.memory_mb, dispatcher.timeout_seconds) == (1024, 120)
    assert config.functions[Function.INGESTION].timeout_seconds == 300


def test_should_not_change_once_validated() -> None:
    config = stage_config("dev", {})
    with pytest.raises(ValidationError, match="frozen"):
        config.strict = True  # type: ignore[misc]


def test_should_name_nothing_of_another_partition_in_gov_cloud() -> None:
    options = {**EVERY_OPTION, "region": "us-gov-west-1", "replica_region": "us-gov-east-1"}
    options["delivery_principals"] = [f"arn:aws-us-gov:iam::{EVERY_OPTION['account']}:role/researchers"]
    stage = StageTemplate("prod", **options)
    texts = [json.dumps(template) for template in (stage.json, stage.replica)]
    assert all("arn:aws-us-gov:" in text and "arn:aws:" not in text for text in texts)
    assert "https://console.amazonaws-us-gov.com/cloudwatch/home?region=" in texts[0]
    assert "console.aws.amazon.com" not in texts[0]
