"""A deployed stage as an operator finds it: by its name, through the parameters its stack published. Talks to AWS."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import boto3

from runtime.aws.audit import AuditLog, principal
from runtime.aws.clients import client
from runtime.aws.executions import Executions
from runtime.contract.names import PROJECT, Function, Output
from runtime.ledger.rows import Ledger

if TYPE_CHECKING:
    from mypy_boto3_ssm.client import SSMClient


class OperationError(Exception):
    """What was asked for can't be done. The text is one sentence for the person who asked, without keys."""


def connect(aws_profile: str | None = None, region: str | None = None) -> None:
    """Choose whose credentials are used, and in which region: what is not said, the AWS configuration says.

    boto3 itself reads the region from AWS_DEFAULT_REGION alone, the AWS CLI and the other SDKs from AWS_REGION first.
    """
    region = region or os.environ.get("AWS_REGION")
    if aws_profile or region:
        boto3.setup_default_session(profile_name=aws_profile, region_name=region)


class Stage:
    """The resources of a stage, looked up when they are first needed.

    Parameters
    ----------
    name
        Of the stage, such as ``prod``, in the account and region of the caller's credentials.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def output(self, output: Output) -> str:
        """Return what the stage's stack published.

        Raises
        ------
        OperationError
            There is no such stage in this account and region.
        """
        name = output.parameter(self.name)
        try:
            answer = self._ssm.get_parameter(Name=name)
        except self._ssm.exceptions.ParameterNotFound:
            raise OperationError(
                f"This account and region have no stage {self.name!r}, or one without {name}: check --stage, "
                "the AWS profile and the region, and that the stage is deployed."
            ) from None
        return answer["Parameter"]["Value"]

    def function_name(self, function: Function) -> str:
        """Return the name of one of the stage's functions."""
        return f"{PROJECT}-{self.name}-{function}"

    @cached_property
    def ledger(self) -> Ledger:
        """The stage's ledger."""
        return Ledger(client("dynamodb"), self.output(Output.LEDGER_TABLE_NAME))

    @cached_property
    def executions(self) -> Executions:
        """The executions of the stage's processing workflow."""
        return Executions(client("stepfunctions"), self.output(Output.STATE_MACHINE_ARN))

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log of the PHI zone: verdicts and releases."""
        return AuditLog(client("dynamodb"), self.output(Output.AUDIT_TABLE_NAME))

    @cached_property
    def link_audit(self) -> AuditLog:
        """The audit log of the research zone: download links."""
        return AuditLog(client("dynamodb"), self.output(Output.LINK_AUDIT_TABLE_NAME))

    @cached_property
    def principal(self) -> str:
        """ARN of the caller."""
        return principal(client("sts", session=self.session, region=self.region))

    @property
    def session(self) -> boto3.Session:
        """Of the caller's credentials."""
        return boto3.DEFAULT_SESSION or boto3.Session()

    @property
    def region(self) -> str:
        """The region of the caller's credentials, in which the stage is."""
        return self._ssm.meta.region_name

    @cached_property
    def _ssm(self) -> SSMClient:
        return boto3.client("ssm")
