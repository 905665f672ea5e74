"""The buckets: versioned, encrypted, private, TLS only, cheap with time, and there when the stack is gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infrastructure.conftest import StageTemplate

each_data_bucket = pytest.mark.parametrize("zone", ["BucketsRaw", "BucketsProcessed", "BucketsOperations"])


def lifecycle(bucket: dict[str, Any]) -> dict[str, Any]:
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    return dict(rule)


def test_should_block_all_public_access_to_every_bucket(every_stage: StageTemplate) -> None:
    buckets = every_stage.resources("AWS::S3::Bucket")
    assert len(buckets) == 4
    for bucket in buckets.values():
        block = bucket["Properties"]["PublicAccessBlockConfiguration"]
        assert set(block) == {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
        assert all(block.values())


def test_should_encrypt_every_bucket(every_stage: StageTemplate) -> None:
    for name, bucket in every_stage.resources("AWS::S3::Bucket").items():
        (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        own_key = every_stage.config.encryption == "kms" and "BucketsLogs" not in name
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == ("aws:kms" if own_key else "AES256")


def test_should_refuse_every_bucket_access_without_tls(every_stage: StageTemplate) -> None:
    policies = every_stage.resources("AWS::S3::BucketPolicy")
    secured = {policy["Properties"]["Bucket"]["Ref"] for policy in policies.values()}
    assert secured == set(every_stage.resources("AWS::S3::Bucket"))
    for policy in policies.values():
        denials = [s["Condition"] for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denials
        assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denials


@each_data_bucket
def test_should_keep_every_version_and_log_every_access(every_stage: StageTemplate, zone: str) -> None:
    bucket = every_stage.one("AWS::S3::Bucket", zone)
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketsLogs" in bucket["LoggingConfiguration"]["DestinationBucketName"]["Ref"]


def test_should_let_s3_deliver_access_logs_of_its_own_account_only(every_stage: StageTemplate) -> None:
    statements = every_stage.one("AWS::S3::BucketPolicy", "BucketsLogs")["PolicyDocument"]["Statement"]
    grants = [s for s in statements if s["Effect"] == "Allow"]
    assert len(grants) == 3
    for grant in grants:
        assert grant["Principal"] == {"Service": "logging.s3.amazonaws.com"}
        assert "aws:SourceAccount" in grant["Condition"]["StringEquals"]


def test_should_move_raw_objects_to_infrequent_access_and_processed_ones_on_to_glacier(dev: StageTemplate) -> None:
    infrequent = {"StorageClass": "STANDARD_IA", "TransitionInDays": 90}
    glacier = {"StorageClass": "GLACIER", "TransitionInDays": 180}
    assert lifecycle(dev.one("AWS::S3::Bucket", "BucketsRaw"))["Transitions"] == [infrequent]
    assert lifecycle(dev.one("AWS::S3::Bucket", "BucketsProcessed"))["Transitions"] == [infrequent, glacier]


def test_should_never_expire_data_but_sweep_what_a_crashed_upload_left(every_stage: StageTemplate) -> None:
    for zone in ("BucketsRaw", "BucketsProcessed", "BucketsOperations"):
        rule = lifecycle(every_stage.one("AWS::S3::Bucket", zone))
        assert not [name for name in rule if "Expiration" in name]
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_should_expire_access_logs_after_the_stages_days(every_stage: StageTemplate) -> None:
    rule = lifecycle(every_stage.one("AWS::S3::Bucket", "BucketsLogs"))
    assert rule["ExpirationInDays"] == every_stage.config.access_log_retention_days
    assert every_stage.config.access_log_retention_days == (365 if every_stage.config.stage == "prod" else 90)


def test_should_take_retention_days_from_the_stage() -> None:
    stage = StageTemplate("dev", infrequent_access_after_days=40, glacier_after_days=75, access_log_retention_days=7)
    transitions = lifecycle(stage.one("AWS::S3::Bucket", "BucketsProcessed"))["Transitions"]
    assert [transition["TransitionInDays"] for transition in transitions] == [40, 75]
    assert lifecycle(stage.one("AWS::S3::Bucket", "BucketsLogs"))["ExpirationInDays"] == 7


def test_should_tell_event_bridge_of_raw_objects_without_a_custom_resource(every_stage: StageTemplate) -> None:
    raw = every_stage.one("AWS::S3::Bucket", "BucketsRaw")
    assert raw["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert "NotificationConfiguration" not in every_stage.one("AWS::S3::Bucket", "BucketsProcessed")
    assert not [r for r in every_stage.json["Resources"].values() if r["Type"].startswith("Custom::")]


def test_should_retain_data_keys_and_logs_except_where_the_stage_says_otherwise(every_stage: StageTemplate) -> None:
    kept = every_stage.config.stage in {"staging", "prod"}
    for resource_type in (
        "AWS::S3::Bucket",
        "AWS::DynamoDB::Table",
        "AWS::SecretsManager::Secret",
        "AWS::Logs::LogGroup",
    ):
        for resource in every_stage.resources(resource_type).values():
            assert resource["DeletionPolicy"] == ("RetainExceptOnCreate" if kept else "Delete")
            assert resource["UpdateReplacePolicy"] == ("Retain" if kept else "Delete")


def test_should_retain_data_by_default() -> None:
    assert type(StageTemplate("staging").config).model_fields["retain_data"].default is True
