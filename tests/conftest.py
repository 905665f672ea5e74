"""Groups tests for parallel runs, and closes a run with the table of threats and with what the steps took."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.threats import threats

TESTS: Final = Path(__file__).parent
STEP_SECONDS: Final = "step_seconds"
"""Property of an end-to-end test: pairs of a step's name and the seconds that an execution spent in it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one process of a parallel run what shares an emulator or synthesized stages."""
    for item in items:
        folder, *_, module = item.path.relative_to(TESTS).parts
        if folder == "end_to_end":
            item.add_marker(pytest.mark.xdist_group(folder))
        elif folder == "infrastructure" and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(module))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _print_threats(terminalreporter)
    _print_steps(terminalreporter)


def _print_threats(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each threat whose test was run, and the verdict on it."""
    verdicts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            # A test's id ends with its parameters and, in a parallel run, with its group.
            test = re.split(r"[\[@]", report.nodeid.removeprefix("tests/"), maxsplit=1)[0]
            verdicts.setdefault(test, Counter())[outcome] += 1
    lines = [(threat, verdicts[threat.test]) for threat in threats() if threat.test in verdicts]
    if not lines:
        return
    terminalreporter.section("threats (docs/security.md)")
    for threat, counts in lines:
        verdict = "NOT HELD" if counts["failed"] + counts["error"] else "held" if counts["passed"] else "not tried"
        terminalreporter.write_line(f"{verdict:<10} {threat.threat[:76]:<77} {threat.test.rpartition('/')[2]}")


def _print_steps(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the steps took in the emulator, from the history of the executions."""
    seconds: dict[str, list[float]] = {}
    # Reports of what passed but isn't a test itself, such as its teardown, are of no category.
    for outcome in ("", "error"):
        for report in terminalreporter.getreports(outcome):
            if report.when == "teardown":
                for step, taken in dict(report.user_properties).get(STEP_SECONDS, ()):
                    seconds.setdefault(step, []).append(taken)
    if not seconds:
        return
    terminalreporter.section("steps in the emulator")
    for step, taken in seconds.items():
        terminalreporter.write_line(
            f"{step:<22} {len(taken):>3} runs: median {statistics.median(taken) * 1000:>6.0f} ms,"
            f" slowest (cold) {max(taken) * 1000:>6.0f} ms"
        )
