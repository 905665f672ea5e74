"""Names and models that the infrastructure and the handlers share.

The infrastructure writes a state's paths and a function's variables from these definitions, and the handlers read
them through the same definitions, so neither side can drift from the other. Imports pydantic and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum
from typing import Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, Json

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
    DISPATCHER = "dispatcher"
    RECONCILIATION = "reconciliation"
    COMPLETENESS = "completeness"
    REPLAY = "replay"


STEPS = (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)
"""The functions that an object passes, in order."""


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
    """Metrics that the workflow puts into `METRIC_NAMESPACE`, one count for each execution that ended so."""

    SUCCESS = "PipelineSuccess"
    QUARANTINE = "PipelineQuarantine"
    FAILURE = "PipelineFailure"
    DUPLICATE = "PipelineDuplicate"
    IGNORED = "PipelineIgnored"
    UNACCOUNTED = "Unaccounted"


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
        """Return the name of the SSM parameter that holds the same value."""
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", self).lower()
        return f"/{PROJECT}/{stage}/{kebab}"


class Frozen(BaseModel):
    """A model that can't be changed and refuses what it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(Frozen):
    """A model that others read, or that outlives the code that wrote it.

    A version only ever gains optional fields, which readers ignore; any other change is a new version.
    """

    model_config = ConfigDict(extra="ignore")

    version: Literal[1] = 1


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
    size: int = Field(default=0, ge=0, description="bytes")


class ObjectCreated(BaseModel):
    """The detail of an EventBridge event "Object Created"."""

    bucket: EventBucket
    object: EventObject


class IntakeMessage(BaseModel):
    """The body of a message in the intake queue: the EventBridge event "Object Created", whole."""

    detail: ObjectCreated


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


class Release(Frozen):
    """A named person's decision to release an object that a risk kept in quarantine."""

    by: str = Field(min_length=3, max_length=200)
    reason: str = Field(min_length=10, max_length=1000)


class ExecutionInput(Frozen):
    """What starts an execution, and what every step gets of it."""

    object: ObjectCoordinates
    attempt: int = Field(default=1, ge=1, description="1, and one more for each retry, release and replay")
    profile: str | None = Field(default=None, description="instead of the stage's")
    release: Release | None = None

    @property
    def execution_name(self) -> str:
        """The execution's name: the same for the same attempt, so that it can't be started twice."""
        object_id = self.object.object_id
        return object_id if self.attempt == 1 else f"{object_id}-{self.attempt}"


class LedgerStatus(StrEnum):
    """Where an object version is; the last four are verdicts."""

    RECEIVED = "received"
    RUNNING = "running"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DUPLICATE = "duplicate"

    @property
    def rank(self) -> int:
        """Order within an attempt: a row never goes to a lower or equal rank.

        A failure ranks below the other verdicts, since a redrive or a second execution of the attempt may reach one.
        """
        return {LedgerStatus.RECEIVED: 0, LedgerStatus.RUNNING: 1, LedgerStatus.FAILED: 2}.get(self, 3)


SHARDS: Final = 16
"""Keys over which an index spreads the items of one kind: DynamoDB writes 1,000 items a second under one key."""


def shard_key(kind: str, shard: int | str) -> str:
    """Return one of the keys under which an index has the items of a kind."""
    return f"{kind}#{shard}"


class Index(NamedTuple):
    """Global secondary index of a table. An item without one of the keys is not in it."""

    partition: str
    sort: str
    projected: tuple[str, ...] | None
    """attributes that it holds besides the keys of index and table; None: all"""


class LedgerIndex(StrEnum):
    """Indexes of the ledger."""

    IN_WORK = "in-work"
    BY_VERDICT = "by-verdict"
    BY_STUDY = "by-study"


