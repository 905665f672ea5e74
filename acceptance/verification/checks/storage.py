"""Checks of how objects are kept: encryption, versions, tags, lifecycle and lock."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from acceptance.verification.check import Check, Judgement, alike, check, same, unset
from acceptance.verification.objects import EXPECTED, RESULTS, Sample
from acceptance.verification.run import Run
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Output
from runtime.contract.objects import ObjectCoordinates

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

DATA: Final = (Output.RAW_BUCKET_NAME, Output.PROCESSED_BUCKET_NAME, Output.OPERATIONS_BUCKET_NAME)


def encryption_of(head: HeadObjectOutputTypeDef) -> str:
    """Return in words how an object is encrypted."""
    kind = head.get("ServerSideEncryption", "none")
    return f"{kind} {head.get('SSEKMSKeyId', '')}".rstrip()


def expected_encryption(key_arn: str | None) -> str:
    """Return what `encryption_of` has to say; without a key of the stage's, Amazon S3's own encrypts."""
    return f"aws:kms {key_arn}" if key_arn else "AES256"


def _head_of_raw(run: Run, coordinates: ObjectCoordinates) -> HeadObjectOutputTypeDef:
    return run.s3.head_object(Bucket=coordinates.bucket, Key=coordinates.key, VersionId=coordinates.version_id)


@check("raw objects: encryption and key", emulator="ignores bucket encryption")
def encryption_of_raw(run: Run) -> Judgement:
    """Look at how what was uploaded is encrypted."""
    heads = {str(sample): encryption_of(_head_of_raw(run, at)) for sample, at in run.uploaded.items()}
    return alike(expected_encryption(run.key_arn("phi")), heads)


@check("results: encryption and key", emulator="ignores bucket encryption")
def encryption_of_results(run: Run) -> Judgement:
    """Look at how what was delivered is encrypted."""
    heads = {
        str(sample): encryption_of(run.results.head_object(Bucket=run.processed_bucket, Key=run.output_key(sample)))
        for sample in RESULTS
    }
    return alike(expected_encryption(run.key_arn("research")), heads)


@check("buckets: versions")
def versions(run: Run) -> Judgement:
    """Look whether the buckets keep versions."""
    return alike(
        "Enabled",
        {bucket: run.s3.get_bucket_versioning(Bucket=run.stage.output(bucket)).get("Status", "off") for bucket in DATA},
    )


@check("tags of a quarantined object", emulator="stores no tags that a workflow puts")
def tags_of_quarantined(run: Run) -> Judgement:
    """Look at the tags that the workflow put on the raw version."""
    coordinates = run.coordinates(Sample.QUARANTINED)
    row = run.row(Sample.QUARANTINED)
    answer = run.s3.get_object_tagging(Bucket=coordinates.bucket, Key=coordinates.key, VersionId=coordinates.version_id)
    expected = {"verdict": EXPECTED[Sample.QUARANTINED].verdict.value, "reasons": row.reason_codes}
    return same(_named(expected), _named({tag["Key"]: tag["Value"] for tag in answer["TagSet"]}))


def lifecycle_of(bucket: Output, config: StageConfig) -> dict[str, object]:
    """Return what a bucket's one rule has to say by the stage's settings, all in days."""
    expiry = {
        Output.RAW_BUCKET_NAME: config.raw_retention_days,
        Output.PROCESSED_BUCKET_NAME: config.processed_retention_days,
        Output.OPERATIONS_BUCKET_NAME: config.operations_retention_days,
    }[bucket]
    glacier = config.glacier_after_days if bucket is Output.PROCESSED_BUCKET_NAME else None
    classes = {"STANDARD_IA": config.infrequent_access_after_days, "GLACIER": glacier}
    rule: dict[str, object] = {
        name: days for name, days in classes.items() if days and (expiry is None or days < expiry)
    }
    rule |= {"expires": expiry, "noncurrent expires": config.noncurrent_retention_days, "uploads abort": 1}
    return {name: days for name, days in rule.items() if days is not None}


def _seen_lifecycle(s3: S3Client, bucket: str) -> dict[str, object]:
    rules: list[Mapping[str, Any]] = [*s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]]
    seen: dict[str, object] = {}
    for rule in (each for each in rules if each["Status"] == "Enabled"):
        seen |= {each["StorageClass"]: each["Days"] for each in rule.get("Transitions", [])}
        seen["expires"] = rule.get("Expiration", {}).get("Days")
        seen["noncurrent expires"] = rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")
        seen["uploads abort"] = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    return {name: days for name, days in seen.items() if days is not None}


def _lifecycle(bucket: Output, run: Run) -> Judgement:
    seen = _seen_lifecycle(run.s3, run.stage.output(bucket))
    return same(_named(lifecycle_of(bucket, run.config)), _named(seen))


def _named(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items())) or "none"


LIFECYCLE = tuple(
    Check(f"lifecycle: {bucket.removesuffix('BucketName').lower()} bucket", partial(_lifecycle, bucket), "keeps none")
    for bucket in DATA
)


@check("raw objects: lock", emulator="ignores Object Lock", skip=unset("object_lock_mode"))
def lock(run: Run) -> Judgement:
    """Look whether what was uploaded is locked for as long as the stage says."""
    seen = {}
    for sample, at in run.uploaded.items():
        head = _head_of_raw(run, at)
        end = head.get("ObjectLockRetainUntilDate")
        days = round((end - head["LastModified"]).total_seconds() / 86400) if end else 0
        seen[str(sample)] = f"{head.get('ObjectLockMode', 'none')}, {days} days"
    return alike(f"{run.config.object_lock_mode}, {run.config.object_lock_days} days", seen)


CHECKS = (
    encryption_of_raw,
    encryption_of_results,
    versions,
    tags_of_quarantined,
    *LIFECYCLE,
    lock,
)
