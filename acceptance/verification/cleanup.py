"""Removes what a run made, and says what must stay or could not go.

The order makes it safe to be killed anywhere: raw objects go last, since whatever else there is of a run is found by
them, at the next start. Rows go before results, so that reconciliation misses none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import boto3
from botocore.exceptions import ClientError

from acceptance.verification.check import Judgement, check, trouble
from acceptance.verification.checks.operations import report_folders
from acceptance.verification.objects import sop_instance_uids, study_instance_uid
from acceptance.verification.run import IN_WORK, Run, beginning_of, is_run_id
from acceptance.verification.waiting import until
from runtime.aws import storage
from runtime.aws.audit import study_of
from runtime.contract.ledger import STUDY_ITEMS, LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ObjectCoordinates
from runtime.ledger.claims import claim_item
from runtime.ledger.table import hashed
from runtime.observability.redaction import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

LONGEST: Final = timedelta(hours=1)
"""After that nobody works on a run any more: it was killed."""
ENDING_SECONDS = 120
"""How long executions that are under way may still take, before what they write is removed."""


class Removal:
    """The removal of one run's traces.

    Parameters
    ----------
    run
        This run, or one with the id of an earlier one.

    Attributes
    ----------
    removed, kept
        What went, and what must stay, in words.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.removed: list[str] = []
        self.kept: list[str] = []

    @property
    def told(self) -> str:
        """What was done, in a sentence."""
        stays = f"; stays: {', '.join(self.kept)}" if self.kept else ""
        return f"removed: {', '.join(self.removed) or 'nothing'}{stays}"

    def everything(self) -> list[str]:
        """Remove what there is; return what could not be removed, and why."""
        left = []
        for what, remove in (
            ("rule and queue", self._subscription),
            ("objects", self._objects),
            ("the replay's report", self._reports),
        ):
            try:
                remove()
            except Exception as error:  # noqa: BLE001 - the rest has to go all the same
                left.append(f"{what}: {trouble(error)}")
        return left

    def _subscription(self) -> None:
        run, events, sqs = self._run, boto3.client("events"), boto3.client("sqs")
        bus = run.stage.output(Output.EVENT_BUS_NAME)
        for rule in events.list_rules(EventBusName=bus, NamePrefix=run.temporary_name)["Rules"]:
            events.remove_targets(EventBusName=bus, Rule=rule["Name"], Ids=["queue"])
            events.delete_rule(EventBusName=bus, Name=rule["Name"])
            self.removed.append("a rule")
        try:
            queue = sqs.get_queue_url(QueueName=run.temporary_name)["QueueUrl"]
        except ClientError as error:
            if not error_code(error).endswith(("QueueDoesNotExist", "NonExistentQueue")):
                raise
            return
        sqs.delete_queue(QueueUrl=queue)
        self.removed.append("a queue")

    def _objects(self) -> None:
        run = self._run
        objects = _uploads(run)
        if not objects:
            return
        self._wait_for_verdicts(objects)
        if locked := _locked_until(run.s3, objects):
            self.kept.append(
                f"raw objects, locked until {locked:%Y-%m-%d}, with rows and results: a run after that removes them"
            )
            return
        records = [record for each in objects for record in run.stage.audit.of_subject(each.object_id)]
        # One study, whose UID no other patient has, whatever a profile makes of patients' ids.
        studies = {study_of(record.output_key) for record in records if record.output_key}
        for item in (
            *{each.object_id for each in objects},
            *map(claim_item, sop_instance_uids(run.id)),
            STUDY_ITEMS + hashed(study_instance_uid(run.id)),
        ):
            run.stage.ledger.table.delete(item)
        self.removed.append("ledger's rows")
        results = sum(self._delete(run.processed_bucket, f"{study}/") for study in studies)
        raw = self._delete(run.raw_bucket, run.prefix)
        self.removed.append(f"{results} versions of results, {raw} of raw objects")
        self.kept.append(f"{len(records)} audit records, which nobody can delete")

    def _wait_for_verdicts(self, objects: Iterable[ObjectCoordinates]) -> None:
        """Let executions end, which would write results after these were removed."""
        longest = timedelta(seconds=self._run.config.execution_timeout_seconds)
        if datetime.now(UTC) - self._run.began > LONGEST + longest:
            return
        deadline = time.monotonic() + ENDING_SECONDS
        for each in filter(self._run.accepts, objects):
            until(partial(self._verdict, each), deadline, lambda: "executions are under way: a later run removes all")

    def _verdict(self, each: ObjectCoordinates) -> LedgerStatus | None:
        row = self._run.stage.ledger.row(each.object_id)
        return row.status if row and row.status not in IN_WORK else None

    def _delete(self, bucket: str, prefix: str) -> int:
        """Delete all versions below a prefix, in the replica too; return how many of the bucket."""
        run = self._run
        if replica := run.replicas.get(bucket):
            _delete_versions(replica.s3, replica.name, prefix)
        return _delete_versions(run.s3, bucket, prefix)

    def _reports(self) -> None:
        if self._run.config.runs_on_this_machine:  # the emulator writes none
            return
        bucket = self._run.stage.output(Output.OPERATIONS_BUCKET_NAME)
        for folder in report_folders(self._run):
            _delete_versions(self._run.s3, bucket, folder)


