"""Replication of a bucket to its replica in another region: the rule, and the role that S3 assumes for it."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from imaging_pipeline.building_blocks.alarms import PERIOD, add_alarm
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import l1_bucket
from imaging_pipeline.stages.config import StageConfig

REPLICATED_WITHIN_MINUTES = 15
"""What S3's replication time control promises, and the only value it takes."""
EVERYTHING = "Everything"


class Replication(Construct):
    """Replicates every new object, tag and delete marker of one bucket.

    One construct a zone, hence one role a zone: it reads this bucket, writes this replica, and crosses no zone. What
    could not be replicated raises an alarm here; the alarm on the lag is the replica's.

    Attributes
    ----------
    role
        S3 assumes it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        source: s3.Bucket,
        source_zone: Zone,
        replica: s3.Bucket,
        replica_zone: Zone,
        topic: sns.Topic,
    ) -> None:
        super().__init__(scope, construct_id)
        self._source = source
        self._replica = replica
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("s3.amazonaws.com"),
            description="What S3 may do to replicate one bucket to another region",
        )
        self._allow_reading()
        self._allow_writing()
        source_zone.allow(self.role, "Decrypt", via="s3")
        replica_zone.allow(self.role, "Encrypt", "GenerateDataKey", via="s3")
        l1_bucket(source).replication_configuration = s3.CfnBucket.ReplicationConfigurationProperty(
            role=self.role.role_arn, rules=[self._rule()]
        )
        add_alarm(
            self,
            f"{source.node.id}ReplicationFailures",
            topic=topic,
            metric=self._failures(),
            above=config.alarms.failed_replications,
            meaning="Objects could not be replicated, and will not be by themselves. Mend the reason, replicate them.",
        )

    def _failures(self) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="OperationsFailedReplication",
            dimensions_map={
                "SourceBucket": self._source.bucket_name,
                "DestinationBucket": self._replica.bucket_name,
                "RuleId": EVERYTHING,
            },
            statistic="Sum",
            period=PERIOD,
        )

    def _rule(self) -> s3.CfnBucket.ReplicationRuleProperty:
        key = self._replica.encryption_key
        within = s3.CfnBucket.ReplicationTimeValueProperty(minutes=REPLICATED_WITHIN_MINUTES)
        return s3.CfnBucket.ReplicationRuleProperty(
            id=EVERYTHING,
            status="Enabled",
            priority=1,
            filter=s3.CfnBucket.ReplicationRuleFilterProperty(prefix=""),
            # Who fails over must not see again what was withdrawn. The versions below a marker stay in both buckets.
            delete_marker_replication=s3.CfnBucket.DeleteMarkerReplicationProperty(status="Enabled"),
            destination=s3.CfnBucket.ReplicationDestinationProperty(
                bucket=self._replica.bucket_arn,
                encryption_configuration=s3.CfnBucket.EncryptionConfigurationProperty(replica_kms_key_id=key.key_arn)
                if key
                else None,
                metrics=s3.CfnBucket.MetricsProperty(status="Enabled", event_threshold=within),
                replication_time=s3.CfnBucket.ReplicationTimeProperty(status="Enabled", time=within),
            ),
            source_selection_criteria=s3.CfnBucket.SourceSelectionCriteriaProperty(
                sse_kms_encrypted_objects=s3.CfnBucket.SseKmsEncryptedObjectsProperty(status="Enabled")
            )
            if key
            else None,
        )

    def _allow_reading(self) -> None:
        self._allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], self._source.bucket_arn)
        actions = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
        if l1_bucket(self._source).object_lock_enabled:
            actions += ["s3:GetObjectRetention", "s3:GetObjectLegalHold"]
        self._allow(actions, self._source.arn_for_objects("*"))

    def _allow_writing(self) -> None:
        """Allow writing to the replica for as long as it is this account's: a deleted bucket's name is anybody's."""
        self._allow(
            ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"],
            self._replica.arn_for_objects("*"),
            {"StringEquals": {"aws:ResourceAccount": Stack.of(self).account}},
        )

    def _allow(self, actions: list[str], resource: str, conditions: dict[str, object] | None = None) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions))
