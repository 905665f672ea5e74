"""Alarms, and the topic by which they tell the operators."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.building_blocks.messaging import notification_topic
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig

PERIOD = Duration.minutes(5)


def alarm_topic(
    scope: Construct, *, config: StageConfig, dead_letters: sqs.Queue, zone: Zone, publishers: tuple[str, ...]
) -> sns.Topic:
    """Return the topic of a stack that tells the stage's addresses of alarms in its region."""
    topic = notification_topic(
        scope,
        "Notifications",
        name=f"{Stack.of(scope).stack_name}-notifications",
        addresses=config.alert_emails,
        dead_letters=dead_letters,
        zone=zone,
        publishers=publishers,
    )
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AllowAlarms",
            principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return topic


def add_alarm(
    scope: Construct, name: str, *, topic: sns.Topic, metric: cloudwatch.IMetric, above: float, meaning: str
) -> None:
    """Add an alarm that notifies the topic when the metric exceeds a value within five minutes."""
    alarm = cloudwatch.Alarm(
        scope,
        name,
        alarm_name=f"{Stack.of(scope).stack_name}-{name}",
        alarm_description=meaning,
        metric=metric,
        threshold=above,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluation_periods=1,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))


def alarm_on_denied_requests(
    scope: Construct, buckets: Mapping[str, s3.Bucket], *, topic: sns.Topic, above: float
) -> None:
    """Watch for refused requests to buckets, by the names that alarms have for them.

    S3 counts 403 with the other client errors only; a healthy pipeline causes next to none of either.
    """
    for name, bucket in buckets.items():
        add_alarm(
            scope,
            f"{name}BucketDeniedRequests",
            topic=topic,
            metric=request_metric(bucket, "4xxErrors", PERIOD),
            above=above,
            meaning=f"The {name.lower()} bucket refused requests. Its access logs say whose.",
        )


def request_metric(bucket: s3.Bucket, name: str, period: Duration, *, label: str | None = None) -> cloudwatch.Metric:
    """One of S3's request metrics, which exist because the bucket has a filter named EntireBucket."""
    return cloudwatch.Metric(
        namespace="AWS/S3",
        metric_name=name,
        dimensions_map={"BucketName": bucket.bucket_name, "FilterId": "EntireBucket"},
        statistic="Sum",
        period=period,
        label=label,
    )