class LedgerAttribute(StrEnum):
    """Attributes of an object's row in the ledger."""

    OBJECT_ID = "object_id"
    """the table's key"""
    BUCKET = "bucket"
    KEY = "key"
    VERSION_ID = "version_id"
    SIZE = "size"
    ETAG = "etag"
    STATUS = "status"
    RANK = "rank"
    ATTEMPT = "attempt"
    RECEIVED_AT = "received_at"
    UPDATED_AT = "updated_at"
    STUDY_ID = "study_id"
    EXECUTION = "execution"
    REQUESTED_PROFILE = "requested_profile"
    RELEASES = "releases"
    OUTPUT_KEY = "output_key"
    PROFILE = "profile"
    PROFILE_HASH = "profile_hash"
    KEY_ID = "key_id"
    REASON_CODES = "reason_codes"
    ERROR = "error"
    DUPLICATE_OF = "duplicate_of"
    OPENED_AT = "opened_at"
    """when the attempt was opened"""
    WORK_SHARD = "work_shard"
    """a shard of `IN_WORK`, until there is a verdict"""
    VERDICT_SHARD = "verdict_shard"
    """a shard of the status, while that is a verdict"""
    EXPIRES_AT = "expires_at"
    """seconds since 1970, when DynamoDB removes the item; none: never"""


IN_WORK: Final = "in-work"
"""Kind of the rows without a verdict."""

STUDY_ITEMS = "study#"
"""Beginning of the names of the items that say what of a study was announced."""
CHECKPOINT_ITEMS = "checkpoint#"
"""Beginning of the names of the items that say how far a scheduled check got. They hold times."""
PLACE_ITEMS = "place#"
"""Beginning of the names of the items that say where a check of everything goes on. They may hold objects' keys."""


class Outline(Frozen):
    """What of an object's row leads neither to the object nor to anybody.

    All that the completeness function may read of it, since that function writes into the research zone.
    """

    object_id: str
    status: LedgerStatus
    attempt: int
    updated_at: str
    study_id: str | None = None
    output_key: str | None = None
    profile: str | None = None
    profile_hash: str | None = None
    key_id: str | None = None
    reason_codes: str | None = Field(default=None, description="joined by a space")


LEDGER_INDEXES: Mapping[LedgerIndex, Index] = {
    LedgerIndex.IN_WORK: Index(LedgerAttribute.WORK_SHARD, LedgerAttribute.OPENED_AT, ()),
    LedgerIndex.BY_VERDICT: Index(
        LedgerAttribute.VERDICT_SHARD,
        LedgerAttribute.UPDATED_AT,
        (LedgerAttribute.STUDY_ID, LedgerAttribute.OUTPUT_KEY),
    ),
    LedgerIndex.BY_STUDY: Index(
        LedgerAttribute.STUDY_ID,
        LedgerAttribute.OBJECT_ID,
        tuple(name for name in Outline.model_fields if name not in {"object_id", "study_id"}),
    ),
}
"""Each holds what is asked of it and nothing else: what a change of a row leaves alone costs an index no write."""


LEDGER_CONDITION = "#attempt < :attempt OR (#attempt = :attempt AND #rank < :rank)"
"""Under which a row may be changed. Where it fails, the change is late or comes twice: it is done, not failed."""

_PROGRESS = (LedgerAttribute.STATUS, LedgerAttribute.RANK, LedgerAttribute.ATTEMPT, LedgerAttribute.UPDATED_AT)
_OF_A_VERDICT = (
    LedgerAttribute.VERDICT_SHARD,
    LedgerAttribute.REASON_CODES,
    LedgerAttribute.ERROR,
    LedgerAttribute.DUPLICATE_OF,
)


def ledger_update(*attributes: LedgerAttribute) -> str:
    """Return the update expression that sets a row's progress and these attributes.

    Each value's name is its attribute's, as ``:status``. What another verdict left is removed.
    """
    sets = (*_PROGRESS, *attributes)
    removes = [attribute for attribute in _OF_A_VERDICT if attribute not in attributes]
    return (
        f"SET {', '.join(f'#{attribute} = :{attribute}' for attribute in sets)}"
        f" REMOVE {', '.join(f'#{attribute}' for attribute in removes)}"
    )


def _verdict(*attributes: LedgerAttribute) -> str:
    return f"{ledger_update(LedgerAttribute.VERDICT_SHARD, *attributes)}, #{LedgerAttribute.WORK_SHARD}"


LEDGER_VERDICTS: Mapping[LedgerStatus, str] = {
    LedgerStatus.DELIVERED: _verdict(
        LedgerAttribute.OUTPUT_KEY, LedgerAttribute.PROFILE, LedgerAttribute.PROFILE_HASH, LedgerAttribute.KEY_ID
    ),
    LedgerStatus.QUARANTINED: _verdict(LedgerAttribute.REASON_CODES),
    LedgerStatus.FAILED: _verdict(LedgerAttribute.ERROR),
    LedgerStatus.DUPLICATE: _verdict(LedgerAttribute.DUPLICATE_OF, LedgerAttribute.OUTPUT_KEY),
}
"""The update expression that records each verdict, under `LEDGER_CONDITION`."""


