"""The audit tables: one a zone, kept, found by the auditors' questions, and closed to all that changes a record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from imaging_pipeline.building_blocks.runtime_code import code_version
from runtime.contract.audit import EVENT_SHARD, AuditIndex, AuditRecord
from tests.infrastructure.conftest import REPOSITORY, StageTemplate, joined

TABLES = {"AuditTable": "audit", "LinkAuditTable": "link-audit"}
each_table = pytest.mark.parametrize("table", TABLES)
# Every action by which IAM lets an item be written, updated or deleted, but for the one that only adds.
CHANGES = {
    *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"),
    *("dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete"),
}


def logical_id(stage: StageTemplate, table: str) -> str:
    (found,) = [name for name in stage.resources("AWS::DynamoDB::Table") if name.startswith(table)]
    return found


def properties(stage: StageTemplate, table: str) -> dict[str, Any]:
    found: dict[str, Any] = stage.json["Resources"][logical_id(stage, table)]["Properties"]
    return found


@each_table
def test_should_find_records_by_object_and_by_event_and_study_in_order(every_stage: StageTemplate, table: str) -> None:
    found = properties(every_stage, table)
    assert found["TableName"] == f"{every_stage.config.name}-{TABLES[table]}"
    indexes = {each["IndexName"]: each["KeySchema"] for each in found["GlobalSecondaryIndexes"]}
    schemas = {None: found["KeySchema"], **indexes}
    named = {index: [key["AttributeName"] for key in schema] for index, schema in schemas.items()}
    assert named == {
        None: ["subject", "record_id"],
        AuditIndex.BY_EVENT: [EVENT_SHARD, "at"],
        AuditIndex.BY_STUDY: ["output_study", "output_key"],
    }
    assert {name for names in named.values() for name in names} <= {*AuditRecord.model_fields, EVENT_SHARD}
    assert all(each["Projection"] == {"ProjectionType": "ALL"} for each in found["GlobalSecondaryIndexes"])


@each_table
@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_should_deny_everybody_what_changes_or_removes_a_record(
    dev: StageTemplate, prod: StageTemplate, stage: str, table: str
) -> None:
    template = {"dev": dev, "prod": prod}[stage]
    (statement,) = properties(template, table)["ResourcePolicy"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] in ("*", {"AWS": "*"})
    assert "Condition" not in statement
    assert set(statement["Action"]) == CHANGES | {"dynamodb:UpdateTimeToLive"}
    assert joined(statement["Resource"]).endswith(f":table/{template.config.name}-{TABLES[table]}")


@each_table
def test_should_let_dispatcher_and_workflow_add_and_nobody_do_else(every_stage: StageTemplate, table: str) -> None:
    table_id = logical_id(every_stage, table)
    allowed: dict[str, set[str]] = {}
    for policy in every_stage.resources("AWS::IAM::Policy").values():
        (role,) = policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            if f'"{table_id}"' in json.dumps(statement["Resource"]):
                actions = statement["Action"]
                allowed.setdefault(role["Ref"], set()).update(actions if isinstance(actions, list) else [actions])
    assert all(actions == {"dynamodb:PartiQLInsert"} for actions in allowed.values())
    workflow = every_stage.one("AWS::StepFunctions::StateMachine", "Workflow")["RoleArn"]["Fn::GetAtt"][0]
    writers = {every_stage.role("dispatcher"), workflow} if table == "AuditTable" else set()
    assert set(allowed) == writers


@each_table
def test_should_recover_the_log_to_any_second_and_keep_it_as_the_stage_keeps_data(
    every_stage: StageTemplate, table: str
) -> None:
    found = properties(every_stage, table)
    assert found["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert found["DeletionProtectionEnabled"] is every_stage.config.termination_protection
    kept = every_stage.json["Resources"][logical_id(every_stage, table)]
    policy = "RetainExceptOnCreate" if every_stage.config.retain_data else "Delete"
    assert kept["DeletionPolicy"] == policy
    assert kept["UpdateReplacePolicy"] == ("Retain" if every_stage.config.retain_data else "Delete")


@pytest.mark.parametrize(("table", "bucket"), [("AuditTable", "BucketsRaw"), ("LinkAuditTable", "BucketsProcessed")])
def test_should_encrypt_each_zones_log_with_that_zones_key(prod: StageTemplate, table: str, bucket: str) -> None:
    (rule,) = prod.one("AWS::S3::Bucket", bucket)["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    specification = properties(prod, table)["SSESpecification"]
    assert specification["KMSMasterKeyId"] == rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]


def runtime_copy(folder: Path) -> Path:
    shutil.copytree(REPOSITORY / "runtime", folder / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_should_name_the_same_code_alike_wherever_it_lies(tmp_path: Path) -> None:
    copy = runtime_copy(tmp_path)
    assert code_version(copy) == code_version()
    (copy / "runtime" / "__pycache__").mkdir()
    (copy / "runtime" / "__pycache__" / "audit.pyc").write_bytes(b"compiled")
    (copy / "tests").mkdir()
    (copy / "tests" / "test.py").write_text("pass")
    assert code_version(copy) == code_version()


@pytest.mark.parametrize(
    "path", ["runtime/aws/audit.py", "runtime/deidentification/profiles/research.toml", "runtime/requirements.txt"]
)
def test_should_name_other_code_another_profile_and_other_dependencies_differently(tmp_path: Path, path: str) -> None:
    copy = runtime_copy(tmp_path)
    changed = copy / path
    changed.write_text(f"{changed.read_text()}\n")
    assert code_version(copy) != code_version()
