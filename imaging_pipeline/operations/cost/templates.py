"""What the bill depends on in a stage's templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from aws_cdk import App, Environment
from aws_cdk.assertions import Template as Synthesized

from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages.definitions import stage_config
from runtime.contract.names import Function, State
from runtime.contract.steps import StatusCode

REPOSITORY: Final = Path(__file__).resolve().parents[3]
NEVER: Final = float("inf")
_MINUTES: Final = {"minute": 1, "hour": 60, "day": 24 * 60}

Properties = Mapping[str, Any]


class Lifecycle(NamedTuple):
    """The life of an object in a bucket.

    Attributes
    ----------
    classes
        Storage classes that it moves to, with the days after which it does.
    days
        After which it is gone for good.
    """

    classes: tuple[tuple[str, int], ...]
    days: float


@dataclass(frozen=True)
class Templates:
    """The templates of a stage.

    Attributes
    ----------
    stage
        Template of the stack.
    replica
        Template of the replica stack; None where there is none.
    """

    stage: Mapping[str, Any]
    replica: Mapping[str, Any] | None = None

    def every(self, resource_type: str) -> list[Properties]:
        """Return the properties of every resource of a type, in both stacks."""
        return [
            resource.get("Properties", {})
            for template in (self.stage, self.replica or {"Resources": {}})
            for resource in template["Resources"].values()
            if resource["Type"] == resource_type
        ]

    def only(self, resource_type: str, id_part: str) -> Properties:
        """Return the properties of the stack's only resource of a type whose logical id has this part.

        Raises
        ------
        LookupError
            If there are none or several.
        """
        return _only(self.stage, resource_type, id_part)

    def function(self, name: Function) -> Properties:
        """Return the properties of a function, wherever the app makes it."""
        return self._named("AWS::Lambda::Function", "FunctionName", name)

    def schedule(self, name: Function) -> Properties:
        """Return the properties of the rule that runs a function by the clock."""
        return self._named("AWS::Events::Rule", "Name", name)

    def _named(self, resource_type: str, key: str, name: str) -> Properties:
        found = [each for each in self.every(resource_type) if str(each.get(key, "")).endswith(f"-{name}")]
        return _single(found, resource_type, name)

    def table(self, id_start: str) -> Properties:
        """Return the properties of the table whose logical id begins so; others may contain it."""
        return _only(self.stage, "AWS::DynamoDB::Table", id_start, at_start=True)

    def buckets(self, name: str) -> dict[str, Properties]:
        """Return a data bucket, and its replica where there is one, by what they are called."""
        found = {f"{name.lower()} bucket": _only(self.stage, "AWS::S3::Bucket", f"Buckets{name}")}
        if self.replica:
            found[f"{name.lower()} replica"] = _only(self.replica, "AWS::S3::Bucket", name, at_start=True)
        return found

    @property
    def workflow(self) -> Properties:
        """Properties of the processing workflow."""
        return self.only("AWS::StepFunctions::StateMachine", "Workflow")

    def delivery_states(self) -> list[dict[str, Any]]:
        """Return the states that a delivered object passes, in order."""
        parts = self.workflow["DefinitionString"]["Fn::Join"][1]
        # References become a placeholder: what they name is of no account here.
        states = json.loads("".join(part if isinstance(part, str) else "X" for part in parts))["States"]
        passed, name = [], State.INGESTION_STEP.value
        while True:
            state = states[name]
            passed.append(state)
            if state["Type"] in {"Succeed", "Fail"}:
                return passed
            name = _accepted(state) if state["Type"] == "Choice" else state["Next"]


def synthesize(stage: str, overrides: Mapping[str, object]) -> Templates:
    """Return a stage's templates without building its layer.

    Raises
    ------
    StageError
        If the stage or a setting isn't valid.
    """
    config = stage_config(stage, overrides)
    flags = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    app = App(analytics_reporting=False, context={**flags, "aws:cdk:bundling-stacks": []})
    environment = Environment(account=config.account, region=config.region)
    stack = ImagingPipelineStack(app, config.name, config=config, env=environment)
    replica = dict(Synthesized.from_stack(stack.replica).to_json()) if stack.replica else None
    return Templates(dict(Synthesized.from_stack(stack).to_json()), replica)


def lifecycle(bucket: Properties) -> Lifecycle:
    """Return what a bucket's one rule does. An expired object stays as a noncurrent version until that expires."""
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    classes = [(each["StorageClass"], each["TransitionInDays"]) for each in rule.get("Transitions", [])]
    noncurrent = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", NEVER)
    return Lifecycle(tuple(sorted(classes, key=lambda each: each[1])), rule.get("ExpirationInDays", NEVER) + noncurrent)


def minutes_between(rule: Properties) -> int:
    """Return the minutes between two ticks of a schedule.

    Raises
    ------
    LookupError
        If it isn't a rate.
    """
    rate = re.fullmatch(r"rate\((\d+) (\w+?)s?\)", rule["ScheduleExpression"])
    if rate is None:
        raise LookupError(f"the schedule {rule['ScheduleExpression']} is no rate")
    return int(rate[1]) * _MINUTES[rate[2]]


def _only(template: Mapping[str, Any], resource_type: str, part: str, *, at_start: bool = False) -> Properties:
    found = [
        resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type and (name.startswith(part) if at_start else part in name)
    ]
    return _single(found, resource_type, part)


def _single(found: list[Properties], resource_type: str, name: str) -> Properties:
    if len(found) != 1:
        raise LookupError(f"{len(found)} resources of {resource_type} are named {name}")
    return found[0]


def _accepted(choice: Properties) -> str:
    """Return where an accepted object goes: the rule that asks for this status and nothing else."""
    for rule in choice["Choices"]:
        if rule.get("NumericEquals") == StatusCode.ACCEPTED:
            return str(rule["Next"])
    raise LookupError("a Choice state has no way for an accepted object")