def expression_names(*expressions: str) -> dict[str, str]:
    """Return the attribute names of DynamoDB expressions, all of which are placeholders as ``#status``."""
    return {name: name[1:] for name in re.findall(r"#\w+", " ".join(expressions))}


class IngestionBody(Frozen):
    """Body of an accepted ingestion."""

    object: ObjectCoordinates
    object_id: str
    study_id: str | None = Field(description="32 hexadecimal digits of SHA-256 over Study Instance UID")
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


class Outcome(StrEnum):
    """What became of an accepted de-identification."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    """the same SOP Instance UID and the same bytes as an object that was delivered: nothing was written"""


class DeidentificationBody(Frozen):
    """Body of an accepted de-identification."""

    outcome: Outcome
    duplicate_of: str | None = Field(default=None, description="object id")
    output_key: str
    output_size: int
    profile: str
    profile_hash: str
    key_id: str
    action_counts: Mapping[str, int]
    risks: list[str]
    pixel_identity: PixelIdentity | None = Field(description="None where nothing was written")
    bytes_read: int
    bytes_written: int


class AppliedProfile(Frozen):
    """By which profile, under which key, an object was judged; empty where no profile was applied to it."""

    profile: str = ""
    profile_hash: str = ""
    key_id: str = ""


class RejectionBody(AppliedProfile):
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
    def rejected(
        cls, object_: ObjectCoordinates, findings: list[Finding], applied: AppliedProfile | None = None
    ) -> Self:
        """Answer 422: the object is quarantined for these findings, by this profile if one was applied."""
        codes = dict.fromkeys(finding.code for finding in findings if finding.severity is Severity.ERROR)
        body = RejectionBody(
            object=object_,
            object_id=object_.object_id,
            reason_codes=f"{' '.join(codes)} "[: TAG_VALUE_LENGTH + 1].rpartition(" ")[0],  # whole codes only
            findings=findings,
            **(applied or AppliedProfile()).model_dump(),
        )
        return cls(statusCode=StatusCode.REJECTED, body=body)


class EventType(StrEnum):
    """Detail types of what the pipeline announces on the stage's event bus, under the source `PROJECT`."""

    INSTANCE_DELIVERED = "InstanceDelivered"
    INSTANCE_QUARANTINED = "InstanceQuarantined"
    STUDY_DELIVERED = "StudyDelivered"


class Announcement(Published):
    """An event's detail. Consumers outside of the PHI zone read it: pseudonyms, codes and counts, nothing else."""


class InstanceDelivered(Announcement):
    """An object's de-identified copy was written."""

    object_id: str = Field(description="32 hexadecimal digits; the same for every attempt at the same upload")
    attempt: int = Field(ge=1)
    output_key: str = Field(description="<patient>/<study>/<series>/<instance>.dcm, pseudonyms all")
    output_size: int = Field(ge=0, description="bytes")
    profile: str
    profile_hash: str
    modality: str | None
    sop_class_uid: str | None
    transfer_syntax_uid: str


class InstanceQuarantined(Announcement):
    """An object was not released."""

    object_id: str = Field(description="32 hexadecimal digits; the same for every attempt at the same upload")
    attempt: int = Field(ge=1)
    reason_codes: str = Field(description="joined by a space")


class RevisionCause(StrEnum):
    """Why a study was announced."""

    COMPLETE = "complete"
    """for the first time"""
    LATE_OBJECTS = "late-objects"
    """objects of the study arrived after the revision before"""
    REPROCESSED = "reprocessed"
    """the verdict on objects of the revision before, or what was written of them, changed"""


class StudyDelivered(Announcement):
    """A study is complete: no object of it arrived and none was in work for the stage's quiet time.

    The counts are of object versions. They agree with the study's rows in the ledger when it was announced.
    """

    bucket: str = Field(description="that holds the results and the manifest")
    patient_id: str = Field(description="pseudonym")
    study_instance_uid: str = Field(description="pseudonym")
    revision: int = Field(ge=1, description="replaces every lower one of the study")
    cause: RevisionCause
    delivered: int = Field(ge=1)
    quarantined: int = Field(ge=0)
    failed: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    manifest_key: str = Field(description="of a JSON Lines file, one ManifestEntry for each delivered instance")


