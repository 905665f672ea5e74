"""Stage `local`, deployed once a session with its functions' concurrency bounded, and the figures of each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pytest

from local.deployment import deploy
from local.emulator import Emulator
from local.environment import isolation
from tests.stress.deployed import Deployed
from tests.stress.faults import Faults, faulty

HERE = Path(__file__).parent
ACCOUNT_CONCURRENCY = 24
"""More than all functions together may run at once: it is their own bounds that throttle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@dataclass
class Figures:
    """A line of the summary."""

    test: str
    objects: int = 0
    faults: int = 0
    """injected"""
    retries: int = 0
    """attempts of steps that failed, throttled ones included, and were repeated"""
    redriven: int = 0
    """objects that a command had to start again"""
    lost: int = 0
    """objects without the verdict they must have"""
    duplicated: int = 0
    """second executions of an attempt, and results of which versions differ"""
    seconds: float = 0


FIGURES: list[Figures] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("stress")
        names = [field.name for field in fields(Figures)]
        terminalreporter.write_line(f"{names[0]:<60}" + "".join(f"{name:>12}" for name in names[1:]))
        for name, *numbers in map(astuple, FIGURES):
            terminalreporter.write_line(f"{name[:60]:<60}" + "".join(f"{number:>12.0f}" for number in numbers))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """The test's line in the summary."""
    line = Figures(request.node.name.removeprefix("test_should_"))
    FIGURES.append(line)
    return line


@pytest.fixture(scope="session")
def size() -> int:
    """Objects of the largest burst; the other tests take a part of it."""
    return int(os.environ.get("STRESS_OBJECTS", "1000"))


@pytest.fixture(scope="session")
def stage() -> Iterator[Deployed]:
    """Stage `local` on an emulator of its own."""
    # The proxy that injects faults asks in its own name, for which the functions' signatures don't hold.
    with Emulator(concurrent_functions=ACCOUNT_CONCURRENCY, enforcing=False) as emulator:
        environment, outputs = deploy(emulator)
        with isolation(environment):
            deployed = Deployed(environment, outputs, emulator.scratch)
            deployed.bound()
        yield deployed


@pytest.fixture
def deployed(stage: Deployed) -> Iterator[Deployed]:
    """The deployed stage; what is made of AWS meanwhile is the emulator's."""
    with isolation(stage.environment):
        yield stage


@pytest.fixture
def faults(stage: Deployed) -> Iterator[Faults]:
    """A proxy before the emulator that injects nothing yet."""
    with faulty(stage.environment["AWS_ENDPOINT_URL"]) as proxy:
        yield proxy
