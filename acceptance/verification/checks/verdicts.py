"""Checks of the verdicts: each object ends where it has to, ledger and audit log say so, and a replay repeats it."""

from __future__ import annotations

import hashlib
import time
from functools import partial

from acceptance.verification.check import Check, Judgement, check, same
from acceptance.verification.objects import EXPECTED, Sample
from acceptance.verification.run import VERDICT_SECONDS, Run
from acceptance.verification.waiting import until
from runtime.aws.clients import client as aws_client
from runtime.contract.audit import AuditEvent, verdict_record_id
from runtime.contract.names import Output
from runtime.contract.replay import ReplayFilter, ReplayInput


def _verdict(sample: Sample, run: Run) -> Judgement:
    expected, row = EXPECTED[sample], run.row(sample)
    codes = (row.reason_codes or row.error or "").split()
    ok = row.status is expected.verdict and (expected.reason_code is None or expected.reason_code in codes)
    return Judgement(str(expected), " ".join((row.status, *codes)), ok)


VERDICTS = tuple(Check(f"verdict: {sample}", partial(_verdict, sample)) for sample in Sample)


@check("ledger: version, study, profile and key")
def ledger_row(run: Run) -> Judgement:
    """Look at what the row of a delivered object says beside its verdict."""
    row, uploaded = run.row(Sample.DELIVERED), run.coordinates(Sample.DELIVERED)
    said = {
        "version": row.coordinates == uploaded,
        "study": row.study_id is not None,
        f"profile {run.config.profile}": row.profile == run.config.profile,
        "key's id": bool(row.key_id),
    }
    return Judgement(", ".join(said), _all_or_missing(said), all(said.values()))


@check("audit log: a record for each verdict")
def audit_records(run: Run) -> Judgement:
    """Look for the record of every attempt at every object."""
    expected = len(Sample) * run.attempt
    seen = 0
    for sample in Sample:
        event = AuditEvent(EXPECTED[sample].verdict)
        records = {record.record_id for record in run.stage.audit.of_subject(run.row(sample).object_id)}
        seen += sum(verdict_record_id(attempt, event) in records for attempt in range(1, run.attempt + 1))
    return same(f"{expected} records", f"{seen} records")


@check("replay: of this run's objects alone")
def replay(run: Run) -> Judgement:
    """Start the replay workflow over the run's prefix, and wait for its end."""
    asked = ReplayInput(prefix=run.prefix, filter=ReplayFilter(requested_at=run.after_last_verdict()))
    client = aws_client("stepfunctions")
    execution = client.start_execution(
        stateMachineArn=run.stage.output(Output.REPLAY_STATE_MACHINE_ARN),
        name=run.replay_name,
        input=asked.model_dump_json(exclude_none=True),
    )["executionArn"]
    run.begin_attempt(2)

    def ended() -> str | None:
        status = client.describe_execution(executionArn=execution, includedData="METADATA_ONLY")["status"]
        return None if status == "RUNNING" else status

    deadline = time.monotonic() + VERDICT_SECONDS
    return same("SUCCEEDED", until(ended, deadline, lambda: f"still running after {VERDICT_SECONDS} s"))


@check("replay: the same verdicts, attempt 2")
def replayed_verdicts(run: Run) -> Judgement:
    """Compare the verdicts of the second attempt with those that are expected of the first."""
    if run.attempt == 1:
        return Judgement("6 of 6", "nothing was replayed", ok=False)
    said = {str(sample): _verdict(sample, run).ok for sample in Sample}
    return Judgement(f"{len(said)} of {len(said)}", _all_or_missing(said), all(said.values()))


@check("replay: a second version, the same bytes")
def replayed_bytes(run: Run) -> Judgement:
    """Compare all versions of a result."""
    key = run.output_key(Sample.DELIVERED)
    listed = run.s3.list_object_versions(Bucket=run.processed_bucket, Prefix=key).get("Versions", [])
    contents = {
        hashlib.sha256(
            run.results.get_object(Bucket=run.processed_bucket, Key=key, VersionId=each["VersionId"])["Body"].read()
        ).digest()
        for each in listed
    }
    return same("2 versions, 1 content", f"{len(listed)} versions, {len(contents)} content{'s' * (len(contents) != 1)}")


def _all_or_missing(said: dict[str, bool]) -> str:
    missing = [name for name, held in said.items() if not held]
    return f"not: {', '.join(missing)}" if missing else "all"


REPLAY = (replay, replayed_verdicts, replayed_bytes)