ANNOUNCEMENTS: Mapping[EventType, type[Announcement]] = {
    EventType.INSTANCE_DELIVERED: InstanceDelivered,
    EventType.INSTANCE_QUARANTINED: InstanceQuarantined,
    EventType.STUDY_DELIVERED: StudyDelivered,
}


class ManifestEntry(Announcement):
    """A line of a study's manifest: one delivered instance."""

    output_key: str
    profile: str
    profile_hash: str
    key_id: str = Field(description="of the pseudonym key")


class AuditEvent(StrEnum):
    """What the audit log records: the verdicts, what people decide, and what is handed out."""

    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    RELEASED = "released"
    """a person decided that an object's risks don't keep it in quarantine"""
    LINK_ISSUED = "link-issued"


class AuditIndex(StrEnum):
    """Indexes of the audit tables."""

    BY_EVENT = "by-event"
    BY_STUDY = "by-study"


EVENT_SHARD: Final = "event_shard"
"""Attribute of an audit table's items beside those of the record: a shard of its event."""

AUDIT_INDEXES: Mapping[AuditIndex, Index] = {
    AuditIndex.BY_EVENT: Index(EVENT_SHARD, "at", None),
    AuditIndex.BY_STUDY: Index("output_study", "output_key", None),
}
"""They hold whole records, since a record is the answer to every question."""


class AuditRecord(Published):
    """What happened, once: a record is added and never changed.

    Names patients by pseudonyms and raw objects by their id; people who decide or download are named.
    """

    subject: str = Field(description="object id; of a download link the output key, since who links knows no more")
    record_id: str = Field(description="of the subject: <attempt>#<verdict>, or random for what a person did")
    event: AuditEvent
    at: str = Field(description="ISO 8601, UTC")
    attempt: int | None = Field(default=None, description="that reached the verdict, or that a release starts")
    execution: str | None = Field(default=None, description="ARN")
    code_version: str | None = Field(
        default=None, description="of the functions: python -m imaging_pipeline.runtime_code"
    )
    profile: str | None = None
    profile_hash: str | None = None
    key_id: str | None = Field(default=None, description="of the pseudonym key")
    output_study: str | None = Field(default=None, description="<patient>/<study>, the beginning of output_key")
    output_key: str | None = None
    duplicate_of: str | None = Field(default=None, description="object id")
    reason_codes: str | None = Field(default=None, description="joined by a space; of a release: what it accepts")
    error: str | None = Field(default=None, description="name of the error with which the attempt failed")
    principal: str | None = Field(default=None, description="ARN of the caller, as AWS STS knows it")
    by: str | None = Field(default=None, description="name that the person who released gave")
    reason_sha256: str | None = Field(default=None, description="of the release's reason, whose text the ledger has")
    recipient: str | None = Field(default=None, description="for whom or for what a link was asked")
    expires_at: str | None = Field(default=None, description="ISO 8601, UTC; the link's end")


def verdict_record_id(attempt: int | str, event: AuditEvent) -> str:
    """Return the id of a verdict's record: the same however often an execution gets there."""
    return f"{attempt}#{event}"


def audit_insert(table: str, attributes: Iterable[str]) -> str:
    """Return the PartiQL statement that adds a record with these attributes, whose values are its parameters.

    INSERT refuses a key that is there. So the right to it, unlike the right to PutItem, is no right to overwrite.
    """
    values = ", ".join(f"'{attribute}': ?" for attribute in attributes)
    return f'INSERT INTO "{table}" VALUE {{{values}}}'


class ReplayFilter(Frozen):
    """Which objects a replay runs again: those to which everything given here applies."""

    requested_at: str = Field(description="ISO 8601, UTC; an object whose row changed since is not run once more")
    unfinished: bool = Field(default=False, description="only those without a result, a quarantine or a duplicate")
    reason_code: str | None = Field(default=None, description="only those quarantined for this reason")
    received_since: str | None = Field(default=None, description="ISO 8601, UTC, or its beginning")
    received_before: str | None = Field(default=None, description="ISO 8601, UTC, or its beginning")
    profile_hash: str | None = Field(default=None, description="only those that this profile wrote, or its beginning")


