"""A run: its objects in the stage, where they got to, and the clients that look."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import boto3

from acceptance.verification.objects import FIRST, HOSTILE, RESULTS, SECOND, Sample, content
from acceptance.verification.waiting import NotSeenError, until
from cli.stage import Stage
from imaging_pipeline.research.delivery import delivery_role_name
from imaging_pipeline.stages.config import StageConfig
from runtime.aws import storage
from runtime.contract.events import EventType
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ObjectCoordinates
from runtime.ledger.rows import Row
from runtime.operations.attempts import accepts

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


FOLDER: Final = "acceptance/"
VERDICT_SECONDS = 600
"""That an object, or all that a replay starts, may take."""
IN_WORK: Final = (LedgerStatus.RECEIVED, LedgerStatus.RUNNING)
_RUN_ID: Final = re.compile(r"[0-9a-f]{10}", re.ASCII)


class Bucket(NamedTuple):
    """A bucket, with a client of its region that reads its objects."""

    s3: S3Client
    name: str


def new_run_id() -> str:
    """Return an id that tells when the run began, and fits into the names of rules."""
    return f"{int(time.time()):08x}{secrets.token_hex(1)}"


def beginning_of(run_id: str) -> datetime:
    """Return when a run began."""
    return datetime.fromtimestamp(int(run_id[:8], 16), UTC)


def is_run_id(text: str) -> bool:
    """Tell whether something is a run's id."""
    return _RUN_ID.fullmatch(text) is not None


class Hearing(Protocol):
    """Whoever receives the events of a run."""

    def heard(self) -> list[tuple[EventType, dict[str, Any]]]:
        """Return what has arrived by now, each event with its detail."""


