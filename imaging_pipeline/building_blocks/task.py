"""Tasks of state machines: how long they wait for what they invoke, and what they retry."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from imaging_pipeline.building_blocks.function import PipelineFunction
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import STEP_FAILED

# A task waits this much longer than its function may run, so that the function's own time-out is what is reported.
TASK_MARGIN_SECONDS = 15
SERVICE_TIMEOUT_SECONDS = 30
"""How long a task that asks a service waits for it."""

NOT_YET = [
    "Lambda.TooManyRequestsException",
    "Lambda.EC2ThrottledException",
    "Lambda.ENINotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.ResourceNotReadyException",
]
"""Back-pressure: no concurrency is free, or a function that nobody called for weeks gets its network back."""
SERVICE_ERRORS = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.EC2UnexpectedException",
]
"""Trouble at AWS."""
CRASHES = ["Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory"]
"""What a crash, memory exhaustion or a time-out of a function arrives as."""


def invoke(
    scope: Construct,
    state: str,
    function: PipelineFunction,
    *,
    config: StageConfig,
    payload: sfn.TaskInput | None = None,
    payload_response_only: bool = False,
    result_selector: Mapping[str, str] | None = None,
    result_path: str | None = None,
) -> tasks.LambdaInvoke:
    """Return a task that invokes a function, and retries what may pass.

    Back-pressure is waited out, spread, for about half an hour. Trouble gets three more attempts. So does a task that
    ran out of time, which means that the function's answer got lost: the function itself ends sooner. Where it is
    still at work beside the next attempt, both write the same bytes under the same keys.

    Parameters
    ----------
    state
        Its name.
    payload
        What goes in; none: the state's input.
    payload_response_only
        Keep the function's answer alone, without what Lambda says of the call.
    result_selector, result_path
        What of the answer is kept, and where.
    """
    timeout = config.functions[function.name].timeout_seconds + TASK_MARGIN_SECONDS
    task = tasks.LambdaInvoke(
        scope,
        state,
        lambda_function=function.function,
        retry_on_service_exceptions=False,
        task_timeout=sfn.Timeout.duration(Duration.seconds(timeout)),
        payload=payload,
        payload_response_only=payload_response_only or None,
        result_selector=result_selector,
        result_path=result_path,
    )
    task.add_retry(
        # The emulator tells throttling as it tells a crash.
        errors=[*NOT_YET, *CRASHES] if config.runs_on_this_machine else NOT_YET,
        interval=Duration.seconds(2),
        backoff_rate=1.5,
        max_attempts=40,
        max_delay=Duration.seconds(60),
        jitter_strategy=sfn.JitterType.FULL,
    )
    for errors in (SERVICE_ERRORS, [STEP_FAILED], [*CRASHES, sfn.Errors.TIMEOUT]):
        task.add_retry(errors=errors, interval=Duration.seconds(2), backoff_rate=2, max_attempts=3)
    return task
