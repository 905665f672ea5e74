"""Environment variables of the functions: written by the infrastructure, validated once at start-up."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, Json

from runtime.contract.names import METRIC_NAMESPACE


class FunctionVariables(BaseModel):
    """Environment variables of every function."""

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
    ACCEPTED_SUFFIXES: Json[tuple[str, ...]] = Field(
        description='in any case, a JSON list; "": names without one; none: every suffix'
    )


class DispatcherVariables(StartingVariables):
    """Environment variables of the dispatcher, which audits verdicts on objects that were deleted unread."""

    AUDIT_TABLE: str
    CODE_VERSION: str


class ReplayVariables(StartingVariables):
    """Environment variables of the replay function."""


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
