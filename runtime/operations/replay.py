"""Replay: which objects are run again, their next attempt, started once however often it is asked for, and its end."""

from __future__ import annotations

from cli.operations.quarantine import reasons
from runtime.aws.executions import Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.contract.replay import Replayed, ReplayFilter
from runtime.ledger.rows import Ledger, Row
from runtime.operations.attempts import start_attempt

_FINISHED = frozenset((LedgerStatus.DELIVERED, LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))
_IN_WORK = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))
_WITHOUT_RESULT = frozenset((LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))
"""Verdicts after which a row still tells the profile of an older result, which no further attempt replaces."""


def selects(filter_: ReplayFilter, row: Row | None) -> bool:
    """Tell whether a replay runs an object again.

    An object that the ledger doesn't know was never finished, at a time that nobody knows: it is selected by
    everything that does not ask for a reason or a profile.
    """
    if row is None:
        return filter_.reason_code is None and filter_.profile_hash is None
    return all(
        (
            not filter_.unfinished or row.status not in _FINISHED,
            filter_.reason_code is None
            or (row.status is LedgerStatus.QUARANTINED and filter_.reason_code in reasons(row)),
            filter_.received_since is None or row.received_at >= filter_.received_since,
            filter_.received_before is None or row.received_at < filter_.received_before,
            filter_.profile_hash is None
            or (row.status not in _WITHOUT_RESULT and (row.profile_hash or "").startswith(filter_.profile_hash)),
        )
    )


def replay(ledger: Ledger, executions: Executions, coordinates: ObjectCoordinates, filter_: ReplayFilter) -> Replayed:
    """Start the next attempt at one object version if the filter selects it.

    May be repeated from wherever it was interrupted: an attempt that was opened is started and no other is opened, and
    a row that changed since the replay was asked for is left alone. An attempt that was opened since then is this
    replay's own, as a rule, whatever the filter makes of its row now.
    """
    row = ledger.row(coordinates.object_id)
    opened_since = row is not None and row.status in _IN_WORK and row.updated_at >= filter_.requested_at
    if not opened_since and not selects(filter_, row):
        return Replayed.NOT_SELECTED
    if row is None:
        execution = ExecutionInput(object=coordinates)
    elif row.status is LedgerStatus.RECEIVED:
        execution = row.current_attempt
    elif row.status is LedgerStatus.RUNNING:
        return Replayed.STARTED if opened_since else Replayed.IN_WORK
    elif row.updated_at >= filter_.requested_at:
        return Replayed.SINCE
    else:
        execution = row.next_attempt()
    return Replayed.STARTED if start_attempt(ledger, executions, execution) else Replayed.IN_WORK


def is_in_work(ledger: Ledger, object_id: str) -> bool:
    """Tell whether an attempt at an object has no verdict yet."""
    row = ledger.row(object_id)
    return row is not None and row.status in _IN_WORK
