"""The buckets: raw objects and operations (PHI zone), processed objects (research zone), and the access logs."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.building_blocks.function import PipelineFunction
from imaging_pipeline.building_blocks.zones import Zone, Zones
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Output

ABORT_UPLOADS_AFTER = Duration.days(1)
KEY_HEADERS = ("-aws-kms-key-id", "-customer-algorithm")


class DicomBuckets(Construct):
    """Raw, processed, operations and log buckets: encrypted, private, TLS only.

    Attributes
    ----------
    raw
        What scanners upload. Tells EventBridge of every object.
    processed
        De-identified objects under keys of pseudonyms.
    operations
        What replays report. Holds object keys, so it belongs to the PHI zone.
    logs
        Server access logs of the others.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, zones: Zones) -> None:
        super().__init__(scope, construct_id)
        self._zones = zones
        self.logs = log_bucket(self, "Logs", config=config, expire_after_days=config.access_log_retention_days)
        self.raw = raw_bucket(self, config=config, zone=zones.phi, logs=self.logs)
        self.processed = processed_bucket(self, config=config, zone=zones.research, logs=self.logs)
        self.operations = _data_bucket(
            self,
            "Operations",
            config=config,
            zone=zones.phi,
            logs=self.logs,
            lifecycle=_lifecycle(config, config.operations_retention_days),
        )
        _notify_event_bridge(self.raw)

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.RAW_BUCKET_NAME: self.raw.bucket_name,
            Output.RAW_BUCKET_ARN: self.raw.bucket_arn,
            Output.PROCESSED_BUCKET_NAME: self.processed.bucket_name,
            Output.PROCESSED_BUCKET_ARN: self.processed.bucket_arn,
            Output.LOGS_BUCKET_NAME: self.logs.bucket_name,
            Output.LOGS_BUCKET_ARN: self.logs.bucket_arn,
            Output.OPERATIONS_BUCKET_NAME: self.operations.bucket_name,
        }

    def allow_reading_raw(self, function: PipelineFunction) -> None:
        """Allow a function to read versions of raw objects; without its version, none."""
        function.allow(["s3:GetObjectVersion"], self.raw.arn_for_objects("*"))
        # Only to who may list does S3 say that an object is gone; to others, that access is denied.
        function.allow(["s3:ListBucket"], self.raw.bucket_arn)
        self._zones.phi.allow(function.role, "Decrypt", via="s3")


def raw_bucket(scope: Construct, *, config: StageConfig, zone: Zone, logs: s3.Bucket) -> s3.Bucket:
    """Return a bucket for raw objects, which nobody can delete for as long as the stage locks them."""
    lifecycle = _lifecycle(config, config.raw_retention_days)
    bucket = _data_bucket(scope, "Raw", config=config, zone=zone, logs=logs, lifecycle=lifecycle)
    if config.object_lock_mode:
        l1_bucket(bucket).object_lock_enabled = True
        l1_bucket(bucket).object_lock_configuration = s3.CfnBucket.ObjectLockConfigurationProperty(
            object_lock_enabled="Enabled",
            rule=s3.CfnBucket.ObjectLockRuleProperty(
                default_retention=s3.CfnBucket.DefaultRetentionProperty(
                    mode=config.object_lock_mode, days=config.object_lock_days
                )
            ),
        )
    return bucket


def processed_bucket(scope: Construct, *, config: StageConfig, zone: Zone, logs: s3.Bucket) -> s3.Bucket:
    """Return a bucket for processed objects, which move on to Glacier."""
    lifecycle = _lifecycle(config, config.processed_retention_days, glacier_after_days=config.glacier_after_days)
    return _data_bucket(scope, "Processed", config=config, zone=zone, logs=logs, lifecycle=lifecycle)


