"""The right to publish the pipeline's metrics."""

from __future__ import annotations

from aws_cdk import aws_iam as iam

from runtime.contract.names import METRIC_NAMESPACE


def publishing_metrics() -> iam.PolicyStatement:
    """Return the right to publish metrics of the pipeline's namespace."""
    return iam.PolicyStatement(
        actions=["cloudwatch:PutMetricData"],
        resources=["*"],  # the action knows no resources; the namespace bounds it
        conditions={"StringEquals": {"cloudwatch:namespace": METRIC_NAMESPACE}},
    )
