"""Audit log of a zone: who de-identified, released or handed out what, and when. Talks to DynamoDB and STS.

A stage has one log for each zone, of the same shape. The state machine writes verdicts itself, by the statement of
`runtime.contract.audit`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from runtime.contract.audit import EVENT_SHARD, AuditEvent, AuditIndex, AuditRecord, audit_insert
from runtime.contract.indexes import SHARDS, shard_key
from runtime.contract.ledger import expression_names

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_sts.client import STSClient


def principal(client: STSClient) -> str:
    """Return the ARN of the caller."""
    return client.get_caller_identity()["Arn"]


def study_of(output_key: str) -> str:
    """Return the ``<patient>/<study>`` with which an output key begins."""
    return "/".join(output_key.split("/")[:2])


class AuditLog:
    """Audit log of one zone.

    Parameters
    ----------
    client
        Of DynamoDB, in the table's region.
    table
        The table's name.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def record(self, record: AuditRecord) -> None:
        """Add a record, unless one with its subject and id exists."""
        shard = shard_key(record.event, random.randrange(SHARDS))  # noqa: S311 - spreads load, guards no secret
        attributes = record.model_dump(mode="json", exclude_none=True) | {EVENT_SHARD: shard}
        try:
            self._client.execute_statement(
                Statement=audit_insert(self._table, attributes),
                Parameters=[TypeSerializer().serialize(value) for value in attributes.values()],
            )
        except self._client.exceptions.DuplicateItemException:
            return

    def of_subject(self, subject: str) -> Iterator[AuditRecord]:
        """Yield the records of an object id (PHI zone) or an output key (research zone)."""
        return self._query(None, "#subject = :subject", {":subject": subject})

    def of_output(self, beginning: str) -> Iterator[AuditRecord]:
        """Yield the records of the output keys that begin so, at least with patient and study."""
        condition = "#output_study = :study AND begins_with(#output_key, :beginning)"
        values = {":study": study_of(beginning), ":beginning": beginning}
        return self._query(AuditIndex.BY_STUDY, condition, values)

    def of_event(self, event: AuditEvent, *, since: str = "", until: str = "~") -> Iterator[AuditRecord]:
        """Yield the records of an event between two times (ISO 8601, UTC, or their beginnings), oldest first."""
        condition = f"#{EVENT_SHARD} = :shard AND #at BETWEEN :since AND :until"
        values = {":since": since or " ", ":until": until}
        shards = (
            self._query(AuditIndex.BY_EVENT, condition, values | {":shard": shard_key(event, shard)})
            for shard in range(SHARDS)
        )
        return heapq.merge(*shards, key=attrgetter("at"))

    def _query(self, index: AuditIndex | None, condition: str, values: dict[str, str]) -> Iterator[AuditRecord]:
        where: dict[str, Any] = {"ConsistentRead": True} if index is None else {"IndexName": index.value}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=expression_names(condition),
            ExpressionAttributeValues={name: {"S": value} for name, value in values.items()},
            **where,
        )
        for page in pages:
            for item in page["Items"]:
                decoded = {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
                yield AuditRecord.model_validate({name: value for name, value in decoded.items() if value != ""})
