"""Reconciliation of raw bucket, ledger and processed bucket: find unaccounted objects, and start them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError
from pydantic import BaseModel, Field

from runtime.aws import storage
from runtime.aws.clock import countdown, timestamp
from runtime.aws.executions import Executions
from runtime.aws.retries import START_SECONDS, is_transient, retry
from runtime.contract.ledger import SCAN_CURSORS, LedgerStatus
from runtime.contract.models import Frozen
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.cursors import Cursor
from runtime.ledger.rows import Ledger
from runtime.observability.entry_points import logger
from runtime.observability.redaction import describe, error_code
from runtime.operations.attempts import start_attempt

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LISTED: Final = 1000
"""Unaccounted objects that a report lists; it counts all."""

STUDIES: Final = 64
"""Studies whose lists of results are cached while rows are compared."""
RESERVE_SECONDS: Final = 30.0
"""Seconds that must be left to compare another page."""
RAW_CURSOR: Final = f"{SCAN_CURSORS}raw"
RESULTS_CURSOR: Final = f"{SCAN_CURSORS}results"

_IN_WORK: Final = (LedgerStatus.RECEIVED, LedgerStatus.RUNNING)


class Problem(StrEnum):
    """Kind of an unaccounted object."""

    MISSING = "missing"
    """in the raw bucket and not in the ledger: its event was lost"""
    STUCK = "stuck"
    """in work for longer than an execution can take"""
    LOST = "lost"
    """delivered by the ledger, without a result in the processed bucket"""


class Unaccounted(Frozen):
    """An unaccounted object."""

    object_id: str
    problem: Problem


class Report(BaseModel):
    """Result of a reconciliation: ids and counts."""

    raw_versions: int = Field(default=0, description="compared, ignored ones included")
    ignored: int = Field(default=0, description="versions whose key the pipeline does not accept")
    recent: int = Field(default=0, description="versions without a row, too young to be missed")
    results: int = Field(default=0, description="that were delivered, and looked for")
    missing: int = 0
    stuck: int = 0
    lost: int = 0
    started: int = Field(default=0, description="of the missing and stuck ones")
    complete: bool = Field(
        default=True, description="whether all objects were compared; the next run goes on otherwise"
    )
    unaccounted: list[Unaccounted] = Field(default=[], description=f"the first {LISTED}")

    @property
    def total(self) -> int:
        """Number of unaccounted objects."""
        return self.missing + self.stuck + self.lost

    def add(self, object_id: str, problem: Problem) -> None:
        """Count an unaccounted object."""
        setattr(self, problem, getattr(self, problem) + 1)
        if len(self.unaccounted) < LISTED:
            self.unaccounted.append(Unaccounted(object_id=object_id, problem=problem))


class Reconciliation:
    """Comparison of a stage's raw bucket, ledger and processed bucket.

    A run whose time is up moves its cursors in the ledger, where the next run goes on.

    Parameters
    ----------
    s3, ledger
        To read.
    executions
        To start missing and stuck objects as soon as they are found; None: start nothing and move no cursor.
    raw_bucket, processed_bucket
        Names.
    accepts
        Tells whether the pipeline accepts an object, by its key.
    stuck_after
        Longest time without a verdict.
    results_expire_after
        Age at which the processed bucket expires a result; None: never.
    """

    def __init__(
        self,
        s3: S3Client,
        ledger: Ledger,
        executions: Executions | None,
        *,
        raw_bucket: str,
        processed_bucket: str,
        accepts: Callable[[str], bool],
        stuck_after: timedelta,
        results_expire_after: timedelta | None = None,
    ) -> None:
        self._s3 = s3
        self._ledger = ledger
        self._executions = executions
        self._gave_up = False
        self._raw_bucket = raw_bucket
        self._processed_bucket = processed_bucket
        self._accepts = accepts
        self._began = datetime.now(UTC)
        self._stuck_before = self._began - stuck_after
        # A day less: S3 expires what is due at midnight, and the row is a little younger than its result.
        self._expired = (
            timestamp(self._began - (results_expire_after - timedelta(days=1))) if results_expire_after else ""
        )
        self._results_below = lru_cache(STUDIES)(self._list_results)
        self.report = Report()

    def run(self, seconds_left: Callable[[], float]) -> Report:
        """Find stuck, then missing, then lost objects. Each search has a third of the time, and what is left over."""
        third = seconds_left() / 3
        self._find_stuck(lambda: seconds_left() - 2 * third)
        self._find_missing(lambda: seconds_left() - third)
        self._find_lost(seconds_left)
        return self.report

    def _find_stuck(self, seconds_left: Callable[[], float]) -> None:
        """Find rows that are in work for too long."""
        for status in _IN_WORK:
            for indexed in self._ledger.with_status(status, until=timestamp(self._stuck_before)):
                row = self._ledger.row(indexed.object_id)  # indexes lag, the table does not
                if row is None or row.status not in _IN_WORK or row.updated_at >= timestamp(self._stuck_before):
                    continue
                never_started = row.status is LedgerStatus.RECEIVED
                self._found(Problem.STUCK, row.current_attempt if never_started else row.next_attempt())
                if self._gave_up or seconds_left() < RESERVE_SECONDS:
                    self.report.complete = False
                    return

    def _find_missing(self, seconds_left: Callable[[], float]) -> None:
        """Find versions without a row, page by page of the raw bucket's list."""
        position = self._position(RAW_CURSOR)
        try:
            self._scan_versions(position, seconds_left)
        except ClientError as error:
            if position and error_code(error) == "InvalidArgument":  # S3 no longer knows the position
                self._move(RAW_CURSOR, "")
            raise

    def _scan_versions(self, position: str, seconds_left: Callable[[], float]) -> None:
        for page in storage.version_pages(self._s3, self._raw_bucket, json.loads(position or "{}")):
            to_its_end = self._compare_versions(page.versions, seconds_left)
            if to_its_end:
                position = json.dumps(page.following) if page.following else ""
            if not to_its_end or seconds_left() < RESERVE_SECONDS:
                self.report.complete &= to_its_end
                break
        self._move(RAW_CURSOR, position)

    def _compare_versions(
        self, versions: Sequence[tuple[ObjectCoordinates, datetime]], seconds_left: Callable[[], float]
    ) -> bool:
        """Compare a page; tell whether all of its missing objects could be started."""
        self.report.raw_versions += len(versions)
        accepted = {each.object_id: (each, uploaded) for each, uploaded in versions if self._accepts(each.key)}
        self.report.ignored += len(versions) - len(accepted)
        self._ignore([each for each, uploaded in versions if each.object_id not in accepted and self._is_due(uploaded)])
        unknown = self._ledger.unknown(list(accepted))
        for object_id in (each for each in accepted if each in unknown):
            coordinates, uploaded_at = accepted[object_id]
            if not self._is_due(uploaded_at):
                self.report.recent += 1
            elif self._ledger.row(object_id) is None:
                self._found(Problem.MISSING, ExecutionInput(object=coordinates))
                if self._gave_up or seconds_left() < 0:
                    return False
        return True

    def _is_due(self, uploaded_at: datetime) -> bool:
        return uploaded_at <= self._stuck_before

    def _ignore(self, versions: Sequence[ObjectCoordinates]) -> None:
        """Give those that are not accepted the row that the dispatcher gives them, where their event was lost."""
        unknown = self._ledger.unknown([each.object_id for each in versions]) if self._executions else set()
        for coordinates in versions:
            if coordinates.object_id in unknown:
                self._ledger.ignore(coordinates)

    def _find_lost(self, seconds_left: Callable[[], float]) -> None:
        """Find delivered results that are gone, in the order of their delivery."""
        position = self._position(RESULTS_CURSOR)
        # What was delivered since this run began may be younger than a list of the bucket.
        for row in self._ledger.delivered(since=max(position, self._expired), until=timestamp(self._began)):
            self.report.results += 1
            patient_and_study = "/".join(row.output_key.split("/")[:2])
            if row.output_key not in self._results_below(patient_and_study):
                self.report.add(row.object_id, Problem.LOST)
            # The next run begins with the rows of this time once more.
            if seconds_left() < RESERVE_SECONDS and row.updated_at > position:
                self._move(RESULTS_CURSOR, row.updated_at)
                return
        self._move(RESULTS_CURSOR, "")

    def _list_results(self, folder: str) -> frozenset[str]:
        """List a study's results, which one request does for many rows."""
        return frozenset(storage.keys(self._s3, self._processed_bucket, f"{folder}/"))

    def _found(self, problem: Problem, execution: ExecutionInput) -> None:
        """Report an unaccounted object and start it. If the start fails, a later run finds the object again."""
        self.report.add(execution.object.object_id, problem)
        if self._executions is None or self._gave_up:
            return
        try:
            self.report.started += retry(
                partial(start_attempt, self._ledger, self._executions, execution), countdown(START_SECONDS)
            )
        except Exception as error:  # noqa: BLE001 - the report must not fail with a start
            logger.error("not started", extra={"failure": describe(error)})
            self._gave_up |= is_transient(error)  # and will be at the next object

    def _position(self, cursor: str) -> str:
        """Return where this run goes on. A run that does not begin at the beginning is incomplete."""
        position = Cursor(self._ledger.table, cursor).read()
        self.report.complete &= not position
        return position

    def _move(self, cursor: str, position: str) -> None:
        """Set where the next run goes on, unless this run starts nothing."""
        self.report.complete &= not position
        if self._executions is not None:
            Cursor(self._ledger.table, cursor).move(position)
