"""Quotas by their codes in Service Quotas, and what the account has of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from acceptance.preflight.aws import Aws, MissingError
from acceptance.preflight.plan import Target


@dataclass(frozen=True)
class Quota:
    """A quota as Service Quotas has it.

    Attributes
    ----------
    service, code
        Of the quota.
    is_global
        One region keeps its value for all.
    """

    service: str
    code: str
    is_global: bool = False


CONCURRENCY: Final = Quota("lambda", "L-B99A9384")
TRANSITIONS: Final = Quota("states", "L-AD9B4E93")
TRANSITIONS_BUCKET: Final = Quota("states", "L-137B3F65")
STARTS: Final = Quota("states", "L-1B55A735")
STARTS_BUCKET: Final = Quota("states", "L-CE9F8059")
EXPRESS_STARTS: Final = Quota("states", "L-7B8A8E4B")
EXPRESS_STARTS_BUCKET: Final = Quota("states", "L-CFF7B006")
PUT_EVENTS: Final = Quota("events", "L-9B653E91")
TABLE_WRITES: Final = Quota("dynamodb", "L-AB614373")
BUCKETS: Final = Quota("s3", "L-DC2B2D3D", is_global=True)
VPCS: Final = Quota("vpc", "L-F678F1CE")

GLOBAL_REGIONS: Final = {"aws": "us-east-1", "aws-cn": "cn-northwest-1", "aws-us-gov": "us-gov-west-1"}
"""Where Service Quotas keeps quotas that are no region's, by partition."""


def granted(aws: Aws, target: Target, quota: Quota) -> tuple[float, str]:
    """Return a quota's value and code as AWS gives them: what the account was granted, or else everybody's.

    Raises
    ------
    UnseenError
        It can't be looked at.
    """
    region = GLOBAL_REGIONS.get(target.partition, target.region) if quota.is_global else target.region
    asked: dict[str, Any] = {"region": region, "ServiceCode": quota.service, "QuotaCode": quota.code}
    try:
        found = aws.ask("service-quotas", "GetServiceQuota", **asked)
    except MissingError:
        found = aws.ask("service-quotas", "GetAWSDefaultServiceQuota", **asked)
    return found["Quota"]["Value"], found["Quota"]["QuotaCode"]


def count(number: float) -> str:
    """Return a figure for people, with a decimal where it is small."""
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"
