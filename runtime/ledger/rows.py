"""Rows of the ledger: one for each object version.

Every write is conditional, so that one which is late or comes twice changes nothing. The state machine writes the
verdicts itself, by the expressions of `runtime.contract.ledger`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ConfigDict, Field

from runtime.aws.clock import now
from runtime.contract.ledger import (
    IN_WORK,
    LEDGER_CONDITION,
    LEDGER_VERDICTS,
    LedgerAttribute,
    LedgerIndex,
    LedgerStatus,
    RowProjection,
    ledger_update,
)
from runtime.contract.objects import Decision, ExecutionInput, ObjectCoordinates, Release
from runtime.ledger.table import BATCH, KNOWN, UNKNOWN, LedgerTable, any_shard, placeholders

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_OBJECT: Final = (
    LedgerAttribute.BUCKET,
    LedgerAttribute.KEY,
    LedgerAttribute.VERSION_ID,
    LedgerAttribute.SIZE,
    LedgerAttribute.ETAG,
    LedgerAttribute.REQUESTED_PROFILE,
)
_SINCE: Final = "SET #received_at = if_not_exists(#received_at, :updated_at), "
_OPENED: Final = f"{_SINCE}#opened_at = :updated_at, "
_RECEIVED: Final = (
    ledger_update(*_OBJECT, LedgerAttribute.WORK_SHARD).replace("SET ", _OPENED, 1) + f", #{LedgerAttribute.EXECUTION}"
)
_REJECTED: Final = ledger_update(*_OBJECT, LedgerAttribute.VERDICT_SHARD, LedgerAttribute.REASON_CODES).replace(
    "SET ", _SINCE, 1
)
_IGNORED: Final = ledger_update(*_OBJECT, LedgerAttribute.VERDICT_SHARD).replace("SET ", _SINCE, 1)
_RUNNING: Final = ledger_update(LedgerAttribute.EXECUTION)
_IDENTIFIED: Final = "SET #study_id = :study_id"
_RELEASED: Final = "SET #releases = list_append(if_not_exists(#releases, :nothing), :release)"
_DISMISSED: Final = "SET #dismissal = :dismissal"
_AS_SEEN: Final = "#attempt = :attempt AND #status = :status"
_OF_A_STUDY: Final = (LedgerAttribute.STUDY_ID, LedgerAttribute.UPDATED_AT)
_PROJECTED: Final = tuple(RowProjection.model_fields)


class RecordedRelease(Release):
    """A release and when it was decided."""

    at: str = Field(description="ISO 8601, UTC")


class RecordedDismissal(Decision):
    """A dismissal of an attempt's quarantine and when it was decided."""

    at: str = Field(description="ISO 8601, UTC")
    attempt: int


class Row(RowProjection):
    """Whole ledger row of an object version. It holds the key, so it stays in the PHI zone."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    bucket: str
    key: str
    version_id: str
    size: int
    etag: str
    received_at: str
    execution: str | None = Field(default=None, description="ARN")
    requested_profile: str | None = Field(
        default=None, description="that the attempt was to use instead of the stage's"
    )
    releases: tuple[RecordedRelease, ...] = ()
    dismissal: RecordedDismissal | None = Field(default=None, description="the last one; of an attempt")
    error: str | None = None
    duplicate_of: str | None = Field(default=None, description="object id")

    @property
    def is_dismissed(self) -> bool:
        """Whether a person decided that its quarantine needs nothing more."""
        decided = self.dismissal is not None and self.dismissal.attempt == self.attempt
        return decided and self.status is LedgerStatus.QUARANTINED

    @property
    def coordinates(self) -> ObjectCoordinates:
        """Where the object is."""
        return ObjectCoordinates(
            bucket=self.bucket, key=self.key, version_id=self.version_id, size=self.size, etag=self.etag
        )

    @property
    def release(self) -> Release | None:
        """The last release, which holds for every later attempt."""
        return Release(**self.releases[-1].model_dump(exclude={"at"})) if self.releases else None

    @property
    def reasons(self) -> list[str]:
        """The reason codes of the verdict, or the name of the error with which the attempt failed."""
        return (self.reason_codes or self.error or "").split()

    @property
    def current_attempt(self) -> ExecutionInput:
        """The input that starts the row's attempt."""
        return ExecutionInput(
            object=self.coordinates, attempt=self.attempt, profile=self.requested_profile, release=self.release
        )

    def next_attempt(self, *, profile: str | None = None) -> ExecutionInput:
        """Return the input that starts the next attempt: with `profile`, or by default that of the attempt before."""
        changes = {"attempt": self.attempt + 1, "profile": profile or self.requested_profile}
        return self.current_attempt.model_copy(update=changes)


