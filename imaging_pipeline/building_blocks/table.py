"""Global secondary indexes of the tables, as the runtime asks them."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_dynamodb as dynamodb

from runtime.contract.audit import AuditIndex
from runtime.contract.indexes import Index
from runtime.contract.ledger import LedgerIndex


def text(name: str) -> dynamodb.Attribute:
    """Return an attribute that is a key and a string."""
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


def add_indexes(table: dynamodb.Table, indexes: Mapping[LedgerIndex, Index] | Mapping[AuditIndex, Index]) -> None:
    """Add indexes to a table, each with what it projects and nothing else."""
    for name, index in indexes.items():
        table.add_global_secondary_index(
            index_name=name,
            partition_key=text(index.partition),
            sort_key=text(index.sort),
            projection_type=_projection(index),
            non_key_attributes=list(index.projected) if index.projected else None,
        )


def _projection(index: Index) -> dynamodb.ProjectionType:
    if index.projected is None:
        return dynamodb.ProjectionType.ALL
    return dynamodb.ProjectionType.INCLUDE if index.projected else dynamodb.ProjectionType.KEYS_ONLY
