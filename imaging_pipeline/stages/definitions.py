"""The stages, and how the command line overrides their settings."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from aws_cdk.aws_logs import RetentionDays
from pydantic import ValidationError

from imaging_pipeline.stages.config import StageConfig
from imaging_pipeline.stages.rules import problems
from runtime.contract.names import Function


class StageError(ValueError):
    """The chosen stage can't be synthesized; the text is one sentence for the person at the command line."""


def _local() -> dict[str, Any]:
    """Follow the interpreter and the machine of whoever starts the emulator, which runs the functions there."""
    machine = {
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "architecture": "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64",
    }
    return {
        "runs_on_this_machine": True,
        "retain_data": False,
        "log_retention": RetentionDays.ONE_DAY,
        "study_quiet_seconds": 60,
        "functions": dict.fromkeys(Function, machine),
    }


STAGES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "local": _local,
    "dev": lambda: {"retain_data": False},
    "staging": dict,
    "prod": lambda: {
        "explicit_environment": True,
        "termination_protection": True,
        "encryption": "kms",
        "log_retention": RetentionDays.ONE_YEAR,
        "access_log_retention_days": 365,
    },
}


def stage_config(stage: object, overrides: Mapping[str, object]) -> StageConfig:
    """Validate the settings of a stage.

    Parameters
    ----------
    stage
        A name in `STAGES`.
    overrides
        Settings that replace the stage's own, by field name, as the command line gave them.

    Raises
    ------
    StageError
        If there is no such stage, a setting is unknown, out of range or missing, or some contradict each other.
    """
    choices = ", ".join(STAGES)
    if not stage:
        raise StageError(f"No stage is chosen: add `-c stage=<name>` with one of {choices}.")
    if not isinstance(stage, str) or stage not in STAGES:
        raise StageError(f"There is no stage {stage!r}: choose one of {choices}.")
    try:
        config = StageConfig.model_validate({"stage": stage} | STAGES[stage]() | dict(overrides))
    except ValidationError as error:
        raise StageError(f"Stage {stage!r} is not valid: {_in_words(error)}.") from error
    if found := list(problems(config)):
        raise StageError(f"Stage {stage!r} is not valid: {'; '.join(found)}.")
    return config


def _in_words(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False):
        setting = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = f"there is no such setting{_meant(setting)}"
        problems.append(f"{setting} = {detail['input']!r}: {message}" if setting else message)
    return "; ".join(problems)


def _meant(setting: str) -> str:
    close = get_close_matches(setting, StageConfig.model_fields, n=1)
    return f", but there is {close[0]}" if close else ""
