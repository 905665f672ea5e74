"""Counts of objects, in the form of the workflow's own counts. Talks to CloudWatch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.contract.names import METRIC_NAMESPACE, STAGE_DIMENSION, Metric

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient


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