def log_bucket(
    scope: Construct, construct_id: str, *, config: StageConfig, expire_after_days: int, logs: s3.Bucket | None = None
) -> s3.Bucket:
    """Return a bucket that an AWS service writes logs to, and that forgets them after a while.

    S3 delivers access logs to buckets with SSE-S3 only, and CloudTrail encrypts its logs by itself.
    """
    return s3.Bucket(
        scope,
        construct_id,
        versioned=True,
        encryption=s3.BucketEncryption.S3_MANAGED,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        server_access_logs_bucket=logs,
        server_access_logs_prefix=f"{construct_id.lower()}/" if logs else None,
        lifecycle_rules=[
            s3.LifecycleRule(
                id="ExpireLogs",
                expiration=Duration.days(expire_after_days),
                noncurrent_version_expiration=Duration.days(expire_after_days),
                abort_incomplete_multipart_upload_after=ABORT_UPLOADS_AFTER,
            )
        ],
        removal_policy=config.removal_policy,
    )


def l1_bucket(bucket: s3.Bucket) -> s3.CfnBucket:
    """Return the L1 bucket, for what the L2 one can't say or says by a custom resource."""
    resource = bucket.node.default_child
    if not isinstance(resource, s3.CfnBucket):  # pragma: no cover - the L2 bucket always has its L1
        raise TypeError("the bucket has no CfnBucket")
    return resource


def _data_bucket(
    scope: Construct,
    name: str,
    *,
    config: StageConfig,
    zone: Zone,
    logs: s3.Bucket,
    lifecycle: s3.LifecycleRule,
) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        name,
        versioned=True,
        encryption=s3.BucketEncryption.KMS if zone.key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=zone.key,
        bucket_key_enabled=True if zone.key else None,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        server_access_logs_bucket=logs,
        server_access_logs_prefix=f"{name.lower()}/",
        # The only source of S3's 4xxErrors, which the alarm on denied requests reads.
        metrics=[s3.BucketMetrics(id="EntireBucket")],
        lifecycle_rules=[lifecycle],
        removal_policy=config.removal_policy,
    )
    if zone.key:
        _refuse_other_keys(bucket, zone.key)
    return bucket


def _refuse_other_keys(bucket: s3.Bucket, key: kms.IKey) -> None:
    """Refuse objects whose uploader asks for another encryption than the bucket's own, which needs no asking.

    SSE-KMS without a key would be that of the account's AWS-managed key, not the bucket's (Amazon S3 API Reference,
    "PutObject").
    """
    encryption, key_id, customer = (f"s3:x-amz-server-side-encryption{end}" for end in ("", *KEY_HEADERS))
    for conditions in (
        {"Null": {encryption: "false"}, "StringNotEquals": {encryption: "aws:kms"}},
        {"Null": {key_id: "false"}, "StringNotEquals": {key_id: key.key_arn}},
        {"Null": {key_id: "true"}, "StringEquals": {encryption: "aws:kms"}},
        {"Null": {customer: "false"}},
    ):
        bucket.add_to_resource_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects("*")],
                conditions=conditions,
            )
        )


def _lifecycle(
    config: StageConfig, retention_days: int | None, *, glacier_after_days: int | None = None
) -> s3.LifecycleRule:
    """Return the one rule of a data bucket. What expires is a noncurrent version at first, and gone when that expires.

    Nothing moves to another storage class that would expire before.
    """
    classes = [
        (s3.StorageClass.INFREQUENT_ACCESS, config.infrequent_access_after_days),
        (s3.StorageClass.GLACIER, glacier_after_days),
    ]
    noncurrent = config.noncurrent_retention_days
    return s3.LifecycleRule(
        id="KeepCheaply",
        transitions=[
            s3.Transition(storage_class=storage_class, transition_after=Duration.days(days))
            for storage_class, days in classes
            if days and (retention_days is None or days < retention_days)
        ],
        expiration=Duration.days(retention_days) if retention_days else None,
        noncurrent_version_expiration=Duration.days(noncurrent) if noncurrent else None,
        # A delete marker that hides nothing any more still tells the key. Where objects expire, S3 sweeps it by itself.
        expired_object_delete_marker=True if noncurrent and not retention_days else None,
        abort_incomplete_multipart_upload_after=ABORT_UPLOADS_AFTER,
    )


def _notify_event_bridge(bucket: s3.Bucket) -> None:
    """Turn on EventBridge on the L1 bucket; the L2 switch would add a custom resource with a function and a role."""
    l1_bucket(bucket).notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
