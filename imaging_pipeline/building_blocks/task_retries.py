"""How long a task waits for what it invokes, and what it makes of trouble."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

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


def retry_patiently(invocation: tasks.LambdaInvoke, config: StageConfig) -> None:
    """Back-pressure: wait, spread out, for about half an hour. Trouble gets three more attempts.

    So does a task that ran out of time, which means that the function's answer got lost: the function itself ends
    sooner. Where it is still at work beside the next attempt, both write the same bytes under the same keys.
    """
    invocation.add_retry(
        # The emulator tells throttling as it tells a crash.
        errors=[*NOT_YET, *CRASHES] if config.runs_on_this_machine else NOT_YET,
        interval=Duration.seconds(2),
        backoff_rate=1.5,
        max_attempts=40,
        max_delay=Duration.seconds(60),
        jitter_strategy=sfn.JitterType.FULL,
    )
    for errors in (SERVICE_ERRORS, [STEP_FAILED], [*CRASHES, sfn.Errors.TIMEOUT]):
        invocation.add_retry(errors=errors, interval=Duration.seconds(2), backoff_rate=2, max_attempts=3)
