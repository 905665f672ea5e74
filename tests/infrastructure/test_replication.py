"""Replication to another region: each zone by itself, watched, and enough to go on from there."""

from __future__ import annotations

import json
from copy import copy
from functools import cache
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from imaging_pipeline.stages.definitions import StageError, stage_config
from tests.infrastructure.conftest import OVERRIDES, StageTemplate, as_list, joined
from tests.infrastructure.key_use import KeyUse
from tests.infrastructure.options import OPTIONS
from tests.infrastructure.snapshots import Differences, differences, readable

ELSEWHERE = "eu-west-1"
SETTINGS: dict[str, Any] = {"replica_region": ELSEWHERE, "alert_emails": "a@example.org"}
ZONES = ("Raw", "Processed")
KEYS = {"Raw": "ZonesPHIKey", "Processed": "ZonesResearchKey"}
"""What the keys' logical ids begin with, in both stacks."""


class ReplicatedStage(StageTemplate):
    """A stage with its replica stack."""

    def __init__(self, stage: str = "prod", **overrides: Any) -> None:
        super().__init__(stage, **SETTINGS, **overrides)
        assert self.replica is not None
        self.replica_json = self.replica

    def replicated(self, resource_type: str, id_part: str = "") -> dict[str, Any]:
        """The only resource of the replica stack of a type whose logical id has this part."""
        (resource,) = [
            body
            for name, body in self.replica_json["Resources"].items()
            if body["Type"] == resource_type and id_part in name
        ]
        return dict(resource)

    @property
    def elsewhere(self) -> StageTemplate:
        """The replica stack as a template of its own."""
        there = copy(self)
        there.json, there.config = self.replica_json, self.config.model_copy(update={"region": ELSEWHERE})
        return there

    def output(self, reference: Any) -> Any:
        """What an output of the replica stack stands for."""
        source = reference["Fn::GetStackOutput"]
        assert (source["StackName"], source["Region"]) == (f"{self.config.name}-replica", ELSEWHERE)
        return self.replica_json["Outputs"][source["OutputName"]]["Value"]

    def rule(self, zone: str) -> dict[str, Any]:
        (rule,) = self.one("AWS::S3::Bucket", f"Buckets{zone}")["ReplicationConfiguration"]["Rules"]
        return dict(rule)


@cache
def replicated() -> ReplicatedStage:
    return ReplicatedStage()


def test_should_replicate_nothing_by_default(every_stage: StageTemplate) -> None:
    assert every_stage.stack.replica is None
    assert not [b for b in every_stage.resources("AWS::S3::Bucket").values() if "Replication" in json.dumps(b)]
    assert "ReplicaRegions" not in every_stage.one("AWS::SecretsManager::Secret")


def test_should_deploy_the_replicas_that_the_snapshot_shows(prod: StageTemplate, snapshot: SnapshotAssertion) -> None:
    stage = replicated()
    assert readable(stage.replica_json) == snapshot(extension_class=JSONSnapshotExtension, name="replica")
    assert differences(prod, stage) == snapshot(extension_class=Differences, name="stage")


def test_should_deploy_the_replicas_first_and_by_no_custom_resource() -> None:
    stage = replicated()
    assert stage.stack.replica in stage.stack.dependencies
    types = {r["Type"] for template in (stage.json, stage.replica_json) for r in template["Resources"].values()}
    assert not [name for name in types if name.startswith("Custom::")]


