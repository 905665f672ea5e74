"""Completeness: announce the studies of which no object has come for a while."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from runtime.aws import storage
from runtime.contract.variables import CompletenessVariables
from runtime.ledger.rows import Ledger, dynamodb_client
from runtime.observability.entry_points import logger, metrics, step
from runtime.observability.redaction import describe
from runtime.operations.completeness import Consumers, Outcomes, announce_complete_studies, events_client

variables = CompletenessVariables.model_validate(os.environ)
ledger = Ledger(dynamodb_client(), variables.LEDGER_TABLE)
consumers = Consumers(
    storage.s3_client(), events_client(), bucket=variables.PROCESSED_BUCKET, bus=variables.EVENT_BUS_NAME
)


class StudiesNotAnnouncedError(Exception):
    """Some studies could not be announced; the next tick tries again."""


@step
def handler(event: dict[str, Any]) -> Outcomes:  # noqa: ARG001 - a tick of the schedule says nothing
    """Answer with what became of the studies that were looked at."""
    errors: list[str] = []
    outcomes = announce_complete_studies(
        ledger,
        consumers,
        quiet=timedelta(seconds=variables.STUDY_QUIET_SECONDS),
        now=datetime.now(UTC),
        on_error=lambda error: errors.append(describe(error)),
    )
    metrics.add_metric(name="StudiesAnnounced", unit=MetricUnit.Count, value=outcomes.announced)
    logger.info("announced", extra={"outcomes": outcomes.model_dump(), "failures": sorted(set(errors))})
    if errors:
        raise StudiesNotAnnouncedError
    return outcomes
