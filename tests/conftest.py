"""Closes a run with the table of threats: what became of the test of each."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.threats import threats


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each threat whose test was run, and the verdict on it."""
    verdicts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            test = report.nodeid.removeprefix("tests/").partition("[")[0]
            verdicts.setdefault(test, Counter())[outcome] += 1
    lines = [(threat, verdicts[threat.test]) for threat in threats() if threat.test in verdicts]
    if not lines:
        return
    terminalreporter.section("threats (docs/security.md)")
    for threat, counts in lines:
        verdict = "NOT HELD" if counts["failed"] + counts["error"] else "held" if counts["passed"] else "not tried"
        terminalreporter.write_line(f"{verdict:<10} {threat.threat[:76]:<77} {threat.test.rpartition('/')[2]}")
