"""What the stage's region offers: the services, the functions' architecture, endpoints in the stage's zones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from acceptance.preflight.aws import Aws
from acceptance.preflight.findings import Finding, Verdict
from acceptance.preflight.plan import Target

SERVICES: Final = "/aws/service/global-infrastructure/regions/{region}/services/{service}"
"""Public parameter that exists where a region has a service."""
PRICE_LISTS: Final = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}
"""Where the price list can be asked, by partition."""
ARM: Final = "AWS-Lambda-Duration-ARM"
"""Group of the price list that a region has where Lambda runs functions on arm64."""
NOT_SERVICES: Final = frozenset({"CDK"})
ENDPOINT: Final = "AWS::EC2::VPCEndpoint"


def check_services(aws: Aws, target: Target) -> Iterator[Finding]:
    """Tell whether the region has every service of the template."""
    services = {body["Type"].split("::")[1] for body in target.stack.resources.values()} - NOT_SERVICES
    names = {SERVICES.format(region=target.region, service=each.lower()): each for each in sorted(services)}
    known: set[str] = set()
    for start in range(0, len(names), 10):
        found = aws.ask("ssm", "GetParameters", region=target.region, Names=list(names)[start : start + 10])
        known |= {parameter["Name"] for parameter in found["Parameters"]}
    check, missing = f"services {target.region}", [each for name, each in names.items() if name not in known]
    if not known:
        yield Finding(check, Verdict.UNSEEN, "not looked at: AWS lists no services there")
    elif missing:
        needed = "deploy to another region, if AWS's list of services is right"
        yield Finding(check, Verdict.WARNING, f"not listed: {', '.join(missing)}", needed)
    else:
        yield Finding(check, Verdict.OK, f"all {len(names)} of the stage")


def check_architecture(aws: Aws, target: Target) -> Iterator[Finding]:
    """Tell whether Lambda runs functions on arm64 there; of x86_64 there is no doubt.

    No API says it, but where AWS has no price for it, it can't be had.
    """
    functions = list(target.resources("AWS::Lambda::Function"))
    if not any("arm64" in properties.get("Architectures", ()) for _, properties in functions):
        return
    filters = [
        {"Type": "TERM_MATCH", "Field": field, "Value": value}
        for field, value in (("group", ARM), ("regionCode", target.region))
    ]
    region = PRICE_LISTS.get(target.partition, target.region)
    found = aws.ask("pricing", "GetProducts", region=region, ServiceCode="AWSLambda", Filters=filters, MaxResults=1)
    if found["PriceList"]:
        yield Finding("arm64", Verdict.OK, f"Lambda has a price for it in {target.region}")
    else:
        needed = "set functions.<name>.architecture to x86_64"
        yield Finding("arm64", Verdict.WARNING, f"Lambda has no price for it in {target.region}", needed)


def check_zones(aws: Aws, target: Target) -> Iterator[Finding]:
    """Tell whether every endpoint service is in every zone that the stage's VPC has a subnet in."""
    subnets = [properties for _, properties in target.resources("AWS::EC2::Subnet")]
    if not subnets:
        return
    found = aws.ask("ec2", "DescribeAvailabilityZones", region=target.region)["AvailabilityZones"]
    there = sorted(each["ZoneName"] for each in found if each["State"] == "available")
    zones = sorted({_zone(properties["AvailabilityZone"], there) for properties in subnets})
    names = [
        target.text(properties["ServiceName"])
        for _, properties in target.resources(ENDPOINT)
        if properties["VpcEndpointType"] == "Interface"
    ]
    filters = [{"Name": "service-name", "Values": names}]
    details = aws.ask("ec2", "DescribeVpcEndpointServices", region=target.region, Filters=filters)["ServiceDetails"]
    zones_of = {name: set[str]() for name in names} | {
        each["ServiceName"]: set(each["AvailabilityZones"]) for each in details
    }
    lacking = [f"{zone} has none for {_short(name)}" for name in names for zone in zones if zone not in zones_of[name]]
    if lacking:
        common = sorted(set(there).intersection(*zones_of.values()))
        needed = f"zones with all of them: {', '.join(common) or 'none; leave vpc_cidr out'}"
        yield Finding("endpoint zones", Verdict.FAILURE, "; ".join(lacking), needed)
    else:
        yield Finding("endpoint zones", Verdict.OK, f"every endpoint in {', '.join(zones)}")


def _short(service_name: str) -> str:
    return service_name.rpartition(".")[2]


def _zone(value: object, there: list[str]) -> str:
    """Return a subnet's zone: the one it names, or that of this rank as `Fn::GetAZs` lists them."""
    match value:
        case {"Fn::Select": [index, {"Fn::GetAZs": _}]} if int(index) < len(there):
            return there[int(index)]
        case str():
            return value
        case _:
            return json.dumps(value)
