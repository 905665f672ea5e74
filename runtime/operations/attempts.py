"""Intake: which objects the pipeline takes, and the start of an attempt that happens once."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.aws.executions import ExecutionEndedError, Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput
from runtime.ledger.rows import Ledger


def accepts(key: str, prefixes: Sequence[str], suffixes: Sequence[str]) -> bool:
    """Tell whether an object is the pipeline's by its key.

    Parameters
    ----------
    key
        Of the object.
    prefixes
        One of which the key must begin with; none: any.
    suffixes
        One of which it must end with, in upper or lower case; none: any.
    """
    return (not prefixes or key.startswith(tuple(prefixes))) and (
        not suffixes or key.lower().endswith(tuple(suffix.lower() for suffix in suffixes))
    )


def start_attempt(ledger: Ledger, executions: Executions, execution: ExecutionInput) -> bool:
    """Start an attempt unless that was done; tell whether it was not.

    May be repeated from any point where it was interrupted: the row is opened before the execution is started, and
    marked after. What is started is what the row says, in case that two callers open the same attempt differently.

    An execution of this attempt that has ended, though the ledger knows no verdict, ran before the ledger was lost or
    restored: then the next attempt is opened and started, whose name is free. An attempt that this very call opened
    needs no look at the execution. Another caller may have started it since, but with what the same row says: while
    that runs, the second start is answered as the first was, and once it has ended, the row has changed.
    """
    row, just_opened = ledger.open(execution)
    while row.attempt >= execution.attempt and row.status is LedgerStatus.RECEIVED:
        attempt = row.current_attempt
        try:
            arn = executions.start(attempt, just_opened=just_opened)
        except ExecutionEndedError:
            if ledger.row(row.object_id) != row:
                return False  # its verdict has come meanwhile, or somebody else goes on
            row, just_opened = ledger.open(row.next_attempt())
            continue
        ledger.run(attempt, arn)
        return True
    return False
