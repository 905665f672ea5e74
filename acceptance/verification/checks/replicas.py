"""Check of the replicas in the other region."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from acceptance.verification.check import Judgement, check, unset
from acceptance.verification.checks.storage import encryption_of, expected_encryption
from acceptance.verification.objects import RESULTS, Sample
from acceptance.verification.run import Run
from acceptance.verification.waiting import until
from runtime.contract.objects import ObjectCoordinates

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

REPLICATED_SECONDS = 20 * 60
"""Replication time control promises 15 minutes."""


@check("replicas: of each raw object and result", skip=unset("replica_region"))
def replicated(run: Run) -> Judgement:
    """Wait until S3 says of each object that it was replicated, and look at the encryption of the replica."""
    keys = {bucket: run.key_arn(zone, replica=True) for bucket, zone in _zones(run).items()}
    waiting = [*run.uploaded.values(), *(_result(run, sample) for sample in RESULTS)]
    deadline = time.monotonic() + REPLICATED_SECONDS
    wrong = []
    for each in waiting:
        client = run.results if each.bucket == run.processed_bucket else run.s3
        status = until(
            partial(_settled, client, each), deadline, lambda: f"not replicated after {REPLICATED_SECONDS // 60} min"
        )
        replica = run.replicas[each.bucket]
        head = replica.s3.head_object(Bucket=replica.name, Key=each.key, VersionId=each.version_id)
        seen = f"{status}, {encryption_of(head)}"
        wrong += [seen] if seen != f"COMPLETED, {expected_encryption(keys[each.bucket])}" else []
    return Judgement(f"{len(waiting)} COMPLETED, with key", "; ".join(wrong) or f"{len(waiting)} COMPLETED", not wrong)


def _zones(run: Run) -> dict[str, str]:
    return {run.raw_bucket: "phi", run.processed_bucket: "research"}


def _settled(client: S3Client, each: ObjectCoordinates) -> str | None:
    head = client.head_object(Bucket=each.bucket, Key=each.key, VersionId=each.version_id)
    status = head.get("ReplicationStatus", "none")
    return None if status == "PENDING" else status


def _result(run: Run, sample: Sample) -> ObjectCoordinates:
    key = run.output_key(sample)
    head = run.results.head_object(Bucket=run.processed_bucket, Key=key)
    return ObjectCoordinates(
        bucket=run.processed_bucket,
        key=key,
        version_id=head["VersionId"],
        size=head["ContentLength"],
        etag=head["ETag"].strip('"'),
    )
