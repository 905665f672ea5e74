"""The trail: who asked for which raw or processed object, kept where nobody else writes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from syrupy.assertion import SnapshotAssertion

from tests.infrastructure.conftest import StageTemplate, as_list, joined
from tests.infrastructure.snapshots import Differences, differences

ARN = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/medical-imaging-pipeline-prod-data-events-eu-central-1"


@cache
def with_trail() -> StageTemplate:
    return StageTemplate("prod", trail_retention_days="730")


def grants(policy: dict[str, Any]) -> list[dict[str, Any]]:
    return [s for s in policy["Statement"] if s["Principal"] == {"Service": "cloudtrail.amazonaws.com"}]


def test_should_have_no_trail_by_default(every_stage: StageTemplate) -> None:
    assert not every_stage.resources("AWS::CloudTrail::Trail")
    assert "cloudtrail" not in json.dumps(every_stage.json)


def test_should_deploy_the_trail_that_the_snapshot_shows(prod: StageTemplate, snapshot: SnapshotAssertion) -> None:
    assert differences(prod, with_trail()) == snapshot(extension_class=Differences)


def test_should_record_requests_to_replicas_too() -> None:
    """A copy of the PHI elsewhere must not be a way to read it unseen."""
    stage = StageTemplate("prod", trail_retention_days=90, replica_region="eu-west-1")
    trail = stage.one("AWS::CloudTrail::Trail")
    assert trail["IsMultiRegionTrail"] is True
    assert trail["IncludeGlobalServiceEvents"] is True, "or CloudTrail refuses it: InvalidParameterCombinationException"
    (events,) = trail["AdvancedEventSelectors"]
    (arns,) = [each["StartsWith"] for each in events["FieldSelectors"] if each["Field"] == "resources.ARN"]
    assert len(arns) == 4
    assert sum("-replica" in joined(arn) for arn in arns) == 2


def test_should_record_reads_and_writes_of_both_buckets_and_of_nothing_else() -> None:
    trail = with_trail().one("AWS::CloudTrail::Trail")
    (events,) = trail["AdvancedEventSelectors"]
    fields = {selector["Field"]: selector for selector in events["FieldSelectors"]}
    assert set(fields) == {"eventCategory", "resources.type", "resources.ARN"}, "readOnly would leave out one of both"
    assert fields["eventCategory"]["Equals"] == ["Data"]
    assert fields["resources.type"]["Equals"] == ["AWS::S3::Object"]
    arns = [arn["Fn::Join"][1] for arn in fields["resources.ARN"]["StartsWith"]]
    assert [bucket["Fn::GetAtt"][0][:-8] for bucket, _ in arns] == ["BucketsRaw", "BucketsProcessed"]
    assert {end for _, end in arns} == {"/"}, "else buckets whose names begin alike are recorded too"
    assert "EventSelectors" not in trail
    assert trail["IsLogging"] is True
    assert trail["EnableLogFileValidation"] is True


def test_should_keep_the_trail_in_a_private_bucket_for_its_own_time() -> None:
    stage = with_trail()
    bucket = stage.one("AWS::S3::Bucket", "TrailDataEvents")
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 730
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert "BucketsLogs" in bucket["LoggingConfiguration"]["DestinationBucketName"]["Ref"]
    resource = next(r for n, r in stage.resources("AWS::S3::Bucket").items() if "TrailDataEvents" in n)
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    policy = stage.one("AWS::S3::BucketPolicy", "TrailDataEvents")["PolicyDocument"]
    denials = [s["Condition"] for s in policy["Statement"] if s["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in denials
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in denials


def test_should_let_cloudtrail_write_for_this_trail_only() -> None:
    stage = with_trail()
    policy = stage.one("AWS::S3::BucketPolicy", "TrailDataEvents")["PolicyDocument"]
    allowed = {statement["Action"]: statement["Condition"]["StringEquals"] for statement in grants(policy)}
    assert allowed == {
        "s3:GetBucketAcl": {"aws:SourceArn": ARN},
        "s3:PutObject": {"aws:SourceArn": ARN, "s3:x-amz-acl": "bucket-owner-full-control"},
    }
    assert len([s for s in policy["Statement"] if s["Effect"] == "Allow"]) == 2
    trail = next(iter(stage.resources("AWS::CloudTrail::Trail").values()))
    assert ARN.endswith(f"/{trail['Properties']['TrailName']}")
    assert trail["DependsOn"] == [n for n in stage.resources("AWS::S3::BucketPolicy") if "TrailDataEvents" in n]


def test_should_encrypt_the_trail_by_the_key_of_the_phi_zone_since_it_holds_object_keys() -> None:
    stage = with_trail()
    (key,) = [name for name in stage.resources("AWS::KMS::Key") if "PHI" in name]
    assert stage.one("AWS::CloudTrail::Trail")["KMSKeyId"] == {"Fn::GetAtt": [key, "Arn"]}
    conditions = {
        action: grant["Condition"]["StringEquals"]
        for grant in grants(stage.one("AWS::KMS::Key", "PHI")["KeyPolicy"])
        for action in as_list(grant["Action"])
    }
    for_this_trail = {"aws:SourceArn": ARN, "kms:EncryptionContext:aws:cloudtrail:arn": ARN}
    assert conditions == {
        "kms:DescribeKey": {"aws:SourceArn": ARN},
        "kms:GenerateDataKey": for_this_trail,
        "kms:GenerateDataKeyWithoutPlaintext": for_this_trail,
    }
    assert not grants(stage.one("AWS::KMS::Key", "Research")["KeyPolicy"])


def test_should_leave_encryption_to_s3_where_the_stage_has_no_keys() -> None:
    stage = StageTemplate("staging", trail_retention_days=90)
    assert "KMSKeyId" not in stage.one("AWS::CloudTrail::Trail")