class Run:
    """A verification of one stage.

    Parameters
    ----------
    config
        Settings of the stage: what is expected of it.
    run_id
        See `new_run_id`.

    Attributes
    ----------
    stage
        The stage as it is deployed.
    subscription
        Hears of the run's objects on the stage's bus, once it was made.
    attempt
        At the run's objects, which the ledger has to know: 2 once they were replayed.
    """

    def __init__(self, config: StageConfig, run_id: str) -> None:
        self.config = config
        self.id = run_id
        self.stage = Stage(config.stage)
        self.attempt = 1
        self.s3 = storage.s3_client()
        self._uploaded: dict[Sample, ObjectCoordinates] = {}
        self._deadline = 0.0
        self.subscription: Hearing | None = None

    @property
    def began(self) -> datetime:
        """When the run began."""
        return beginning_of(self.id)

    @property
    def folder(self) -> str:
        """Prefix of all runs' objects, below one that the stage accepts."""
        return next(iter(self.config.accepted_prefixes), "") + FOLDER

    @property
    def prefix(self) -> str:
        """Prefix of this run's objects."""
        return f"{self.folder}{self.id}/"

    @property
    def temporary_name(self) -> str:
        """Name of what exists for the time of the run only."""
        return f"{self.config.name}-acceptance-{self.id}"

    @property
    def replay_name(self) -> str:
        """Name of the execution that replays the run's objects."""
        return f"acceptance-{self.id}"

    @cached_property
    def raw_bucket(self) -> str:
        """Name of the raw bucket."""
        return self.stage.output(Output.RAW_BUCKET_NAME)

    @cached_property
    def processed_bucket(self) -> str:
        """Name of the processed bucket."""
        return self.stage.output(Output.PROCESSED_BUCKET_NAME)

    @cached_property
    def reader(self) -> boto3.Session:
        """Whose session reads results: the delivery role's, where the stage lets nobody else."""
        if not self.config.delivery_principals:
            return boto3.Session(region_name=self.stage.region)
        caller = self.stage.principal.split(":")
        role = delivery_role_name(self.config, self.stage.region)
        given = boto3.client("sts").assume_role(
            RoleArn=f"arn:{caller[1]}:iam::{caller[4]}:role/{role}", RoleSessionName=f"acceptance-{self.id}"
        )["Credentials"]
        return boto3.Session(
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            region_name=self.stage.region,
        )

    @cached_property
    def results(self) -> S3Client:
        """Client that reads results."""
        return self.reader.client("s3")

    @cached_property
    def replicas(self) -> dict[str, Bucket]:
        """The replicas by the names of the buckets that they replicate; none where the stage has none."""
        region = self.config.replica_region
        if region is None:
            return {}
        stacks = boto3.client("cloudformation", region_name=region).describe_stacks(
            StackName=f"{self.config.name}-replica"
        )["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stacks[0].get("Outputs", [])}
        return {
            self.raw_bucket: Bucket(boto3.client("s3", region_name=region), outputs["RawReplicaName"]),
            self.processed_bucket: Bucket(
                self.reader.client("s3", region_name=region), outputs["ProcessedReplicaName"]
            ),
        }

    def key_arn(self, zone: str, *, replica: bool = False) -> str | None:
        """Return the ARN of a zone's key, `phi` or `research`; None where the services' own keys encrypt."""
        if self.config.encryption != "kms":
            return None
        region = self.config.replica_region if replica else None
        alias = f"alias/{self.config.name}{'-replica' if replica else ''}-{zone}"
        key = boto3.client("kms", region_name=region).describe_key(KeyId=alias)
        return str(key["KeyMetadata"]["Arn"])

    def accepts(self, coordinates: ObjectCoordinates) -> bool:
        """Tell whether the stage takes an object."""
        return accepts(coordinates.key, self.config.accepted_prefixes, self.config.accepted_suffixes)

    @property
    def uploaded(self) -> dict[Sample, ObjectCoordinates]:
        """Where all objects are, once each has its verdict."""
        self.rows()
        return dict(self._uploaded)

    def coordinates(self, sample: Sample) -> ObjectCoordinates:
        """Return where an object is, uploaded with those of its kind if it was not yet."""
        if sample not in self._uploaded:
            if sample in SECOND:
                self.row(Sample.DELIVERED)
            for each in SECOND if sample in SECOND else FIRST:
                self._upload(each)
        return self._uploaded[sample]

    def row(self, sample: Sample) -> Row:
        """Return an object's row, once it has the verdict of the present attempt.

        Raises
        ------
        NotSeenError
            It has none in time.
        """
        object_id = self.coordinates(sample).object_id
        row: Row | None = None

        def look() -> Row | None:
            nonlocal row
            row = self.stage.ledger.row(object_id)
            return row if row and row.attempt >= self.attempt and row.status not in IN_WORK else None

        def told() -> str:
            if row is None:
                return f"no row in the ledger after {VERDICT_SECONDS} s: look at intake queue and dispatcher's log"
            return f"{row.status}, attempt {row.attempt}, after {VERDICT_SECONDS} s: look at the execution {object_id}"

        return until(look, self._deadline, told)

    def rows(self) -> dict[Sample, Row]:
        """Return the rows of all objects."""
        return {sample: self.row(sample) for sample in Sample}

    def output_key(self, sample: Sample) -> str:
        """Return the key of an object's result.

        Raises
        ------
        NotSeenError
            The object has none, so that there is nothing to look at.
        """
        row = self.row(sample)
        if row.status is not LedgerStatus.DELIVERED or row.output_key is None:
            raise NotSeenError(f"the object {sample} has no result: it is {row.status}")
        return row.output_key

    def result(self, sample: Sample) -> bytes:
        """Return the content of an object's result."""
        answer = self.results.get_object(Bucket=self.processed_bucket, Key=self.output_key(sample))
        return answer["Body"].read()

    def patient(self) -> str:
        """Return the invented patient's pseudonym."""
        return self.output_key(RESULTS[0]).split("/")[0]

    def heard(self) -> list[tuple[EventType, dict[str, Any]]]:
        """Return the events that have arrived by now, with their details.

        Raises
        ------
        NotSeenError
            Nobody listens.
        """
        if self.subscription is None:
            raise NotSeenError("there is no temporary queue to look at")
        return self.subscription.heard()

    def begin_attempt(self, attempt: int) -> None:
        """Ask for rows of a later attempt from now on."""
        self.attempt = attempt
        self._deadline = time.monotonic() + VERDICT_SECONDS

    def after_last_verdict(self) -> str:
        """Return the time right after the ledger's last word on the objects, by the clock of who wrote it."""
        last = max(datetime.fromisoformat(row.updated_at) for row in self.rows().values())
        return (last + timedelta(milliseconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _upload(self, sample: Sample) -> None:
        body = content(self.id, sample)
        suffix = next(iter(self.config.accepted_suffixes), "")
        name = HOSTILE if sample is Sample.HOSTILE else sample.value
        key = f"{self.prefix}{name}{suffix}"
        # By the checksum of the whole object the result's pixels are proved to be the source's.
        answer = self.s3.put_object(Bucket=self.raw_bucket, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")
        self._uploaded[sample] = ObjectCoordinates(
            bucket=self.raw_bucket,
            key=key,
            version_id=answer["VersionId"],
            size=len(body),
            etag=answer["ETag"].strip('"'),
        )
        self._deadline = time.monotonic() + VERDICT_SECONDS