def _uploads(run: Run) -> list[ObjectCoordinates]:
    """Return every version below the run's prefix."""
    pages = run.s3.get_paginator("list_object_versions").paginate(Bucket=run.raw_bucket, Prefix=run.prefix)
    keys = dict.fromkeys(each["Key"] for page in pages for each in page.get("Versions", []))
    return [each for key in keys for each in storage.versions(run.s3, run.raw_bucket, key)]


def _locked_until(s3: S3Client, objects: Iterable[ObjectCoordinates]) -> datetime | None:
    """Return until when one of the objects is locked; None where none is any more."""
    ends = [
        s3.head_object(Bucket=each.bucket, Key=each.key, VersionId=each.version_id).get("ObjectLockRetainUntilDate")
        for each in objects
    ]
    return max((end for end in ends if end and end > datetime.now(UTC)), default=None)


def _delete_versions(s3: S3Client, bucket: str, prefix: str) -> int:
    """Delete versions and delete markers below a prefix for good; return how many."""
    count = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for each in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
            count += 1
    return count


def _runs(run: Run) -> list[str]:
    """Return the ids of the earlier runs of which raw objects are there."""
    pages = run.s3.get_paginator("list_object_versions").paginate(
        Bucket=run.raw_bucket, Prefix=run.folder, Delimiter="/"
    )
    folders = (each["Prefix"] for page in pages for each in page.get("CommonPrefixes", []))
    ids = (folder.removeprefix(run.folder).removesuffix("/") for folder in folders)
    return [run_id for run_id in ids if is_run_id(run_id) and run_id != run.id]


@check("earlier runs: nothing is left of them")
def leftovers(run: Run) -> Judgement:
    """Remove what earlier runs left that were killed, or whose objects were locked then."""
    told, left = [], []
    for run_id in _runs(run):
        if datetime.now(UTC) - beginning_of(run_id) < LONGEST:
            told.append(f"{run_id} may be at work")
            continue
        removal = Removal(Run(run.config, run_id))
        left += [f"{run_id}: {each}" for each in removal.everything()]
        told.append(f"{run_id}: {removal.told}")
    return Judgement("nothing", "; ".join(left or told) or "nothing", not left)


@check("this run: nothing is left but what must stay")
def own(run: Run) -> Judgement:
    """Remove what this run made."""
    removal = Removal(run)
    left = removal.everything()
    return Judgement("nothing", f"left: {'; '.join(left)}" if left else removal.told, not left)
