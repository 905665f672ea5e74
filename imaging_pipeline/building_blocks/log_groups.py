"""Log groups: kept as long as the stage says, and encrypted by their zone's key."""

from __future__ import annotations

from aws_cdk import aws_logs as logs
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig


def log_group(scope: Construct, construct_id: str, *, name: str, config: StageConfig, zone: Zone) -> logs.LogGroup:
    """Return a log group, which CloudWatch Logs may encrypt with the zone's key."""
    zone.admit_logs(name)
    return logs.LogGroup(
        scope,
        construct_id,
        log_group_name=name,
        encryption_key=zone.key,
        retention=config.log_retention,
        removal_policy=config.removal_policy,
    )
