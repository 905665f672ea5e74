"""Settings of the stages: the only place where one deployment differs from another."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from runtime.contract import PROJECT, Function

STEPS = (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)
# Attempts a step may need before it gives up: the first and three retries.
STEP_ATTEMPTS = 4
EXPRESS_TIMEOUT_SECONDS = 300
"""The longest that Step Functions lets an EXPRESS execution run."""


class StageError(ValueError):
    """The chosen stage can't be synthesized; the text is one sentence for the person at the command line."""


class Settings(BaseModel):
    """Settings that can't be changed, and that refuse names they don't know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FunctionSettings(Settings):
    """Size and platform of one Lambda function."""

    memory_mb: int = Field(default=512, ge=128, le=10240, description="MiB; CPU grows with it")
    timeout_seconds: int = Field(default=300, ge=1, le=900)
    python_version: Literal["3.11", "3.12", "3.13", "3.14"] = "3.12"
    architecture: Literal["arm64", "x86_64"] = "arm64"
    reserved_concurrency: int | None = Field(
        default=None, ge=1, description="calls at once, at most, and kept free of other functions; none: no bound"
    )


# The dispatcher's time-out also sets how long a message of a killed dispatcher waits for the next one.
DEFAULTS: Mapping[Function, Mapping[str, int]] = {
    Function.DISPATCHER: {"timeout_seconds": 120},
    Function.RECONCILIATION: {"timeout_seconds": 900},
    Function.REPLAY: {"timeout_seconds": 60},
}


LOG_RETENTION: Mapping[int, RetentionDays] = {
    1: RetentionDays.ONE_DAY,
    3: RetentionDays.THREE_DAYS,
    5: RetentionDays.FIVE_DAYS,
    7: RetentionDays.ONE_WEEK,
    14: RetentionDays.TWO_WEEKS,
    30: RetentionDays.ONE_MONTH,
    60: RetentionDays.TWO_MONTHS,
    90: RetentionDays.THREE_MONTHS,
    120: RetentionDays.FOUR_MONTHS,
    150: RetentionDays.FIVE_MONTHS,
    180: RetentionDays.SIX_MONTHS,
    365: RetentionDays.ONE_YEAR,
    400: RetentionDays.THIRTEEN_MONTHS,
    545: RetentionDays.EIGHTEEN_MONTHS,
    731: RetentionDays.TWO_YEARS,
    1096: RetentionDays.THREE_YEARS,
    1827: RetentionDays.FIVE_YEARS,
    2192: RetentionDays.SIX_YEARS,
    2557: RetentionDays.SEVEN_YEARS,
    2922: RetentionDays.EIGHT_YEARS,
    3288: RetentionDays.NINE_YEARS,
    3653: RetentionDays.TEN_YEARS,
}
"""The days that CloudWatch Logs can keep events for."""


class AlarmThresholds(Settings):
    """Values that an alarm's metric must exceed within five minutes."""

    failed_executions: int = Field(default=0, ge=0)
    timed_out_executions: int = Field(default=0, ge=0)
    error_rate_percent: float = Field(default=5, ge=0, le=100, description="of a function's invocations")
    throttles: int = Field(default=0, ge=0, description="of a function")
    dead_letters: int = Field(default=0, ge=0, description="messages waiting in a dead-letter queue")
    queue_age_seconds: int = Field(default=3600, ge=0, description="of the oldest object that waits for the dispatcher")
    unaccounted: int = Field(default=0, ge=0, description="objects without a verdict that nobody works on")
    denied_requests: int = Field(default=0, ge=0, description="requests that a bucket refused")
    replication_lag_seconds: int = Field(default=900, ge=60, description="by which a replica is behind its bucket")
    failed_replications: int = Field(default=0, ge=0, description="objects and tags that could not be replicated")


def _split_at_commas(value: object) -> object:
    """Accept `a,b` where a list is meant, since context values from the command line are strings."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _days_as_retention(value: object) -> object:
    """Accept days where CloudWatch Logs' name of a retention is meant."""
    days = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(days, int):
        return value
    if days not in LOG_RETENTION:
        raise ValueError(f"CloudWatch keeps logs for one of {', '.join(map(str, LOG_RETENTION))} days")
    return LOG_RETENTION[days]


def _complete(functions: object) -> object:
    """Give every function its defaults for what the stage doesn't say of it."""
    if not isinstance(functions, dict) or not all(isinstance(given, dict) for given in functions.values()):
        return functions
    every = {name: {**DEFAULTS.get(name, {}), **functions.get(name, {})} for name in Function}
    return functions | every


