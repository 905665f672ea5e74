"""Objects that ended without a result, and what becomes of them: a retry, another profile, a person's decision."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from cli.stage import OperationError
from runtime.aws import retries
from runtime.aws.audit import AuditLog
from runtime.aws.clock import countdown, now
from runtime.aws.executions import Executions
from runtime.aws.retries import START_SECONDS
from runtime.contract.audit import AuditEvent, AuditRecord
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Decision, Finding, Release, Severity
from runtime.dicom.findings import FINDINGS
from runtime.ledger.rows import Ledger, Row
from runtime.observability.redaction import error_code
from runtime.operations.attempts import start_attempt

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.client import SFNClient

_LEADING: Final = frozenset(("bucket", "key", "version_id", "etag", "execution"))
"""Fields of a row that name the raw object; the execution's ARN leads to it."""
ACCEPTABLE_RISK: Final = "RISK_"
"""How the reason codes begin that a person may overrule: what a header can't judge, and a person who looked can."""


def list_rows(
    ledger: Ledger, status: LedgerStatus, *, since: str = "", reason_code: str | None = None
) -> Iterator[Row]:
    """Yield the rows with a status, oldest verdict first.

    Parameters
    ----------
    ledger
        Of the stage.
    status
        Of the rows.
    since
        Time of the verdict, ISO 8601 in UTC or its beginning.
    reason_code
        One that the row must have, or the name of the error with which it failed.
    """
    for row in ledger.with_status(status, since=since):
        if reason_code is None or reason_code in row.reasons:
            yield row


def hidden(*, keys: bool) -> set[str]:
    """Return the fields of a row that are not told, unless somebody asks for keys."""
    return set() if keys else set(_LEADING)


def count_reasons(rows: Iterable[Row]) -> Counter[str]:
    """Count the rows for each reason. A row with two reasons counts for both."""
    return Counter(code for row in rows for code in row.reasons)


def find_row(ledger: Ledger, object_id: str, *statuses: LedgerStatus) -> Row:
    """Return the row of an object.

    Raises
    ------
    OperationError
        The ledger doesn't know the object, or it has none of the statuses.
    """
    row = ledger.row(object_id) if "#" not in object_id else None
    if row is None:
        raise OperationError(f"{object_id}: the ledger has no such object; give an id of 32 hexadecimal digits.")
    if statuses and row.status not in statuses:
        raise OperationError(f"{object_id}: it is {row.status}, not {' or '.join(statuses)}.")
    return row


def findings(client: SFNClient, row: Row) -> list[Finding]:
    """Return what was wrong with a quarantined object.

    The execution's output has every finding with its attribute and offset for 90 days. Without it (later, with an
    EXPRESS workflow, or for want of the right to read it) the row's reason codes remain, with what they mean.
    """
    return _recorded_findings(client, row) or [
        Finding(code=code, severity=Severity.ERROR, message=FINDINGS[code].message if code in FINDINGS else "")
        for code in row.reasons
    ]


def _recorded_findings(client: SFNClient, row: Row) -> list[Finding]:
    if row.execution is None or ":express:" in row.execution:
        return []
    try:
        output = client.describe_execution(executionArn=row.execution).get("output", "{}")
        return [Finding.model_validate(each) for each in json.loads(output).get("findings", [])]
    except (client.exceptions.ClientError, ValidationError):
        return []


def retry(ledger: Ledger, executions: Executions, row: Row, *, profile: str | None = None) -> bool:
    """Start an object's next attempt, or one that was opened and not started; False where somebody else just did.

    Parameters
    ----------
    ledger, executions
        Of the stage.
    row
        Of the object.
    profile
        De-identification profile instead of the one of the attempt before.

    Raises
    ------
    OperationError
        An attempt was opened with another profile.
    """
    opened = row.status is LedgerStatus.RECEIVED
    if opened and profile not in (None, row.requested_profile):
        was = row.requested_profile or "the stage's profile"
        raise OperationError(
            f"{row.object_id}: its next attempt was opened with {was}; start it without --deidentification-profile."
        )
    execution = row.current_attempt if opened else row.next_attempt(profile=profile)
    return retries.retry(lambda: start_attempt(ledger, executions, execution), countdown(START_SECONDS))


def release(
    ledger: Ledger, executions: Executions, audit: AuditLog, row: Row, decision: Release, *, principal: str
) -> bool:
    """Record a person's decision and start the attempt that heeds it; False where somebody else has just done so.

    Parameters
    ----------
    ledger, executions, audit
        Of the stage.
    row
        Of the object.
    decision
        The person's.
    principal
        ARN under which the person acts.

    Raises
    ------
    OperationError
        The object is in quarantine for something that no decision mends, or is there no longer, or the decision can't
        be recorded.
    """
    others = [code for code in row.reasons if not code.startswith(ACCEPTABLE_RISK)]
    if others:
        raise OperationError(
            f"{row.object_id}: {' '.join(others)} is no risk that a person can accept; correct the source, or retry."
        )
    _record(audit, _decided(row, decision, principal, AuditEvent.RELEASED, row.attempt + 1))
    if not ledger.release(row, decision):
        raise OperationError(f"{row.object_id}: somebody else has just started its next attempt; look at it again.")
    return retry(ledger, executions, row)


def dismiss(ledger: Ledger, audit: AuditLog, row: Row, decision: Decision, *, principal: str) -> None:
    """Record a person's decision that nothing more is to be done about an object in quarantine.

    Parameters
    ----------
    ledger, audit
        Of the stage.
    row
        Of the object.
    decision
        The person's.
    principal
        ARN under which the person acts.

    Raises
    ------
    OperationError
        The object is in quarantine no longer, or the decision can't be recorded.
    """
    if row.is_dismissed:
        raise OperationError(f"{row.object_id}: it was dismissed before; `quarantine show` says by whom.")
    _record(audit, _decided(row, decision, principal, AuditEvent.DISMISSED, row.attempt))
    if not ledger.dismiss(row, decision):
        raise OperationError(f"{row.object_id}: somebody else has just started its next attempt; look at it again.")


def _record(audit: AuditLog, record: AuditRecord) -> None:
    """Record a decision, without which it doesn't hold."""
    try:
        audit.record(record)
    except (BotoCoreError, ClientError) as error:
        code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
        raise OperationError(
            f"{record.subject}: the audit log can't record the decision, so it stays in quarantine ({code})."
        ) from None


def _decided(row: Row, decision: Decision, principal: str, event: AuditEvent, attempt: int) -> AuditRecord:
    """Return the audit record of a decision. Of its reason, in which a patient may be named, it has the hash."""
    return AuditRecord(
        subject=row.object_id,
        record_id=uuid.uuid4().hex,
        event=event,
        at=now(),
        attempt=attempt,
        reason_codes=row.reason_codes,
        principal=principal,
        by=decision.by,
        reason_sha256=hashlib.sha256(decision.reason.encode()).hexdigest(),
    )