def test_should_protect_and_retain_replicas_as_their_sources() -> None:
    stage = replicated()
    assert stage.stack.replica is not None
    assert stage.stack.replica.termination_protection
    assert (stage.stack.replica.account, stage.stack.replica.region) == (OVERRIDES["prod"]["account"], ELSEWHERE)
    for zone in ZONES:
        replica = stage.replicated("AWS::S3::Bucket", zone)
        assert (replica["DeletionPolicy"], replica["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
        source = stage.one("AWS::S3::Bucket", f"Buckets{zone}")
        for same in (
            *("VersioningConfiguration", "PublicAccessBlockConfiguration", "OwnershipControls"),
            "LifecycleConfiguration",
        ):
            assert replica["Properties"][same] == source[same]
        assert "NotificationConfiguration" not in replica["Properties"], "else a replica would be processed"
        assert "BucketName" not in replica["Properties"], "a name that can be guessed may be taken"


def test_should_refuse_every_access_to_a_replica_without_tls() -> None:
    policies = [r for r in replicated().replica_json["Resources"].values() if r["Type"] == "AWS::S3::BucketPolicy"]
    assert len(policies) == 3
    for policy in policies:
        denials = [s["Condition"] for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in denials


@pytest.mark.parametrize("zone", ZONES)
def test_should_replicate_everything_new_within_a_quarter_of_an_hour(zone: str) -> None:
    stage = replicated()
    rule = stage.rule(zone)
    assert (rule["Status"], rule["Filter"]) == ("Enabled", {"Prefix": ""})
    assert rule["DeleteMarkerReplication"] == {"Status": "Enabled"}
    destination = rule["Destination"]
    assert stage.output(destination["Bucket"])["Fn::GetAtt"][0].startswith(zone)
    assert destination["ReplicationTime"] == {"Status": "Enabled", "Time": {"Minutes": 15}}
    assert destination["Metrics"]["Status"] == "Enabled"


@pytest.mark.parametrize("zone", ZONES)
def test_should_encrypt_replicas_by_a_key_of_their_zone_in_their_region(zone: str) -> None:
    stage = replicated()
    rule = stage.rule(zone)
    assert rule["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
    key = stage.output(rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"])
    assert key["Fn::GetAtt"][0].startswith(KEYS[zone])
    (default,) = stage.replicated("AWS::S3::Bucket", zone)["Properties"]["BucketEncryption"][
        "ServerSideEncryptionConfiguration"
    ]
    assert default["ServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    assert stage.replicated("AWS::KMS::Key", KEYS[zone])["Properties"]["EnableKeyRotation"] is True


def test_should_ask_for_no_key_where_the_stage_has_none() -> None:
    stage = ReplicatedStage(encryption="aes256")
    assert not [r for r in stage.replica_json["Resources"].values() if r["Type"] == "AWS::KMS::Key"]
    for zone in ZONES:
        rule = stage.rule(zone)
        assert "SourceSelectionCriteria" not in rule
        assert "EncryptionConfiguration" not in rule["Destination"]
        assert "kms:" not in json.dumps(stage.statements(f"{zone}ReplicationRole"))
    assert stage.one("AWS::SecretsManager::Secret")["ReplicaRegions"] == [{"Region": ELSEWHERE}]


@pytest.mark.parametrize("zone", ZONES)
def test_should_let_each_role_replicate_its_own_zone_and_nothing_else(zone: str) -> None:
    """Every action, by the logical id of what it is allowed on; ids of the replica stack are marked."""
    stage = replicated()
    allowed: dict[str, set[str]] = {}
    for statement in stage.statements(f"{zone}ReplicationRole"):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            allowed.setdefault(named(stage, statement["Resource"]), set()).add(action)
    (source,) = [name for name in stage.resources("AWS::S3::Bucket") if f"Buckets{zone}" in name]
    (source_key,) = [name for name in stage.resources("AWS::KMS::Key") if KEYS[zone] in name]
    assert {name.replace(source, "source").replace(source_key, "source key"): a for name, a in allowed.items()} == {
        "source": {"s3:GetReplicationConfiguration", "s3:ListBucket"},
        "source/*": {"s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"},
        "source key": {"kms:Decrypt"},
        f"replica {zone}/*": {"s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"},
        f"replica {KEYS[zone]}": {"kms:Encrypt", "kms:GenerateDataKey"},
    }


def named(stage: ReplicatedStage, resource: Any) -> str:
    match resource:
        case str():
            return resource
        case {"Fn::GetAtt": [name, "Arn"]}:
            return str(name)
        case {"Fn::Join": ["", parts]}:
            return "".join(named(stage, part) for part in parts)
        case {"Fn::GetStackOutput": _}:
            return f"replica {stage.output(resource)['Fn::GetAtt'][0][:-8]}"
    raise TypeError(f"not a resource: {resource}")


@pytest.mark.parametrize("zone", ZONES)
def test_should_use_keys_by_way_of_s3_only_and_write_to_no_strangers_bucket(zone: str) -> None:
    conditions = {
        action: statement.get("Condition", {})
        for statement in replicated().statements(f"{zone}ReplicationRole")
        for action in as_list(statement["Action"])
    }
    assert conditions["s3:ReplicateObject"] == {"StringEquals": {"aws:ResourceAccount": OVERRIDES["prod"]["account"]}}
    for action, region in (("kms:Decrypt", OVERRIDES["prod"]["region"]), ("kms:Encrypt", ELSEWHERE)):
        assert conditions[action] == {"StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"}}


def test_should_let_s3_alone_assume_the_roles() -> None:
    for zone in ZONES:
        (statement,) = replicated().one("AWS::IAM::Role", f"{zone}ReplicationRole")["AssumeRolePolicyDocument"][
            "Statement"
        ]
        assert statement["Principal"] == {"Service": "s3.amazonaws.com"}


@pytest.mark.parametrize("zone", ZONES)
def test_should_alarm_on_denied_requests_to_a_replica(zone: str) -> None:
    alarm = replicated().replicated("AWS::CloudWatch::Alarm", f"{zone}BucketDeniedRequests")["Properties"]
    (bucket,) = [each["Value"]["Ref"] for each in alarm["Dimensions"] if each["Name"] == "BucketName"]
    assert bucket.startswith(zone)
    assert alarm["MetricName"] == "4xxErrors"
    assert alarm["AlarmActions"]


def test_should_take_no_name_that_the_same_stage_in_another_region_has() -> None:
    """IAM is global: a stage that goes on elsewhere must come up beside the one that is lost."""
    here, there = (
        StageTemplate("prod", region=region, **OPTIONS["delivery"]) for region in ("eu-central-1", ELSEWHERE)
    )
    names = [
        {joined(value) for body in stage.json["Resources"].values() for value in global_names(body)}
        for stage in (here, there)
    ]
    assert all(names)
    assert not names[0] & names[1]


def global_names(body: dict[str, Any]) -> list[Any]:
    """The names of a resource that must be unique beyond its region."""
    unique = {
        "AWS::IAM::Role": "RoleName",
        "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
        "AWS::S3::Bucket": "BucketName",
    }
    name = body.get("Properties", {}).get(unique.get(body["Type"], ""))
    return [name] if name else []


@pytest.mark.parametrize("zone", ZONES)
def test_should_alarm_where_s3_publishes_the_lag(zone: str) -> None:
    stage = replicated()
    alarm = stage.replicated("AWS::CloudWatch::Alarm", f"{zone}ReplicationLag")["Properties"]
    ((query),) = alarm["Metrics"]
    assert json.dumps(query["Expression"]).count("ReplicationLatency") == 1
    (bucket,) = [part["Ref"] for part in query["Expression"]["Fn::Join"][1] if isinstance(part, dict)]
    assert bucket.startswith(zone)
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (900, "GreaterThanThreshold")
    (topic,) = alarm["AlarmActions"]
    subscription = stage.replicated("AWS::SNS::Subscription")["Properties"]
    assert subscription["TopicArn"] == topic
    assert subscription["Endpoint"] == "a@example.org"


@pytest.mark.parametrize("zone", ZONES)
def test_should_alarm_on_what_could_not_be_replicated(zone: str) -> None:
    stage = replicated()
    alarm = stage.one("AWS::CloudWatch::Alarm", f"{zone}ReplicationFailures")
    dimensions = {d["Name"]: d["Value"] for d in alarm["Dimensions"]}
    assert alarm["MetricName"] == "OperationsFailedReplication"
    assert f"Buckets{zone}" in dimensions["SourceBucket"]["Ref"]
    assert stage.output(dimensions["DestinationBucket"])["Ref"].startswith(zone)
    assert dimensions["RuleId"] == stage.rule(zone)["Id"]
    assert alarm["AlarmActions"] == [{"Ref": next(t for t in stage.resources("AWS::SNS::Topic") if "Notif" in t)}]


def test_should_let_alarms_and_subscriptions_use_the_key_of_their_region() -> None:
    use = KeyUse(replicated().elsewhere)
    needs = use.needs()
    assert {need.who for need in needs} == {"cloudwatch.amazonaws.com", "sns.amazonaws.com"}
    assert [need for need in needs if not use.permitted(need)] == []


def test_should_take_thresholds_of_replication_from_the_stage() -> None:
    stage = ReplicatedStage(alarms={"replication_lag_seconds": 3600, "failed_replications": 7})
    for zone in ZONES:
        lag = stage.replicated("AWS::CloudWatch::Alarm", f"{zone}ReplicationLag")["Properties"]["Threshold"]
        failures = stage.one("AWS::CloudWatch::Alarm", f"{zone}ReplicationFailures")["Threshold"]
        assert (lag, failures) == (3600, 7)


def test_should_keep_the_pseudonym_key_in_both_regions() -> None:
    stage = replicated()
    (replica,) = stage.one("AWS::SecretsManager::Secret")["ReplicaRegions"]
    assert replica["Region"] == ELSEWHERE
    assert stage.output(replica["KmsKeyId"])["Fn::GetAtt"][0].startswith(KEYS["Raw"]), "it belongs to the PHI zone"


def test_should_go_on_with_a_promoted_pseudonym_key_and_make_no_other() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:medical-imaging-pipeline-prod/pseudonym-key-AbC123"
    stage = StageTemplate("prod", region=ELSEWHERE, pseudonym_key_arn=arn)
    assert not stage.resources("AWS::SecretsManager::Secret")
    assert stage.function("deidentification")["Environment"]["Variables"]["PSEUDONYM_SECRET_ARN"] == arn
    statements = stage.statements(stage.role("deidentification"))
    grants = [statement for statement in statements if "secretsmanager" in json.dumps(statement["Action"])]
    assert [(g["Action"], g["Resource"]) for g in grants] == [("secretsmanager:GetSecretValue", arn)]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"replica_region": "eu-central-1"}, "replica_region must be another region than eu-central-1"),
        ({"replica_region": "cn-north-1"}, "replica_region must be in the same partition of AWS as eu-central-1"),
        ({"replica_region": "Ireland"}, "replica_region"),
        (
            {"pseudonym_key_arn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbC123"},
            "pseudonym_key_arn must be of a secret in eu-central-1",
        ),
        ({"pseudonym_key_arn": "medical-imaging-pipeline-prod/pseudonym-key"}, "pseudonym_key_arn"),
    ],
)
def test_should_refuse_replication_that_is_none(overrides: dict[str, str], sentence: str) -> None:
    with pytest.raises(StageError) as refusal:
        stage_config("prod", OVERRIDES["prod"] | overrides)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("given", [{}, {"account": "123456789012"}, {"region": "eu-central-1"}])
def test_should_refuse_replication_without_account_and_region(given: dict[str, str]) -> None:
    with pytest.raises(StageError, match="replica_region needs an explicit account and region"):
        stage_config("staging", {"replica_region": ELSEWHERE, **given})
