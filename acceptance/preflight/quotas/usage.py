"""What one delivered object takes of the account's quotas, as `imaging_pipeline.operations.cost` counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.templates import Templates
from runtime.contract.names import STEPS, Function

PUT_EVENTS: Final = ":events:putEvents"
"""How the resource of a state ends that puts an event on a bus."""


@dataclass(frozen=True)
class Usage:
    """What one delivered object uses.

    Attributes
    ----------
    transitions
        States that its execution passes.
    events
        Entries put on an event bus; S3's own events are none.
    writes
        Write units of the ledger, to whose indexes the same quota applies one by one.
    seconds
        Of each function.
    """

    transitions: int
    events: int
    writes: float
    seconds: Mapping[Function, float]


def usage(template: Mapping[str, Any]) -> Usage:
    """Return what a delivered object uses of a stage with this template."""
    states, assumed = Templates(template).delivery_states(), Assumptions()
    milliseconds = asdict(assumed)
    return Usage(
        transitions=len(states),
        events=sum(str(state.get("Resource", "")).endswith(PUT_EVENTS) for state in states),
        writes=assumed.ledger_writes,
        seconds={function: milliseconds[f"{function}_ms"] / 1000 for function in (*STEPS, Function.DISPATCHER)},
    )
