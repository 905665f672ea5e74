"""What is going to be deployed: a stage's stacks as they are synthesized, and where each goes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import App, Environment

from imaging_pipeline.operations.review.assembly import REPOSITORY, Stack, read_assembly
from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages.config import StageConfig
from imaging_pipeline.stages.definitions import stage_config


@dataclass(frozen=True)
class Plan:
    """A stage and its stacks.

    Attributes
    ----------
    config
        Settings of the stage.
    stacks
        The stage's own stack first, then its replica's where it has one.
    """

    config: StageConfig
    stacks: tuple[Stack, ...]


@dataclass(frozen=True)
class Target:
    """A stack and the place it is deployed to."""

    stack: Stack
    account: str
    partition: str
    region: str

    def resources(self, *types: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield logical id and properties of each resource of these types."""
        return ((name, body.get("Properties", {})) for name, body in self.stack.of_type(*types))

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def text(self, value: object) -> str:
        """Return a property's text as CloudFormation will resolve it; of another resource, that resource's name."""
        known = {"AWS::AccountId": self.account, "AWS::Region": self.region, "AWS::Partition": self.partition}
        match value:
            case {"Ref": str(name)}:
                return known.get(name) or self._name(name)
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self.text(part) for part in parts)
            case _:
                return str(value)

    def _name(self, logical_id: str) -> str:
        properties = self.stack.resources.get(logical_id, {}).get("Properties", {})
        return self.text(properties.get("Name", properties.get("TopicName", logical_id)))


def synthesize(stage: str, context: Mapping[str, object]) -> Plan:
    """Synthesize a stage as `cdk` does with this context, without building its layer.

    Raises
    ------
    StageError
        If there is no such stage, or a setting isn't valid.
    """
    # Settings have names that CDK's own context has not: see `app.py`.
    config = stage_config(stage, {name: value for name, value in context.items() if name.isidentifier()})
    flags = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    with tempfile.TemporaryDirectory() as folder:
        app = App(analytics_reporting=False, outdir=folder, context={**flags, **context, "aws:cdk:bundling-stacks": []})
        environment = Environment(account=config.account, region=config.region)
        ImagingPipelineStack(app, config.name, config=config, env=environment)
        app.synth()
        stacks = read_assembly(Path(folder))
    return Plan(config, stacks)
