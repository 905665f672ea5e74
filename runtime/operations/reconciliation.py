"""Reconciliation: whether the raw bucket, the ledger and the processed bucket agree, and what to start where not."""

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
from runtime.aws.executions import Executions
from runtime.aws.retries import START_SECONDS, is_transient, patiently, within
from runtime.contract.ledger import LedgerStatus
from runtime.contract.models import Frozen
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.rows import Ledger, timestamp
from runtime.observability.entry_points import logger
from runtime.observability.redaction import describe, error_code
from runtime.operations.attempts import start_attempt

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LISTED: Final = 1000
"""Unaccounted objects that a report names; it counts all of them."""

STUDIES: Final = 64
"""Studies whose lists of results are kept while rows are compared."""
RESERVE_SECONDS: Final = 30.0
"""That must be left to compare another page."""
RAW: Final = "raw"
RESULTS: Final = "results"

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

    raw_versions: int = Field(default=0, description="compared, those that are not accepted included")
    ignored: int = Field(default=0, description="versions whose key the pipeline does not accept")
    recent: int = Field(default=0, description="versions without a row, too young to be missed")
    results: int = Field(default=0, description="that were delivered, and looked for")
    missing: int = 0
    stuck: int = 0
    lost: int = 0
    started: int = Field(default=0, description="of the missing and stuck ones")
    complete: bool = Field(default=True, description="whether all were compared, or some are left to the next run")
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
    """A comparison of a stage's raw bucket, ledger and processed bucket.

    Where there are more objects than one run has time for, it keeps its places in the ledger, and the next goes on
    there.

    Parameters
    ----------
    s3, ledger
        What is read.
    executions
        To start what is missing or stuck, as soon as it is found; None to look only, and to keep no place.
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
        self._patience_ended = self._began - stuck_after
        # A day less: S3 expires what is due at midnight, and the row is a little younger than its result.
        self._expired = (
            timestamp(self._began - (results_expire_after - timedelta(days=1))) if results_expire_after else ""
        )
        self._results_below = lru_cache(STUDIES)(self._list_results)
        self.report = Report()

    def run(self, seconds_left: Callable[[], float]) -> Report:
        """Look for what is stuck, then missing, then lost. Each has a third of the time, and what was left over."""
        third = seconds_left() / 3
        self._find_stuck(lambda: seconds_left() - 2 * third)
        self._find_missing(lambda: seconds_left() - third)
        self._find_lost(seconds_left)
        return self.report

    def _find_stuck(self, seconds_left: Callable[[], float]) -> None:
        """Look at what is in work for too long: few rows, however many have their verdict."""
        for status in _IN_WORK:
            for indexed in self._ledger.with_status(status, until=timestamp(self._patience_ended)):
                row = self._ledger.row(indexed.object_id)  # indexes lag, the table does not
                if row is None or row.status not in _IN_WORK or row.updated_at >= timestamp(self._patience_ended):
                    continue
                never_started = row.status is LedgerStatus.RECEIVED
                self._found(Problem.STUCK, row.current_attempt if never_started else row.next_attempt())
                if self._gave_up or seconds_left() < RESERVE_SECONDS:
                    self.report.complete = False
                    return

    def _find_missing(self, seconds_left: Callable[[], float]) -> None:
        """Look for versions that the ledger does not know, a page of the raw bucket's list after the other."""
        place = self._place(RAW)
        try:
            self._walk_versions(place, seconds_left)
        except ClientError as error:
            if place and error_code(error) == "InvalidArgument":  # S3 knows the place no more
                self._keep_place(RAW, "")
            raise

    def _walk_versions(self, place: str, seconds_left: Callable[[], float]) -> None:
        for page in storage.version_pages(self._s3, self._raw_bucket, json.loads(place or "{}")):
            to_its_end = self._compare_versions(page.versions, seconds_left)
            if to_its_end:
                place = json.dumps(page.following) if page.following else ""
            if not to_its_end or seconds_left() < RESERVE_SECONDS:
                self.report.complete &= to_its_end
                break
        self._keep_place(RAW, place)

    def _compare_versions(
        self, versions: Sequence[tuple[ObjectCoordinates, datetime]], seconds_left: Callable[[], float]
    ) -> bool:
        """Compare a page; tell whether there was time to start all that is missing, and no throttling that stays."""
        self.report.raw_versions += len(versions)
        accepted = {each.object_id: (each, uploaded) for each, uploaded in versions if self._accepts(each.key)}
        self.report.ignored += len(versions) - len(accepted)
        unknown = self._ledger.unknown(list(accepted))
        for object_id in (each for each in accepted if each in unknown):
            coordinates, uploaded_at = accepted[object_id]
            if uploaded_at > self._patience_ended:
                self.report.recent += 1
            elif self._ledger.row(object_id) is None:
                self._found(Problem.MISSING, ExecutionInput(object=coordinates))
                if self._gave_up or seconds_left() < 0:
                    return False
        return True

    def _find_lost(self, seconds_left: Callable[[], float]) -> None:
        """Look for delivered results that are gone, in the order of their delivery."""
        place = self._place(RESULTS)
        # What was delivered since this run began may be younger than a list of the bucket.
        for row in self._ledger.delivered(since=max(place, self._expired), until=timestamp(self._began)):
            self.report.results += 1
            patient_and_study = "/".join(row.output_key.split("/")[:2])
            if row.output_key not in self._results_below(patient_and_study):
                self.report.add(row.object_id, Problem.LOST)
            if seconds_left() < RESERVE_SECONDS and row.updated_at > place:  # where a run goes on, it begins once more
                self._keep_place(RESULTS, row.updated_at)
                return
        self._keep_place(RESULTS, "")

    def _list_results(self, folder: str) -> frozenset[str]:
        """List a study's results. They were delivered together, so that one list does for many rows."""
        return frozenset(storage.keys(self._s3, self._processed_bucket, f"{folder}/"))

    def _found(self, problem: Problem, execution: ExecutionInput) -> None:
        """Report an unaccounted object and start it. Where that fails, a later run finds it again."""
        self.report.add(execution.object.object_id, problem)
        if self._executions is None or self._gave_up:
            return
        try:
            self.report.started += patiently(
                partial(start_attempt, self._ledger, self._executions, execution), within(START_SECONDS)
            )
        except Exception as error:  # noqa: BLE001 - what was found has to be reported, whatever a start says
            logger.error("not started", extra={"failure": describe(error)})
            self._gave_up |= is_transient(error)  # what does not pass now may by the next run

    def _place(self, name: str) -> str:
        """Return where this run goes on; one that does not begin at the beginning does not look at everything."""
        place = self._ledger.place(name)
        self.report.complete &= not place
        return place

    def _keep_place(self, name: str, place: str) -> None:
        """Keep where the next run goes on, if it is to start what it finds: others leave the places alone."""
        self.report.complete &= not place
        if self._executions is not None:
            self._ledger.keep_place(name, place)
