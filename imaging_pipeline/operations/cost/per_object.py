"""The bill for delivered objects: what each of them makes the services do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Final

from imaging_pipeline.operations.cost.assumptions import INDEX_USE, Assumptions, IndexUse
from imaging_pipeline.operations.cost.prices import Line
from imaging_pipeline.operations.cost.templates import Lifecycle, Templates, lifecycle
from runtime.contract.names import STEPS, Function

MILLION: Final = 1_000_000
EXPRESS_CHUNK_GB: Final = 64 / 1024
"""EXPRESS executions are billed by memory in chunks of 64 MB; these hold a few kilobytes of state."""
TASK_EVENTS: Final = 5
"""Entered, scheduled, started, succeeded, exited ("HistoryEvent", AWS Step Functions API Reference)."""
STATE_EVENTS: Final = 2
"""Entered and exited, of a state that is no task."""
EXECUTION_EVENTS: Final = 2
SMALLEST_TRANSITION_KB: Final = 128
"""Smaller objects stay in their storage class ("Lifecycle transitions", Amazon S3 User Guide)."""
DATA_BUCKETS: Final = ("Raw", "Processed")


def bill(templates: Templates, assumed: Assumptions) -> list[Line]:
    """Return what a million delivered objects use."""
    parts = (_functions, _buckets, _tables, _events, _logs, _options, _replication, _workflow)
    lines = (line for part in parts for line in part(templates, assumed))
    return [replace(line, quantity=line.quantity * MILLION) for line in lines]


def index_use(templates: Templates, table: str) -> list[IndexUse]:
    """Return what an object does to each index of a table.

    Raises
    ------
    LookupError
        If `INDEX_USE` doesn't know an index.
    """
    known = INDEX_USE[table]
    names = [index["IndexName"] for index in templates.table(table).get("GlobalSecondaryIndexes", [])]
    if unknown := [name for name in names if name not in known]:
        raise LookupError(f"how often an object is written to {table}'s {', '.join(unknown)} is missing in INDEX_USE")
    return [known[name] for name in names]


def moves(life: Lifecycle, assumed: Assumptions) -> Lifecycle:
    """Return the life of an object of the assumed size, which may be too small to move."""
    return life if assumed.object_mb * 1024 >= SMALLEST_TRANSITION_KB else life._replace(classes=())


def _functions(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    yield Line("invocations", "lambda_request", len(STEPS) + 1 / assumed.dispatch_batch)
    durations = asdict(assumed)
    for name in (*STEPS, Function.DISPATCHER):
        properties = templates.function(name)
        (architecture,) = properties["Architectures"]
        gb_seconds = durations[f"{name}_ms"] / 1000 * properties["MemorySize"] / 1024
        yield Line(f"{name}, GB-seconds", f"lambda_gb_second_{architecture}", gb_seconds)


def _buckets(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    yield Line("upload", "s3_put", assumed.s3_uploads)
    yield Line("PUT and LIST requests", "s3_put", assumed.s3_puts + assumed.s3_lists)
    yield Line("GET and HEAD requests", "s3_get", assumed.s3_gets)
    for name in DATA_BUCKETS:
        for bucket, properties in templates.buckets(name).items():
            for storage_class, _ in moves(lifecycle(properties), assumed).classes:
                yield Line(f"{bucket} to {storage_class}", f"s3_transition_{storage_class.lower()}", 1)


def _tables(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    yield Line("ledger, reads", "dynamodb_read", assumed.ledger_reads)
    for part, table, writes in (
        ("ledger", "LedgerTable", assumed.ledger_writes),
        ("audit log", "AuditTable", assumed.audit_writes),
    ):
        indexed = sum(use.writes for use in index_use(templates, table))
        yield Line(f"{part}, writes", "dynamodb_write", writes)
        yield Line(f"{part}, writes of indexes", "dynamodb_write", indexed)


def _events(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    # Sent once; received and deleted in batches.
    yield Line("requests of the queue", "sqs_request", 1 + 2 / assumed.dispatch_batch)
    # S3 tells EventBridge of every event of the bucket, of lifecycle's too, whoever listens.
    raw = templates.buckets("Raw")["raw bucket"]
    yield Line("events of S3", "eventbridge_event", 1 + len(moves(lifecycle(raw), assumed).classes))
    yield Line("events on the stage's bus", "eventbridge_event", _calls(templates, ":events:putEvents"))
    yield Line("PutMetricData requests", "cloudwatch_put_metric", _calls(templates, ":putMetricData"))


def _logs(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    for part, kb in log_kb(templates, assumed).items():
        yield Line(f"{part}, GB", "logs_gb", kb / 1024**2)


def log_kb(templates: Templates, assumed: Assumptions) -> dict[str, float]:
    """Return the KB of logs that an object causes, by what writes them."""
    volumes = {}
    # The other levels tell nothing of an execution that succeeds.
    if templates.workflow["LoggingConfiguration"]["Level"] == "ALL":
        events = EXECUTION_EVENTS + sum(
            TASK_EVENTS if state["Type"] == "Task" else STATE_EVENTS for state in templates.delivery_states()
        )
        volumes["workflow's logs"] = events * assumed.log_event_bytes / 1024
    volumes["functions' logs"] = assumed.function_log_kb
    if templates.every("AWS::EC2::FlowLog"):
        volumes["flow logs"] = assumed.flow_log_kb
    return volumes


def _options(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    if "TracingConfig" in templates.function(Function.INGESTION):
        yield Line("traces", "xray_trace", assumed.traced_percent / 100)
    if templates.every("AWS::KMS::Key"):
        yield Line("KMS requests", "kms_request", assumed.kms_requests)
    if templates.every("AWS::CloudTrail::Trail"):
        requests = assumed.s3_uploads + assumed.s3_puts + assumed.s3_gets + assumed.s3_lists
        # The trail watches the replicas, too.
        yield Line("data events of the trail", "cloudtrail_data_event", requests + _replicated(templates))


def _replication(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    copies = _replicated(templates)
    if copies:
        gigabytes = copies * assumed.object_mb / 1024
        yield Line("PUT requests of replication", "s3_put", copies)
        yield Line("to the replica's region, GB", "transfer_between_regions_gb", gigabytes)
        yield Line("replication time control, GB", "s3_replication_time_gb", gigabytes)


def _replicated(templates: Templates) -> int:
    return sum("ReplicationConfiguration" in bucket for bucket in templates.every("AWS::S3::Bucket"))


def _workflow(templates: Templates, assumed: Assumptions) -> Iterator[Line]:
    states = templates.delivery_states()
    if templates.workflow["StateMachineType"] == "STANDARD":
        yield Line("state transitions", "states_standard_transition", len(states))
        return
    tasks = sum(state["Type"] == "Task" for state in states) - len(STEPS)
    durations = asdict(assumed)
    milliseconds = tasks * assumed.integration_ms + sum(durations[f"{step}_ms"] for step in STEPS)
    yield Line("executions", "states_express_request", 1)
    yield Line("executions, GB-seconds", "states_express_gb_second", milliseconds / 1000 * EXPRESS_CHUNK_GB)


def _calls(templates: Templates, action: str) -> int:
    return sum(str(state.get("Resource", "")).endswith(action) for state in templates.delivery_states())
