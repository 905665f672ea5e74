"""Names and models that the infrastructure and the handlers share.

The infrastructure writes a state's paths and a function's variables from these definitions, and the handlers read
them through the same definitions, so neither side can drift from the other. Imports pydantic and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

PROJECT = "medical-imaging-pipeline"
METRIC_NAMESPACE = "MedicalImaging/Pipeline"
STEP_FAILED = "StepFailedError"
"""Error name of a step that failed for a reason other than the object: the class of its exception."""
TAG_VALUE_LENGTH = 256
"""Characters that Amazon S3 allows in the value of an object's tag."""


class Function(StrEnum):
    """The pipeline's Lambda functions; the value ends the function's name and its log group's."""

    INGESTION = "ingestion"
    VALIDATION = "validation"
    DEIDENTIFICATION = "deidentification"


class State(StrEnum):
    """State names of the processing workflow, as operators see them in the console and in runbooks."""

    INGESTION_STEP = "IngestionStep"
    CHECK_INGESTION_STATUS = "CheckIngestionStatus"
    PARSE_INGESTION_RESULT = "ParseIngestionResult"
    VALIDATION_STEP = "ValidationStep"
    CHECK_VALIDATION_STATUS = "CheckValidationStatus"
    PARSE_VALIDATION_RESULT = "ParseValidationResult"
    DEIDENTIFICATION_STEP = "DeidentificationStep"
    CHECK_DEIDENTIFICATION_STATUS = "CheckDeidentificationStatus"
    PARSE_DEIDENTIFICATION_RESULT = "ParseDeidentificationResult"
    PUBLISH_SUCCESS_METRIC = "PublishSuccessMetric"
    SUCCESS = "SuccessState"
    QUARANTINE_HANDLER = "QuarantineHandler"
    TAG_QUARANTINED_OBJECT = "TagQuarantinedObject"
    PUBLISH_QUARANTINE_METRIC = "PublishQuarantineMetric"
    QUARANTINED = "QuarantinedState"
    ERROR_HANDLER = "ErrorHandler"
    PUBLISH_FAILURE_METRIC = "PublishFailureMetric"
    FAILURE = "FailureState"


class Metric(StrEnum):
    """Metrics that the workflow puts into `METRIC_NAMESPACE`, one count for each execution that ended so."""

    SUCCESS = "PipelineSuccess"
    QUARANTINE = "PipelineQuarantine"
    FAILURE = "PipelineFailure"


STAGE_DIMENSION = "Stage"


class Output(StrEnum):
    """CloudFormation outputs of a stage. Downstream consumers read these names: they never change."""

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


class Frozen(BaseModel):
    """A model that can't be changed and refuses what it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectCoordinates(Frozen):
    """Where one version of one uploaded object is.

    The key is what the scanner chose and may identify a patient: it stays in the PHI zone (workflow history), and
    logs name the object by `object_id`.
    """

    bucket: str
    key: str
    version_id: str
    size: int = Field(ge=0, description="bytes")
    etag: str

    @property
    def object_id(self) -> str:
        """128 bits of SHA-256 over bucket, key and version id, in hexadecimal: an id that does not tell the key."""
        return hashlib.sha256("\0".join((self.bucket, self.key, self.version_id)).encode()).hexdigest()[:32]


class Severity(StrEnum):
    """What a finding means for the object."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Frozen):
    """One thing that is wrong with an object. Carries no value of the data set, so it may leave the PHI zone."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=64)
    severity: Severity
    attribute: str | None = Field(
        default=None, description="keyword or (gggg,eeee), with the path of sequences and item numbers before it"
    )
    offset: int | None = Field(default=None, ge=0, description="byte offset in the object")
    message: str = Field(description="one sentence: what is wrong and what to do about it")


class StatusCode(IntEnum):
    """A step's verdict. Everything else that goes wrong is an exception, which Step Functions retries or catches."""

    ACCEPTED = 200
    REJECTED = 422


class EventBucket(BaseModel):
    """The bucket of an S3 event."""

    name: str


class EventObject(BaseModel):
    """The object of an S3 event; version id and etag as far as the event carries them."""

    key: str
    version_id: str | None = Field(default=None, alias="version-id")
    etag: str | None = None


