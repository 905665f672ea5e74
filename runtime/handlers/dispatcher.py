"""Dispatcher: start an execution, once, for each accepted object of the intake queue."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.aws import clients, storage
from runtime.aws.audit import AuditLog
from runtime.aws.clock import now
from runtime.aws.executions import Executions
from runtime.aws.metrics import put_count
from runtime.aws.retries import retry
from runtime.contract.audit import AuditEvent, AuditRecord, verdict_record_id
from runtime.contract.names import Metric
from runtime.contract.objects import ExecutionInput, IntakeMessage, ObjectCoordinates, ObjectCreated
from runtime.contract.variables import DispatcherVariables
from runtime.dicom.errors import DicomError
from runtime.ledger.rows import Ledger
from runtime.observability.entry_points import StepFailedError, entry_point, logger
from runtime.observability.redaction import describe
from runtime.operations.attempts import accepts, start_attempt

variables = DispatcherVariables.model_validate(os.environ)
s3 = storage.s3_client()
cloudwatch = clients.client("cloudwatch")
dynamodb = clients.client("dynamodb")
ledger = Ledger(dynamodb, variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
audit = AuditLog(dynamodb, variables.AUDIT_TABLE)
executions = Executions(clients.client("stepfunctions"), variables.STATE_MACHINE_ARN)


@entry_point
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Dispatch a batch of messages; answer with those to be delivered again."""
    counts: Counter[Metric] = Counter()

    def take(record: SQSRecord) -> None:
        """Dispatch one message, and redact its error, which may quote the key."""
        try:
            verdict = retry(
                lambda: dispatch(IntakeMessage.model_validate_json(record.body).detail),
                lambda: context.get_remaining_time_in_millis() / 1000,
            )
        except Exception as error:  # noqa: BLE001 - every exception has to be replaced
            failure = describe(error)
        else:
            counts.update([verdict] if verdict else [])
            return
        logger.error("not dispatched", extra={"failure": failure, "message_id": record.message_id})
        raise StepFailedError(failure)

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    answer = process_partial_response(event=event, record_handler=take, processor=processor, context=context)
    publish(counts)
    return dict(answer)


def dispatch(created: ObjectCreated) -> Metric | None:
    """Start the execution of an object unless it was started; return the metric of an object without one."""
    if not accepts(created.object.key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES):
        return ignore(created)
    try:
        coordinates = storage.locate(s3, created)
    except DicomError as error:
        return quarantine_unread(created, error.code)
    started = start_attempt(ledger, executions, ExecutionInput(object=coordinates))
    logger.info("dispatched", extra={"object_id": coordinates.object_id, "started": started})
    return None


def ignore(created: ObjectCreated) -> Metric | None:
    """Record an object that the stage does not accept. The event tells all that is recorded, but for a version id."""
    coordinates = announced(created)
    if created.object.version_id is None:
        with suppress(DicomError):  # a version that is gone has no id that could be found
            coordinates = storage.locate(s3, created)
    was_news = ledger.ignore(coordinates)
    logger.info("ignored", extra={"object_id": coordinates.object_id, "known": not was_news})
    return Metric.IGNORED if was_news else None


def announced(created: ObjectCreated) -> ObjectCoordinates:
    """Return an object's coordinates as the event tells them, without a look at the object."""
    return ObjectCoordinates(
        bucket=created.bucket.name,
        key=created.object.key,
        version_id=created.object.version_id or "null",
        size=created.object.size,
        etag=created.object.etag or "",
    )


def quarantine_unread(created: ObjectCreated, code: str) -> Metric | None:
    """Quarantine a version that was deleted before anything read it, unless it has a row.

    The execution of a version with a row records the verdict itself.
    """
    gone = announced(created)
    # First the audit log: a verdict in the ledger alone would be passed over when the message is delivered again.
    if ledger.row(gone.object_id) is None:
        audit.record(unread(gone, code))
    was_news = ledger.reject_unread(gone, code)
    logger.info("not dispatched", extra={"object_id": gone.object_id, "reasons": [code], "known": not was_news})
    return Metric.QUARANTINE if was_news else None


def unread(gone: ObjectCoordinates, code: str) -> AuditRecord:
    """Return the audit record of a version that was deleted before anything read it."""
    event = AuditEvent.QUARANTINED
    return AuditRecord(
        subject=gone.object_id,
        record_id=verdict_record_id(1, event),
        event=event,
        at=now(),
        attempt=1,
        code_version=variables.CODE_VERSION,
        reason_codes=code,
    )


def publish(counts: Counter[Metric]) -> None:
    """Put the counts. Objects are accounted for without them, so a refused count is only logged."""
    for metric, count in counts.items():
        try:
            put_count(cloudwatch, variables.STAGE, metric, count)
        except Exception as error:  # noqa: BLE001 - see above
            logger.warning("count not published", extra={"metric": metric, "count": count, "failure": describe(error)})
