"""Reconciliation: find missing, stuck and lost objects, start what can be started, and count them."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, Field

from runtime.aws import clients, storage
from runtime.aws.clock import countdown
from runtime.aws.executions import Executions
from runtime.aws.metrics import put_count
from runtime.contract.names import Metric
from runtime.contract.variables import ReconciliationVariables
from runtime.ledger.rows import Ledger
from runtime.ledger.table import LEDGER_ATTEMPTS
from runtime.observability.entry_points import logger, metrics, step
from runtime.operations.attempts import accepts
from runtime.operations.reconciliation import Reconciliation, Report

variables = ReconciliationVariables.model_validate(os.environ)
s3 = storage.s3_client()
cloudwatch = clients.client("cloudwatch")
dynamodb = clients.client("dynamodb", attempts=LEDGER_ATTEMPTS)
ledger = Ledger(dynamodb, variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
executions = Executions(clients.client("stepfunctions"), variables.STATE_MACHINE_ARN)

COLD_START_SECONDS = 10
"""Part of the function's time that may have passed when the handler is called."""


class Request(BaseModel):
    """Request to the function. A tick of its schedule starts what it finds."""

    start: bool = Field(default=True, description="missing and stuck objects")


@step
def handler(event: dict[str, Any]) -> Report:
    """Answer with the report, whose total is also the metric."""
    request = parse(event=event, model=Request)
    reconciliation = Reconciliation(
        s3,
        ledger,
        executions if request.start else None,
        raw_bucket=variables.RAW_BUCKET,
        processed_bucket=variables.PROCESSED_BUCKET,
        accepts=lambda key: accepts(key, variables.ACCEPTED_PREFIXES, variables.ACCEPTED_SUFFIXES),
        stuck_after=timedelta(seconds=variables.STUCK_AFTER_SECONDS),
        results_expire_after=timedelta(days=days) if (days := variables.PROCESSED_RETENTION_DAYS) else None,
    )
    report = reconciliation.run(countdown(variables.TIMEOUT_SECONDS - COLD_START_SECONDS))
    logger.info("reconciled", extra={"report": report.model_dump(mode="json", exclude={"unaccounted"})})
    metrics.add_metric(name="RawVersions", unit=MetricUnit.Count, value=report.raw_versions)
    put_count(cloudwatch, variables.STAGE, Metric.UNACCOUNTED, report.total)
    return report
