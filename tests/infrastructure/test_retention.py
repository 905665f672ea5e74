"""How long what is kept: expiry of objects and of logs, and Object Lock, which forbids it for a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_cdk.aws_logs import RetentionDays
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from syrupy.assertion import SnapshotAssertion

from imaging_pipeline.stages.definitions import StageError, stage_config
from imaging_pipeline.stages.setting_types import LOG_RETENTION
from runtime.contract.ledger import LedgerAttribute
from tests.infrastructure.conftest import OVERRIDES, StageTemplate, as_list
from tests.infrastructure.snapshots import Differences, differences

EVERY_RETENTION: dict[str, Any] = {
    "raw_retention_days": "400",
    "processed_retention_days": "3650",
    "operations_retention_days": "30",
    "noncurrent_retention_days": "35",
    "log_retention": "90",
    "access_log_retention_days": "180",
}
LOCK = {"object_lock_mode": "COMPLIANCE", "object_lock_days": "365"}


def rule(stage: StageTemplate, bucket: str) -> dict[str, Any]:
    (found,) = stage.one("AWS::S3::Bucket", f"Buckets{bucket}")["LifecycleConfiguration"]["Rules"]
    return dict(found)


def test_should_keep_for_as_long_as_the_snapshot_shows(prod: StageTemplate, snapshot: SnapshotAssertion) -> None:
    stage = StageTemplate("prod", **EVERY_RETENTION, **LOCK)
    assert differences(prod, stage) == snapshot(extension_class=Differences)


def test_should_expire_objects_and_then_their_versions() -> None:
    stage = StageTemplate("dev", **EVERY_RETENTION)
    for bucket, days in (("Raw", 400), ("Processed", 3650), ("Operations", 30)):
        assert rule(stage, bucket)["ExpirationInDays"] == days
        assert rule(stage, bucket)["NoncurrentVersionExpiration"] == {"NoncurrentDays": 35}


def test_should_expire_versions_alone_with_the_delete_markers_that_hide_nothing_any_more() -> None:
    stage = StageTemplate("dev", noncurrent_retention_days=35)
    for bucket in ("Raw", "Processed", "Operations"):
        assert "ExpirationInDays" not in rule(stage, bucket)
        assert rule(stage, bucket)["NoncurrentVersionExpiration"] == {"NoncurrentDays": 35}
        assert rule(stage, bucket)["ExpiredObjectDeleteMarker"] is True


def test_should_move_nothing_to_a_storage_class_that_expires_before() -> None:
    stage = StageTemplate(
        "dev", raw_retention_days=90, processed_retention_days=100, noncurrent_retention_days=1, glacier_after_days=120
    )
    assert "Transitions" not in rule(stage, "Raw")
    assert [t["StorageClass"] for t in rule(stage, "Processed")["Transitions"]] == ["STANDARD_IA"]


def test_should_tell_reconciliation_when_results_expire() -> None:
    for given, told in ((None, "0"), (3650, "3650")):
        stage = StageTemplate("dev", processed_retention_days=given, noncurrent_retention_days=35)
        variables = stage.function("reconciliation")["Environment"]["Variables"]
        assert variables["PROCESSED_RETENTION_DAYS"] == told


def test_should_let_rows_expire_that_no_object_and_no_result_needs() -> None:
    stage = StageTemplate("dev", **EVERY_RETENTION, ledger_retention_days=400 + 35 + 3650 + 7)
    table = stage.one("AWS::DynamoDB::Table", "LedgerTable")
    assert table["TimeToLiveSpecification"] == {"AttributeName": LedgerAttribute.EXPIRES_AT, "Enabled": True}
    told = {
        name: body["Properties"]["Environment"]["Variables"].get("LEDGER_RETENTION_DAYS")
        for name, body in stage.resources("AWS::Lambda::Function").items()
    }
    assert {name for name, days in told.items() if days == "4092"} == {
        stage.named("AWS::Lambda::Function", name)
        for name in ("dispatcher", "replay", "reconciliation", "deidentification")
    }


def test_should_keep_rows_and_audit_records_for_ever_by_default(every_stage: StageTemplate) -> None:
    tables = every_stage.resources("AWS::DynamoDB::Table").values()
    assert len(tables) == 3
    assert not any("TimeToLiveSpecification" in table["Properties"] for table in tables)


def test_should_take_the_retention_of_logs_in_days_as_the_command_line_gives_it() -> None:
    stage = StageTemplate("dev", log_retention="90")
    assert {g["Properties"]["RetentionInDays"] for g in stage.resources("AWS::Logs::LogGroup").values()} == {90}
    assert stage_config("dev", {"log_retention": "ONE_YEAR"}).log_retention is RetentionDays.ONE_YEAR


def test_should_know_every_retention_of_cloudwatch_but_forever() -> None:
    assert set(LOG_RETENTION.values()) == set(RetentionDays) - {RetentionDays.INFINITE}
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Logs::LogGroup").schema
    assert set(LOG_RETENTION) == set(schema["properties"]["RetentionInDays"]["enum"])


def test_should_lock_raw_objects_and_no_others() -> None:
    stage = StageTemplate("prod", **LOCK)
    raw = stage.one("AWS::S3::Bucket", "BucketsRaw")
    assert raw["ObjectLockEnabled"] is True
    retention = raw["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert retention == {"Mode": "COMPLIANCE", "Days": 365}
    locked = [name for name, b in stage.resources("AWS::S3::Bucket").items() if "ObjectLock" in json.dumps(b)]
    assert len(locked) == 1


def test_should_lock_nothing_by_default(every_stage: StageTemplate) -> None:
    assert "ObjectLock" not in json.dumps(every_stage.resources("AWS::S3::Bucket"))


def test_should_turn_the_lock_on_without_replacing_the_raw_bucket(prod: StageTemplate) -> None:
    """CloudFormation replaces a resource where a property changes that only its creation can set."""
    before, after = (
        stage.one("AWS::S3::Bucket", "BucketsRaw")
        for stage in (prod, StageTemplate("prod", **LOCK, **EVERY_RETENTION, replica_region="eu-west-1"))
    )
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert {"ObjectLockEnabled", "ObjectLockConfiguration", "ReplicationConfiguration"} <= changed
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::S3::Bucket").schema
    assert not {f"/properties/{name}" for name in changed} & set(schema["createOnlyProperties"])


def test_should_let_the_workflow_tag_a_locked_object() -> None:
    """A lock forbids to delete and to overwrite a version; tags are not part of it."""
    tagging = [
        statement
        for statement in StageTemplate("prod", **LOCK).statements("WorkflowStateMachineRole")
        if "Tagging" in json.dumps(statement["Action"])
    ]
    assert len(tagging) == 1
    assert "Retention" not in json.dumps(tagging)


def test_should_lock_replicas_of_locked_objects_and_replicate_their_locks() -> None:
    stage = StageTemplate("prod", **LOCK, replica_region="eu-west-1")
    assert stage.replica is not None
    replica = stage.replica["Resources"]
    (raw,) = [b["Properties"] for n, b in replica.items() if b["Type"] == "AWS::S3::Bucket" and n.startswith("Raw")]
    source = stage.one("AWS::S3::Bucket", "BucketsRaw")
    for name in ("ObjectLockEnabled", "ObjectLockConfiguration"):
        assert raw[name] == source[name]
    locks = {"s3:GetObjectRetention", "s3:GetObjectLegalHold"}
    for zone, expected in (("Raw", locks), ("Processed", set())):
        allowed = {a for s in stage.statements(f"{zone}ReplicationRole") for a in as_list(s["Action"])}
        assert allowed & locks == expected


@pytest.mark.parametrize("stage", ["local", "dev"])
def test_should_refuse_to_lock_what_a_stage_does_not_retain(stage: str) -> None:
    with pytest.raises(StageError, match="object_lock_mode needs retain_data"):
        stage_config(stage, LOCK)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"object_lock_mode": "COMPLIANCE"}, "object_lock_mode and object_lock_days belong together"),
        ({"object_lock_days": 30}, "object_lock_mode and object_lock_days belong together"),
        ({"object_lock_mode": "LEGAL", "object_lock_days": 30}, "object_lock_mode"),
        ({"object_lock_mode": "GOVERNANCE", "object_lock_days": 0}, "object_lock_days"),
        (
            {**LOCK, "raw_retention_days": 364, "noncurrent_retention_days": 30},
            "raw_retention_days must not end before object_lock_days",
        ),
        ({"raw_retention_days": 400}, "raw_retention_days needs noncurrent_retention_days"),
        ({"processed_retention_days": 400}, "processed_retention_days needs noncurrent_retention_days"),
        ({"operations_retention_days": 400}, "operations_retention_days needs noncurrent_retention_days"),
        ({"raw_retention_days": 14, "noncurrent_retention_days": 30}, "raw_retention_days"),
        ({"noncurrent_retention_days": 0}, "noncurrent_retention_days"),
        (
            {"ledger_retention_days": 4000},
            "ledger_retention_days needs raw_retention_days and processed_retention_days",
        ),
        (
            {**EVERY_RETENTION, "processed_retention_days": None, "ledger_retention_days": 4000},
            "ledger_retention_days needs raw_retention_days and processed_retention_days",
        ),
        (
            {**EVERY_RETENTION, "ledger_retention_days": 400 + 35 + 3650 + 6},
            "ledger_retention_days must be at least 4092",
        ),
        ({"log_retention": "31"}, "CloudWatch keeps logs for one of 1, 3, 5, 7,"),
        ({"trail_retention_days": 0}, "trail_retention_days"),
    ],
)
def test_should_refuse_retention_that_contradicts_itself_in_one_sentence(
    overrides: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StageError) as refusal:
        stage_config("prod", OVERRIDES["prod"] | overrides)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")
