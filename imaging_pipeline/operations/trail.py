"""CloudTrail's record of who read, wrote or deleted which raw or processed object."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import DicomBuckets, log_bucket
from imaging_pipeline.stages.config import StageConfig

CLOUDTRAIL = "cloudtrail.amazonaws.com"


class Trail(Construct):
    """Data events of the raw and the processed bucket, and of their replicas, in a bucket of their own.

    They hold object keys, so they belong to the PHI zone and are encrypted with its key.

    Attributes
    ----------
    bucket
        CloudTrail's logs and the digests that prove them whole.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        retention_days: int,
        buckets: DicomBuckets,
        replicas: Sequence[s3.Bucket],
        zone: Zone,
    ) -> None:
        super().__init__(scope, construct_id)
        # A trail that records in several regions has its name in each.
        name = f"{config.name}-data-events-{Stack.of(self).region}"
        self._arn = Stack.of(self).format_arn(
            service="cloudtrail", resource="trail", resource_name=name, arn_format=ArnFormat.SLASH_RESOURCE_NAME
        )
        self.bucket = log_bucket(self, "DataEvents", config=config, expire_after_days=retention_days, logs=buckets.logs)
        self._let_cloudtrail_write()
        self._let_cloudtrail_encrypt(zone)
        trail = cloudtrail.CfnTrail(
            self,
            "Trail",
            trail_name=name,
            is_logging=True,
            s3_bucket_name=self.bucket.bucket_name,
            kms_key_id=zone.key.key_arn if zone.key else None,
            enable_log_file_validation=True,
            # What the selectors name in another region is recorded here too. A trail of several regions must include
            # the events of global services, of which the selectors let none in.
            is_multi_region_trail=bool(replicas),
            include_global_service_events=bool(replicas),
            advanced_event_selectors=[
                cloudtrail.CfnTrail.AdvancedEventSelectorProperty(
                    name="Requests to raw and processed objects",
                    field_selectors=[
                        _selector("eventCategory", equal_to=["Data"]),
                        _selector("resources.type", equal_to=["AWS::S3::Object"]),
                        _selector(
                            "resources.ARN",
                            starts_with=[
                                bucket.arn_for_objects("") for bucket in (buckets.raw, buckets.processed, *replicas)
                            ],
                        ),
                    ],
                )
            ],
        )
        if self.bucket.policy:
            trail.node.add_dependency(self.bucket.policy)

    def _let_cloudtrail_write(self) -> None:
        objects = self.bucket.arn_for_objects(f"AWSLogs/{Stack.of(self).account}/*")
        for action, resource, conditions in (
            ("s3:GetBucketAcl", self.bucket.bucket_arn, {}),
            ("s3:PutObject", objects, {"s3:x-amz-acl": "bucket-owner-full-control"}),
        ):
            self.bucket.add_to_resource_policy(self._grant([action], resource, conditions))

    def _let_cloudtrail_encrypt(self, zone: Zone) -> None:
        """Let it make data keys for this trail ("Configure AWS KMS key policies for CloudTrail")."""
        own = {"aws:SourceArn": self._arn}
        zone.admit(CLOUDTRAIL, "DescribeKey", when=own)
        zone.admit(
            CLOUDTRAIL,
            *("GenerateDataKey", "GenerateDataKeyWithoutPlaintext"),
            when={**own, "kms:EncryptionContext:aws:cloudtrail:arn": self._arn},
        )

    def _grant(self, actions: list[str], resource: str, conditions: dict[str, str]) -> iam.PolicyStatement:
        """Return a grant to CloudTrail on behalf of this trail, and of no other account's or name."""
        return iam.PolicyStatement(
            principals=[iam.ServicePrincipal(CLOUDTRAIL)],
            actions=actions,
            resources=[resource],
            conditions={"StringEquals": {"aws:SourceArn": self._arn, **conditions}},
        )


def _selector(
    field: str, *, equal_to: list[str] | None = None, starts_with: list[str] | None = None
) -> cloudtrail.CfnTrail.AdvancedFieldSelectorProperty:
    return cloudtrail.CfnTrail.AdvancedFieldSelectorProperty(field=field, equal_to=equal_to, starts_with=starts_with)