class DeliveredResult(NamedTuple):
    """Attributes of a delivered object's row that are compared with the processed bucket."""

    object_id: str
    updated_at: str
    output_key: str


class Ledger:
    """Rows of a stage's ledger.

    Parameters
    ----------
    client
        Of DynamoDB, in the table's region.
    table
        The table's name.
    retention_days
        Days after which a row expires, from the last attempt that was opened; 0: never.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 0) -> None:
        self.table = LedgerTable(client, table, retention_days=retention_days)

    def row(self, object_id: str) -> Row | None:
        """Return a row as it is now; None where there is none."""
        item = self.table.get(object_id)
        return None if item is None else Row.model_validate(item)

    def receive(self, execution: ExecutionInput) -> Row:
        """Open an attempt unless it is open, and the row with the first; return the row as it then is."""
        return self.open(execution)[0]

    def open(self, execution: ExecutionInput) -> tuple[Row, bool]:
        """Open an attempt as `receive` does; tell as well whether this call opened it."""
        coordinates = execution.object
        facts = {"requested_profile": execution.profile, "work_shard": any_shard(IN_WORK)}
        values = coordinates.model_dump() | facts
        condition = f"{UNKNOWN} OR {LEDGER_CONDITION}"
        opened = self._advance(execution, LedgerStatus.RECEIVED, _RECEIVED, values, condition=condition, expires=True)
        row = self.row(coordinates.object_id)
        if row is None:
            raise LookupError("a row that was just written is gone")
        return row, opened

    def run(self, execution: ExecutionInput, execution_arn: str) -> None:
        """Record that an attempt's execution was started, unless the row is further on."""
        self._advance(execution, LedgerStatus.RUNNING, _RUNNING, {"execution": execution_arn})

    def reject_unread(self, coordinates: ObjectCoordinates, reason_codes: str) -> bool:
        """Quarantine an object that nothing read; tell whether it had no row."""
        verdict = LedgerStatus.QUARANTINED
        facts = {"requested_profile": None, "reason_codes": reason_codes, "verdict_shard": any_shard(verdict)}
        execution, values = ExecutionInput(object=coordinates), coordinates.model_dump() | facts
        return self._advance(execution, verdict, _REJECTED, values, condition=UNKNOWN, expires=True)

    def ignore(self, coordinates: ObjectCoordinates) -> bool:
        """Record that an object is none of the pipeline's, unless it has a row; tell whether that was news."""
        end = LedgerStatus.IGNORED
        progress = {"status": end.value, "rank": end.rank, "attempt": 0, "updated_at": now()}
        facts = coordinates.model_dump() | {"requested_profile": None, "verdict_shard": any_shard(end)}
        values = placeholders(progress | facts)
        return self.table.update(coordinates.object_id, _IGNORED, values, condition=UNKNOWN, expires=True)

    def record(self, execution: ExecutionInput, verdict: LedgerStatus, **facts: str) -> bool:
        """Record a verdict as the state machine does; tell whether it was news.

        Parameters
        ----------
        execution
            The attempt that reached it.
        verdict
            A status with an expression in `LEDGER_VERDICTS`.
        facts
            The attributes that the expression sets.
        """
        sharded = facts | {"verdict_shard": any_shard(verdict)}
        return self._advance(execution, verdict, LEDGER_VERDICTS[verdict], sharded)

    def identify(self, object_id: str, study_id: str) -> None:
        """Record the study of an object, which never changes."""
        self.table.update(object_id, _IDENTIFIED, {":study_id": study_id}, condition=KNOWN)

    def release(self, row: Row, release: Release) -> bool:
        """Record a person's release for every later attempt; tell whether the row was still as it was seen."""
        recorded = RecordedRelease(**release.model_dump(), at=now()).model_dump()
        values = {":nothing": [], ":release": [recorded], ":attempt": row.attempt, ":status": row.status.value}
        return self.table.update(row.object_id, _RELEASED, values, condition=_AS_SEEN)

    def with_status(self, status: LedgerStatus, *, since: str = "", until: str = "~") -> Iterator[Row]:
        """Yield the rows with a status, oldest first.

        Parameters
        ----------
        status
            Of the rows.
        since, until
            Bounds (ISO 8601, UTC) of the time of the verdict, or of the attempt's opening where there is none.
        """
        if status in (LedgerStatus.RECEIVED, LedgerStatus.RUNNING):
            found = self.table.query_shards(LedgerIndex.IN_WORK, IN_WORK, since, until)
        else:
            found = self.table.query_shards(LedgerIndex.BY_VERDICT, status, since, until)
        while batch := [item["object_id"] for item in islice(found, BATCH)]:
            items = self.table.get_batch(batch)
            rows = (Row.model_validate(items[object_id]) for object_id in batch if object_id in items)
            yield from (row for row in rows if row.status is status)  # indexes lag, the table does not

    def judged_studies(self, *, since: str, until: str) -> set[str]:
        """Return the studies of the objects that got a verdict between two times (ISO 8601, UTC)."""
        return {
            item["study_id"]
            for verdict in LEDGER_VERDICTS
            for item in self.table.query_shards(LedgerIndex.BY_VERDICT, verdict, since, until, attributes=_OF_A_STUDY)
            if "study_id" in item
        }

    def delivered(self, *, since: str, until: str) -> Iterator[DeliveredResult]:
        """Yield the results that were delivered between two times (ISO 8601, UTC), oldest first."""
        found = self.table.query_shards(
            LedgerIndex.BY_VERDICT, LedgerStatus.DELIVERED, since, until, attributes=DeliveredResult._fields
        )
        return (DeliveredResult(**item) for item in found)

    def unknown(self, object_ids: Sequence[str]) -> set[str]:
        """Return which of these objects have no row, as far as an eventually consistent read knows."""
        unknown: set[str] = set()
        for first in range(0, len(object_ids), BATCH):
            batch = object_ids[first : first + BATCH]
            unknown |= set(batch) - self.table.get_batch(batch, LedgerAttribute.OBJECT_ID).keys()
        return unknown

    def rows_of_study(self, study_id: str) -> Iterator[RowProjection]:
        """Yield a study's rows without coordinates."""
        found = self.table.query(LedgerIndex.BY_STUDY, study_id, attributes=_PROJECTED)
        return map(RowProjection.model_validate, found)

    def rows(self, object_ids: Sequence[str]) -> dict[str, Row]:
        """Return the existing ones of these rows by object id, as far as an eventually consistent read knows."""
        batches = (object_ids[first : first + BATCH] for first in range(0, len(object_ids), BATCH))
        found = (item for batch in batches for item in self.table.get_batch(batch).items())
        return {object_id: Row.model_validate(item) for object_id, item in found}

    def dismiss(self, row: Row, decision: Decision) -> bool:
        """Record that a row's quarantine needs nothing more; tell whether the row was still as it was seen."""
        recorded = RecordedDismissal(**decision.model_dump(), at=now(), attempt=row.attempt).model_dump()
        values = {":dismissal": recorded, ":attempt": row.attempt, ":status": row.status.value}
        return self.table.update(row.object_id, _DISMISSED, values, condition=_AS_SEEN)

    def count(self, status: LedgerStatus, *, since: str = "") -> int:
        """Count the rows with a status that is no work, since a time (ISO 8601, UTC)."""
        return self.table.count_shards(LedgerIndex.BY_VERDICT, status, since)

    def count_in_work(self) -> int:
        """Count the rows without a verdict."""
        return self.table.count_shards(LedgerIndex.IN_WORK, IN_WORK)

    def oldest_in_work(self) -> str | None:
        """Return when the oldest attempt without a verdict was opened (ISO 8601, UTC); None where there is none."""
        opened_at = LedgerAttribute.OPENED_AT
        opened = self.table.query_shards(LedgerIndex.IN_WORK, IN_WORK, "", "~", attributes=(opened_at,))
        return next((str(item[opened_at]) for item in opened), None)

    def _advance(
        self,
        execution: ExecutionInput,
        status: LedgerStatus,
        update: str,
        facts: Mapping[str, Any],
        *,
        condition: str = LEDGER_CONDITION,
        expires: bool = False,
    ) -> bool:
        progress = {"status": status.value, "rank": status.rank, "attempt": execution.attempt, "updated_at": now()}
        values = placeholders(progress | dict(facts))
        return self.table.update(execution.object.object_id, update, values, condition=condition, expires=expires)
