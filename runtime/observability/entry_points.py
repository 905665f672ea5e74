"""Entry points of the functions: logs, metrics, traces and the redaction of errors. Talks to AWS through Powertools."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from runtime.contract.steps import StatusCode, StepResponse
from runtime.observability.redaction import describe, suppress_diagnostics

logger = Logger()
metrics = Metrics()
tracer = Tracer(auto_patch=False)

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class StepFailedError(Exception):
    """Failure of a step for a reason other than the object. Its text is a redacted error."""


def entry_point(function: Handler) -> Handler:
    """Make a Lambda handler of a function, with logging and tracing.

    Lambda writes an exception's text, which may quote keys or values, into logs, traces and workflow history. So a
    `StepFailedError` with the redacted error replaces it. It is raised outside of the other's handling, or the other
    would be its context.
    """

    @wraps(function)
    def run(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        with suppress_diagnostics():
            try:
                return function(event, context)
            except BaseException as error:  # noqa: BLE001 - every exception has to be replaced
                failure = describe(error)
        logger.error("step failed", extra={"failure": failure})
        raise StepFailedError(failure)

    traced = tracer.capture_lambda_handler(run, capture_response=False, capture_error=False)
    return logger.inject_lambda_context(traced, log_event=False, clear_state=True)


def step(function: Callable[[dict[str, Any]], BaseModel]) -> Handler:
    """Make an `entry_point` of a function from event to answer, and count its outcomes."""

    @wraps(function)
    def run(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
        try:
            response = function(event)
            _count(response.statusCode.name if isinstance(response, StepResponse) else StatusCode.ACCEPTED.name)
            return response.model_dump(mode="json")
        except BaseException:
            _count("FAILED")
            raise

    return entry_point(metrics.log_metrics(run, capture_cold_start_metric=True))


def _count(outcome: str) -> None:
    """Count an invocation by its outcome: `Accepted`, `Rejected` or `Failed`."""
    metrics.add_metric(name=outcome.capitalize(), unit=MetricUnit.Count, value=1)
