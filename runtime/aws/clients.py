"""Clients of AWS services, all under one retry policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, overload

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from typing import Unpack

    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_lambda.client import LambdaClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_secretsmanager.client import SecretsManagerClient
    from mypy_boto3_sns.client import SNSClient
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_stepfunctions.client import SFNClient
    from mypy_boto3_sts.client import STSClient

ATTEMPTS: Final = 3
"""Attempts at a request. With `READ_TIMEOUT` they end within `runtime.aws.retries.RESERVE`."""
CONNECT_TIMEOUT: Final = 3.0
"""seconds"""
READ_TIMEOUT: Final = 5.0
"""seconds"""
PARALLEL_REQUESTS: Final = 16
"""Requests that a client may make at once."""


class ClientOptions(TypedDict, total=False):
    """Deviations from the policy, and the session of a caller who has one."""

    attempts: int
    read_timeout: float
    session: boto3.Session
    region: str


@overload
def client(service: Literal["cloudwatch"], **options: Unpack[ClientOptions]) -> CloudWatchClient: ...
@overload
def client(service: Literal["dynamodb"], **options: Unpack[ClientOptions]) -> DynamoDBClient: ...
@overload
def client(service: Literal["events"], **options: Unpack[ClientOptions]) -> EventBridgeClient: ...
@overload
def client(service: Literal["lambda"], **options: Unpack[ClientOptions]) -> LambdaClient: ...
@overload
def client(service: Literal["s3"], **options: Unpack[ClientOptions]) -> S3Client: ...
@overload
def client(service: Literal["secretsmanager"], **options: Unpack[ClientOptions]) -> SecretsManagerClient: ...
@overload
def client(service: Literal["sns"], **options: Unpack[ClientOptions]) -> SNSClient: ...
@overload
def client(service: Literal["sqs"], **options: Unpack[ClientOptions]) -> SQSClient: ...
@overload
def client(service: Literal["stepfunctions"], **options: Unpack[ClientOptions]) -> SFNClient: ...
@overload
def client(service: Literal["sts"], **options: Unpack[ClientOptions]) -> STSClient: ...
def client(
    service: Any,
    *,
    attempts: int = ATTEMPTS,
    read_timeout: float = READ_TIMEOUT,
    session: boto3.Session | None = None,
    region: str | None = None,
) -> Any:
    """Return a client that retries throttling and transient errors in botocore's standard mode.

    Parameters
    ----------
    service
        As boto3 names it.
    attempts
        At a request, the first included, before its error is raised.
    read_timeout
        Seconds to wait for an answer.
    session, region
        Of the caller; by default those of the environment.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        max_pool_connections=PARALLEL_REQUESTS,
    )
    return (session or boto3).client(service, region_name=region, config=config)
