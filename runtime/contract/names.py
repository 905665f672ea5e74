"""Names that infrastructure and handlers share."""

from __future__ import annotations

import re
from enum import StrEnum

PROJECT = "medical-imaging-pipeline"


METRIC_NAMESPACE = "MedicalImaging/Pipeline"


STEP_FAILED = "StepFailedError"
"""Error name of a failed step: the class of its exception."""


TAG_VALUE_LENGTH = 256
"""Length limit of an object's tag value in Amazon S3, in characters."""


class Function(StrEnum):
    """Lambda functions of the pipeline. The value ends the names of the function and its log group."""

    INGESTION = "ingestion"
    VALIDATION = "validation"
    DEIDENTIFICATION = "deidentification"
    DISPATCHER = "dispatcher"
    RECONCILIATION = "reconciliation"
    COMPLETENESS = "completeness"
    REPLAY = "replay"


STEPS = (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)
"""Functions of the processing workflow, in order."""


class State(StrEnum):
    """State names of the processing workflow, which operators see in the console and in runbooks."""

    INGESTION_STEP = "IngestionStep"
    CHECK_INGESTION_STATUS = "CheckIngestionStatus"
    PARSE_INGESTION_RESULT = "ParseIngestionResult"
    VALIDATION_STEP = "ValidationStep"
    CHECK_VALIDATION_STATUS = "CheckValidationStatus"
    PARSE_VALIDATION_RESULT = "ParseValidationResult"
    DEIDENTIFICATION_STEP = "DeidentificationStep"
    CHECK_DEIDENTIFICATION_STATUS = "CheckDeidentificationStatus"
    PARSE_DEIDENTIFICATION_RESULT = "ParseDeidentificationResult"
    AUDIT_DELIVERY = "AuditDelivery"
    RECORD_DELIVERY = "RecordDelivery"
    ANNOUNCE_DELIVERY = "AnnounceDelivery"
    PUBLISH_SUCCESS_METRIC = "PublishSuccessMetric"
    SUCCESS = "SuccessState"
    QUARANTINE_HANDLER = "QuarantineHandler"
    TAG_QUARANTINED_OBJECT = "TagQuarantinedObject"
    AUDIT_QUARANTINE = "AuditQuarantine"
    RECORD_QUARANTINE = "RecordQuarantine"
    ANNOUNCE_QUARANTINE = "AnnounceQuarantine"
    PUBLISH_QUARANTINE_METRIC = "PublishQuarantineMetric"
    QUARANTINED = "QuarantinedState"
    AUDIT_DUPLICATE = "AuditDuplicate"
    RECORD_DUPLICATE = "RecordDuplicate"
    PUBLISH_DUPLICATE_METRIC = "PublishDuplicateMetric"
    DUPLICATE = "DuplicateState"
    ERROR_HANDLER = "ErrorHandler"
    AUDIT_FAILURE = "AuditFailure"
    RECORD_FAILURE = "RecordFailure"
    PUBLISH_FAILURE_METRIC = "PublishFailureMetric"
    FAILURE = "FailureState"


class ReplayState(StrEnum):
    """State names of the replay workflow."""

    REPLAY_OBJECTS = "ReplayObjects"
    REPLAY_OBJECT = "ReplayObject"
    IN_WORK = "InWork?"
    AWAIT_VERDICT = "AwaitVerdict"
    OBJECT_REPLAYED = "ObjectReplayedState"
    COUNT_KEYS = "CountKeys"
    ALL_REPLAYED = "AllReplayed?"
    REPLAYED = "ReplayedState"
    INCOMPLETE = "IncompleteState"


class Metric(StrEnum):
    """Metrics in `METRIC_NAMESPACE` that count objects by outcome."""

    SUCCESS = "PipelineSuccess"
    QUARANTINE = "PipelineQuarantine"
    FAILURE = "PipelineFailure"
    DUPLICATE = "PipelineDuplicate"
    IGNORED = "PipelineIgnored"
    UNACCOUNTED = "Unaccounted"


STAGE_DIMENSION = "Stage"


class Output(StrEnum):
    """CloudFormation outputs of a stage. The names never change, since downstream systems read them."""

    RAW_BUCKET_NAME = "RawBucketName"
    RAW_BUCKET_ARN = "RawBucketArn"
    PROCESSED_BUCKET_NAME = "ProcessedBucketName"
    PROCESSED_BUCKET_ARN = "ProcessedBucketArn"
    LOGS_BUCKET_NAME = "LogsBucketName"
    LOGS_BUCKET_ARN = "LogsBucketArn"
    STATE_MACHINE_ARN = "StateMachineArn"
    NOTIFICATION_TOPIC_ARN = "NotificationTopicArn"
    INGESTION_LOG_GROUP_NAME = "IngestionLogGroupName"
    VALIDATION_LOG_GROUP_NAME = "ValidationLogGroupName"
    DEIDENTIFICATION_LOG_GROUP_NAME = "DeidentificationLogGroupName"
    WORKFLOW_LOG_GROUP_NAME = "WorkflowLogGroupName"
    DASHBOARD_URL = "DashboardUrl"
    LEDGER_TABLE_NAME = "LedgerTableName"
    OPERATIONS_BUCKET_NAME = "OperationsBucketName"
    REPLAY_STATE_MACHINE_ARN = "ReplayStateMachineArn"
    EVENT_BUS_NAME = "EventBusName"
    EVENT_BUS_ARN = "EventBusArn"
    DELIVERY_TOPIC_ARN = "DeliveryTopicArn"
    INTAKE_QUEUE_URL = "IntakeQueueUrl"
    INTAKE_DEAD_LETTERS_URL = "IntakeDeadLettersUrl"
    SCHEDULE_DEAD_LETTERS_URL = "ScheduleDeadLettersUrl"
    NOTIFICATION_DEAD_LETTERS_URL = "NotificationDeadLettersUrl"
    AUDIT_TABLE_NAME = "AuditTableName"
    LINK_AUDIT_TABLE_NAME = "LinkAuditTableName"

    def parameter(self, stage: str) -> str:
        """Return the name of the SSM parameter with the same value."""
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", self).lower()
        return f"/{PROJECT}/{stage}/{kebab}"
