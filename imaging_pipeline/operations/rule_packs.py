"""cdk-nag's rule packs over a stage, and what we answer to what they find: `acknowledged.toml`.

The packs judge the constructs of a synthesized app. They are asked directly and not as plugins of the synthesis: that
knows no acknowledgement but for the very text of a finding, which names generated ids.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks, ServerlessChecks
from constructs import IConstruct
from pydantic import Field

from imaging_pipeline.stages.config import Settings, StageConfig

PACKS: Final = (AwsSolutionsChecks, HIPAASecurityChecks, ServerlessChecks)
ACKNOWLEDGED: Final = Path(__file__).with_name("acknowledged.toml")
ANYTHING: Final = "…"

Text = Annotated[str, Field(min_length=1)]


class UnansweredError(Exception):
    """The rule packs found what nobody acknowledged; the text is the verdict for the person at the command line."""


@dataclass(frozen=True, order=True)
class Finding:
    """What a rule has against a resource."""

    rule: str
    """Its id, with the finding's where the rule tells several apart: `AwsSolutions-IAM5[Resource::*]`."""
    resource: str
    """Path of the construct below the stage's stack; below another stack, after the end of that stack's name."""
    description: str


class Acknowledgement(Settings):
    """Why a finding is no defect of these resources. In rule and resources, `…` stands for any text."""

    rule: Text
    resources: Annotated[tuple[Text, ...], Field(min_length=1)]
    reason: Annotated[str, Field(min_length=20)]
    where: Mapping[str, str | bool | int] = Field(default={}, description="settings of the stages that it holds for")

    def holds_in(self, config: StageConfig) -> bool:
        """Whether it counts in this stage."""
        return all(getattr(config, setting) == value for setting, value in self.where.items())

    def answers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        return _fits(self.rule, finding.rule) and any(_fits(path, finding.resource) for path in self.resources)


@cache
def acknowledgements() -> tuple[Acknowledgement, ...]:
    """Return every acknowledgement, in the file's order."""
    entries = tomllib.loads(ACKNOWLEDGED.read_text(encoding="utf-8"))["acknowledged"]
    return tuple(Acknowledgement.model_validate(entry) for entry in entries)


def findings(scope: IConstruct, config: StageConfig) -> list[Finding]:
    """Return what the packs find in an app or a stack that has been synthesized."""
    return sorted(
        Finding(violation.rule_name, _below_stack(resource.construct_path or "", config), violation.description)
        for pack in PACKS
        for violation in pack().validate_scope(scope).violations
        for resource in violation.violating_resources
    )


def unanswered(found: Iterable[Finding], config: StageConfig) -> list[Finding]:
    """Return the findings that no acknowledgement of this stage is about."""
    valid = [acknowledgement for acknowledgement in acknowledgements() if acknowledgement.holds_in(config)]
    return [finding for finding in found if not any(acknowledgement.answers(finding) for acknowledgement in valid)]


def check(scope: IConstruct, config: StageConfig) -> None:
    """Refuse a stage with findings that nobody acknowledged.

    Raises
    ------
    UnansweredError
        If there are any: it says what is wrong where, and what to do.
    """
    left = unanswered(findings(scope, config), config)
    if not left:
        return
    lines = [f"  {finding.resource}: {finding.description} [{finding.rule}]" for finding in left]
    count = "one finding" if len(left) == 1 else f"{len(left)} findings"
    raise UnansweredError(
        f"Stage {config.stage!r} is refused, for {count} of the rule packs:\n"
        + "\n".join(lines)
        + f"\nMend them, or say in imaging_pipeline/operations/{ACKNOWLEDGED.name} why they are no defect."
    )


def _below_stack(path: str, config: StageConfig) -> str:
    return path.removeprefix(config.name).removeprefix("/").removesuffix("/Resource")


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split(ANYTHING))), text) is not None
