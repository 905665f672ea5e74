"""Outputs: consumers read these names, so the test states them once more instead of importing them."""

from __future__ import annotations

from typing import Any

from tests.infrastructure.conftest import StageTemplate

NAMES = {
    "RawBucketName": "raw-bucket-name",
    "RawBucketArn": "raw-bucket-arn",
    "ProcessedBucketName": "processed-bucket-name",
    "ProcessedBucketArn": "processed-bucket-arn",
    "LogsBucketName": "logs-bucket-name",
    "LogsBucketArn": "logs-bucket-arn",
    "StateMachineArn": "state-machine-arn",
    "NotificationTopicArn": "notification-topic-arn",
    "IngestionLogGroupName": "ingestion-log-group-name",
    "ValidationLogGroupName": "validation-log-group-name",
    "DeidentificationLogGroupName": "deidentification-log-group-name",
    "WorkflowLogGroupName": "workflow-log-group-name",
    "DashboardUrl": "dashboard-url",
    "LedgerTableName": "ledger-table-name",
    "OperationsBucketName": "operations-bucket-name",
    "ReplayStateMachineArn": "replay-state-machine-arn",
    "EventBusName": "event-bus-name",
    "EventBusArn": "event-bus-arn",
    "DeliveryTopicArn": "delivery-topic-arn",
    "IntakeQueueUrl": "intake-queue-url",
    "IntakeDeadLettersUrl": "intake-dead-letters-url",
    "ScheduleDeadLettersUrl": "schedule-dead-letters-url",
    "NotificationDeadLettersUrl": "notification-dead-letters-url",
    "AuditTableName": "audit-table-name",
    "LinkAuditTableName": "link-audit-table-name",
}


def parameters(stage: StageTemplate) -> dict[str, Any]:
    found = [parameter["Properties"] for parameter in stage.resources("AWS::SSM::Parameter").values()]
    return {parameter["Name"]: parameter["Value"] for parameter in found}


def test_should_keep_every_output_under_its_name(every_stage: StageTemplate) -> None:
    assert set(every_stage.json["Outputs"]) == set(NAMES)


def test_should_publish_every_output_as_a_parameter_with_the_same_value(every_stage: StageTemplate) -> None:
    outputs = every_stage.json["Outputs"]
    assert parameters(every_stage) == {
        f"/medical-imaging-pipeline/{every_stage.config.stage}/{kebab}": outputs[name]["Value"]
        for name, kebab in NAMES.items()
    }


def test_should_point_each_output_at_what_its_name_says(dev: StageTemplate) -> None:
    values = {name: str(output["Value"]) for name, output in dev.json["Outputs"].items()}
    for name, part in {
        "RawBucketName": "BucketsRaw",
        "ProcessedBucketArn": "BucketsProcessed",
        "LogsBucketName": "BucketsLogs",
        "StateMachineArn": "WorkflowStateMachine",
        "NotificationTopicArn": "MonitoringNotifications",
        "IngestionLogGroupName": "IngestionLogs",
        "ValidationLogGroupName": "ValidationLogs",
        "DeidentificationLogGroupName": "DeidentificationLogs",
        "WorkflowLogGroupName": "WorkflowLogs",
        "DashboardUrl": "#dashboards/dashboard/medical-imaging-pipeline-dev",
        "LedgerTableName": "LedgerTable",
        "OperationsBucketName": "BucketsOperations",
        "ReplayStateMachineArn": "ReplayStateMachine",
        "EventBusName": "AnnouncementsBus",
        "EventBusArn": "AnnouncementsBus",
        "DeliveryTopicArn": "AnnouncementsDeliveries",
        "IntakeQueueUrl": "IntakeQueue",
        "IntakeDeadLettersUrl": "IntakeDeadLetters",
        "ScheduleDeadLettersUrl": "FunctionsDeadLetters",
        "NotificationDeadLettersUrl": "AnnouncementsDeadLetters",
        "AuditTableName": "'AuditTable",
        "LinkAuditTableName": "'LinkAuditTable",
    }.items():
        assert part in values[name]
