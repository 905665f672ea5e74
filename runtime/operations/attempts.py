"""Attempts at objects: which objects are accepted, and the start of an attempt, once."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.aws.executions import ExecutionEndedError, Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput
from runtime.ledger.rows import Ledger


def accepts(key: str, prefixes: Sequence[str], suffixes: Sequence[str]) -> bool:
    """Tell whether the pipeline accepts an object, by its key.

    Parameters
    ----------
    key
        Of the object.
    prefixes
        One of which the key must begin with; none: any.
    suffixes
        One of which it must end with, in upper or lower case; the empty one: a name without suffix. None: any.
    """
    name = key.rpartition("/")[2]
    if not name or (prefixes and not key.startswith(tuple(prefixes))):  # what ends with a slash marks a folder
        return False
    endings = tuple(suffix.lower() for suffix in suffixes if suffix)
    return not suffixes or name.lower().endswith(endings) or ("" in suffixes and not _has_suffix(name))


def _has_suffix(name: str) -> bool:
    """Tell whether a letter follows the last dot of a file's name: UIDs and numbered names have no suffix."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and suffix[:1].isalpha()


def start_attempt(ledger: Ledger, executions: Executions, execution: ExecutionInput) -> bool:
    """Start an attempt unless it was started; tell whether this call did.

    Idempotent from any point of interruption: the row is opened before the execution is started, and marked after. The
    row decides the execution's input, in case that two callers open the same attempt differently.

    An execution of this attempt that ended without a verdict in the ledger ran before the ledger was lost or restored.
    Then the next attempt, whose name is free, is opened and started.

    The execution of an attempt that this call opened is not looked at. If another caller started it since, the row gave
    it the same input: while it runs, Step Functions answers alike, and once it has ended, the row has changed.
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
