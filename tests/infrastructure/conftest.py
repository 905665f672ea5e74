"""Templates of the stages as `cdk synth` writes them, but for the layer, which isn't built here."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Environment
from aws_cdk.assertions import Template

from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages.definitions import STAGES, stage_config
from runtime.contract.names import Function

REPOSITORY = Path(__file__).resolve().parents[2]
FEATURE_FLAGS = json.loads((REPOSITORY / "cdk.json").read_text())["context"]

# What the stage can't know by itself: prod's environment, and for local a machine that is the same everywhere.
OVERRIDES: dict[str, dict[str, Any]] = {
    "prod": {"account": "123456789012", "region": "eu-central-1"},
    "local": {"functions": {name: {"python_version": "3.12", "architecture": "x86_64"} for name in Function}},
}


class StageTemplate:
    """The template of one stage, with the resources by type and the definitions of the state machines."""

    def __init__(self, stage: str, **overrides: Any) -> None:
        config = stage_config(stage, OVERRIDES.get(stage, {}) | overrides)
        app = App(analytics_reporting=False, context={**FEATURE_FLAGS, "aws:cdk:bundling-stacks": []})
        env = Environment(account=config.account, region=config.region)
        self.config = config
        self.app = app
        self.stack = ImagingPipelineStack(app, config.name, config=config, env=env)
        self.json: dict[str, Any] = dict(Template.from_stack(self.stack).to_json())
        replica = self.stack.replica
        self.replica: dict[str, Any] | None = dict(Template.from_stack(replica).to_json()) if replica else None

    def resources(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """Resources of a type, by logical id."""
        return {name: body for name, body in self.json["Resources"].items() if body["Type"] == resource_type}

    def one(self, resource_type: str, id_part: str = "") -> dict[str, Any]:
        """The properties of the only resource of a type whose logical id has this part."""
        (resource,) = [body for name, body in self.resources(resource_type).items() if id_part in name]
        properties: dict[str, Any] = resource["Properties"]
        return properties

    def named(self, resource_type: str, name: str) -> str:
        """Logical id of the resource that has this name after the stage's, wherever the app makes it."""
        (found,) = [
            logical_id
            for logical_id, body in self.resources(resource_type).items()
            if f"{self.config.name}-{name}"
            in (body["Properties"].get("Name"), body["Properties"].get(f"{resource_type.rpartition(':')[2]}Name"))
        ]
        return found

    def function(self, name: str) -> dict[str, Any]:
        """Properties of a function."""
        properties: dict[str, Any] = self.json["Resources"][self.named("AWS::Lambda::Function", name)]["Properties"]
        return properties

    def role(self, name: str) -> str:
        """Logical id of a function's role."""
        return str(self.function(name)["Role"]["Fn::GetAtt"][0])

    def schedule(self, name: str) -> dict[str, Any]:
        """Properties of the rule by which a function runs."""
        properties: dict[str, Any] = self.json["Resources"][self.named("AWS::Events::Rule", name)]["Properties"]
        return properties

    def statements(self, role_part: str) -> list[dict[str, Any]]:
        """Statements of every policy of the only role whose logical id has this part."""
        (role,) = [name for name in self.resources("AWS::IAM::Role") if role_part in name]
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy").values()
            if {"Ref": role} in policy["Properties"]["Roles"]
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]

    def machine(self, id_part: str) -> dict[str, Any]:
        """The definition of a state machine."""
        machine = self.one("AWS::StepFunctions::StateMachine", id_part)
        definition: dict[str, Any] = json.loads(joined(machine["DefinitionString"]))
        return definition

    @property
    def definition(self) -> dict[str, Any]:
        """The processing workflow's definition."""
        return self.machine("Workflow")

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """The processing workflow's states, by name."""
        states: dict[str, dict[str, Any]] = self.definition["States"]
        return states


def joined(value: Any) -> str:
    """The text of a string, Fn::Sub or Fn::Join, with each reference as `${...}`, the way Fn::Sub would write it."""
    match value:
        case str(text) | {"Fn::Sub": str(text)}:
            return text
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(joined(part) for part in parts)
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Select": [index, {"Fn::Split": [separator, {"Ref": name}]}]}:
            return f"${{{name}.split({separator!r})[{index}]}}"
        case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": name}}:
            return f"${{{stack}.{name}}}"
    raise TypeError(f"not a text: {value}")


def as_list(value: Any) -> list[Any]:
    """What CloudFormation writes as a list where it is more than one."""
    return value if isinstance(value, list) else [value]


@cache
def synthesized(stage: str) -> StageTemplate:
    """A stage as it is configured; synthesized once for all tests."""
    return StageTemplate(stage)


@pytest.fixture(params=STAGES)
def every_stage(request: pytest.FixtureRequest) -> StageTemplate:
    """Each stage in turn."""
    return synthesized(request.param)


@pytest.fixture
def dev() -> StageTemplate:
    """Stage dev."""
    return synthesized("dev")


@pytest.fixture
def prod() -> StageTemplate:
    """Stage prod."""
    return synthesized("prod")
