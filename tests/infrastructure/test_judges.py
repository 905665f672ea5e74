"""Independent judges of every stage and option: cfn-lint, parliament (IAM policies) and statelint (state machines)."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from statelint.config import Config
from statelint.linter import Linter
from statelint.problem import ProblemType

from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.options import VARIANTS, variant
from tests.infrastructure.references import ACCOUNT, REGION, References

with warnings.catch_warnings():
    # It leaves its files open, and imports pkg_resources, which setuptools is about to drop.
    warnings.simplefilter("ignore", ResourceWarning)
    warnings.filterwarnings("ignore", message=".*pkg_resources")
    import parliament

Template = Mapping[str, Any]

each_variant = pytest.mark.parametrize("name", VARIANTS)

CFN_LINT_EXCEPTIONS: Final = {
    "W3005": "CDK makes a function depend on its role and the role's policy, of which it refers to the role anyway.",
}
"""Rules of cfn-lint that don't count, and why."""

STATELINT_EXCEPTIONS: Final = {
    "FLOAT": "It asks for 2.0 where JSON has one kind of number, and writes it as 2.",
}
"""Kinds of problems of statelint that don't count, and why."""

PARLIAMENT_EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("MISMATCHED_TYPE", "s3:TlsVersion"): "It takes no decimals for numbers; AWS's own examples have 1.2.",
    (
        "UNKNOWN_CONDITION_FOR_ACTION",
        "s3:TlsVersion",
    ): "AWS lists the key for all requests to S3 but a few; in a refusal of everything these few are refused nothing.",
    ("UNKNOWN_CONDITION_FOR_ACTION", "lambda:SourceFunctionArn"): "AWS has it in every request that a function makes"
    ' ("Using source function ARN to control function access behavior").',
    ("UNKNOWN_CONDITION_FOR_ACTION", "kms:EncryptionContext:aws:logs:arn"): "Grants as AWS documents them name"
    ' kms:DescribeKey too ("Encrypt log data in CloudWatch Logs using AWS KMS").',
    ("MISMATCHED_TYPE_BUT_USABLE", "StringNotEquals"): "Compares a key's whole ARN, in which nothing is a pattern.",
    ("RESOURCE_STAR", "ec2:"): "Lambda makes the interfaces of functions in a VPC; their ids aren't known before.",
    ("RESOURCE_MISMATCH", "kms:CreateAlias"): "An alias asks for this right on the key and on itself; this is the key.",
    ("RESOURCE_MISMATCH", "states:DescribeExecution"): "It asks for executions of EXPRESS workflows too, which nobody"
    " describes.",
}
"""Findings of parliament that don't count, by issue and a part of its detail, and why."""

POLICIES: Final = {"AssumeRolePolicyDocument", "KeyPolicy", "PolicyDocument", "ResourcePolicy"}
ITS_OWN: Final = {"AssumeRolePolicyDocument", "KeyPolicy"}
"""Policies that are about what they belong to, without naming it."""


def templates(name: str) -> Iterator[Template]:
    """Templates of a stage and of its replica."""
    stage = variant(name)
    yield stage.json
    if stage.replica:
        yield stage.replica


def linted(template: Template) -> list[tuple[str, list[str], str]]:
    """What cfn-lint has against a template: the rule, where, and what."""
    settings = ManualArgs(regions=["eu-central-1"], ignore_checks=[*CFN_LINT_EXCEPTIONS], include_experimental=True)
    return [(match.rule.id, match.path, match.message) for match in lint(json.dumps(template), config=settings)]


def stated(definition: Mapping[str, Any]) -> list[str]:
    """What statelint has against a state machine."""
    config = Config({ProblemType[kind] for kind in STATELINT_EXCEPTIONS})
    found: list[str] = Linter.validate(dict(definition), config)
    return found


def resolved(references: References, node: Any) -> Any:
    """A policy as AWS gets it, but for numbers, which parliament takes as texts only."""
    match node:
        case list():
            return [resolved(references, each) for each in node]
        case dict() if not any(name == "Ref" or name.startswith("Fn::") for name in node):
            return {name: resolved(references, each) for name, each in node.items()}
    return references.text(node)


LONGEST: Final = {
    "AWS::DynamoDB::Table": 20 * 1024,
    "AWS::EC2::VPCEndpoint": 20480,
    "AWS::IAM::Policy": 10240,
    "AWS::IAM::Role": 2048,
    "AWS::KMS::Key": 32 * 1024,
    "AWS::S3::BucketPolicy": 20 * 1024,
    "AWS::SNS::TopicPolicy": 30 * 1024,
    "AWS::SQS::QueuePolicy": 8192,
}
"""Characters that the services take; of the policies of one role together."""


