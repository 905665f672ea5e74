"""Delivery: the role that reads results for researchers, and from where and by whom results may be read at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.audit import AuditTable
from imaging_pipeline.stages import StageConfig
from imaging_pipeline.zones import Zone
from runtime.contract import Output

LONGEST_SESSION: Final = Duration.hours(12)
"""The most that IAM allows: a download link dies with the session that signed it."""

LOOKED_UP: Final = (Output.PROCESSED_BUCKET_NAME, Output.LINK_AUDIT_TABLE_NAME)
"""What the command that makes links finds the stage by."""


class Delivery(Construct):
    """What the stage says of its consumers, as a role and as refusals in the processed bucket's policy.

    A refusal speaks of everybody, the account's administrators included, but for the pipeline's own readers. Only
    objects are refused, never the policy itself, so that a wrong setting can be mended.

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
        self._bucket = processed_bucket
        own = [reader.role_arn for reader in readers]
        self.role = self._delivery_role(config, zone, audit) if config.delivery_principals else None
        if self.role:
            allowed = [*own, self.role.role_arn]
            self._refuse("ReadThroughDeliveryRoleOnly", {"ArnNotEquals": {"aws:PrincipalArn": allowed}})
        if config.delivery_networks:
            self._refuse("ReadFromDeliveryNetworksOnly", _elsewhere(config, own))

    def _delivery_role(self, config: StageConfig, zone: Zone, audit: AuditTable) -> iam.Role:
        """Read results, list their keys, and record links, with the research zone's key: nothing of the PHI zone."""
        role = iam.Role(
            self,
            "Role",
            role_name=f"{config.name}-delivery",
            assumed_by=iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in config.delivery_principals)),
            description=f"{config.name}: what those may do who hand out results",
            max_session_duration=LONGEST_SESSION,
        )
        role.add_to_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[self._bucket.arn_for_objects("*")]))
        # Also, only to who may list does S3 say that an object is gone; to others, that access is denied.
        role.add_to_policy(iam.PolicyStatement(actions=["s3:ListBucket"], resources=[self._bucket.bucket_arn]))
        zone.allow(role, "Decrypt", via="s3")
        audit.allow_recording(role)
        names = [output.parameter(config.stage).removeprefix("/") for output in LOOKED_UP]
        looked_up = [
            Stack.of(self).format_arn(service="ssm", resource="parameter", resource_name=name) for name in names
        ]
        role.add_to_policy(iam.PolicyStatement(actions=["ssm:GetParameter"], resources=looked_up))
        return role

    def _refuse(self, sid: str, conditions: Mapping[str, Any]) -> None:
        self._bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["s3:GetObject*"],
                resources=[self._bucket.arn_for_objects("*")],
                conditions=conditions,
            )
        )


def _elsewhere(config: StageConfig, own: Sequence[str]) -> dict[str, Any]:
    """Describe requests that come neither from a delivery network nor from the pipeline.

    All operators must hold for a refusal. A negated one holds where its key is missing: a request through a VPC
    endpoint has no `aws:SourceIp`, and one from the internet no `aws:SourceVpce`.
    """
    conditions: dict[str, Any] = {"ArnNotEquals": {"aws:PrincipalArn": list(own)}}
    if config.delivery_ranges:
        conditions["NotIpAddress"] = {"aws:SourceIp": config.delivery_ranges}
    if config.delivery_endpoints:
        conditions["StringNotEquals"] = {"aws:SourceVpce": config.delivery_endpoints}
    return conditions
