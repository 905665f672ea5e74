"""Room for what the stage adds to what is counted in an account or region."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from acceptance.preflight.aws import Aws
from acceptance.preflight.deployed import Deployed
from acceptance.preflight.findings import Finding, Verdict, look
from acceptance.preflight.plan import Target
from acceptance.preflight.quotas.codes import BUCKETS, VPCS, count, granted

LOG_POLICIES: Final = 10
"""Resource policies of CloudWatch Logs in a region of an account. AWS raises it for nobody, so it has no code."""
LOG_DELIVERY: Final = "AWSLogDeliveryWrite"
"""How the policy begins that lets AWS deliver logs of state machines. AWS adds it where there is none."""


def check_room(aws: Aws, target: Target, deployed: Deployed | None) -> Iterator[Finding]:
    """Tell whether buckets, VPCs and resource policies of logs have room for those of the stack."""
    yield from look("S3 buckets", partial(_buckets, aws, target, deployed))
    yield from look("VPCs", partial(_vpcs, aws, target, deployed))
    yield from look("log policies", partial(_log_policies, aws, target))


def _buckets(aws: Aws, target: Target, deployed: Deployed | None) -> Iterator[Finding]:
    # Without a size of pages, S3 refuses accounts that have more than 10,000.
    buckets = list(aws.every("s3", "ListBuckets", "Buckets", PaginationConfig={"PageSize": 1000}))
    added = _added(target, deployed, "AWS::S3::Bucket")
    yield _room("S3 buckets", len(buckets), added, *granted(aws, target, BUCKETS))


def _vpcs(aws: Aws, target: Target, deployed: Deployed | None) -> Iterator[Finding]:
    if added := _added(target, deployed, "AWS::EC2::VPC"):
        vpcs = list(aws.every("ec2", "DescribeVpcs", "Vpcs", region=target.region))
        yield _room("VPCs", len(vpcs), added, *granted(aws, target, VPCS))


def _log_policies(aws: Aws, target: Target) -> Iterator[Finding]:
    found = aws.every("logs", "DescribeResourcePolicies", "resourcePolicies", region=target.region)
    names = [policy["policyName"] for policy in found]
    delivers = any(target.resources("AWS::StepFunctions::StateMachine"))
    added = int(delivers and not any(name.startswith(LOG_DELIVERY) for name in names))
    seen = f"{len(names)} of {LOG_POLICIES}, and {added} more"
    if len(names) + added > LOG_POLICIES:
        needed = "AWS raises it for nobody: delete one that nobody needs"
        yield Finding("log policies", Verdict.FAILURE, seen, needed)
    else:
        yield Finding("log policies", Verdict.OK, seen)


def _room(name: str, used: int, added: int, most: float, code: str) -> Finding:
    seen = f"{used} of {count(most)}, and {added} more"
    if added and used + added > most:
        return Finding(name, Verdict.FAILURE, seen, f"ask for {code}")
    return Finding(name, Verdict.OK, seen)


def _added(target: Target, deployed: Deployed | None, resource_type: str) -> int:
    present = deployed.resources if deployed else {}
    return sum(name not in present for name, _ in target.resources(resource_type))
