"""Stage `local`, deployed once a session; the tests reach it on the loopback interface and nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from local.deployment import deploy
from local.emulator import Emulator
from local.environment import isolation
from local.pipeline import STEPS, Outcome, Pipeline
from runtime.contract.names import Output

HERE = Path(__file__).parent
OUTCOMES: list[Outcome] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the steps took, from the history of the executions."""
    if not OUTCOMES:
        return
    terminalreporter.section("steps in the emulator")
    for step in STEPS:
        seconds = sorted(outcome.seconds[step] for outcome in OUTCOMES if step in outcome.seconds)
        if seconds:
            terminalreporter.write_line(
                f"{step:<22} {len(seconds):>3} runs: median {statistics.median(seconds) * 1000:>6.0f} ms,"
                f" slowest (cold) {seconds[-1] * 1000:>6.0f} ms"
            )


@dataclass(frozen=True)
class Stage:
    """The deployed stage."""

    environment: Mapping[str, str]
    outputs: Mapping[Output, str]
    pipeline: Pipeline
    decisions: Path
    """what the emulator decided on the rights of roles, a line each"""


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """Stage `local` on an emulator of its own."""
    with Emulator() as emulator:
        environment, outputs = deploy(emulator, settings={"failure_notifications": "true"})
        with isolation(environment):
            pipeline = RecordingPipeline(outputs)
        yield Stage(environment, outputs, pipeline, emulator.decisions)


@pytest.fixture(scope="session")
def pipeline(stage: Stage) -> Pipeline:
    """The deployed pipeline."""
    return stage.pipeline


class RecordingPipeline(Pipeline):
    """Keeps every outcome, for the summary."""

    def outcome(self, execution_arn: str) -> Outcome:
        outcome = super().outcome(execution_arn)
        OUTCOMES.append(outcome)
        return outcome


@pytest.fixture
def isolated_boto3(stage: Stage) -> Iterator[boto3.Session]:
    """A session for the emulator; what a test creates without it is for the emulator too."""
    with isolation(stage.environment):
        yield boto3.Session()
