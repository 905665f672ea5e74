"""What the life of an object costs the ledger: writes of the table and of each index, and how far they are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.claims import Claims
from runtime.ledger.fingerprint import Fingerprint
from runtime.ledger.rows import Ledger
from runtime.ledger.table import hashed
from tests.unit.conftest import LEDGER_TABLE

OBJECTS_A_SECOND = 1000
WRITES_A_KEY_TAKES = 1000
"""A second, of up to 1 KB each: AWS, "Best practices for designing and using partition keys effectively"."""

Item = Mapping[str, Any]


@dataclass
class Meter:
    """Counts the writes of a table and its indexes as DynamoDB bills them, in items of up to 1 KB."""

    client: Any
    writes: Counter[str] = field(default_factory=Counter)
    by_key: Counter[tuple[str, str]] = field(default_factory=Counter)
    largest: int = 0

    def __post_init__(self) -> None:
        self._update = self.client.update_item
        self._indexes = self.client.describe_table(TableName=LEDGER_TABLE)["Table"]["GlobalSecondaryIndexes"]

    def update_item(self, **request: Any) -> Any:
        before = self._item(request["Key"])
        answer = self._update(**request)
        after = self._item(request["Key"])
        self.writes["table"] += 1
        self.largest = max(self.largest, size(before), size(after))
        for index in self._indexes:
            self._meter(index, before, after)
        return answer

    def _meter(self, index: Item, before: Item, after: Item) -> None:
        """A change of the key is two writes, of what is projected one; what is in no index, or as it was, none."""
        keys = [key["AttributeName"] for key in index["KeySchema"]]
        images = [projected(index, item) if all(key in item for key in keys) else None for item in (before, after)]
        key_of = [image and tuple(image[key]["S"] for key in keys) for image in images]
        if images[0] == images[1]:
            return
        changed = {key[0] for key in key_of if key} if key_of[0] == key_of[1] else [key[0] for key in key_of if key]
        self.writes[index["IndexName"]] += len(changed)
        self.by_key.update((index["IndexName"], key) for key in changed)

    def _item(self, key: Any) -> Item:
        item: Item = self.client.get_item(TableName=LEDGER_TABLE, Key=key, ConsistentRead=True).get("Item", {})
        return item


def projected(index: Item, item: Item) -> Item:
    if index["Projection"]["ProjectionType"] == "ALL":
        return item
    names = {"object_id", *(key["AttributeName"] for key in index["KeySchema"])}
    names |= set(index["Projection"].get("NonKeyAttributes", ()))
    return {name: value for name, value in item.items() if name in names}


def size(item: Item) -> int:
    return sum(len(name) + len(str(*value.values())) for name, value in item.items())


@pytest.fixture
def meter(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Meter:
    meter = Meter(ledger.table.client)
    monkeypatch.setattr(ledger.table.client, "update_item", meter.update_item)
    return meter


def deliver(ledger: Ledger, version: str) -> None:
    """Take an object through its life, as dispatcher, functions and workflow do."""
    coordinates = ObjectCoordinates(
        bucket="medical-imaging-pipeline-prod-raw-0123456789ab",
        key=f"scanner-07/2026/11/23/{hashed(version)}/{hashed(version)}.dcm",
        version_id="3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
        size=524288,
        etag=hashed(version),
    )
    execution, object_id = ExecutionInput(object=coordinates), coordinates.object_id
    workflow = "arn:aws:states:eu-central-1:123456789012:execution:medical-imaging-pipeline-prod"
    pseudonyms = [f"2.25.{number}" for number in (7 * 10**37, 8 * 10**37, 9 * 10**37)]
    fingerprint = Fingerprint(size=524288, etag=hashed(version), checksum="AAAAAAAAAAA=")
    ledger.receive(execution)
    ledger.run(execution, f"{workflow}:{object_id}")
    ledger.identify(object_id, hashed(f"study {version}"))
    claims = Claims(ledger.table)
    claim = claims.claim(version, object_id, fingerprint)
    key = "/".join([hashed(version), *pseudonyms]) + ".dcm"
    assert claims.change(version, claim, object_id, fingerprint, delivered_as=key)
    facts = {"output_key": key, "profile": "research", "profile_hash": "ab" * 32, "key_id": "0123456789abcdef"}
    assert ledger.record(execution, LedgerStatus.DELIVERED, **facts)


def test_should_write_an_indexes_item_as_rarely_as_its_questions_allow(ledger: Ledger, meter: Meter) -> None:
    deliver(ledger, "1.2.3")
    assert dict(meter.writes) == {"table": 6, "in-work": 2, "by-verdict": 1, "by-study": 2}
    assert meter.largest <= 1024, "bytes, or each write of the table counts twice"


def test_should_write_what_is_ignored_once_and_list_it_once(ledger: Ledger, meter: Meter) -> None:
    ledger.ignore(ObjectCoordinates(bucket="raw", key="notes.txt", version_id="v1", size=7, etag="e1"))
    assert dict(meter.writes) == {"table": 1, "by-verdict": 1}


def test_should_take_a_thousand_objects_a_second_with_room_under_every_key(ledger: Ledger, meter: Meter) -> None:
    """Of objects of as many studies; how many of one study it takes is in docs/intake.md."""
    objects = 96
    for number in range(objects):
        deliver(ledger, f"1.2.{number}")
    hottest = dict.fromkeys(meter.writes, 0.0)
    for (index, _), writes in meter.by_key.items():
        hottest[index] = max(hottest[index], writes / objects * OBJECTS_A_SECOND)
    assert max(hottest.values()) < WRITES_A_KEY_TAKES / 2
