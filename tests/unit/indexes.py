"""Global secondary indexes as the stack makes them, for tables in moto."""

from collections.abc import Mapping
from typing import Any

from runtime.contract.audit import AuditIndex
from runtime.contract.indexes import Index
from runtime.contract.ledger import LedgerIndex

Indexes = Mapping[LedgerIndex, Index] | Mapping[AuditIndex, Index]


def definitions(indexes: Indexes) -> Any:
    return [
        {
            "IndexName": str(name),
            "KeySchema": key_schema(index.partition, index.sort),
            "Projection": _projection(index.projected),
        }
        for name, index in indexes.items()
    ]


def key_attributes(*keys: str, indexes: Indexes) -> Any:
    names = {*keys, *(str(name) for index in indexes.values() for name in (index.partition, index.sort))}
    return [{"AttributeName": name, "AttributeType": "S"} for name in sorted(names)]


def key_schema(*names: str) -> Any:
    kinds = ("HASH", "RANGE")
    return [{"AttributeName": str(name), "KeyType": kind} for name, kind in zip(names, kinds, strict=False)]


def _projection(projected: tuple[str, ...] | None) -> dict[str, Any]:
    if projected is None:
        return {"ProjectionType": "ALL"}
    if not projected:
        return {"ProjectionType": "KEYS_ONLY"}
    return {"ProjectionType": "INCLUDE", "NonKeyAttributes": [str(name) for name in projected]}
