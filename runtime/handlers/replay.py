"""Replay: run one raw object again if the replay's filter selects it."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime import storage
from runtime.contract import ReplayAnswer, Replayed, ReplayItem, ReplayVariables
from runtime.executions import Executions, stepfunctions_client
from runtime.intake import accepts
from runtime.ledger import Ledger, dynamodb_client
from runtime.observability import logger, metrics, step
from runtime.operations.replay import replay
from runtime.patience import patiently, within

variables = ReplayVariables.model_validate(os.environ)
s3 = storage.s3_client()
ledger = Ledger(dynamodb_client(attempts=3), variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
executions = Executions(stepfunctions_client(), variables.STATE_MACHINE_ARN)

PATIENCE_SECONDS = 45.0
"""How long an item waits out throttling, within what the function may run."""


@step
def handler(event: dict[str, Any]) -> ReplayAnswer:
    """Answer with what was done about each version of the key, as each was an object of its own when it arrived."""
    item = parse(event=event, model=ReplayItem)
    outcomes: dict[str, Replayed] = {}
    if accepts(item.key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES):
        seconds_left = within(PATIENCE_SECONDS)
        for coordinates in storage.versions(s3, item.bucket, item.key):
            outcomes[coordinates.object_id] = patiently(
                lambda coordinates=coordinates: replay(ledger, executions, coordinates, item.filter),  # type: ignore[misc]
                seconds_left,
            )
    started = sum(outcome is Replayed.STARTED for outcome in outcomes.values())
    metrics.add_metric(name="AttemptsStarted", unit=MetricUnit.Count, value=started)
    logger.info("replayed", extra={"outcomes": outcomes})
    return ReplayAnswer(outcomes=outcomes)
