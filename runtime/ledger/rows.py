"""The ledger: one row for each object version, and who delivers each SOP instance. Talks to DynamoDB.

Every write is conditional, so that one which is late or comes twice changes nothing. The state machine writes the
verdicts itself, by the expressions of `runtime.contract`.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config
from pydantic import ConfigDict, Field

from runtime.contract.events import RevisionCause
from runtime.contract.indexes import SHARDS, shard_key
from runtime.contract.ledger import (
    CHECKPOINT_ITEMS,
    IN_WORK,
    LEDGER_CONDITION,
    LEDGER_INDEXES,
    LEDGER_VERDICTS,
    PLACE_ITEMS,
    STUDY_ITEMS,
    LedgerAttribute,
    LedgerIndex,
    LedgerStatus,
    Outline,
    expression_names,
    ledger_update,
)
from runtime.contract.models import Frozen
from runtime.contract.objects import ExecutionInput, ObjectCoordinates, Release
from runtime.ledger.fingerprint import Fingerprint

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

PATIENT_ATTEMPTS: Final = 14
"""Attempts of a request that wait out a ledger that is away for about a minute."""
PARALLEL_REQUESTS: Final = 16
"""Requests that a client may make at once."""

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
_EXPIRES: Final = "SET #expires_at = :expires_at, "
_RUNNING: Final = ledger_update(LedgerAttribute.EXECUTION)
_IDENTIFIED: Final = "SET #study_id = :study_id"
_RELEASED: Final = "SET #releases = list_append(if_not_exists(#releases, :nothing), :release)"
_UNKNOWN: Final = "attribute_not_exists(#object_id)"
_KNOWN: Final = "attribute_exists(#object_id)"
_AS_SEEN: Final = "#attempt = :attempt AND #status = :status"
_CLAIMED: Final = "SET #holder = :holder, #fingerprint = :fingerprint"
_COUNTED: Final = " ADD #revision :one"
_OF_A_STUDY: Final = (LedgerAttribute.STUDY_ID, LedgerAttribute.UPDATED_AT)
_OUTLINE: Final = tuple(Outline.model_fields)
_BATCH: Final = 100
"""Items that one request may ask for ("BatchGetItem")."""
_PAGE: Final = 1000
"""Items of an index that one request asks for, since the pages of all shards are held at once."""
_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = TypeDeserializer()


def dynamodb_client(*, attempts: int = PATIENT_ATTEMPTS) -> DynamoDBClient:
    """Return a DynamoDB client that waits out throttling and transient errors.

    Parameters
    ----------
    attempts
        How often a request is made before its error is raised.
    """
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(retries=retries, connect_timeout=3, read_timeout=5, max_pool_connections=PARALLEL_REQUESTS)
    return boto3.client("dynamodb", config=config)


def hashed(uid: str) -> str:
    """Return 128 bits of SHA-256 over a UID, in hexadecimal."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


class RecordedRelease(Release):
    """A release and when it was decided."""

    at: str = Field(description="ISO 8601, UTC")


class Row(Outline):
    """What the ledger knows of one object version. Holds the key, so it belongs to the PHI zone."""

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
    error: str | None = None
    duplicate_of: str | None = Field(default=None, description="object id")

    @property
    def coordinates(self) -> ObjectCoordinates:
        """Where the object is."""
        return ObjectCoordinates(
            bucket=self.bucket, key=self.key, version_id=self.version_id, size=self.size, etag=self.etag
        )

    @property
    def release(self) -> Release | None:
        """The release that stands: a person's decision holds for every later attempt."""
        return Release(**self.releases[-1].model_dump(exclude={"at"})) if self.releases else None

    @property
    def current_attempt(self) -> ExecutionInput:
        """What starts the row's attempt, again if it was never started."""
        return ExecutionInput(
            object=self.coordinates, attempt=self.attempt, profile=self.requested_profile, release=self.release
        )

    def next_attempt(self, *, profile: str | None = None) -> ExecutionInput:
        """Return what starts the next attempt: with another profile, or with the one of the attempt before."""
        changes = {"attempt": self.attempt + 1, "profile": profile or self.requested_profile}
        return self.current_attempt.model_copy(update=changes)


class DeliveredResult(NamedTuple):
    """What of the row of a delivered object is compared with the processed bucket; of many rows, no more is read."""

    object_id: str
    updated_at: str
    output_key: str


class Claim(Frozen):
    """Which object version delivers a SOP instance.

    Once `output_key` is there the instance is delivered, and only the same bytes may write it again.
    """

    holder: str = Field(description="object id")
    fingerprint: Fingerprint
    revision: int = Field(description="grows with every change, so that a decision on an older one is refused")
    output_key: str | None = None