class ReplayInput(Frozen):
    """Input of the replay workflow."""

    prefix: str = Field(description="of keys in the raw bucket; empty: all of them")
    filter: ReplayFilter


class Replayed(StrEnum):
    """What a replay did with an object version."""

    STARTED = "started"
    """its attempt was opened after the replay was asked for, by the replay itself as a rule, and runs"""
    NOT_SELECTED = "not-selected"
    IN_WORK = "in-work"
    """an older attempt is running: its verdict is still to come"""
    SINCE = "changed-since"
    """the row changed after the replay was asked for, by the replay itself perhaps"""


class ReplayAnswer(Frozen):
    """What the replay function answers; the workflow's results in the operations bucket hold one for each key."""

    outcomes: Mapping[str, Replayed] = Field(description="by object id, one for each version; none if not accepted")
    in_work: str | None = Field(
        default=None, description="object id of the version whose verdict is waited for; the next follows after it"
    )


class ReplayItem(Frozen):
    """What the replay function is asked: one key that the workflow listed."""

    bucket: str
    key: str
    filter: ReplayFilter
    answer: ReplayAnswer | None = Field(default=None, description="to the question before about this key")


class FunctionVariables(BaseModel):
    """Environment variables of every function: written by the infrastructure, validated once at start-up."""

    # The environment holds credentials, and an error's text would quote it.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    STAGE: str
    POWERTOOLS_SERVICE_NAME: str
    POWERTOOLS_METRICS_NAMESPACE: str = METRIC_NAMESPACE
    POWERTOOLS_LOG_LEVEL: str = "INFO"
    POWERTOOLS_TRACE_DISABLED: bool = False
    POWERTOOLS_TRACER_CAPTURE_RESPONSE: str = "false"
    POWERTOOLS_TRACER_CAPTURE_ERROR: str = "false"


class LedgerVariables(FunctionVariables):
    """Environment variables of every function that reads or writes the ledger."""

    LEDGER_TABLE: str


class RetainingVariables(LedgerVariables):
    """Environment variables of every function that opens rows or claims instances."""

    LEDGER_RETENTION_DAYS: int = Field(default=0, ge=0, description="after which they expire; 0: never")


class StartingVariables(RetainingVariables):
    """Environment variables of the functions that start executions."""

    STATE_MACHINE_ARN: str
    ACCEPTED_PREFIXES: Json[tuple[str, ...]] = Field(description="of keys, a JSON list; none: every prefix")
    ACCEPTED_SUFFIXES: Json[tuple[str, ...]] = Field(description="in any case, a JSON list; none: every suffix")


class DispatcherVariables(StartingVariables):
    """Environment variables of the dispatcher, which records the verdict on what was gone before anything read it."""

    AUDIT_TABLE: str
    CODE_VERSION: str


class ReplayVariables(StartingVariables):
    """Environment variables of the function that starts again what a replay selects."""


class ReconciliationVariables(StartingVariables):
    """Environment variables of the reconciliation function."""

    RAW_BUCKET: str
    PROCESSED_BUCKET: str
    STUCK_AFTER_SECONDS: int = Field(gt=0, description="without a verdict, when its execution can't be running")
    PROCESSED_RETENTION_DAYS: int = Field(default=0, ge=0, description="after which a result expires; 0: never")
    TIMEOUT_SECONDS: int = Field(gt=0, description="of the function")


class CompletenessVariables(LedgerVariables):
    """Environment variables of the completeness function."""

    PROCESSED_BUCKET: str
    EVENT_BUS_NAME: str
    STUDY_QUIET_SECONDS: int = Field(gt=0, description="without a new object, after which a study is complete")


class IngestionVariables(LedgerVariables):
    """Environment variables of the ingestion function."""


class ValidationVariables(FunctionVariables):
    """Environment variables of the validation function."""

    STRICT: bool = Field(description="warnings reject too")


class DeidentificationVariables(RetainingVariables):
    """Environment variables of the de-identification function."""

    PROCESSED_BUCKET: str
    PSEUDONYM_SECRET_ARN: str
    PROFILE: str = Field(pattern=r"^[a-z0-9-]+$")
