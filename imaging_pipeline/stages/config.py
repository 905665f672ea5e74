"""Settings of a stage: the only place where one deployment differs from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from aws_cdk import RemovalPolicy
from aws_cdk.aws_logs import RetentionDays
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from imaging_pipeline.stages.setting_types import (
    AvailabilityZones,
    EmailAddresses,
    LogRetention,
    PolicyName,
    PrincipalArns,
    ProfileName,
    Strings,
    Suffixes,
    Tags,
    VisibleNetworks,
    VpcCidr,
    is_range,
)
from runtime.contract.names import PROJECT, Function

EXPRESS_TIMEOUT_SECONDS = 300
"""The longest that Step Functions lets an EXPRESS execution run."""


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


class AlarmThresholds(Settings):
    """Values that an alarm's metric must exceed within five minutes."""

    failed_executions: int = Field(default=0, ge=0)
    timed_out_executions: int = Field(default=0, ge=0)
    failed_replays: int = Field(default=0, ge=0, description="replays that did not get to every object")
    error_rate_percent: float = Field(default=5, ge=0, le=100, description="of a function's invocations")
    throttles: int = Field(default=0, ge=0, description="of a function")
    throttled_transitions: int = Field(default=0, ge=0, description="of all state machines in the account")
    throttled_starts: int = Field(default=0, ge=0, description="of executions of all state machines in the account")
    concurrency_percent: float = Field(
        default=80, ge=0, le=100, description="functions that run or are reserved, of the account's quota"
    )
    dead_letters: int = Field(default=0, ge=0, description="messages waiting in a dead-letter queue")
    queue_age_seconds: int = Field(
        default=3600, ge=0, lt=7 * 24 * 3600, description="of the oldest object that waits; SQS drops it after a week"
    )
    unaccounted: int = Field(default=0, ge=0, description="objects without a verdict that nobody works on")
    denied_requests: int = Field(default=0, ge=0, description="requests that a bucket refused")
    replication_lag_seconds: int = Field(default=900, ge=60, description="by which a replica is behind its bucket")
    failed_replications: int = Field(default=0, ge=0, description="objects and tags that could not be replicated")


def _complete(functions: object) -> object:
    """Give every function its defaults for what the stage doesn't say of it."""
    if not isinstance(functions, dict) or not all(isinstance(given, dict) for given in functions.values()):
        return functions
    every = {name: {**DEFAULTS.get(name, {}), **functions.get(name, {})} for name in Function}
    return functions | every


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

    permissions_boundary: PolicyName | None = Field(
        default=None, description="managed policy, by name or ARN, that bounds every role of the stack"
    )
    cost_tags: Tags = Field(default={}, description="of every resource, beside `project` and `stage`")

    accepted_prefixes: Strings = Field(default=(), description="of keys that start an execution; none: every prefix")
    accepted_suffixes: Suffixes = Field(
        default=(".dcm", ".dicom", ".ima", ""),
        description="in any case; an empty one: names without suffix; none: every suffix",
    )
    strict: bool = Field(default=False, description="validation's warnings quarantine too")
    profile: ProfileName = Field(default="research", description="of de-identification")

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
    ledger_retention_days: int | None = Field(default=None, description="the ledger's rows expire; none: never")
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
        default=5, ge=2, le=1000, description="dispatchers at once: how fast a burst becomes executions"
    )
    workflow_type: Literal["STANDARD", "EXPRESS"] = "STANDARD"
    workflow_timeout_seconds: int = Field(default=7200, ge=60, le=86400, description="of a STANDARD execution")
    stuck_after_seconds: int = Field(
        default=10800, description="without a verdict, after which reconciliation starts an object once more"
    )
    reconciliation_minutes: int = Field(default=60, ge=2, le=1440, description="between two reconciliations")
    study_quiet_seconds: int = Field(
        default=600, ge=10, description="without a new object of a study, after which it is announced as complete"
    )
    replay_concurrency: int = Field(
        default=150, ge=1, le=10000, description="objects that a replay has in work at once"
    )
    replay_tolerated_failures: int = Field(
        default=100, ge=0, description="objects that fail, or take over five minutes, above which a replay stops"
    )

    vpc_cidr: VpcCidr | None = Field(
        default=None, description="of a VPC of the stage's own, in which the functions run; none: no VPC"
    )
    vpc_availability_zones: AvailabilityZones = Field(
        default=2, description="in which the VPC has a subnet: how many, or their names"
    )

    delivery_principals: PrincipalArns = Field(
        default=(), description="may take on the delivery role, which alone reads results then; none: no such role"
    )
    delivery_networks: VisibleNetworks = Field(
        default=(), description="CIDR ranges and VPC endpoints from where results may be read; none: from everywhere"
    )
    delivery_emails: EmailAddresses = Field(default=(), description="get a message for each complete study")

    xray: bool = Field(default=True, description="functions and state machines send traces")
    alarms: AlarmThresholds = AlarmThresholds()
    alert_emails: EmailAddresses = Field(default=(), description="get alarms")
    failure_notifications: bool = Field(
        default=False, description="a message for each failed execution too, beside the alarm on all of them"
    )

    @property
    def name(self) -> str:
        """Name of the stack and the dashboard, and the beginning of every other name."""
        return f"{PROJECT}-{self.stage}"

    @property
    def workflow_name(self) -> str:
        """Name of the processing workflow, another for each type, which AWS never changes under a name."""
        return self.name if self.workflow_type == "STANDARD" else f"{self.name}-{self.workflow_type.lower()}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every resource that can have some."""
        return {"project": PROJECT, "stage": self.stage, **self.cost_tags}

    @property
    def delivery_ranges(self) -> list[str]:
        """CIDR ranges from where results may be read."""
        return [network for network in self.delivery_networks if is_range(network)]

    @property
    def delivery_endpoints(self) -> list[str]:
        """VPC endpoints through which results may be read."""
        return [network for network in self.delivery_networks if not is_range(network)]

    @property
    def removal_policy(self) -> RemovalPolicy:
        """What becomes of buckets, keys and logs; a stack that fails to come up leaves none behind."""
        return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.retain_data else RemovalPolicy.DESTROY

    @property
    def execution_timeout_seconds(self) -> int:
        """How long one execution may take."""
        longest = EXPRESS_TIMEOUT_SECONDS if self.workflow_type == "EXPRESS" else self.workflow_timeout_seconds
        return min(self.workflow_timeout_seconds, longest)
