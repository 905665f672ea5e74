"""Delivery: the role that reads results for researchers, and from where and by whom results may be read at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Output

LONGEST_SESSION: Final = Duration.hours(12)
"""The most that IAM allows: a download link dies with the session that signed it."""

LOOKED_UP: Final = (Output.PROCESSED_BUCKET_NAME, Output.LINK_AUDIT_TABLE_NAME)
"""What the command that makes links finds the stage by."""


class Delivery(Construct):
    """What the stage says of its consumers, as a role and as refusals in the policies of the buckets with results.

    Parameters
    ----------
    processed_bucket
        Holds the results.
    zone
        Of that bucket.
    audit
        Where links are recorded before they are handed out.
    readers
        The pipeline's own roles that read objects of that bucket.

    Attributes
    ----------
    role
        Of those who hand out results; none where the stage names no principals.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        processed_bucket: s3.Bucket,
        zone: Zone,
        audit: AuditTable,
        readers: Sequence[iam.IRole],
    ) -> None:
        super().__init__(scope, construct_id)
        self.role = self._delivery_role(config, audit) if config.delivery_principals else None
        if self.role:
            allow_reading(self.role, processed_bucket, zone)
        restrict_reading(processed_bucket, config=config, readers=[reader.role_arn for reader in readers])

    def _delivery_role(self, config: StageConfig, audit: AuditTable) -> iam.Role:
        """Record links, and find the stage: what lets it read is granted for each bucket."""
        role = iam.Role(
            self,
            "Role",
            role_name=delivery_role_name(config, Stack.of(self).region),
            assumed_by=iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in config.delivery_principals)),
            description=f"{config.name}: what those may do who hand out results",
            max_session_duration=LONGEST_SESSION,
        )
        audit.allow_recording(role)
        for output in LOOKED_UP:
            name = output.parameter(config.stage).removeprefix("/")
            parameter = Stack.of(self).format_arn(service="ssm", resource="parameter", resource_name=name)
            role.add_to_policy(iam.PolicyStatement(actions=["ssm:GetParameter"], resources=[parameter]))
        return role


def delivery_role_name(config: StageConfig, region: str) -> str:
    """Return the name of a region's delivery role: IAM is global, and the stage may go on in another region."""
    return f"{config.name}-delivery-{region}"


def allow_reading(role: iam.Role, bucket: s3.Bucket, zone: Zone) -> None:
    """Let the delivery role read results, list their keys, and use the research zone's key for that."""
    role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects("*")]))
    # Also, only to who may list does S3 say that an object is gone; to others, that access is denied.
    role.add_to_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn]))
    zone.allow(role, "Decrypt", via="s3")


def restrict_reading(bucket: s3.Bucket, *, config: StageConfig, readers: Sequence[str]) -> None:
    """Refuse results to everybody whom the stage doesn't name, wherever they come from.

    A refusal speaks of everybody, the account's administrators included, but for the pipeline's own readers. Only
    objects are refused, never the policy itself, so that a wrong setting can be mended.

    Parameters
    ----------
    bucket
        Holds results; in whichever region.
    config
        Names principals and networks.
    readers
        ARNs of the pipeline's own roles that read objects of this bucket.
    """
    if config.delivery_principals:
        name = delivery_role_name(config, config.region or Aws.REGION)
        role = Stack.of(bucket).format_arn(service="iam", region="", resource="role", resource_name=name)
        _refuse(bucket, "ReadThroughDeliveryRoleOnly", {"ArnNotEquals": {"aws:PrincipalArn": [*readers, role]}})
    if config.delivery_networks:
        _refuse(bucket, "ReadFromDeliveryNetworksOnly", _elsewhere(config, readers))


def _refuse(bucket: s3.Bucket, sid: str, conditions: Mapping[str, Any]) -> None:
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:GetObject*"],
            resources=[bucket.arn_for_objects("*")],
            conditions=conditions,
        )
    )


def _elsewhere(config: StageConfig, readers: Sequence[str]) -> dict[str, Any]:
    """Describe requests that come neither from a delivery network nor from the pipeline.

    All operators must hold for a refusal. A negated one holds where its key is missing: a request through a VPC
    endpoint has no `aws:SourceIp`, and one from the internet no `aws:SourceVpce`.
    """
    conditions: dict[str, Any] = {"ArnNotEquals": {"aws:PrincipalArn": list(readers)}} if readers else {}
    if config.delivery_ranges:
        conditions["NotIpAddress"] = {"aws:SourceIp": config.delivery_ranges}
    if config.delivery_endpoints:
        conditions["StringNotEquals"] = {"aws:SourceVpce": config.delivery_endpoints}
    return conditions