LogRetention = Annotated[RetentionDays, BeforeValidator(_days_as_retention)]
Strings = Annotated[tuple[str, ...], BeforeValidator(_split_at_commas)]
EmailAddresses = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")], ...], BeforeValidator(_split_at_commas)
]


class StageConfig(Settings):
    """One stage of the pipeline: where it lives, how long it keeps what, and when it calls for help."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9-]{0,15}$", description="part of every name in the account")
    account: str | None = Field(default=None, pattern=r"^\d{12}$")
    region: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    explicit_environment: bool = Field(default=False, description="refuse to synthesize without account and region")
    termination_protection: bool = False
    runs_on_this_machine: bool = Field(
        default=False, description="functions run under this interpreter, so the layer holds this platform's wheels"
    )

    accepted_prefixes: Strings = Field(default=(), description="of keys that start an execution; none: every prefix")
    accepted_suffixes: Strings = Field(default=(".dcm",), description="in any case; none: every suffix")
    strict: bool = Field(default=False, description="validation's warnings quarantine too")
    profile: str = Field(default="research", pattern=r"^[a-z0-9-]+$", description="de-identification profile")

    retain_data: bool = Field(default=True, description="buckets, the pseudonym key and logs outlive the stack")
    encryption: Literal["aes256", "kms"] = Field(
        default="aes256", description="at rest: by keys of the services, or by one customer-managed key a zone"
    )
    infrequent_access_after_days: int = Field(default=90, ge=30)
    glacier_after_days: int = Field(default=180, ge=60, description="processed objects")
    # A dead letter may wait for 14 days until its object is processed.
    raw_retention_days: int | None = Field(default=None, ge=15, description="raw objects expire; none: never")
    processed_retention_days: int | None = Field(default=None, ge=2, description="processed objects expire")
    operations_retention_days: int | None = Field(default=None, ge=1, description="replays' reports expire")
    noncurrent_retention_days: int | None = Field(
        default=None, ge=1, description="versions that were overwritten, deleted or expired are gone for good"
    )
    access_log_retention_days: int = Field(default=90, ge=1)
    log_retention: LogRetention = Field(default=RetentionDays.ONE_MONTH, description="days, of CloudWatch's logs")
    object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = Field(
        default=None, description="nobody (COMPLIANCE), or nobody without a right of its own, deletes raw objects"
    )
    object_lock_days: int | None = Field(default=None, ge=1, le=36500, description="after the upload")
    trail_retention_days: int | None = Field(
        default=None,
        ge=1,
        description="CloudTrail records every request to raw and processed objects; none: it doesn't",
    )

    replica_region: str | None = Field(
        default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="raw and processed objects are replicated to"
    )
    pseudonym_key_arn: str | None = Field(
        default=None,
        pattern=r"^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+-\w{6}$",
        description="a secret that exists, such as a promoted replica; none: the stack makes one",
    )

    functions: Annotated[Mapping[Function, FunctionSettings], BeforeValidator(_complete)] = Field(
        default={}, validate_default=True, description="functions that aren't named get the defaults"
    )
    dispatcher_concurrency: int = Field(
        default=10, ge=2, le=1000, description="dispatchers at once: how fast a burst becomes executions"
    )
    workflow_type: Literal["STANDARD", "EXPRESS"] = "STANDARD"
    workflow_timeout_seconds: int = Field(default=7200, ge=60, le=86400, description="of a STANDARD execution")
    stuck_after_seconds: int = Field(
        default=10800, description="without a verdict, after which reconciliation starts an object once more"
    )
    reconciliation_minutes: int = Field(default=60, ge=2, description="between two reconciliations")
    study_quiet_seconds: int = Field(
        default=600, ge=10, description="without a new object of a study, after which it is announced as complete"
    )
    replay_concurrency: int = Field(default=20, ge=1, le=10000, description="objects that a replay looks at at once")
    replay_tolerated_failure_percent: int = Field(
        default=5, ge=0, le=100, description="of a replay's objects, above which the replay stops"
    )
    alarms: AlarmThresholds = AlarmThresholds()
    alert_emails: EmailAddresses = Field(default=(), description="get alarms and failed executions")
    delivery_emails: EmailAddresses = Field(default=(), description="get a message for each complete study")

    @property
    def name(self) -> str:
        """Name of the stack, the state machine and the dashboard, and the beginning of every other name."""
        return f"{PROJECT}-{self.stage}"

    @property
    def removal_policy(self) -> RemovalPolicy:
        """What becomes of buckets, keys and logs; a stack that fails to come up leaves none behind."""
        return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.retain_data else RemovalPolicy.DESTROY

    @property
    def execution_timeout_seconds(self) -> int:
        """How long one execution may take."""
        longest = EXPRESS_TIMEOUT_SECONDS if self.workflow_type == "EXPRESS" else self.workflow_timeout_seconds
        return min(self.workflow_timeout_seconds, longest)

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.explicit_environment and not (self.account and self.region):
            raise ValueError("needs an explicit account and region: add `-c account=<12 digits> -c region=<name>`")
        if self.glacier_after_days < self.infrequent_access_after_days + 30:
            raise ValueError("glacier_after_days must be at least 30 days after infrequent_access_after_days")
        _check_retention(self)
        _check_object_lock(self)
        _check_replication(self)
        patience = STEP_ATTEMPTS * sum(self.functions[step].timeout_seconds for step in STEPS)
        if self.workflow_timeout_seconds <= patience:
            raise ValueError(f"workflow_timeout_seconds must exceed the {patience} s that the steps may take")
        if self.stuck_after_seconds <= self.execution_timeout_seconds:
            raise ValueError(
                f"stuck_after_seconds must exceed the {self.execution_timeout_seconds} s that an execution may take"
            )
        return self


def _check_retention(config: StageConfig) -> None:
    expiring = ("raw_retention_days", "processed_retention_days", "operations_retention_days")
    for setting in expiring:
        if getattr(config, setting) and not config.noncurrent_retention_days:
            raise ValueError(f"{setting} needs noncurrent_retention_days, since an expired object is kept as a version")


def _check_object_lock(config: StageConfig) -> None:
    if (config.object_lock_mode is None) != (config.object_lock_days is None):
        raise ValueError("object_lock_mode and object_lock_days belong together: give both or neither")
    if config.object_lock_days is None:
        return
    if not config.retain_data:
        raise ValueError("object_lock_mode needs retain_data, since a bucket of locked objects can't be deleted")
    if config.raw_retention_days is not None and config.raw_retention_days < config.object_lock_days:
        raise ValueError("raw_retention_days must not end before object_lock_days, while nothing can be deleted")


def _check_replication(config: StageConfig) -> None:
    if config.pseudonym_key_arn and config.region and f":{config.region}:" not in config.pseudonym_key_arn:
        raise ValueError(f"pseudonym_key_arn must be of a secret in {config.region}")
    if config.replica_region is None:
        return
    if not (config.account and config.region):
        raise ValueError("replica_region needs an explicit account and region")
    if config.replica_region == config.region:
        raise ValueError(f"replica_region must be another region than {config.region}")
    if _partition(config.replica_region) != _partition(config.region):
        raise ValueError(f"replica_region must be in the same partition of AWS as {config.region}")


def _partition(region: str) -> str:
    """Return what tells the partition of AWS in a region's name; nothing is replicated from one to another."""
    return next((prefix for prefix in ("cn-", "us-gov-") if region.startswith(prefix)), "")


