"""What a region offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from acceptance.preflight.findings import Verdict
from tests.unit.acceptance.preflight.conftest import REGION, Account, everything, plan, services


def test_should_warn_of_a_service_that_the_region_has_not(account: Account) -> None:
    def without_step_functions(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return services({"Names": [name for name in asked["Names"] if not name.endswith("/stepfunctions")]})

    account.answers["ssm", "GetParameters"] = without_step_functions

    finding = account.found(f"services {REGION}", plan())

    assert (finding.verdict, finding.seen) == (Verdict.WARNING, "not listed: StepFunctions")


def test_should_call_the_services_as_aws_lists_them(account: Account) -> None:
    del account.answers["ssm", "GetParameters"]  # so that moto answers, from AWS's own list

    finding = account.found(f"services {REGION}", everything())

    assert finding.verdict is Verdict.OK
    assert int(finding.seen.split()[1]) > 12


def test_should_not_judge_services_where_aws_lists_none(account: Account) -> None:
    account.answers["ssm", "GetParameters"] = lambda asked: {"Parameters": []} if services(asked) else None

    assert account.found(f"services {REGION}", plan()).verdict is Verdict.UNSEEN


def test_should_warn_where_lambda_has_no_price_for_arm64(account: Account) -> None:
    account.answers["pricing", "GetProducts"] = {"PriceList": []}

    finding = account.found("arm64", plan())

    assert finding.verdict is Verdict.WARNING
    assert "x86_64" in finding.needed


def test_should_fail_where_a_zone_lacks_an_endpoint_service(account: Account) -> None:
    def zones(asked: Mapping[str, Any]) -> Mapping[str, Any]:
        names = asked["Filters"][0]["Values"]
        return {
            "ServiceDetails": [
                {
                    "ServiceName": name,
                    "AvailabilityZones": [f"{REGION}{zone}" for zone in ("bc" if name.endswith(".events") else "abc")],
                }
                for name in names
            ]
        }

    account.answers["ec2", "DescribeVpcEndpointServices"] = zones

    finding = account.found("endpoint zones", everything())

    assert (finding.verdict, finding.seen) == (Verdict.FAILURE, f"{REGION}a has none for events")
    assert finding.needed == f"zones with all of them: {REGION}b, {REGION}c"


@pytest.mark.parametrize(("zone", "verdict"), [(f"{REGION}b", Verdict.OK), (f"{REGION}e", Verdict.FAILURE)])
def test_should_take_a_zone_that_a_subnet_names(account: Account, zone: str, verdict: Verdict) -> None:
    stack = everything().stacks[0]
    resources = {
        name: {**body, "Properties": {**body["Properties"], "AvailabilityZone": zone}}
        if body["Type"] == "AWS::EC2::Subnet"
        else body
        for name, body in stack.resources.items()
    }
    of = replace(everything(), stacks=(replace(stack, template={**stack.template, "Resources": resources}),))

    assert account.found("endpoint zones", of).verdict is verdict


def test_should_fail_where_a_region_has_no_such_endpoint_service(account: Account) -> None:
    account.answers["ec2", "DescribeVpcEndpointServices"] = {"ServiceDetails": []}

    finding = account.found("endpoint zones", everything())

    assert finding.verdict is Verdict.FAILURE
    assert finding.needed == "zones with all of them: none; leave vpc_cidr out"
