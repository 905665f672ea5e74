"""Reconciliation: whether the raw bucket, the ledger and the processed bucket agree, and what to start where not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, Field

from runtime import storage
from runtime.containment import describe
from runtime.contract import ExecutionInput, Frozen, LedgerStatus
from runtime.executions import Executions
from runtime.intake import start_attempt
from runtime.ledger import Account, Ledger, timestamp
from runtime.observability import logger
from runtime.patience import START_SECONDS, is_transient, patiently, within

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LISTED: Final = 1000
"""Unaccounted objects that a report names; it counts all of them."""

_IN_WORK: Final = (LedgerStatus.RECEIVED, LedgerStatus.RUNNING)


class Problem(StrEnum):
    """Why an object is unaccounted."""

    MISSING = "missing"
    """The raw bucket has the version, the ledger does not: its event was lost."""
    STUCK = "stuck"
    """The ledger has it in work for longer than an execution can take."""
    LOST = "lost"
    """The ledger has it as delivered, but the processed bucket has no such result."""


class Unaccounted(Frozen):
    """An object that is not where it should be."""

    object_id: str
    problem: Problem


class Report(BaseModel):
    """What a reconciliation found. Holds ids and counts only."""

    raw_versions: int = Field(default=0, description="in the raw bucket, those that are not accepted included")
    ignored: int = Field(default=0, description="versions whose key the pipeline does not accept")
    recent: int = Field(default=0, description="versions without a row, too young to be missed")
    rows: Mapping[LedgerStatus, int] = Field(default={}, description="of the ledger, by status")
    missing: int = 0
    stuck: int = 0
    lost: int = 0
    started: int = Field(default=0, description="of the missing and stuck ones")
    unaccounted: list[Unaccounted] = Field(default=[], description=f"the first {LISTED}")

    @property
    def total(self) -> int:
        """How many objects are unaccounted."""
        return self.missing + self.stuck + self.lost

    def add(self, object_id: str, problem: Problem) -> None:
        """Count an unaccounted object."""
        setattr(self, problem, getattr(self, problem) + 1)
        if len(self.unaccounted) < LISTED:
            self.unaccounted.append(Unaccounted(object_id=object_id, problem=problem))


class Reconciliation:
    """One comparison of a stage's raw bucket, ledger and processed bucket.

    Takes memory for an integer of each row and of each result, about 200 MB for a million objects, and nearly two
    minutes of one processor for them.

    Parameters
    ----------
    s3, ledger
        What is read.
    raw_bucket, processed_bucket
        Names.
    accepts
        Tells of a key whether the pipeline takes the object.
    stuck_after
        The longest that an object may be without a verdict.
    results_expire_after
        The age at which the processed bucket drops a result; None if it never does.
    """

    def __init__(
        self,
        s3: S3Client,
        ledger: Ledger,
        *,
        raw_bucket: str,
        processed_bucket: str,
        accepts: Callable[[str], bool],
        stuck_after: timedelta,
        results_expire_after: timedelta | None = None,
    ) -> None:
        self._s3 = s3
        self._ledger = ledger
        self._raw_bucket = raw_bucket
        self._processed_bucket = processed_bucket
        self._accepts = accepts
        self._began = datetime.now(UTC)
        self._patience_ended = self._began - stuck_after
        # A day less: S3 expires what is due at midnight, and the row is a little younger than its result.
        self._expired = self._began - (results_expire_after - timedelta(days=1)) if results_expire_after else None
        self._to_start: list[ExecutionInput] = []
        self.report = Report()

    def find_stuck(self) -> None:
        """Look for what is in work for too long: among few rows, however many have their verdict."""
        for status in _IN_WORK:
            for row in self._ledger.with_status(status, until=timestamp(self._patience_ended)):
                self._check_stuck(row.object_id)

    def compare(self) -> None:
        """Look for what the ledger doesn't know, and for results that are gone."""
        known = self._check_rows()
        for coordinates, uploaded_at in storage.versions(self._s3, self._raw_bucket):
            self.report.raw_versions += 1
            object_id = coordinates.object_id
            if not self._accepts(coordinates.key):
                self.report.ignored += 1
            elif int(object_id, 16) in known:
                continue
            elif uploaded_at > self._patience_ended:
                self.report.recent += 1
            elif self._ledger.row(object_id) is None:  # indexes lag, the table does not
                self.report.add(object_id, Problem.MISSING)
                self._to_start.append(ExecutionInput(object=coordinates))

    def start(self, executions: Executions) -> None:
        """Start what was found missing or stuck since the last call. What fails is found again by the next run.

        Where throttling does not pass, the rest is left to that run as well.
        """
        to_start, self._to_start = self._to_start, []
        for execution in to_start:
            try:
                self.report.started += patiently(
                    lambda execution=execution: start_attempt(self._ledger, executions, execution),  # type: ignore[misc]
                    within(START_SECONDS),
                )
            except Exception as error:  # noqa: BLE001 - what was found has to be reported, whatever a start says
                logger.error("not started", extra={"failure": describe(error)})
                if is_transient(error):
                    return

    def _check_rows(self) -> set[int]:
        """Look for results that are gone; return the ids of all rows, as numbers."""
        results = {hash(key) for key in storage.keys(self._s3, self._processed_bucket)}
        began, expired = timestamp(self._began), timestamp(self._expired) if self._expired else ""
        counts: Counter[LedgerStatus] = Counter()
        known: set[int] = set()
        for status, row in self._rows():
            counts[status] += 1
            known.add(int(row.object_id, 16))
            if (
                status is LedgerStatus.DELIVERED
                and expired <= row.updated_at < began  # else its result may be gone, or younger than the listing
                and hash(row.output_key) not in results
            ):
                self.report.add(row.object_id, Problem.LOST)
        self.report.rows = counts
        return known

    def _rows(self) -> Iterator[tuple[LedgerStatus, Account]]:
        """Yield all rows. One whose status changes meanwhile may come twice, as objects go on in this order."""
        for status in LedgerStatus:
            for row in self._ledger.accounts_with_status(status):
                yield status, row

    def _check_stuck(self, object_id: str) -> None:
        """Look at the table, since the index may lag."""
        row = self._ledger.row(object_id)
        if row is None or row.status not in _IN_WORK or row.updated_at >= timestamp(self._patience_ended):
            return
        self.report.add(object_id, Problem.STUCK)
        never_started = row.status is LedgerStatus.RECEIVED
        self._to_start.append(row.current_attempt if never_started else row.next_attempt())