def _local() -> dict[str, Any]:
    """Follow the interpreter and the machine of whoever starts the emulator, which runs the functions there."""
    machine = {
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "architecture": "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64",
    }
    return {
        "runs_on_this_machine": True,
        "retain_data": False,
        "log_retention": RetentionDays.ONE_DAY,
        "study_quiet_seconds": 60,
        "functions": dict.fromkeys(Function, machine),
    }


STAGES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "local": _local,
    "dev": lambda: {"retain_data": False},
    "staging": dict,
    "prod": lambda: {
        "explicit_environment": True,
        "termination_protection": True,
        "encryption": "kms",
        "log_retention": RetentionDays.ONE_YEAR,
        "access_log_retention_days": 365,
    },
}


def stage_config(stage: object, overrides: Mapping[str, object]) -> StageConfig:
    """Validate the settings of a stage.

    Parameters
    ----------
    stage
        A name in `STAGES`.
    overrides
        Settings that replace the stage's own, by field name, as the command line gave them.

    Raises
    ------
    StageError
        If there is no such stage, or a setting is unknown, out of range or missing.
    """
    choices = ", ".join(STAGES)
    if not stage:
        raise StageError(f"No stage is chosen: add `-c stage=<name>` with one of {choices}.")
    if not isinstance(stage, str) or stage not in STAGES:
        raise StageError(f"There is no stage {stage!r}: choose one of {choices}.")
    try:
        return StageConfig.model_validate({"stage": stage} | STAGES[stage]() | dict(overrides))
    except ValidationError as error:
        raise StageError(f"Stage {stage!r} is not valid: {_in_words(error)}.") from error


def _in_words(error: ValidationError) -> str:
    problems = []
    for detail in error.errors(include_url=False):
        setting = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        problems.append(f"{setting} = {detail['input']!r}: {message}" if setting else message)
    return "; ".join(problems)
