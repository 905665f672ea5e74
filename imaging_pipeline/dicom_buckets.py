"""The buckets: raw objects and operations (PHI zone), processed objects (research zone), and the access logs."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.stages import StageConfig
from imaging_pipeline.zones import Zone, Zones

ABORT_UPLOADS_AFTER = Duration.days(1)


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
        self._config = config
        infrequent_access = _transition(s3.StorageClass.INFREQUENT_ACCESS, config.infrequent_access_after_days)
        glacier = _transition(s3.StorageClass.GLACIER, config.glacier_after_days)
        self.logs = self._log_bucket()
        self.raw = self._data_bucket("Raw", zone=zones.phi, transitions=[infrequent_access])
        self.processed = self._data_bucket("Processed", zone=zones.research, transitions=[infrequent_access, glacier])
        self.operations = self._data_bucket("Operations", zone=zones.phi, transitions=[infrequent_access])
        zones.phi.refuse_other_keys(self.raw)
        zones.research.refuse_other_keys(self.processed)
        zones.phi.refuse_other_keys(self.operations)
        _notify_event_bridge(self.raw)

    def _log_bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Logs",
            versioned=True,
            # S3 delivers access logs to buckets with SSE-S3 only.
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="ExpireLogs",
                    expiration=Duration.days(self._config.access_log_retention_days),
                    noncurrent_version_expiration=Duration.days(self._config.access_log_retention_days),
                    abort_incomplete_multipart_upload_after=ABORT_UPLOADS_AFTER,
                )
            ],
            removal_policy=self._config.removal_policy,
        )

    def _data_bucket(self, name: str, *, zone: Zone, transitions: list[s3.Transition]) -> s3.Bucket:
        return s3.Bucket(
            self,
            name,
            versioned=True,
            encryption=s3.BucketEncryption.KMS if zone.key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=zone.key,
            bucket_key_enabled=True if zone.key else None,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=self.logs,
            server_access_logs_prefix=f"{name.lower()}/",
            # The only source of S3's 4xxErrors, which the alarm on denied requests reads.
            metrics=[s3.BucketMetrics(id="EntireBucket")],
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="KeepCheaply",
                    transitions=transitions,
                    abort_incomplete_multipart_upload_after=ABORT_UPLOADS_AFTER,
                )
            ],
            removal_policy=self._config.removal_policy,
        )


def _transition(storage_class: s3.StorageClass, days: int) -> s3.Transition:
    return s3.Transition(storage_class=storage_class, transition_after=Duration.days(days))


def _notify_event_bridge(bucket: s3.Bucket) -> None:
    """Turn on EventBridge on the L1 bucket; the L2 switch would add a custom resource with a function and a role."""
    resource = bucket.node.default_child
    if not isinstance(resource, s3.CfnBucket):  # pragma: no cover - the L2 bucket always has its L1
        raise TypeError("the bucket has no CfnBucket")
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    )
