"""Replays from the command line: what one would start, its start, and its progress. Talks to AWS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from cli.stage import OperationError, Stage
from runtime.aws.clients import client
from runtime.contract.ledger import LedgerStatus
from runtime.contract.models import Frozen
from runtime.contract.names import Function, Output
from runtime.contract.objects import ObjectCoordinates
from runtime.contract.replay import ReplayInput
from runtime.contract.variables import StartingVariables
from runtime.ledger.rows import Row
from runtime.operations.attempts import accepts
from runtime.operations.replay import selects

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef
    from mypy_boto3_stepfunctions.client import SFNClient

POLL_SECONDS: Final = 5
"""Between two looks at a replay, and at the objects that it started."""
_IN_WORK: Final = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))


class Plan(Frozen):
    """What a replay would start, if it began now."""

    objects: int
    keys: int


class Progress(Frozen):
    """How far the replay workflow got, by keys."""

    status: str
    """of the execution, as Step Functions has it"""
    done: int = 0
    failed: int = 0
    """failed, or without a verdict within five minutes"""
    total: int = 0
    """0 where Step Functions does not count, or the caller may not ask"""


def plan(stage: Stage, replay: ReplayInput) -> Plan:
    """Count what a replay would start, by the same rules, from the raw bucket's list and the ledger's rows."""
    variables = _accepted(stage)
    pages = (
        client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=stage.output(Output.RAW_BUCKET_NAME), Prefix=replay.prefix)
    )
    objects, keys = 0, 0
    deleted: set[str] = set()
    last_key = ""
    for page in pages:
        deleted |= {marker["Key"] for marker in page.get("DeleteMarkers", []) if marker["IsLatest"]}
        versions = [
            each
            for each in _versions(page)
            if each.key not in deleted and accepts(each.key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES)
        ]
        rows = stage.ledger.rows([each.object_id for each in versions])
        for each in versions:
            row = rows.get(each.object_id)
            if selects(replay.filter, row) and (row is None or row.status is not LedgerStatus.RUNNING):
                objects += 1
                keys += each.key != last_key
                last_key = each.key
    return Plan(objects=objects, keys=keys)


def _versions(page: ListObjectVersionsOutputTypeDef) -> list[ObjectCoordinates]:
    return [
        ObjectCoordinates(
            bucket=page["Name"],
            key=version["Key"],
            version_id=version["VersionId"],
            size=version["Size"],
            etag=version["ETag"].strip('"'),
        )
        for version in page.get("Versions", [])
    ]


def _accepted(stage: Stage) -> StartingVariables:
    """Return the variables of the replay function, which say what the stage accepts."""
    functions = client("lambda")
    try:
        answer = functions.get_function_configuration(FunctionName=stage.function_name(Function.REPLAY))
    except functions.exceptions.ResourceNotFoundException:
        raise OperationError(f"This account and region have no stage {stage.name!r} that replays.") from None
    return StartingVariables.model_validate(answer["Environment"]["Variables"])


def start(states: SFNClient, stage: Stage, replay: ReplayInput, asked_at: datetime) -> str:
    """Start the replay workflow and return its execution's ARN."""
    answer = states.start_execution(
        stateMachineArn=stage.output(Output.REPLAY_STATE_MACHINE_ARN),
        name=f"replay-{asked_at:%Y%m%dT%H%M%S%f}",
        input=replay.model_dump_json(exclude_none=True),
    )
    return answer["executionArn"]


def follow(states: SFNClient, execution: str) -> Iterator[Progress]:
    """Yield how far a replay got, each time that it got further, until it has ended."""
    last = None
    while last is None or last.status == "RUNNING":
        if last is not None:
            time.sleep(POLL_SECONDS)
        status = states.describe_execution(executionArn=execution, includedData="METADATA_ONLY")["status"]
        progress = _progress(states, execution, status)
        if progress != last:
            yield progress
        last = progress


def _progress(states: SFNClient, execution: str, status: str) -> Progress:
    try:
        runs = states.list_map_runs(executionArn=execution)["mapRuns"]
        counts = states.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["itemCounts"] if runs else None
    except ClientError:
        counts = None
    if counts is None:
        return Progress(status=status)
    failed = counts["failed"] + counts["timedOut"] + counts["aborted"]
    return Progress(status=status, done=counts["succeeded"], failed=failed, total=counts["total"])


def await_verdicts(stage: Stage, object_ids: list[str]) -> list[Row]:
    """Return the rows of these objects, once none of them is in work."""
    while True:
        rows = stage.ledger.rows(object_ids)
        if not any(row.status in _IN_WORK for row in rows.values()):
            return [rows[each] for each in object_ids if each in rows]
        time.sleep(POLL_SECONDS)
