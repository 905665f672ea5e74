"""Audit tables as the stack makes them, in moto, taught the one PartiQL statement that they take."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from moto.dynamodb.exceptions import ConditionalCheckFailed, DynamodbException
from moto.dynamodb.models import DynamoDBBackend

from runtime.aws import clients
from runtime.aws.audit import AuditLog
from runtime.contract.audit import AUDIT_INDEXES
from tests.unit import indexes


def insert(backend: DynamoDBBackend, statement: str, parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Do what DynamoDB does for an INSERT with parameters, of which moto knows none."""
    parsed = re.fullmatch(r'INSERT INTO "([\w.-]+)" VALUE \{(.+)\}', statement)
    assert parsed is not None
    item = dict(zip(re.findall(r"'(\w+)': \?", parsed[2]), parameters, strict=True))
    try:
        backend.put_item(parsed[1], item, condition_expression="attribute_not_exists(subject)")
    except ConditionalCheckFailed:
        kind = "com.amazonaws.dynamodb.v20120810#DuplicateItemException"
        raise DynamodbException(kind, "Duplicate primary key exists in table") from None
    return []


def audit_log(table: str, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    """Return the audit log on a new table."""
    monkeypatch.setattr(DynamoDBBackend, "execute_statement", insert)
    client = clients.client("dynamodb", attempts=2)
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=indexes.key_attributes("subject", "record_id", indexes=AUDIT_INDEXES),
        KeySchema=indexes.key_schema("subject", "record_id"),
        GlobalSecondaryIndexes=indexes.definitions(AUDIT_INDEXES),
    )
    return AuditLog(client, table)


@contextmanager
def away(table: str) -> Iterator[None]:
    """Let DynamoDB refuse records for a table."""

    def refuse(backend: DynamoDBBackend, statement: str, parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert table in statement
        raise DynamodbException("com.amazonaws.dynamodb.v20120810#AccessDeniedException", "no right to this table")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DynamoDBBackend, "execute_statement", refuse)
        yield
