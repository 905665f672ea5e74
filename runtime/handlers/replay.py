"""Replay: run the versions of one raw object again, one after the other, where the replay's filter selects them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime.aws import storage
from runtime.aws.executions import Executions, stepfunctions_client
from runtime.aws.retries import patiently, within
from runtime.contract.replay import ReplayAnswer, Replayed, ReplayItem
from runtime.contract.variables import ReplayVariables
from runtime.ledger.rows import Ledger, dynamodb_client
from runtime.observability.entry_points import logger, metrics, step
from runtime.operations.attempts import accepts
from runtime.operations.replay import is_in_work, replay

variables = ReplayVariables.model_validate(os.environ)
s3 = storage.s3_client()
ledger = Ledger(dynamodb_client(attempts=3), variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
executions = Executions(stepfunctions_client(), variables.STATE_MACHINE_ARN)

PATIENCE_SECONDS = 45.0
"""How long an item waits out throttling, within what the function may run."""


@step
def handler(event: dict[str, Any]) -> ReplayAnswer:
    """Answer with what was done about the versions of the key, as each was an object of its own when it arrived.

    At most one of them is in work: the workflow asks again until none is, and the key's place in the map is free for
    another.
    """
    item = parse(event=event, model=ReplayItem)
    answer = item.answer or ReplayAnswer(outcomes={})
    seconds_left = within(PATIENCE_SECONDS)
    waiting_for = answer.in_work
    if waiting_for is not None and patiently(lambda: is_in_work(ledger, waiting_for), seconds_left):
        return answer
    if not accepts(item.key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES):
        return answer
    answer = _go_on(item, answer.outcomes, seconds_left)
    metrics.add_metric(name="AttemptsStarted", unit=MetricUnit.Count, value=answer.in_work is not None)
    logger.info("replayed", extra=answer.model_dump())
    return answer


def _go_on(item: ReplayItem, outcomes: Mapping[str, Replayed], seconds_left: Callable[[], float]) -> ReplayAnswer:
    """Replay the versions that have no outcome yet, up to the first one that is started."""
    so_far = dict(outcomes)
    for coordinates in storage.versions(s3, item.bucket, item.key):
        object_id = coordinates.object_id
        if object_id in so_far:
            continue
        so_far[object_id] = patiently(
            lambda coordinates=coordinates: replay(ledger, executions, coordinates, item.filter),  # type: ignore[misc]
            seconds_left,
        )
        if so_far[object_id] is Replayed.STARTED:
            return ReplayAnswer(outcomes=so_far, in_work=object_id)
    return ReplayAnswer(outcomes=so_far)
