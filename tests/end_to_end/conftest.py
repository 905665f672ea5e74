"""Stage `local`, deployed once a session; the tests reach it on the loopback interface and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from local.deployment import deploy
from local.emulator import Emulator
from local.environment import isolation
from local.pipeline import Outcome, Pipeline
from runtime.contract.names import Output
from tests.conftest import STEP_SECONDS

HERE = Path(__file__).parent
OUTCOMES: list[Outcome] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


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
    """Pipeline that keeps every outcome for the summary."""

    def outcome(self, execution_arn: str) -> Outcome:
        outcome = super().outcome(execution_arn)
        OUTCOMES.append(outcome)
        return outcome


@pytest.fixture(autouse=True)
def step_seconds(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Record what the steps took in the executions of which the test asked the outcome."""
    yield
    record_property(STEP_SECONDS, [(str(step), taken) for each in OUTCOMES for step, taken in each.seconds.items()])
    OUTCOMES.clear()


@pytest.fixture
def isolated_boto3(stage: Stage) -> Iterator[boto3.Session]:
    """A session for the emulator; what a test creates without it is for the emulator too."""
    with isolation(stage.environment):
        yield boto3.Session()