class ObjectCreated(BaseModel):
    """The detail of an EventBridge event "Object Created", which starts an execution."""

    bucket: EventBucket
    object: EventObject


class ObjectFacts(Frozen):
    """What ingestion tells of an object. Nothing in here identifies a person: coded values are ones DICOM defines."""

    sop_class_uid: str | None
    transfer_syntax_uid: str
    modality: str | None
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    samples_per_pixel: int | None
    bits_allocated: int | None
    element_count: int
    header_size: int = Field(description="bytes before the pixel data")
    bytes_read: int = Field(description="bytes fetched from S3 by the step")


class StepInput(Frozen):
    """What the steps after ingestion get."""

    object: ObjectCoordinates


class IngestionBody(Frozen):
    """Body of an accepted ingestion."""

    object: ObjectCoordinates
    object_id: str
    facts: ObjectFacts


class ValidationBody(Frozen):
    """Body of an accepted validation."""

    warning_count: int
    warning_codes: list[str]
    bytes_read: int


class PixelIdentity(StrEnum):
    """Whether the result's bulk data is proved to be the source's, byte for byte, without reading it."""

    PROVED = "proved"
    """the full-object CRC-64/NVME of source and result agree"""
    NO_CHECKSUM = "no-full-object-checksum"
    """source or result has no full-object CRC-64/NVME to compare; sizes agree"""
    NO_BULK_DATA = "no-bulk-data"
    RE_ENCODED = "re-encoded"
    """of a deflated object: inflated and deflated again with its header, so no checksum of S3 covers it alone"""


class DeidentificationBody(Frozen):
    """Body of an accepted de-identification."""

    output_key: str
    output_size: int
    profile: str
    profile_hash: str
    key_id: str
    action_counts: Mapping[str, int]
    risks: list[str]
    pixel_identity: PixelIdentity
    bytes_read: int
    bytes_written: int


class RejectionBody(Frozen):
    """Body of a rejected object: every finding, and the distinct error codes in one string that fits an S3 tag."""

    object: ObjectCoordinates
    object_id: str
    reason_codes: str = Field(
        max_length=TAG_VALUE_LENGTH, description="error codes joined by a space, as many as an S3 tag's value holds"
    )
    findings: list[Finding]


class StepResponse(Frozen):
    """What every step answers."""

    statusCode: StatusCode  # noqa: N815 - the name the workflow's Choice states read
    body: IngestionBody | ValidationBody | DeidentificationBody | RejectionBody

    @classmethod
    def accepted(cls, body: IngestionBody | ValidationBody | DeidentificationBody) -> Self:
        """Answer 200: the next step may go on."""
        return cls(statusCode=StatusCode.ACCEPTED, body=body)

    @classmethod
    def rejected(cls, object_: ObjectCoordinates, findings: list[Finding]) -> Self:
        """Answer 422: the object is quarantined for these findings."""
        codes = dict.fromkeys(finding.code for finding in findings if finding.severity is Severity.ERROR)
        body = RejectionBody(
            object=object_,
            object_id=object_.object_id,
            reason_codes=f"{' '.join(codes)} "[: TAG_VALUE_LENGTH + 1].rpartition(" ")[0],  # whole codes only
            findings=findings,
        )
        return cls(statusCode=StatusCode.REJECTED, body=body)


class FunctionVariables(BaseModel):
    """Environment variables of every function: written by the infrastructure, validated once at start-up."""

    # The environment holds credentials, and an error's text would quote it.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    STAGE: str
    POWERTOOLS_SERVICE_NAME: str
    POWERTOOLS_METRICS_NAMESPACE: str = METRIC_NAMESPACE
    POWERTOOLS_LOG_LEVEL: str = "INFO"
    POWERTOOLS_TRACER_CAPTURE_RESPONSE: str = "false"
    POWERTOOLS_TRACER_CAPTURE_ERROR: str = "false"


class IngestionVariables(FunctionVariables):
    """Environment variables of the ingestion function."""


class ValidationVariables(FunctionVariables):
    """Environment variables of the validation function."""

    STRICT: bool = Field(description="warnings reject too")


class DeidentificationVariables(FunctionVariables):
    """Environment variables of the de-identification function."""

    PROCESSED_BUCKET: str
    PSEUDONYM_SECRET_ARN: str
    PROFILE: str = Field(pattern=r"^[a-z0-9-]+$")
