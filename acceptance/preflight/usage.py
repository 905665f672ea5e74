"""What one delivered object takes of what an account has: the figures of `imaging_pipeline.cost`, by the second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imaging_pipeline.cost import MILLION, Assumptions, bill
from runtime.contract import STEPS, Function


@dataclass(frozen=True)
class Usage:
    """What one delivered object uses.

    Attributes
    ----------
    transitions
        Of states; none where executions are EXPRESS, whose transitions nobody counts.
    events
        Entries put on an event bus.
    writes
        Write units of the table that is written most, its indexes included.
    seconds
        Of each function.
    """

    transitions: float
    events: float
    writes: float
    seconds: Mapping[Function, float]


def usage(template: Mapping[str, Any]) -> Usage:
    """Return what a delivered object uses of a stage with this template, by the bill of a million."""
    assumed = Assumptions()
    totals: defaultdict[str, float] = defaultdict(float)
    tables: defaultdict[str, float] = defaultdict(float)
    for line in bill(template, assumed):
        totals[line.price] += line.count / MILLION
        if line.price == "dynamodb_write":
            tables[line.of] += line.count / MILLION
    milliseconds = asdict(assumed)
    return Usage(
        transitions=totals["states_standard_transition"],
        events=totals["eventbridge_event"],
        writes=max(tables.values()),
        seconds={function: milliseconds[f"{function}_ms"] / 1000 for function in (*STEPS, Function.DISPATCHER)},
    )