class StudyRevision(Frozen):
    """What of a study was announced last, or is about to be."""

    revision: int = Field(ge=1)
    digest: str = Field(description="of the study's rows")
    cause: RevisionCause
    objects: int = Field(ge=1, description="the study's rows")
    claimed_at: str = Field(description="ISO 8601, UTC; when its announcement began")
    published_at: str | None = Field(default=None, description="ISO 8601, UTC; None until consumers were told")


_REVISION: Final = tuple(StudyRevision.model_fields)
_REVISED: Final = f"SET {', '.join(f'#{name} = :{name}' for name in _REVISION)}"


class Ledger:
    """Reads and writes the ledger of a stage.

    Parameters
    ----------
    client
        See `dynamodb_client`.
    table
        The table's name.
    retention_days
        After the last attempt that was opened a row expires, and after its last change a claim; 0: never.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 0) -> None:
        self._client = client
        self._table = table
        self._retention_seconds = retention_days * 24 * 3600

    def row(self, object_id: str) -> Row | None:
        """Return a row as it is now; None where there is none."""
        item = self._item(object_id)
        return None if item is None else Row.model_validate(item)

    def receive(self, execution: ExecutionInput) -> Row:
        """Open an attempt, and the row with the first; return the row, which tells whether it is still to be started.

        The row of an attempt that was opened before is returned as it is.
        """
        return self.open(execution)[0]

    def open(self, execution: ExecutionInput) -> tuple[Row, bool]:
        """Do what `receive` does; tell as well whether it was this call that opened the attempt."""
        coordinates = execution.object
        facts = {"requested_profile": execution.profile, "work_shard": _any_shard(IN_WORK)}
        update, values = self._expiring(_RECEIVED, coordinates.model_dump() | facts)
        condition = f"{_UNKNOWN} OR {LEDGER_CONDITION}"
        opened = self._advance(execution, LedgerStatus.RECEIVED, update, values, condition=condition)
        row = self.row(coordinates.object_id)
        if row is None:
            raise LookupError("a row that was just written is gone")
        return row, opened

    def run(self, execution: ExecutionInput, execution_arn: str) -> None:
        """Record that an attempt's execution was started, unless it got further meanwhile."""
        self._advance(execution, LedgerStatus.RUNNING, _RUNNING, {"execution": execution_arn})

    def reject_unread(self, coordinates: ObjectCoordinates, reason_codes: str) -> bool:
        """Quarantine an object of which no row is there; tell whether that was so."""
        verdict = LedgerStatus.QUARANTINED
        facts = {"requested_profile": None, "reason_codes": reason_codes, "verdict_shard": _any_shard(verdict)}
        update, values = self._expiring(_REJECTED, coordinates.model_dump() | facts)
        return self._advance(ExecutionInput(object=coordinates), verdict, update, values, condition=_UNKNOWN)

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
        sharded = facts | {"verdict_shard": _any_shard(verdict)}
        return self._advance(execution, verdict, LEDGER_VERDICTS[verdict], sharded)

    def identify(self, object_id: str, study_id: str) -> None:
        """Record the study of an object. An object version is of one study for ever, so nothing can be late."""
        self._update(object_id, _IDENTIFIED, {":study_id": study_id}, condition=_KNOWN)

    def release(self, row: Row, release: Release) -> bool:
        """Record a person's release, which stands for every later attempt; False where the row is no longer as seen."""
        recorded = RecordedRelease(**release.model_dump(), at=now()).model_dump()
        values = {":nothing": [], ":release": [recorded], ":attempt": row.attempt, ":status": row.status.value}
        return self._update(row.object_id, _RELEASED, values, condition=_AS_SEEN)

    def with_status(self, status: LedgerStatus, *, since: str = "", until: str = "~") -> Iterator[Row]:
        """Yield the rows with a status, oldest first.

        Parameters
        ----------
        status
            Of the rows.
        since, until
            Bounds (ISO 8601, UTC) of the verdict's time; of an object in work, of the time its attempt was opened.
        """
        if status in LEDGER_VERDICTS:
            found = self._spread(LedgerIndex.BY_VERDICT, status, since, until)
        else:
            found = self._spread(LedgerIndex.IN_WORK, IN_WORK, since, until)
        while batch := [item["object_id"] for item in islice(found, _BATCH)]:
            items = self._items(batch)
            rows = (Row.model_validate(items[object_id]) for object_id in batch if object_id in items)
            yield from (row for row in rows if row.status is status)  # indexes lag, the table does not

    def judged_studies(self, *, since: str, until: str) -> set[str]:
        """Return the studies of the objects that got a verdict between two times (ISO 8601, UTC)."""
        return {
            item["study_id"]
            for verdict in LEDGER_VERDICTS
            for item in self._spread(LedgerIndex.BY_VERDICT, verdict, since, until, attributes=_OF_A_STUDY)
            if "study_id" in item
        }

    def delivered(self, *, since: str, until: str) -> Iterator[DeliveredResult]:
        """Yield the results that were delivered between two times (ISO 8601, UTC), oldest first."""
        found = self._spread(
            LedgerIndex.BY_VERDICT, LedgerStatus.DELIVERED, since, until, attributes=DeliveredResult._fields
        )
        return (DeliveredResult(**item) for item in found)

    def unknown(self, object_ids: Sequence[str]) -> set[str]:
        """Return which of these objects have no row, or one that was opened a moment ago."""
        unknown: set[str] = set()
        for first in range(0, len(object_ids), _BATCH):
            batch = object_ids[first : first + _BATCH]
            unknown |= set(batch) - self._items(batch, LedgerAttribute.OBJECT_ID).keys()
        return unknown

    def outlines_of_study(self, study_id: str) -> Iterator[Outline]:
        """Yield the outlines of a study's rows."""
        return map(Outline.model_validate, self._query(LedgerIndex.BY_STUDY, study_id, attributes=_OUTLINE))

    def claim(self, sop_instance_uid: str, object_id: str, fingerprint: Fingerprint) -> Claim:
        """Claim a SOP instance for an object version if it is free or this version's; return the claim that stands."""
        name = _claim_name(sop_instance_uid)
        update, values = self._expiring(_CLAIMED, _claimed(object_id, fingerprint))
        self._update(name, update + _COUNTED, _named(values), condition=f"{_UNKNOWN} OR #holder = :holder")
        item = self._item(name)
        if item is None:
            raise LookupError("a claim that was just written is gone")
        return Claim.model_validate({field: item.get(field) for field in Claim.model_fields})

    def change_claim(
        self,
        sop_instance_uid: str,
        seen: Claim,
        object_id: str,
        fingerprint: Fingerprint,
        *,
        delivered_as: str | None = None,
    ) -> bool:
        """Hand a claim to an object version, or confirm its delivery; False where it is no longer as it was seen.

        Parameters
        ----------
        sop_instance_uid
            Of the instance.
        seen
            The claim on which the caller decided.
        object_id
            Who holds it from now on.
        fingerprint
            Of that version.
        delivered_as
            The result's key, once it is written.
        """
        update, values = self._expiring(_CLAIMED, _claimed(object_id, fingerprint) | {"seen": seen.revision})
        if delivered_as is not None:
            update, values = f"{update}, #output_key = :output_key", values | {"output_key": delivered_as}
        name = _claim_name(sop_instance_uid)
        return self._update(name, update + _COUNTED, _named(values), condition="#revision = :seen")

    def study(self, study_id: str) -> StudyRevision | None:
        """Return a study's last revision; None where it has none yet."""
        item = self._item(STUDY_ITEMS + study_id)
        return None if item is None else StudyRevision.model_validate({name: item[name] for name in _REVISION})

    def revise_study(self, study_id: str, seen: StudyRevision | None, revision: StudyRevision) -> bool:
        """Replace a study's revision, or give it its first; False where it is no longer as it was seen."""
        values = _named(revision.model_dump())
        condition = _UNKNOWN
        if seen is not None:
            condition = "#revision = :seen AND #claimed_at = :seen_at"
            values |= {":seen": seen.revision, ":seen_at": seen.claimed_at}
        return self._update(STUDY_ITEMS + study_id, _REVISED, values, condition=condition)

    def checkpoint(self, name: str) -> str:
        """Return how far a scheduled check got: a time (ISO 8601, UTC); empty before its first run."""
        item = self._item(CHECKPOINT_ITEMS + name)
        return "" if item is None else str(item["reached"])

    def move_checkpoint(self, name: str, reached: str) -> None:
        """Record how far a scheduled check got. It never goes back."""
        condition = f"{_UNKNOWN} OR #reached < :reached"
        self._update(CHECKPOINT_ITEMS + name, "SET #reached = :reached", {":reached": reached}, condition=condition)

    def place(self, name: str) -> str:
        """Return where a check of everything goes on; empty where it begins."""
        item = self._item(PLACE_ITEMS + name)
        return "" if item is None else str(item["reached"])

    def keep_place(self, name: str, reached: str) -> None:
        """Record where a check of everything goes on."""
        self._update(PLACE_ITEMS + name, "SET #reached = :reached", {":reached": reached})

    def forget(self, object_ids: Iterable[str], *, sop_instance_uids: Iterable[str], study_ids: Iterable[str]) -> None:
        """Delete rows, and what is kept of instances and studies: of what was removed on purpose, raw object and all.

        No function has the right to.
        """
        for name in (*object_ids, *map(_claim_name, sop_instance_uids), *(STUDY_ITEMS + each for each in study_ids)):
            self._client.delete_item(TableName=self._table, Key=_encoded({LedgerAttribute.OBJECT_ID: name}))

    def _advance(
        self,
        execution: ExecutionInput,
        status: LedgerStatus,
        update: str,
        facts: Mapping[str, Any],
        *,
        condition: str = LEDGER_CONDITION,
    ) -> bool:
        progress = {"status": status.value, "rank": status.rank, "attempt": execution.attempt, "updated_at": now()}
        return self._update(execution.object.object_id, update, _named(progress | dict(facts)), condition=condition)

    def _expiring(self, update: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return an update and its values that let the item expire, where items of the ledger do."""
        if not self._retention_seconds:
            return update, values
        expires_at = int(time.time()) + self._retention_seconds
        return update.replace("SET ", _EXPIRES, 1), values | {LedgerAttribute.EXPIRES_AT: expires_at}

    def _update(self, name: str, update: str, values: Mapping[str, Any], *, condition: str = "") -> bool:
        """Change an item, under a condition where there is one; tell whether it held."""
        conditions: Any = {"ConditionExpression": condition} if condition else {}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_encoded({LedgerAttribute.OBJECT_ID: name}),
                UpdateExpression=update,
                ExpressionAttributeNames=expression_names(update, condition),
                ExpressionAttributeValues=_encoded(values),
                **conditions,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _items(self, object_ids: Sequence[str], *attributes: LedgerAttribute) -> dict[str, dict[str, Any]]:
        """Return those of up to a hundred rows that are there, whole or no more than these attributes, by object id."""
        keys = [_encoded({LedgerAttribute.OBJECT_ID: object_id}) for object_id in object_ids]
        asked: Any = {self._table: {"Keys": keys} | _projection(attributes)}
        items: dict[str, dict[str, Any]] = {}
        while True:
            answer = self._client.batch_get_item(RequestItems=asked)
            found = map(_decoded, answer["Responses"].get(self._table, []))
            items |= {item[LedgerAttribute.OBJECT_ID]: item for item in found}
            if not answer["UnprocessedKeys"]:
                return items
            asked = answer["UnprocessedKeys"]
            time.sleep(random.uniform(0, 1))  # noqa: S311 - spreads load, guards no secret

    def _item(self, name: str) -> dict[str, Any] | None:
        key = _encoded({LedgerAttribute.OBJECT_ID: name})
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return _decoded(answer["Item"]) if "Item" in answer else None

    def _spread(
        self, index: LedgerIndex, kind: str, since: str, until: str, *, attributes: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield what the shards of a kind hold between two times, oldest first; each has its items in that order."""
        shards = (
            self._query(index, shard_key(kind, shard), (since or " ", until), attributes=attributes)
            for shard in range(SHARDS)
        )
        return heapq.merge(*shards, key=itemgetter(LEDGER_INDEXES[index].sort))

    def _query(
        self, index: LedgerIndex, value: str, between: tuple[str, str] | None = None, *, attributes: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of an index, as it has them or, as some roles must ask, no more than these attributes."""
        partition, sort, _ = LEDGER_INDEXES[index]
        condition, values = f"#{partition} = :value", {":value": value}
        if between:
            condition += f" AND #{sort} BETWEEN :first AND :last"
            values |= dict(zip((":first", ":last"), between, strict=True))
        projection = _projection(attributes)
        names = expression_names(condition, projection.get("ProjectionExpression", ""))
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_encoded(values),
            PaginationConfig={"PageSize": _PAGE},
            **(projection | {"ExpressionAttributeNames": names}),
        )
        for page in pages:
            yield from map(_decoded, page["Items"])


def _projection(attributes: Sequence[str]) -> dict[str, Any]:
    """Return the part of a request that asks for these attributes alone; without attributes, nothing."""
    if not attributes:
        return {}
    expression = ", ".join(f"#{name}" for name in attributes)
    return {"ProjectionExpression": expression, "ExpressionAttributeNames": expression_names(expression)}


def _any_shard(kind: str) -> str:
    return shard_key(kind, random.randrange(SHARDS))  # noqa: S311 - spreads load, guards no secret


def _claim_name(sop_instance_uid: str) -> str:
    return f"instance#{hashed(sop_instance_uid)}"


def _claimed(object_id: str, fingerprint: Fingerprint) -> dict[str, Any]:
    return {"holder": object_id, "fingerprint": fingerprint.model_dump(), "one": 1}


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f":{name}": value for name, value in values.items()}


def timestamp(moment: datetime) -> str:
    """Return an aware time in UTC as Step Functions writes it, so that the ledger's times sort as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """Return the present time as the ledger and the audit log have it."""
    return timestamp(datetime.now(UTC))


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _SERIALIZER.serialize(value) for name, value in values.items()}


def _decoded(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _DESERIALIZER.deserialize(value) for name, value in item.items()}
