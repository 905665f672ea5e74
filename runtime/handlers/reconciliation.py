"""Reconciliation: find what is missing, stuck or lost, start what can be started, and publish the count."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, Field

from runtime.aws import storage
from runtime.aws.executions import Executions, stepfunctions_client
from runtime.aws.metrics import cloudwatch_client, put_count
from runtime.aws.retries import within
from runtime.contract.names import Metric
from runtime.contract.variables import ReconciliationVariables
from runtime.ledger.rows import Ledger, dynamodb_client
from runtime.observability.entry_points import logger, metrics, step
from runtime.operations.attempts import accepts
from runtime.operations.reconciliation import Reconciliation, Report

variables = ReconciliationVariables.model_validate(os.environ)
s3 = storage.s3_client()
cloudwatch = cloudwatch_client()
ledger = Ledger(dynamodb_client(), variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)
executions = Executions(stepfunctions_client(), variables.STATE_MACHINE_ARN)

COLD_START_SECONDS = 10
"""Of the function's time, what may be gone when it is asked."""


class Request(BaseModel):
    """What the function is asked; a tick of its schedule asks for everything."""

    start: bool = Field(default=True, description="what is missing or stuck")


@step
def handler(event: dict[str, Any]) -> Report:
    """Answer with what was found, which is also the metric."""
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
    report = reconciliation.run(within(variables.TIMEOUT_SECONDS - COLD_START_SECONDS))
    logger.info("reconciled", extra={"report": report.model_dump(mode="json", exclude={"unaccounted"})})
    metrics.add_metric(name="RawVersions", unit=MetricUnit.Count, value=report.raw_versions)
    put_count(cloudwatch, variables.STAGE, Metric.UNACCOUNTED, report.total)
    return report
