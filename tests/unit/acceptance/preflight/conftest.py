"""An account in moto, with answers of AWS's own shape where moto has none, and a record of what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.validate import validate_parameters
from moto import mock_aws

from acceptance.preflight.__main__ import check
from acceptance.preflight.aws import Aws
from acceptance.preflight.findings import Finding
from acceptance.preflight.identity import find_place
from acceptance.preflight.plan import Plan, synthesize

ACCOUNT = "123456789012"
REGION = "eu-central-1"
EVERYTHING = {
    "account": ACCOUNT,
    "region": REGION,
    "encryption": "kms",
    "vpc_cidr": "10.42.0.0/20",
    "trail_retention_days": "30",
    "delivery_principals": f"arn:aws:iam::{ACCOUNT}:role/researcher",
    "alert_emails": "oncall@example.org",
}
"""Settings of a stage that looks at everything, but for a replica."""
NEVER = {"Error": {"Code": "ValidationError", "Message": "Stack with id x does not exist"}}
DENIED = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
VALUES = {
    "L-AD9B4E93": 800,
    "L-137B3F65": 800,
    "L-1B55A735": 150,
    "L-CE9F8059": 800,
    "L-7B8A8E4B": 6000,
    "L-CFF7B006": 6000,
    "L-9B653E91": 400,
    "L-AB614373": 40000,
    "L-DC2B2D3D": 10000,
    "L-F678F1CE": 5,
}
"""Quotas of an account in most regions."""

Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Where it is None, moto answers."""


@cache
def plan(stage: str = "dev", **context: str) -> Plan:
    """A stage's plan, synthesized once."""
    return synthesize(stage, context)


def everything() -> Plan:
    """A stage with every option that is looked at."""
    return plan("staging", **EVERYTHING)


@dataclass
class Account:
    """What AWS answers, and what it was asked."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)
    values: dict[str, float] = field(default_factory=lambda: dict(VALUES))

    def deploy(self, deployed: Plan, status: str = "UPDATE_COMPLETE", **stack: Any) -> None:
        """Have CloudFormation know the plan's stacks."""
        templates = {each.name: each.template for each in deployed.stacks}

        def describe(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            if asked["StackName"] not in templates:
                return NEVER
            known = {"StackName": asked["StackName"], "StackStatus": status, "CreationTime": "2026-11-28T00:00:00Z"}
            return {"Stacks": [known | stack]}

        self.answers["cloudformation", "DescribeStacks"] = describe
        self.answers["cloudformation", "GetTemplate"] = lambda asked: {"TemplateBody": templates[asked["StackName"]]}

    def deny(self, service: str, operation: str) -> None:
        self.answers[service, operation] = DENIED

    def findings(self, of: Plan, wanted: float | None = None) -> list[Finding]:
        return list(check(of, find_place(of), wanted))

    def found(self, check_name: str, of: Plan, wanted: float | None = None) -> Finding:
        """The only finding of this name."""
        (finding,) = [each for each in self.findings(of, wanted) if each.check == check_name]
        return finding

    def quota(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        code = asked["QuotaCode"]
        return {"Quota": {"ServiceCode": asked["ServiceCode"], "QuotaCode": code, "Value": float(self.values[code])}}

    def answer(self, service: str, operation: Any, parameters: Mapping[str, Any]) -> tuple[Any, Any] | None:
        self.asked.add((service, operation.name))
        answer = self.answers.get((service, operation.name))
        if answer is None:
            return None
        parsed = answer(parameters) if callable(answer) else answer
        if parsed is None:
            return None
        if "Error" not in parsed and operation.name != "GetTemplate":  # whose body botocore parses, whatever the model
            validate_parameters(parsed, operation.output_shape)
        return SimpleNamespace(status_code=400 if "Error" in parsed else 200), parsed


CLIENTS: dict[tuple[str, str], Any] = {}
"""Made once, since making them takes longer than all questions of a test."""
CURRENT: dict[str, Account] = {}


def answer_by(client: Any, service: str) -> None:
    """Let a client have the current account's answers, and moto's where that has none."""
    asked: list[Mapping[str, Any]] = []

    def remember(params: Mapping[str, Any], **_: Any) -> None:
        asked.append(params)

    def answer(model: Any, **_: Any) -> Any:
        return CURRENT["account"].answer(service, model, asked[-1])

    client.meta.events.register_first("provide-client-params", remember)
    client.meta.events.register_first("before-call", answer)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account in which nothing of a stage is deployed, bootstrapped and with the quotas of most regions."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    account = Account()
    make = Aws._client

    def client(aws: Aws, service: str, region: str) -> Any:
        if (service, region) not in CLIENTS:
            CLIENTS[service, region] = make(aws, service, region)
            answer_by(CLIENTS[service, region], service)
        return CLIENTS[service, region]

    monkeypatch.setitem(CURRENT, "account", account)
    monkeypatch.setattr(Aws, "_client", client)
    monkeypatch.setattr("acceptance.preflight.__main__.synthesize", lambda stage, context: plan(stage, **context))
    account.answers = {
        ("cloudformation", "DescribeStacks"): NEVER,
        ("service-quotas", "GetServiceQuota"): account.quota,
        ("lambda", "GetAccountSettings"): concurrency(1000),
        ("pricing", "GetProducts"): {"PriceList": ["{}"]},
        ("logs", "DescribeResourcePolicies"): {"resourcePolicies": []},
        # Moto loads thousands of images before it answers for EC2, and all of AWS's services for these parameters.
        ("ssm", "GetParameters"): services,
        ("ec2", "DescribeRegions"): {"Regions": [{"RegionName": REGION, "OptInStatus": "opt-in-not-required"}]},
        ("ec2", "DescribeVpcs"): {"Vpcs": [{"VpcId": "vpc-default"}]},
        ("ec2", "DescribeAvailabilityZones"): {
            "AvailabilityZones": [{"ZoneName": f"{REGION}{zone}", "State": "available"} for zone in "abc"]
        },
        ("ec2", "DescribeVpcEndpointServices"): lambda asked: {
            "ServiceDetails": [
                {"ServiceName": name, "AvailabilityZones": [f"{REGION}a", f"{REGION}b", f"{REGION}c"]}
                for name in asked["Filters"][0]["Values"]
            ]
        },
    }
    with mock_aws():
        for region in (REGION, "eu-west-1"):
            boto3.client("ssm", region_name=region).put_parameter(
                Name="/cdk-bootstrap/hnb659fds/version", Value="21", Type="String"
            )
        yield account


def services(asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Have every service."""
    public = [{"Name": name} for name in asked["Names"] if name.startswith("/aws/service/")]
    return {"Parameters": public} if public else None


def concurrency(total: int, unreserved: int | None = None) -> Mapping[str, Any]:
    free = total if unreserved is None else unreserved
    return {"AccountLimit": {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": free}}
