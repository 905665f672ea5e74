"""The ledger: encrypted, recoverable, kept, and indexed for the questions that are asked of it."""

from __future__ import annotations

from runtime.contract import LedgerAttribute, LedgerIndex
from tests.infrastructure.conftest import StageTemplate


def test_should_find_an_object_by_its_id_and_the_rows_of_a_status_or_a_study_by_time(
    every_stage: StageTemplate,
) -> None:
    table = every_stage.one("AWS::DynamoDB::Table")
    assert table["TableName"] == f"medical-imaging-pipeline-{every_stage.config.stage}-ledger"
    assert table["KeySchema"] == [{"AttributeName": LedgerAttribute.OBJECT_ID, "KeyType": "HASH"}]
    indexes = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        LedgerIndex.BY_STATUS: [LedgerAttribute.STATUS, LedgerAttribute.UPDATED_AT],
        LedgerIndex.BY_STUDY: [LedgerAttribute.STUDY_ID, LedgerAttribute.UPDATED_AT],
    }
    assert all(index["Projection"] == {"ProjectionType": "ALL"} for index in table["GlobalSecondaryIndexes"])


def test_should_encrypt_the_ledger_and_recover_it_to_any_second(every_stage: StageTemplate) -> None:
    table = every_stage.one("AWS::DynamoDB::Table")
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert ("KMSMasterKeyId" in table["SSESpecification"]) is (every_stage.config.encryption == "kms")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_should_encrypt_the_ledger_with_the_phi_zones_key_where_the_stage_has_one() -> None:
    stage = StageTemplate("dev", encryption="kms")
    (rule,) = stage.one("AWS::S3::Bucket", "BucketsRaw")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    specification = stage.one("AWS::DynamoDB::Table")["SSESpecification"]
    assert specification["KMSMasterKeyId"] == rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    assert specification["SSEType"] == "KMS"


def test_should_protect_the_ledger_from_deletion_in_production(prod: StageTemplate, dev: StageTemplate) -> None:
    assert prod.one("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is True
    assert dev.one("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is False
