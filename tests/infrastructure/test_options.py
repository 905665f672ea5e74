"""Options that touch the whole stack: permissions boundary, tags, X-Ray, addresses, and that they go together."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from aws_cdk import App, Environment

from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages.definitions import stage_config
from tests.infrastructure.conftest import FEATURE_FLAGS, StageTemplate, joined
from tests.infrastructure.options import ACCOUNT, with_every_option, with_option


@pytest.mark.parametrize("synthesize", [lambda: with_option("boundary"), lambda: with_every_option("prod")])
def test_should_bound_every_role_of_the_stack(synthesize: Callable[[], StageTemplate]) -> None:
    stage = synthesize()
    roles = stage.resources("AWS::IAM::Role").values()
    assert len(roles) >= len(stage.resources("AWS::Lambda::Function"))
    for role in roles:
        assert joined(role["Properties"]["PermissionsBoundary"]).endswith(":policy/pipeline-boundary")


def test_should_take_the_boundary_by_arn() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/security/boundary"
    stage = StageTemplate("dev", permissions_boundary=arn)
    for role in stage.resources("AWS::IAM::Role").values():
        assert role["Properties"]["PermissionsBoundary"] == arn


def test_should_bound_no_role_by_default(every_stage: StageTemplate) -> None:
    for role in every_stage.resources("AWS::IAM::Role").values():
        assert "PermissionsBoundary" not in role["Properties"]


def deployed_tags(**overrides: object) -> dict[str, str]:
    """Tags with which CloudFormation is told to deploy a stack, and which it gives to every resource."""
    config = stage_config("dev", overrides)
    app = App(analytics_reporting=False, context={**FEATURE_FLAGS, "aws:cdk:bundling-stacks": []})
    ImagingPipelineStack(app, config.name, config=config, env=Environment())
    return dict(app.synth().get_stack_by_name(config.name).tags)


def test_should_tag_the_stack_for_cost_allocation_beside_the_pipelines_own_tags() -> None:
    own = {"project": "medical-imaging-pipeline", "stage": "dev"}
    assert deployed_tags() == own
    tags = {"cost-center": "4711", "owner": "Radiology"}
    assert deployed_tags(cost_tags=tags) == own | tags
    assert deployed_tags(cost_tags="cost-center=4711,owner=Radiology") == own | tags


def test_should_trace_functions_and_state_machines_by_default(every_stage: StageTemplate) -> None:
    for function in every_stage.resources("AWS::Lambda::Function").values():
        assert function["Properties"]["TracingConfig"] == {"Mode": "Active"}
        assert function["Properties"]["Environment"]["Variables"]["POWERTOOLS_TRACE_DISABLED"] == "false"
    for machine in every_stage.resources("AWS::StepFunctions::StateMachine").values():
        assert machine["Properties"]["TracingConfiguration"] == {"Enabled": True}


@pytest.mark.parametrize("synthesize", [lambda: with_option("no-xray"), lambda: with_every_option("prod")])
def test_should_send_no_traces_and_have_no_right_to_where_the_stage_says_so(
    synthesize: Callable[[], StageTemplate],
) -> None:
    stage = synthesize()
    for function in stage.resources("AWS::Lambda::Function").values():
        assert "TracingConfig" not in function["Properties"]
        assert function["Properties"]["Environment"]["Variables"]["POWERTOOLS_TRACE_DISABLED"] == "true"
    for machine in stage.resources("AWS::StepFunctions::StateMachine").values():
        assert machine["Properties"]["TracingConfiguration"] == {"Enabled": False}
    assert "xray:" not in json.dumps(stage.json)


def test_should_subscribe_the_alarms_and_the_deliveries_addresses() -> None:
    stage = with_option("addresses")
    subscribed = {
        s["Properties"]["TopicArn"]["Ref"]: (s["Properties"]["Protocol"], s["Properties"]["Endpoint"])
        for s in stage.resources("AWS::SNS::Subscription").values()
    }
    (alarms,) = {a["Properties"]["AlarmActions"][0]["Ref"] for a in stage.resources("AWS::CloudWatch::Alarm").values()}
    assert subscribed.pop(alarms) == ("email", "oncall@example.org")
    assert list(subscribed.values()) == [("email", "research@example.org")]
