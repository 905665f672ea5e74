"""Checks of what the documentation promises to refuse, asked for where it does no harm if it is granted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from acceptance.verification.check import Judgement, check, is_denied, unset, without_keys
from acceptance.verification.objects import Sample
from acceptance.verification.run import Run
from runtime.contract.names import Output
from runtime.observability.redaction import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

IMPATIENT: Final = Config(connect_timeout=10, retries={"total_max_attempts": 1})
"""A firewall may have no port 80."""
NOTHING: Final = {"subject": {"S": "acceptance"}, "record_id": {"S": "none"}}
"""The key of no record: to remove it removes nothing."""


def refused(ask: Callable[[], Any]) -> Judgement:
    """Ask for what must be refused.

    AWS says in some services whether a policy denied it or nobody allowed it; where it says, the former is expected.
    """
    try:
        ask()
    except ClientError as error:
        if not is_denied(error):
            return Judgement("refused", f"{error_code(error)}, not refused", ok=False)
        lacking = "no identity-based policy allows" in error.response["Error"].get("Message", "")
        return Judgement("refused", "refused for want of a right" if lacking else "refused", ok=True)
    return Judgement("refused", "granted", ok=False)


@check("refused: raw bucket without TLS", emulator="speaks no TLS itself")
def without_tls(run: Run) -> Judgement:
    """List the run's own objects by plain HTTP."""
    plain = boto3.client("s3", use_ssl=False, config=IMPATIENT)
    return refused(lambda: plain.list_objects_v2(Bucket=run.raw_bucket, Prefix=run.prefix, MaxKeys=1))


@check("refused: results without TLS", emulator="speaks no TLS itself")
def results_without_tls(run: Run) -> Judgement:
    """List the run's own results by plain HTTP."""
    plain = run.reader.client("s3", use_ssl=False, config=IMPATIENT)
    prefix = f"{run.patient()}/"
    return refused(lambda: plain.list_objects_v2(Bucket=run.processed_bucket, Prefix=prefix, MaxKeys=1))


@check("refused: a raw object without credentials")
def anonymous_raw(run: Run) -> Judgement:
    """Read a raw object of the run without signature."""
    at = run.coordinates(Sample.DELIVERED)
    return refused(lambda: _anonymous(run).get_object(Bucket=at.bucket, Key=at.key))


@check("refused: a result without credentials")
def anonymous_result(run: Run) -> Judgement:
    """Read a result of the run without signature."""
    key = run.output_key(Sample.DELIVERED)
    return refused(lambda: _anonymous(run).get_object(Bucket=run.processed_bucket, Key=key))


def _anonymous(run: Run) -> S3Client:
    return boto3.client("s3", region_name=run.stage.region, config=Config(signature_version=UNSIGNED))


@check("refused: an upload by another key", skip=without_keys)
def other_encryption(run: Run) -> Judgement:
    """Upload nothing, encrypted by Amazon S3's own key; below the run's prefix, so that it would be removed."""
    key = f"{run.prefix}refused"
    return refused(lambda: run.s3.put_object(Bucket=run.raw_bucket, Key=key, Body=b"", ServerSideEncryption="AES256"))


@check("refused: the PHI key without a service", skip=without_keys)
def key_alone(run: Run) -> Judgement:
    """Encrypt by the key itself, which only services may do on somebody's behalf."""
    key = run.key_arn("phi") or ""
    return refused(lambda: boto3.client("kms").encrypt(KeyId=key, Plaintext=b"nothing"))


@check("refused: deleting a record of the audit log", emulator="takes no policies of tables")
def delete_record(run: Run) -> Judgement:
    """Delete a record that is not there."""
    table = run.stage.output(Output.AUDIT_TABLE_NAME)
    return refused(lambda: boto3.client("dynamodb").delete_item(TableName=table, Key=NOTHING))


@check("refused: overwriting a record of links", emulator="takes no policies of tables")
def overwrite_record(run: Run) -> Judgement:
    """Overwrite a record under a condition that does not hold."""
    table = run.stage.output(Output.LINK_AUDIT_TABLE_NAME)
    return refused(
        lambda: boto3.client("dynamodb").put_item(
            TableName=table,
            Item=NOTHING,
            ConditionExpression="attribute_exists(subject)",
        )
    )


@check("refused: deleting a locked raw object", skip=unset("object_lock_mode"), emulator="ignores Object Lock")
def delete_locked(run: Run) -> Judgement:
    """Delete the version of a raw object of the run for good."""
    at = run.coordinates(Sample.DUPLICATE)
    return refused(lambda: run.s3.delete_object(Bucket=at.bucket, Key=at.key, VersionId=at.version_id))


@check("refused: a result past the delivery role", skip=unset("delivery_principals"))
def past_delivery_role(run: Run) -> Judgement:
    """Read a result of the run with the caller's own credentials."""
    key = run.output_key(Sample.DELIVERED)
    return refused(lambda: run.s3.get_object(Bucket=run.processed_bucket, Key=key))


CHECKS = (
    without_tls,
    results_without_tls,
    anonymous_raw,
    anonymous_result,
    other_encryption,
    key_alone,
    delete_record,
    overwrite_record,
    delete_locked,
    past_delivery_role,
)
