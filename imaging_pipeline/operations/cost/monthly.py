"""The bill for a month: what is there without any object, and what is kept of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.per_object import DATA_BUCKETS, index_use, log_kb, moves
from imaging_pipeline.operations.cost.prices import Line
from imaging_pipeline.operations.cost.templates import NEVER, Lifecycle, Templates, lifecycle, minutes_between
from runtime.contract.names import Function, Metric

YEAR: Final = 365
HOURS: Final = 730
"""In a month."""
REPLICATION_METRICS: Final = 4
"""Latency, bytes and operations that wait, operations that failed ("Metrics and dimensions", Amazon S3 User Guide)."""


def fixed(templates: Templates, assumed: Assumptions) -> list[Line]:
    """Return what a month costs without any object; lines of what the stage doesn't have are left out."""
    buckets = templates.every("AWS::S3::Bucket")
    rules = [rule for bucket in buckets for rule in bucket.get("ReplicationConfiguration", {}).get("Rules", [])]
    request_filters = sum(len(bucket.get("MetricsConfigurations", [])) for bucket in buckets)
    lines = [
        Line("metrics of alarms", "cloudwatch_alarm_metric_month", _alarm_metrics(templates)),
        Line("dashboard", "cloudwatch_dashboard_month", len(templates.every("AWS::CloudWatch::Dashboard"))),
        Line("custom metrics", "cloudwatch_metric_month", len(Metric) + assumed.function_metrics),
        Line("request metrics of S3", "cloudwatch_metric_month", request_filters * assumed.request_metrics),
        Line(
            "replication metrics of S3",
            "cloudwatch_metric_month",
            REPLICATION_METRICS * sum("Metrics" in rule["Destination"] for rule in rules),
        ),
        Line("interface endpoints, hours", "vpc_endpoint_hour", _endpoint_zones(templates) * HOURS),
        Line("keys", "kms_key_month", len(templates.every("AWS::KMS::Key"))),
        Line("secrets", "secretsmanager_secret_month", _secrets(templates)),
    ]
    return [line for line in lines if line.quantity]


def kept(templates: Templates, assumed: Assumptions, *, objects_per_day: float, days: int = YEAR) -> list[Line]:
    """Return what a month costs for what is kept, and compared, after so many days of deliveries."""
    return [
        *_buckets(templates, assumed, objects_per_day, days),
        *_tables(templates, assumed, objects_per_day * days),
        *_logs(templates, assumed, objects_per_day, days),
        *_reconciliation(templates, assumed, objects_per_day, days),
    ]


def days_by_class(life: Lifecycle, days: int) -> dict[str, float]:
    """Return how many days' objects each storage class holds after so many days."""
    starts = [("STANDARD", 0), *life.classes]
    ends = [start for _, start in life.classes] + [NEVER]
    held = {
        storage_class: min(end, life.days, days) - start
        for (storage_class, start), end in zip(starts, ends, strict=True)
    }
    return {storage_class: count for storage_class, count in held.items() if count > 0}


def _alarm_metrics(templates: Templates) -> int:
    """Count an alarm on an expression by the metrics that this reads, and a query as the one that it finds."""
    return sum(
        max(1, sum("MetricStat" in metric for metric in alarm.get("Metrics", [])))
        for alarm in templates.every("AWS::CloudWatch::Alarm")
    )


def _endpoint_zones(templates: Templates) -> int:
    endpoints = templates.every("AWS::EC2::VPCEndpoint")
    return sum(len(endpoint["SubnetIds"]) for endpoint in endpoints if endpoint["VpcEndpointType"] == "Interface")


def _secrets(templates: Templates) -> int:
    return sum(1 + len(secret.get("ReplicaRegions", [])) for secret in templates.every("AWS::SecretsManager::Secret"))


def _buckets(templates: Templates, assumed: Assumptions, objects_per_day: float, days: int) -> Iterator[Line]:
    for name in DATA_BUCKETS:
        for bucket, properties in templates.buckets(name).items():
            held = days_by_class(moves(lifecycle(properties), assumed), days)
            for storage_class, count in held.items():
                gigabytes = count * objects_per_day * assumed.object_mb / 1024
                yield Line(f"{bucket}, {storage_class}, GB", f"s3_{storage_class.lower()}_gb_month", gigabytes)


def _tables(templates: Templates, assumed: Assumptions, objects: float) -> Iterator[Line]:
    recovered = 0.0
    for part, table, kb in (
        ("ledger", "LedgerTable", assumed.ledger_kb),
        ("audit log", "AuditTable", assumed.audit_kb),
    ):
        indexed = sum(use.kept_kb for use in index_use(templates, table))
        yield Line(f"{part} with indexes, GB", "dynamodb_gb_month", objects * (kb + indexed) / 1024**2)
        if templates.table(table)["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]:
            recovered += objects * kb / 1024**2
    yield Line("their point-in-time recovery, GB", "dynamodb_recovery_gb_month", recovered)


def _logs(templates: Templates, assumed: Assumptions, objects_per_day: float, days: int) -> Iterator[Line]:
    retention = max(group.get("RetentionInDays", NEVER) for group in templates.every("AWS::Logs::LogGroup"))
    gigabytes = objects_per_day * sum(log_kb(templates, assumed).values()) / 1024**2
    yield Line("logs, compressed, GB", "logs_gb_month", gigabytes * min(retention, days) * assumed.log_compression)


def _reconciliation(templates: Templates, assumed: Assumptions, objects_per_day: float, days: int) -> Iterator[Line]:
    """Count every raw version as a thousandth of a LIST request and half a read unit of the ledger, at each tick."""
    life = lifecycle(templates.buckets("Raw")["raw bucket"])
    versions = min(objects_per_day * min(days, life.days), assumed.compared_versions)
    rule = templates.schedule(Function.RECONCILIATION)
    compared = versions * HOURS * 60 / minutes_between(rule)
    function = templates.function(Function.RECONCILIATION)
    (architecture,) = function["Architectures"]
    gb_seconds = compared * assumed.compared_ms / 1000 * function["MemorySize"] / 1024
    yield Line("reconciliation, reads", "dynamodb_read", compared / 2)
    yield Line("reconciliation, LIST requests", "s3_put", compared / 1000)
    yield Line("reconciliation, GB-seconds", f"lambda_gb_second_{architecture}", gb_seconds)
