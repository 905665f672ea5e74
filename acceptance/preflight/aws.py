"""Questions to AWS: patient where it throttles, and in words where it doesn't answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's

PATIENCE: Final = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 8})
"""Throttled requests are repeated with growing pauses."""

ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("s3", "ListBuckets"): "s3:ListAllMyBuckets",
    ("s3", "HeadBucket"): "s3:ListBucket",
}
"""By service and operation, the action that permits it, where its name is not the operation's."""
PREFIXES: Final[Mapping[str, str]] = {
    "stepfunctions": "states",
    "service-quotas": "servicequotas",
    "resourcegroupstaggingapi": "tag",
}

_DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"}
    | {"NotAuthorized", "UnauthorizedOperation", "403", "Forbidden", "ClientError.AccessDenied"}
)
_MISSING: Final = frozenset(
    {"ParameterNotFound", "ResourceNotFoundException", "ResourceNotFound", "NotFound", "NotFoundException", "404"}
    | {"NoSuchEntity", "NoSuchBucket", "NoSuchResourceException", "StateMachineDoesNotExist", "TrailNotFoundException"}
    | {"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "DashboardNotFoundError"}
)


class UnseenError(Exception):
    """AWS was asked and didn't tell; the text says why, in a few words."""


class MissingError(UnseenError):
    """AWS knows nothing of the name."""


class Aws:
    """Clients of one account.

    Parameters
    ----------
    session
        With the credentials at hand.
    region
        Of the stage, where a question names no other.
    """

    def __init__(self, session: boto3.Session, region: str) -> None:
        self.region = region
        self._session = session
        self.client = cache(self._client)

    def _client(self, service: str, region: str) -> Any:  # noqa: ANN401 - of whichever service
        make: Callable[..., Any] = self._session.client
        return make(service, region_name=region, config=PATIENCE)

    def ask(self, service: str, operation: str, *, region: str = "", **parameters: object) -> Any:  # noqa: ANN401
        """Return what an operation answers.

        Parameters
        ----------
        service, operation
            By their names in botocore, as ``"ssm"`` and ``"GetParameter"``.
        region
            Another one than the stage's.

        Raises
        ------
        MissingError
            There is nothing of that name.
        UnseenError
            The right to ask is missing, or the service can't be reached, or gave another error.
        """
        region = region or self.region
        with _in_words(service, operation, region):
            return getattr(self.client(service, region), xform_name(operation))(**parameters)

    def find(self, service: str, operation: str, *, region: str = "", **parameters: object) -> Any:  # noqa: ANN401
        """Return what an operation answers, or None if there is nothing of that name."""
        try:
            return self.ask(service, operation, region=region, **parameters)
        except MissingError:
            return None

    def every(self, service: str, operation: str, key: str, *, region: str = "", **parameters: object) -> Iterator[Any]:
        """Yield what all pages of an operation list under `key`; raises what `ask` raises."""
        region = region or self.region
        with _in_words(service, operation, region):
            pages = self.client(service, region).get_paginator(xform_name(operation)).paginate(**parameters)
            yield from (each for page in pages for each in page.get(key, ()))


def action(service: str, operation: str) -> str:
    """Return the action of IAM that permits an operation."""
    return ACTIONS.get((service, operation), f"{PREFIXES.get(service, service)}:{operation}")


@contextmanager
def _in_words(service: str, operation: str, region: str) -> Iterator[None]:
    """Raise errors of AWS and of the way there as `UnseenError`."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        asked = action(service, operation)
        if code in _MISSING or (code == "ValidationError" and "does not exist" in message):
            raise MissingError(f"{asked} finds nothing") from error
        raise UnseenError(f"needs {asked}" if code in _DENIED else f"{asked} answered {code}") from error
    except (ConnectionError, HTTPClientError) as error:
        raise UnseenError(f"{service} in {region} can't be reached") from error
    except BotoCoreError as error:
        raise UnseenError(f"{service} in {region} can't be asked: {error}") from error
