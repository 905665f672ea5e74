"""The ledger: encrypted, recoverable, kept, and indexed for the questions that are asked of it."""

from __future__ import annotations

import pytest

from runtime.contract.indexes import SHARDS
from runtime.contract.ledger import LedgerAttribute, LedgerIndex, RowProjection
from tests.infrastructure.conftest import StageTemplate


def test_should_find_an_object_by_its_id_and_index_no_more_than_what_is_asked_for(
    every_stage: StageTemplate,
) -> None:
    table = every_stage.one("AWS::DynamoDB::Table", "LedgerTable")
    assert table["TableName"] == f"medical-imaging-pipeline-{every_stage.config.stage}-ledger"
    assert table["KeySchema"] == [{"AttributeName": LedgerAttribute.OBJECT_ID, "KeyType": "HASH"}]
    found = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
    assert {name: [key["AttributeName"] for key in index["KeySchema"]] for name, index in found.items()} == {
        LedgerIndex.IN_WORK: [LedgerAttribute.WORK_SHARD, LedgerAttribute.OPENED_AT],
        LedgerIndex.BY_VERDICT: [LedgerAttribute.VERDICT_SHARD, LedgerAttribute.UPDATED_AT],
        LedgerIndex.BY_STUDY: [LedgerAttribute.STUDY_ID, LedgerAttribute.OBJECT_ID],
    }
    projections = {name: index["Projection"] for name, index in found.items()}
    assert projections[LedgerIndex.IN_WORK] == {"ProjectionType": "KEYS_ONLY"}
    assert set(projections[LedgerIndex.BY_VERDICT]["NonKeyAttributes"]) == {"study_id", "output_key"}
    outline = set(RowProjection.model_fields) - {"object_id", "study_id"}
    assert set(projections[LedgerIndex.BY_STUDY]["NonKeyAttributes"]) == outline


def test_should_take_a_row_out_of_the_index_of_a_verdict_while_it_is_in_work(dev: StageTemplate) -> None:
    for state in ("RecordDelivery", "RecordDuplicate", "RecordQuarantine", "RecordFailure"):
        parameters = dev.states[state]["Parameters"]
        sets, _, removes = parameters["UpdateExpression"].partition(" REMOVE ")
        assert "#verdict_shard = :verdict_shard" in sets
        assert "#work_shard" in removes.split(", ")


@pytest.mark.parametrize("state", ["Delivery", "Duplicate", "Quarantine", "Failure"])
def test_should_spread_verdicts_over_the_shards_that_queries_ask(dev: StageTemplate, state: str) -> None:
    record = dev.states[f"Record{state}"]["Parameters"]["ExpressionAttributeValues"]
    status = record[":status"]["S"]
    # Whether the end of MathRandom's range is one of its numbers, AWS doesn't say: either way none is left out.
    spread = {"S.$": f"States.Format('{status}#{{}}', States.MathRandom(0, {SHARDS - 1}))"}
    assert record[":verdict_shard"] == spread
    assert spread in dev.states[f"Audit{state}"]["Parameters"]["Parameters"]


def test_should_encrypt_the_ledger_and_recover_it_to_any_second(every_stage: StageTemplate) -> None:
    table = every_stage.one("AWS::DynamoDB::Table", "LedgerTable")
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert ("KMSMasterKeyId" in table["SSESpecification"]) is (every_stage.config.encryption == "kms")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_should_encrypt_the_ledger_with_the_phi_zones_key_where_the_stage_has_one() -> None:
    stage = StageTemplate("dev", encryption="kms")
    (rule,) = stage.one("AWS::S3::Bucket", "BucketsRaw")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    specification = stage.one("AWS::DynamoDB::Table", "LedgerTable")["SSESpecification"]
    assert specification["KMSMasterKeyId"] == rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    assert specification["SSEType"] == "KMS"


def test_should_protect_the_ledger_from_deletion_in_production(prod: StageTemplate, dev: StageTemplate) -> None:
    assert prod.one("AWS::DynamoDB::Table", "LedgerTable")["DeletionProtectionEnabled"] is True
    assert dev.one("AWS::DynamoDB::Table", "LedgerTable")["DeletionProtectionEnabled"] is False
