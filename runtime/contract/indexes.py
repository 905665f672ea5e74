"""Indexes of the tables, whose items are spread over shards."""

from __future__ import annotations

from typing import Final, NamedTuple

SHARDS: Final = 16
"""Partition keys over which an index spreads items of one kind. DynamoDB writes 1,000 items a second under one key."""


def shard_key(kind: str, shard: int | str) -> str:
    """Return the partition key of a shard of a kind."""
    return f"{kind}#{shard}"


class Index(NamedTuple):
    """Global secondary index of a table. An item without one of the keys is not in it."""

    partition: str
    sort: str
    projected: tuple[str, ...] | None
    """attributes besides the keys of index and table; None: all"""
