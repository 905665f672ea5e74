"""Tables: on demand, encrypted by their zone's key, with point-in-time recovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.indexes import Index


def table(
    scope: Construct,
    *,
    name: str,
    key: tuple[str, ...],
    indexes: Mapping[Any, Index],
    config: StageConfig,
    zone: Zone,
    time_to_live_attribute: str | None = None,
    resource_policy: iam.PolicyDocument | None = None,
) -> dynamodb.Table:
    """Return the table `<stack>-<name>`.

    Parameters
    ----------
    key
        Attributes of its primary key, strings all: partition, and sort where there is one.
    indexes
        Global secondary indexes by name, each with what it projects and nothing else.
    zone
        Whose key encrypts it.
    time_to_live_attribute
        Seconds since 1970 after which DynamoDB removes an item; none: it keeps all.
    resource_policy
        Of the table; none: IAM alone decides.
    """
    made = dynamodb.Table(
        scope,
        "Table",
        table_name=f"{config.name}-{name}",
        partition_key=_text(key[0]),
        sort_key=_text(key[1]) if len(key) > 1 else None,
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if zone.key else dynamodb.TableEncryption.AWS_MANAGED,
        encryption_key=zone.key,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=config.termination_protection,
        removal_policy=config.removal_policy,
        time_to_live_attribute=time_to_live_attribute,
        resource_policy=resource_policy,
    )
    for index_name, index in indexes.items():
        made.add_global_secondary_index(
            index_name=index_name,
            partition_key=_text(index.partition),
            sort_key=_text(index.sort),
            projection_type=_projection(index),
            non_key_attributes=list(index.projected) if index.projected else None,
        )
    return made


def _projection(index: Index) -> dynamodb.ProjectionType:
    if index.projected is None:
        return dynamodb.ProjectionType.ALL
    return dynamodb.ProjectionType.INCLUDE if index.projected else dynamodb.ProjectionType.KEYS_ONLY


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
