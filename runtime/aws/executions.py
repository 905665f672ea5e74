"""Executions of the processing workflow. Talks to Step Functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.contract.objects import ExecutionInput

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.client import SFNClient


class ExecutionEndedError(Exception):
    """The execution's name is taken, as Step Functions keeps it for 90 days, and no execution of the attempt runs."""


class Executions:
    """Executions of one state machine.

    Parameters
    ----------
    client
        Of Step Functions.
    state_machine_arn
        Of the processing workflow.
    """

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, execution: ExecutionInput, *, just_opened: bool = False) -> str:
        """Start an execution, or find the one that runs under its name; return its ARN.

        Of a running execution with the same input, Step Functions itself answers with the ARN.

        Parameters
        ----------
        execution
            Input of the execution.
        just_opened
            Whether the caller opened this attempt a moment ago. Then a taken name is that of an older execution, and
            no description is asked for: an account gets 10 to 15 of them a second. It is asked for where the client
            had to repeat the request, whose first answer may have been lost.

        Raises
        ------
        ExecutionEndedError
            The name is taken, and no execution of this attempt runs.
        """
        name = execution.execution_name
        try:
            answer = self._client.start_execution(
                stateMachineArn=self._state_machine_arn, name=name, input=execution.model_dump_json()
            )
        except self._client.exceptions.ExecutionAlreadyExists as error:
            if just_opened and not error.response["ResponseMetadata"].get("RetryAttempts"):
                raise ExecutionEndedError from None
            return self._running(f"{self._state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}")
        return answer["executionArn"]

    def _running(self, arn: str) -> str:
        """Return the ARN of an execution if it runs. Its input, which holds the key, is not read."""
        if self._client.describe_execution(executionArn=arn, includedData="METADATA_ONLY")["status"] != "RUNNING":
            raise ExecutionEndedError
        return arn
