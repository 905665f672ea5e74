"""Logs, metrics and traces of the functions, and the gate that no PHI passes. Talks to AWS through Powertools."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from pydantic import BaseModel

from runtime.contract import StatusCode, StepResponse

# Libraries quote values and keys in their logs (pydicom's of odd values, urllib3's of URLs), and the root logger's
# handler, which is Lambda's, would write them: only our own logger speaks.
logging.basicConfig(handlers=[logging.NullHandler()], force=True)

logger = Logger()
metrics = Metrics()
tracer = Tracer(auto_patch=False)

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class StepFailedError(Exception):
    """A step failed for a reason other than the object. Its text tells error class and place, nothing of the data."""


def step(function: Callable[[dict[str, Any]], BaseModel]) -> Handler:
    """Make a Lambda handler of a function from event to answer, with logging, metrics and tracing.

    An exception's text may quote keys or values, and Lambda writes it into logs and workflow history. So none leaves
    the handler: a `StepFailedError` replaces it that names the error's class, AWS error code and place in our code.
    Warnings, which quote values too, are not shown.
    """

    @wraps(function)
    def run(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
        with warnings.catch_warnings(action="ignore"):
            try:
                response = function(event)
                _count(response.statusCode.name if isinstance(response, StepResponse) else StatusCode.ACCEPTED.name)
                return response.model_dump(mode="json")
            except Exception as error:  # noqa: BLE001 - every exception has to be replaced
                failure = describe(error)
        _count("FAILED")
        logger.error("step failed", extra={"failure": failure})
        raise StepFailedError(failure)

    traced = tracer.capture_lambda_handler(run, capture_response=False, capture_error=False)
    measured = metrics.log_metrics(traced, capture_cold_start_metric=True)
    return logger.inject_lambda_context(measured, log_event=False, clear_state=True)


def _count(outcome: str) -> None:
    """Count an invocation by its outcome: `Accepted`, `Rejected` or `Failed`."""
    metrics.add_metric(name=outcome.capitalize(), unit=MetricUnit.Count, value=1)


def describe(error: BaseException) -> str:
    """Return an error's class, AWS error code if it has one, and the line that raised it; never its text."""
    parts = [type(error).__name__]
    if isinstance(error, ClientError):
        parts += [error.operation_name, str(error.response["Error"]["Code"])]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "runtime" in Path(frame.filename).parts] or frames
    if ours:
        parts.append(f"{Path(ours[-1].filename).stem}.py:{ours[-1].lineno}")
    return " ".join(parts)
