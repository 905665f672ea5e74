"""The ledger's table: items under a name, each changed on a condition. Talks to DynamoDB.

Rows, claims, studies and cursors are items of this one table.
"""

from __future__ import annotations

import hashlib
import heapq
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from runtime.contract.indexes import SHARDS, shard_key
from runtime.contract.ledger import LEDGER_INDEXES, LedgerAttribute, LedgerIndex, expression_names

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

LEDGER_ATTEMPTS: Final = 14
"""Attempts at a request by functions without a retry of their own: they outlast an outage of about a minute."""
BATCH: Final = 100
"""Items that one request may ask for ("BatchGetItem")."""
UNKNOWN: Final = "attribute_not_exists(#object_id)"
"""Condition that there is no such item."""
KNOWN: Final = "attribute_exists(#object_id)"
"""Condition that there is such an item."""

_EXPIRES: Final = "SET #expires_at = :expires_at, "
_PAGE: Final = 1000
"""Items of an index that one request asks for, since the pages of all shards are held at once."""
_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = TypeDeserializer()


class LedgerTable:
    """Conditional updates, reads and queries of the ledger's table.

    Parameters
    ----------
    client
        Of DynamoDB.
    name
        Of the table.
    retention_days
        Days after which an expiring item is removed; 0: never.
    """

    def __init__(self, client: DynamoDBClient, name: str, *, retention_days: int = 0) -> None:
        self.client = client
        self._name = name
        self._retention_seconds = retention_days * 24 * 3600

    def get(self, name: str) -> dict[str, Any] | None:
        """Return an item as it is now; None where there is none."""
        key = _encoded({LedgerAttribute.OBJECT_ID: name})
        answer = self.client.get_item(TableName=self._name, Key=key, ConsistentRead=True)
        return _decoded(answer["Item"]) if "Item" in answer else None

    def get_batch(self, names: Sequence[str], *attributes: str) -> dict[str, dict[str, Any]]:
        """Return the existing ones of up to `BATCH` items, by name.

        Parameters
        ----------
        names
            Of the items.
        attributes
            To read; none: all.
        """
        keys = [_encoded({LedgerAttribute.OBJECT_ID: name}) for name in names]
        asked: Any = {self._name: {"Keys": keys} | _projection(attributes)}
        items: dict[str, dict[str, Any]] = {}
        while True:
            answer = self.client.batch_get_item(RequestItems=asked)
            found = map(_decoded, answer["Responses"].get(self._name, []))
            items |= {item[LedgerAttribute.OBJECT_ID]: item for item in found}
            if not answer["UnprocessedKeys"]:
                return items
            asked = answer["UnprocessedKeys"]
            time.sleep(random.uniform(0, 1))  # noqa: S311 - spreads load, guards no secret

    def update(
        self, name: str, update: str, values: Mapping[str, Any], *, condition: str = "", expires: bool = False
    ) -> bool:
        """Change an item, or create it; tell whether the condition held.

        Parameters
        ----------
        name
            Of the item.
        update
            Expression in which every attribute is a placeholder of its name.
        values
            By placeholder, as ``:status``.
        condition
            Under which the item is changed; empty: none.
        expires
            Whether the item's retention begins anew.
        """
        if expires and self._retention_seconds:
            update = update.replace("SET ", _EXPIRES, 1)
            values = {**values, ":expires_at": int(time.time()) + self._retention_seconds}
        conditions: Any = {"ConditionExpression": condition} if condition else {}
        try:
            self.client.update_item(
                TableName=self._name,
                Key=_encoded({LedgerAttribute.OBJECT_ID: name}),
                UpdateExpression=update,
                ExpressionAttributeNames=expression_names(update, condition),
                ExpressionAttributeValues=_encoded(values),
                **conditions,
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete an item of what was removed on purpose, raw object and all. No function has the right to."""
        self.client.delete_item(TableName=self._name, Key=_encoded({LedgerAttribute.OBJECT_ID: name}))

    def query(
        self, index: LedgerIndex, value: str, between: tuple[str, str] | None = None, *, attributes: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield items of an index.

        Parameters
        ----------
        index
            Of the table.
        value
            Of the partition key.
        between
            First and last value of the sort key.
        attributes
            To read, as some roles must say; none: all that the index projects.
        """
        partition, sort, _ = LEDGER_INDEXES[index]
        condition, values = f"#{partition} = :value", {":value": value}
        if between:
            condition += f" AND #{sort} BETWEEN :first AND :last"
            values |= dict(zip((":first", ":last"), between, strict=True))
        projection = _projection(attributes)
        names = expression_names(condition, projection.get("ProjectionExpression", ""))
        pages = self.client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=_encoded(values),
            PaginationConfig={"PageSize": _PAGE},
            **(projection | {"ExpressionAttributeNames": names}),
        )
        for page in pages:
            yield from map(_decoded, page["Items"])

    def query_shards(
        self, index: LedgerIndex, kind: str, since: str, until: str, *, attributes: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of all shards of a kind between two times, oldest first."""
        shards = (
            self.query(index, shard_key(kind, shard), (since or " ", until), attributes=attributes)
            for shard in range(SHARDS)
        )
        return heapq.merge(*shards, key=itemgetter(LEDGER_INDEXES[index].sort))

    def count_shards(self, index: LedgerIndex, kind: str, since: str = "") -> int:
        """Count the items of all shards of a kind since a time. That part of the index is read, but not returned."""
        partition, sort, _ = LEDGER_INDEXES[index]
        condition = f"#{partition} = :value AND #{sort} >= :since"

        def count(shard: int) -> int:
            pages = self.client.get_paginator("query").paginate(
                TableName=self._name,
                IndexName=index,
                Select="COUNT",
                KeyConditionExpression=condition,
                ExpressionAttributeNames=expression_names(condition),
                ExpressionAttributeValues=_encoded({":value": shard_key(kind, shard), ":since": since or " "}),
            )
            return sum(page["Count"] for page in pages)

        with ThreadPoolExecutor(SHARDS) as pool:
            return sum(pool.map(count, range(SHARDS)))


def hashed(uid: str) -> str:
    """Return 128 bits of SHA-256 over a UID, in hexadecimal."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


def any_shard(kind: str) -> str:
    """Return the key of a random shard of a kind."""
    return shard_key(kind, random.randrange(SHARDS))  # noqa: S311 - spreads load, guards no secret


def placeholders(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by placeholder, as ``:status``, from values by attribute."""
    return {f":{name}": value for name, value in values.items()}


def _projection(attributes: Sequence[str]) -> dict[str, Any]:
    """Return the part of a request that limits it to these attributes; of no attributes, an empty one."""
    if not attributes:
        return {}
    expression = ", ".join(f"#{name}" for name in attributes)
    return {"ProjectionExpression": expression, "ExpressionAttributeNames": expression_names(expression)}


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): _SERIALIZER.serialize(value) for name, value in values.items()}


def _decoded(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _DESERIALIZER.deserialize(value) for name, value in item.items()}
