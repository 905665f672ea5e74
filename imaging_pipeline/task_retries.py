"""How long a task waits for what it invokes, and what it makes of trouble."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

from imaging_pipeline.stages import StageConfig
from runtime.contract import STEP_FAILED

# A task waits this much longer than its function may run, so that the function's own time-out is what is reported.
TASK_MARGIN_SECONDS = 15
SERVICE_TIMEOUT_SECONDS = 30
"""How long a task that asks a service waits for it."""

# Trouble at AWS. The others are what a crash, memory exhaustion or a time-out of a function arrives as.
SERVICE_ERRORS = ["Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException"]
CRASHES = ["Lambda.Unknown", "Sandbox.Timedout"]
THROTTLING = ["Lambda.TooManyRequestsException"]


def retry_patiently(invocation: tasks.LambdaInvoke, config: StageConfig) -> None:
    """Throttling is back-pressure: wait, spread out, for about half an hour. Trouble gets three more attempts."""
    invocation.add_retry(
        # The emulator tells throttling as it tells a crash.
        errors=[*THROTTLING, *CRASHES] if config.runs_on_this_machine else THROTTLING,
        interval=Duration.seconds(2),
        backoff_rate=1.5,
        max_attempts=40,
        max_delay=Duration.seconds(60),
        jitter_strategy=sfn.JitterType.FULL,
    )
    invocation.add_retry(errors=SERVICE_ERRORS, interval=Duration.seconds(2), backoff_rate=2, max_attempts=3)
    invocation.add_retry(errors=[STEP_FAILED], interval=Duration.seconds(2), backoff_rate=2, max_attempts=3)
    invocation.add_retry(errors=CRASHES, interval=Duration.seconds(2), backoff_rate=2, max_attempts=3)
