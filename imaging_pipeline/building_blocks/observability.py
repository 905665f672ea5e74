"""Log groups, and the right to publish metrics."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import METRIC_NAMESPACE


def log_group(scope: Construct, construct_id: str, *, name: str, config: StageConfig, zone: Zone) -> logs.LogGroup:
    """Return a log group: kept as long as the stage says, and encrypted by its zone's key."""
    zone.admit_logs(name)
    return logs.LogGroup(
        scope,
        construct_id,
        log_group_name=name,
        encryption_key=zone.key,
        retention=config.log_retention,
        removal_policy=config.removal_policy,
    )


def publishing_metrics() -> iam.PolicyStatement:
    """Return the right to publish metrics of the pipeline's namespace."""
    return iam.PolicyStatement(
        actions=["cloudwatch:PutMetricData"],
        resources=["*"],  # the action knows no resources; the namespace bounds it
        conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
    )
