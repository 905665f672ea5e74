"""Executions of the processing workflow. Talks to Step Functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from runtime.contract.objects import ExecutionInput

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.client import SFNClient


def stepfunctions_client() -> SFNClient:
    """Return a Step Functions client."""
    retries = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)
    return boto3.client("stepfunctions", config=retries)


class ExecutionEndedError(Exception):
    """An execution had the name, and none of this attempt runs under it. Step Functions keeps a name for 90 days."""


class Executions:
    """Starts executions of one state machine.

    Parameters
    ----------
    client
        See `stepfunctions_client`.
    state_machine_arn
        Of the processing workflow.
    """

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, execution: ExecutionInput, *, just_opened: bool = False) -> str:
        """Start an execution under its own name and return its ARN; that of the one that runs under it, where one does.

        Step Functions answers with the running one by itself where its input is the same.

        Parameters
        ----------
        execution
            What is started.
        just_opened
            The caller has opened this attempt a moment ago. A name that is taken then is that of an older execution,
            which isn't asked about: an account may ask for 10 to 15 executions a second.

        Raises
        ------
        ExecutionEndedError
            The name is taken, by no execution of this attempt that runs.
        """
        name = execution.execution_name
        try:
            answer = self._client.start_execution(
                stateMachineArn=self._state_machine_arn, name=name, input=execution.model_dump_json()
            )
        except self._client.exceptions.ExecutionAlreadyExists:
            if just_opened:
                raise ExecutionEndedError from None
            return self._running(f"{self._state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}")
        return answer["executionArn"]

    def _running(self, arn: str) -> str:
        """Return the ARN of an execution that runs; its input, which holds the key, isn't asked for."""
        if self._client.describe_execution(executionArn=arn, includedData="METADATA_ONLY")["status"] != "RUNNING":
            raise ExecutionEndedError
        return arn
