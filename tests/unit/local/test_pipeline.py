"""An object without an execution has an outcome too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from local import pipeline
from local.errors import LocalRunError
from local.pipeline import Pipeline
from runtime.contract.ledger import LedgerAttribute
from runtime.contract.names import Output
from runtime.contract.objects import ObjectCoordinates


class Ignoring(Pipeline):
    """A stage that ignores the objects that are uploaded, and never starts an execution."""

    def upload(self, key: str, content: bytes | Path) -> str:
        coordinates = ObjectCoordinates(bucket=self.raw_bucket, key=key, version_id="1", size=1, etag="")
        if not key.endswith(".dcm"):
            self.dynamodb.put_item(
                TableName=self.outputs[Output.LEDGER_TABLE_NAME],
                Item={
                    LedgerAttribute.OBJECT_ID: {"S": coordinates.object_id},
                    LedgerAttribute.STATUS: {"S": "ignored"},
                },
            )
        return "1"

    def executions(self) -> Iterator[tuple[str, str]]:
        return iter(())


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ignoring]:
    monkeypatch.setattr(pipeline, "POLL_SECONDS", 0.01)
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": LedgerAttribute.OBJECT_ID, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": LedgerAttribute.OBJECT_ID, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Ignoring(dict.fromkeys(Output, "x") | {Output.LEDGER_TABLE_NAME: "ledger"})


def test_should_tell_of_an_ignored_object_that_no_execution_was_started(stage: Ignoring) -> None:
    outcomes = list(stage.process_all({"thumbs.db": b"", "viewer.exe": b"MZ"}))

    assert [(outcome.key, outcome.end, outcome.released) for outcome in outcomes] == [
        ("thumbs.db", None, False),
        ("viewer.exe", None, False),
    ]


def test_should_say_so_when_an_object_gets_no_outcome(stage: Ignoring) -> None:
    with pytest.raises(LocalRunError, match="1 object"):
        list(stage.process_all({"image.dcm": b""}, timeout_seconds=0.05))
