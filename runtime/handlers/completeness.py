"""Completeness: announce quiet studies."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from runtime.aws import clients, storage
from runtime.contract.variables import CompletenessVariables
from runtime.ledger.rows import Ledger
from runtime.ledger.table import LEDGER_ATTEMPTS
from runtime.observability.entry_points import logger, metrics, step
from runtime.observability.redaction import describe
from runtime.operations.completeness import Outcomes, Publisher, announce_complete_studies

variables = CompletenessVariables.model_validate(os.environ)
ledger = Ledger(clients.client("dynamodb", attempts=LEDGER_ATTEMPTS), variables.LEDGER_TABLE)
publisher = Publisher(
    storage.s3_client(), clients.client("events"), bucket=variables.PROCESSED_BUCKET, bus=variables.EVENT_BUS_NAME
)


class StudiesNotAnnouncedError(Exception):
    """Failure to announce some studies. The next tick tries again."""


@step
def handler(event: dict[str, Any]) -> Outcomes:  # noqa: ARG001 - a tick of the schedule carries nothing
    """Answer with the outcomes of a look at the studies."""
    errors: list[str] = []
    outcomes = announce_complete_studies(
        ledger,
        publisher,
        quiet=timedelta(seconds=variables.STUDY_QUIET_SECONDS),
        now=datetime.now(UTC),
        on_error=lambda error: errors.append(describe(error)),
    )
    metrics.add_metric(name="StudiesAnnounced", unit=MetricUnit.Count, value=outcomes.announced)
    logger.info("announced", extra={"outcomes": outcomes.model_dump(), "failures": sorted(set(errors))})
    if errors:
        raise StudiesNotAnnouncedError
    return outcomes