def policies(template: Template) -> Iterator[tuple[str, str]]:
    """Every policy of a template, with the logical id of what has it."""
    references = References(template["Resources"], ACCOUNT, REGION)
    for name, body in template["Resources"].items():
        for part in POLICIES & body.get("Properties", {}).keys():
            document = body["Properties"][part]
            policy = resolved(references, document.get("PolicyDocument", document))
            if part in ITS_OWN:
                policy["Statement"] = [each | {"Resource": references.arn(name)} for each in policy["Statement"]]
            yield name, json.dumps(policy)


@cache
def judged(policy: str) -> tuple[tuple[str, str], ...]:
    """What parliament has against a policy: the issue, and about what."""
    found = parliament.analyze_policy_string(policy).findings
    return tuple((finding.issue, f"{finding.title} {finding.detail}") for finding in found)


def excepted(issue: str, detail: str) -> set[tuple[str, str]]:
    return {(kind, part) for kind, part in PARLIAMENT_EXCEPTIONS if kind == issue and part in detail}


@each_variant
def test_should_pass_cfn_lint(name: str) -> None:
    assert [finding for template in templates(name) for finding in linted(template)] == []


@each_variant
def test_should_pass_statelint(name: str) -> None:
    stage = variant(name)
    for machine in ("Workflow", "Replay"):
        text = json.dumps(stage.machine(machine))
        functions = [body["Properties"]["FunctionName"] for body in stage.resources("AWS::Lambda::Function").values()]
        assert functions
        for logical_id in stage.resources("AWS::Lambda::Function"):
            text = text.replace(f"${{{logical_id}.Arn}}", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{logical_id}")
        assert stated(json.loads(text)) == []


@each_variant
def test_should_pass_parliament(name: str) -> None:
    found = {
        (owner, issue, detail)
        for template in templates(name)
        for owner, policy in policies(template)
        for issue, detail in judged(policy)
        if not excepted(issue, detail)
    }
    assert found == set()


@each_variant
def test_should_keep_policies_as_short_as_the_services_take_them(name: str) -> None:
    for template in templates(name):
        lengths: Counter[tuple[str, str]] = Counter()
        for owner, policy in policies(template):
            body = template["Resources"][owner]
            for role in body["Properties"].get("Roles", [owner]):
                lengths[body["Type"], str(role)] += len(policy)
        assert [(kind, owner) for (kind, owner), length in lengths.items() if length > LONGEST[kind]] == []


def test_should_take_as_many_delivery_principals_as_a_trust_policy_holds() -> None:
    principals = [f"arn:aws:iam::{ACCOUNT}:user/{number:038}" for number in range(26)]
    stage = StageTemplate("dev", delivery_principals=principals)
    document = stage.one("AWS::IAM::Role", "DeliveryRole")["AssumeRolePolicyDocument"]
    assert 2000 < len(json.dumps(document)) <= LONGEST["AWS::IAM::Role"]


def test_should_except_only_what_parliament_still_finds() -> None:
    used = {
        exception
        for name in VARIANTS
        for template in templates(name)
        for _, policy in policies(template)
        for finding in judged(policy)
        for exception in excepted(*finding)
    }
    assert used == set(PARLIAMENT_EXCEPTIONS)


def test_should_see_what_cfn_lint_finds() -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"NoSuchProperty": True}}
    ((rule, *_),) = linted({"Resources": {"Bucket": bucket}})
    assert rule == "E3002"


def test_should_see_what_statelint_finds(dev: StageTemplate) -> None:
    definition = dev.machine("Workflow")
    definition["States"]["IngestionStep"]["Next"] = "Nowhere"
    assert any("Nowhere" in problem for problem in stated(definition))


@pytest.mark.parametrize(
    ("statement", "issue"),
    [
        ({"Action": "s3:GetObjct", "Resource": "arn:aws:s3:::bucket/*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket"}, "RESOURCE_MISMATCH"),
        (
            {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {"Bool": {"s3:No": "true"}}},
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
        ({"Action": "sqs:SendMessage", "Resource": "*"}, "RESOURCE_STAR"),
    ],
)
def test_should_see_what_parliament_finds(statement: dict[str, Any], issue: str) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    policy = {"Type": "AWS::IAM::Policy", "Properties": {"PolicyDocument": document}}
    template = {"Resources": {"Policy": policy}}
    ((_, text),) = policies(template)
    assert [found for found, detail in judged(text) if not excepted(found, detail)] == [issue]
