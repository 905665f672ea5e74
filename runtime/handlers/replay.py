"""Replay: run the selected versions of one raw object again, one after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime.aws import clients, storage
from runtime.aws.clock import countdown
from runtime.aws.executions import Executions
from runtime.aws.retries import retry
from runtime.contract.replay import ReplayAnswer, Replayed, ReplayItem
from runtime.contract.variables import ReplayVariables
from runtime.ledger.rows import Ledger
from runtime.observability.entry_points import logger, metrics, step
from runtime.operations.attempts import accepts
from runtime.operations.replay import is_in_work, replay

variables = ReplayVariables.model_validate(os.environ)
s3 = storage.s3_client()
ledger = Ledger(clients.client("dynamodb"), variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
executions = Executions(clients.client("stepfunctions"), variables.STATE_MACHINE_ARN)

RETRY_SECONDS = 45.0
"""Time for an item's retries, within the function's timeout."""


@step
def handler(event: dict[str, Any]) -> ReplayAnswer:
    """Answer with the outcomes of the key's versions, each of which is an object of its own.

    At most one of them is in work. The workflow asks again until none is.
    """
    item = parse(event=event, model=ReplayItem)
    answer = item.answer or ReplayAnswer(outcomes={})
    seconds_left = countdown(RETRY_SECONDS)
    waiting_for = answer.in_work
    if waiting_for is not None and retry(lambda: is_in_work(ledger, waiting_for), seconds_left):
        return answer
    if not accepts(item.key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES):
        return answer
    answer = _replay_versions(item, answer.outcomes, seconds_left)
    metrics.add_metric(name="AttemptsStarted", unit=MetricUnit.Count, value=answer.in_work is not None)
    logger.info("replayed", extra=answer.model_dump())
    return answer


def _replay_versions(
    item: ReplayItem, outcomes: Mapping[str, Replayed], seconds_left: Callable[[], float]
) -> ReplayAnswer:
    """Replay the versions without an outcome, up to the first that is started."""
    so_far = dict(outcomes)
    for coordinates in storage.versions(s3, item.bucket, item.key):
        object_id = coordinates.object_id
        if object_id in so_far:
            continue
        so_far[object_id] = retry(
            lambda coordinates=coordinates: replay(ledger, executions, coordinates, item.filter),  # type: ignore[misc]
            seconds_left,
        )
        if so_far[object_id] is Replayed.STARTED:
            return ReplayAnswer(outcomes=so_far, in_work=object_id)
    return ReplayAnswer(outcomes=so_far)
