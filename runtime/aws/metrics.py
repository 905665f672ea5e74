"""Counts of objects beside the workflow's own. Talks to CloudWatch.

Put as the workflow puts its counts, since both are read together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from runtime.contract.names import METRIC_NAMESPACE, STAGE_DIMENSION, Metric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient


def cloudwatch_client() -> CloudWatchClient:
    """Return a CloudWatch client."""
    retries = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=5)
    return boto3.client("cloudwatch", config=retries)


def put_count(client: CloudWatchClient, stage: str, metric: Metric, count: int) -> None:
    """Add a count to one of the stage's metrics."""
    client.put_metric_data(
        Namespace=METRIC_NAMESPACE,
        MetricData=[
            {
                "MetricName": metric.value,
                "Dimensions": [{"Name": STAGE_DIMENSION, "Value": stage}],
                "Unit": "Count",
                "Value": count,
            }
        ],
    )
