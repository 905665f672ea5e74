"""What the templates can't tell. Measure your own; `--set` changes each number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class IndexUse(NamedTuple):
    """What one delivered object does to a global secondary index."""

    writes: float
    """A change of the index's key counts as two ("Using Global Secondary Indexes in DynamoDB")."""
    kept_kb: float
    """Size of its item there, once the object has its verdict."""


INDEX_USE: Final[Mapping[str, Mapping[str, IndexUse]]] = {
    "LedgerTable": {"in-work": IndexUse(2, 0), "by-verdict": IndexUse(1, 0.5), "by-study": IndexUse(2, 0.8)},
    "AuditTable": {"by-event": IndexUse(1, 0.9), "by-study": IndexUse(1, 0.9)},
}
"""By the beginning of the table's logical id, and by the index's name. Every index of these tables must be here."""


def _assumed(value: float, meaning: str, *, least: float = 0) -> float:
    given: float = field(default=value, metadata={"meaning": meaning, "least": least})
    return given


@dataclass(frozen=True)
class Assumptions:
    """Numbers for one delivered object, unless they say otherwise."""

    object_mb: float = _assumed(0.5, "MB of a raw object, and of its result")
    ingestion_ms: float = _assumed(250, "billed duration of ingestion")
    validation_ms: float = _assumed(250, "billed duration of validation")
    deidentification_ms: float = _assumed(600, "billed duration, S3's copy included")
    dispatcher_ms: float = _assumed(150, "billed duration of the dispatcher")
    integration_ms: float = _assumed(60, "duration of each task that calls a service")
    dispatch_batch: float = _assumed(5, "objects in a dispatcher's batch", least=1)
    s3_uploads: float = _assumed(1, "PUT or multipart requests of the upload")
    s3_puts: float = _assumed(1, "PUT, COPY or multipart requests of the result")
    s3_gets: float = _assumed(9, "GET or HEAD requests on object and result")
    s3_lists: float = _assumed(1, "LIST requests, where the event has no version")
    ledger_writes: float = _assumed(6, "writes of up to 1 KB, without indexes")
    ledger_reads: float = _assumed(2, "consistent reads of up to 4 KB")
    ledger_kb: float = _assumed(1.4, "KB of its row and claim, without indexes")
    audit_writes: float = _assumed(1, "audit records of up to 1 KB, without indexes")
    audit_kb: float = _assumed(0.9, "KB of its audit record, without indexes")
    log_event_bytes: float = _assumed(340, "of a workflow event in the log, without data")
    function_log_kb: float = _assumed(6, "KB of the functions' logs")
    flow_log_kb: float = _assumed(1, "KB of flow logs, where there is a VPC")
    log_compression: float = _assumed(0.15, "of a log's volume is what is stored")
    traced_percent: float = _assumed(5, "percent of requests that X-Ray samples")
    kms_requests: float = _assumed(3, "KMS requests: data keys are reused")
    function_metrics: float = _assumed(20, "metrics of all functions together")
    request_metrics: float = _assumed(13, "metrics that S3 reports of a bucket's requests")
    compared_versions: float = _assumed(500_000, "that one reconciliation gets to, at most")
    compared_ms: float = _assumed(1, "of reconciliation for each of them")
