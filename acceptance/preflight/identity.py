"""Who asks, and where the stage goes: account and region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import boto3
from botocore.exceptions import BotoCoreError

from acceptance.preflight.aws import Aws, UnseenError
from acceptance.preflight.findings import Finding, Verdict
from acceptance.preflight.plan import Plan, Target

OPTED_OUT = "not-opted-in"


class NoPlaceError(Exception):
    """Nothing else can be looked at; the text is one sentence for the person at the command line."""


@dataclass(frozen=True)
class Place:
    """Account and region of the stage, with clients for it."""

    aws: Aws
    account: str
    partition: str

    def targets(self, plan: Plan) -> list[Target]:
        """Return where each stack goes; one whose region nobody named goes where the credentials are."""
        return [Target(stack, self.account, self.partition, stack.region or self.aws.region) for stack in plan.stacks]


def find_place(plan: Plan) -> Place:
    """Find account and region from the credentials at hand and the stage's settings.

    Raises
    ------
    NoPlaceError
        There are no valid credentials, no region, or they are of another account than the stage's.
    """
    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        region = plan.config.region or session.region_name
    except BotoCoreError as error:
        raise NoPlaceError(f"The AWS configuration can't be used: {error}.") from error
    if credentials is None:
        raise NoPlaceError("There are no AWS credentials: name a profile by AWS_PROFILE, or log in.")
    if region is None:
        raise NoPlaceError("No region is chosen: add `-c region=<name>`, or set AWS_REGION.")
    aws = Aws(session, region)
    try:
        caller = aws.ask("sts", "GetCallerIdentity")
    except UnseenError as error:
        raise NoPlaceError(
            f"AWS doesn't tell whose the credentials are: {error}. Log in again, or enable {region} in their account."
        ) from error
    account, partition = caller["Account"], caller["Arn"].split(":")[1]
    if plan.config.account not in {None, account}:
        raise NoPlaceError(
            f"The credentials are of account {account}, and the stage is for {plan.config.account}: "
            "change AWS_PROFILE or `-c account`."
        )
    return Place(aws, account, partition)


def check_region(place: Place, target: Target) -> Iterator[Finding]:
    """Tell account and region, and whether the account has the region enabled."""
    check, where = f"region {target.region}", f"of account {target.account}"
    regions = place.aws.ask("ec2", "DescribeRegions", AllRegions=True, RegionNames=[target.region])["Regions"]
    if any(region.get("OptInStatus") == OPTED_OUT for region in regions):
        needed = f"aws account enable-region --region-name {target.region}"
        yield Finding(check, Verdict.FAILURE, f"{where}, which has not enabled it", needed)
    else:
        yield Finding(check, Verdict.OK, where)
