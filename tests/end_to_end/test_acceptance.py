"""The acceptance test of a deployed stage, on the emulator: it holds, and leaves nothing but what must stay."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from acceptance.verification.__main__ import CHECKS, main
from acceptance.verification.run import FOLDER
from cli.stage import Stage as Deployed
from local.deployment import STAGE
from local.pipeline import Pipeline
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Function, Output
from tests.end_to_end.test_rights import variable

RIGHTS = Path(__file__).parents[2] / "docs" / "rights.md"

# What the emulator can't do, check by check: AWS does it, and only there it is seen.
NOT_ON_THE_EMULATOR = {
    "copy inside S3: in parts, one checksum": "the emulator keeps a checksum of the parts' checksums",
    "raw objects: encryption and key": "the emulator ignores bucket encryption",
    "results: encryption and key": "the emulator ignores bucket encryption",
    "tables: encryption and key": "the emulator ignores the encryption of tables",
    "tables: recovery to a point in time": "the emulator ignores recovery to a point in time",
    "tags of a quarantined object": "the emulator stores no tags that a workflow puts",
    "lifecycle: raw bucket": "the emulator keeps none",
    "lifecycle: processed bucket": "the emulator keeps none",
    "lifecycle: operations bucket": "the emulator keeps none",
    "replay: its report, encryption and key": "the emulator writes no reports of replays",
    "X-Ray: on for workflows": "the emulator ignores the traces of workflows",
    "X-Ray: traces arrive": "the emulator sends no traces",
    "alarms: none rings": "the emulator knows no dimensions of alarms",
    "refused: raw bucket without TLS": "the emulator speaks no TLS itself",
    "refused: results without TLS": "the emulator speaks no TLS itself",
    "refused: deleting a record of the audit log": "the emulator takes no policies of tables",
    "refused: overwriting a record of links": "the emulator takes no policies of tables",
}
NOT_OF_THIS_STAGE = {
    "raw objects: lock": "object_lock_mode is not set",
    "replicas: of each raw object and result": "replica_region is not set",
    "refused: an upload by another key": "encryption is aes256",
    "refused: the PHI key without a service": "encryption is aes256",
    "refused: deleting a locked raw object": "object_lock_mode is not set",
    "refused: a result past the delivery role": "delivery_principals is not set",
}


ACTIONS = {
    ("dynamodb", "ExecuteStatement"): "dynamodb:PartiQLInsert",
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "ListObjectVersions"): "s3:ListBucketVersions",
    ("s3", "DeleteObject"): "s3:DeleteObjectVersion",
}
"""By service and operation, the action that permits it, where its name is not the operation's."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Actions that this process asks of AWS."""
    actions: set[str] = set()
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def record(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        prefix = "states" if service == "stepfunctions" else service
        actions.add(ACTIONS.get((service, operation), f"{prefix}:{operation}"))
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return actions


def documented() -> set[str]:
    """Actions that are said to be needed."""
    _, _, section = RIGHTS.read_text().partition("## What `make verify` needs\n")
    rows = re.findall(r"^\| ([^|]+) \|", section.partition("\n## ")[0], re.MULTILINE)
    return set(re.findall(r"`(\w+:\w+)`", " ".join(rows)))


def test_should_verify_the_stage_and_leave_nothing(
    pipeline: Pipeline, isolated_boto3: boto3.Session, asked: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    functions = isolated_boto3.client("lambda")
    with variable(functions, Function.COMPLETENESS, STUDY_QUIET_SECONDS="5"):
        asked.clear()
        status = main(["--stage", STAGE, "--json"])
        asked_by_verify = set(asked)

    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line["outcome"] not in {"ok", "skipped"}] == []
    assert status == 0
    skipped = {line["check"]: line["seen"] for line in lines if line["outcome"] == "skipped"}
    assert skipped == NOT_ON_THE_EMULATOR | NOT_OF_THIS_STAGE
    assert len(lines) == len(CHECKS) + 1
    assert asked_by_verify - {"sts:GetCallerIdentity"} <= documented()
    assert "12 audit records" in lines[-1]["seen"]
    listed = pipeline.s3.list_object_versions(Bucket=pipeline.raw_bucket, Prefix=FOLDER)
    assert "Versions" not in listed
    ledger = Deployed(STAGE).ledger
    assert not [row for each in LedgerStatus for row in ledger.with_status(each) if row.key.startswith(FOLDER)]
    bus = pipeline.outputs[Output.EVENT_BUS_NAME]
    rules = isolated_boto3.client("events").list_rules(EventBusName=bus)["Rules"]
    assert not [rule for rule in rules if "-acceptance-" in rule["Name"]]
    queues = isolated_boto3.client("sqs").list_queues().get("QueueUrls", [])
    assert not [queue for queue in queues if "-acceptance-" in queue]
