"""Replay: selection of objects, and the idempotent start of their next attempts."""

from __future__ import annotations

from runtime.aws.executions import Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.contract.replay import Replayed, ReplayFilter
from runtime.ledger.rows import Ledger, Row
from runtime.operations.attempts import start_attempt

_FINISHED = frozenset((LedgerStatus.DELIVERED, LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))
_IN_WORK = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))
_WITHOUT_RESULT = frozenset((LedgerStatus.QUARANTINED, LedgerStatus.DUPLICATE))
"""Verdicts that leave an older result's profile in the row."""


def selects(filter_: ReplayFilter, row: Row | None) -> bool:
    """Tell whether a filter selects an object.

    An object without a row is unfinished and was received at an unknown time: every filter selects it that asks for
    neither a reason nor a profile.
    """
    if row is None:
        return filter_.reason_code is None and filter_.profile_hash is None
    return all(
        (
            not filter_.unfinished or row.status not in _FINISHED,
            filter_.reason_code is None
            or (row.status is LedgerStatus.QUARANTINED and filter_.reason_code in row.reasons and not row.is_dismissed),
            filter_.received_since is None or row.received_at >= filter_.received_since,
            filter_.received_before is None or row.received_at < filter_.received_before,
            filter_.profile_hash is None
            or (row.status not in _WITHOUT_RESULT and (row.profile_hash or "").startswith(filter_.profile_hash)),
        )
    )


def replay(ledger: Ledger, executions: Executions, coordinates: ObjectCoordinates, filter_: ReplayFilter) -> Replayed:
    """Start the next attempt at an object version if the filter selects it.

    Idempotent from any point of interruption: an open attempt is started, and no other is opened. A row that changed
    since the replay was requested is left alone. An attempt that was opened since is taken for this replay's own,
    whether or not the filter still selects its row.
    """
    row = ledger.row(coordinates.object_id)
    opened_since = row is not None and row.status in _IN_WORK and row.updated_at >= filter_.requested_at
    if not opened_since and not selects(filter_, row):
        return Replayed.NOT_SELECTED
    if row is None or row.status is LedgerStatus.IGNORED:
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
