"""The policy evaluator, against policies written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infrastructure.policies import Policies, covers, overlaps
from tests.infrastructure.references import ACCOUNT, UnknownElementError

BUCKET = "arn:aws:s3:::Bucket"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/Key"
ROOT = {"AWS": {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::", {"Ref": "AWS::AccountId"}, ":root"]]}}
TRUST = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}}


def allow(action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def policies(*statements: dict[str, Any], **resources: Any) -> Policies:
    """A bucket, a key, a role, and a policy of the role."""
    policy = {"Roles": [{"Ref": "Role"}], "PolicyDocument": {"Version": "2012-10-17", "Statement": list(statements)}}
    template = {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "Policy": {"Type": "AWS::IAM::Policy", "Properties": policy},
        **resources,
    }
    return Policies.of({"Resources": template})


def bucket_policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Statement": list(statements)}},
    }


def key(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Statement": list(statements)}}}


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:s3:::Bucket/*",
        {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/*"]]},
        {"Fn::Sub": "${Bucket.Arn}/*"},
        {"Fn::Sub": "arn:${AWS::Partition}:s3:::${Bucket}/*"},
        {"Fn::Join": ["/", [{"Fn::Join": ["", ["arn:aws:s3:::", {"Ref": "Bucket"}]]}, "*"]]},
        {"Fn::Join": ["", ["arn:aws:s3:::", {"Fn::Select": [5, {"Fn::Split": [":", "a:b:c:d:e:Bucket"]}]}, "/*"]]},
    ],
)
def test_should_resolve_every_way_to_name_a_resource(resource: Any) -> None:
    stage = policies(allow("s3:GetObject", resource))
    assert stage.may("Role", "s3:GetObject", f"{BUCKET}/a")
    assert not stage.may("Role", "s3:GetObject", BUCKET)
    assert not stage.may("Role", "s3:PutObject", f"{BUCKET}/a")
    assert not stage.may("Role", "s3:GetObject", "arn:aws:s3:::Other/a")


def test_should_take_a_pattern_for_any_of_what_it_matches() -> None:
    stage = policies(allow("s3:Get*", f"{BUCKET}/*/manifest-*.jsonl"))
    assert stage.may("Role", "s3:*", f"{BUCKET}/*")
    assert stage.may("Role", "S3:getobject", f"{BUCKET}/a/manifest-1.jsonl")
    assert not stage.may("Role", "s3:Put*", f"{BUCKET}/*")
    assert not stage.may("Role", "s3:GetObject", f"{BUCKET}/*.dcm")


def test_should_read_what_a_statement_leaves_out() -> None:
    spared = {"Effect": "Allow", "NotAction": "s3:Delete*", "NotResource": f"{BUCKET}/secret/*"}
    stage = policies(spared)
    assert stage.may("Role", "s3:GetObject", f"{BUCKET}/a")
    assert not stage.may("Role", "s3:DeleteObject", f"{BUCKET}/a")
    assert not stage.may("Role", "s3:GetObject", f"{BUCKET}/secret/a")
    assert stage.may("Role", "s3:GetObject", f"{BUCKET}/*"), "some of them"


def test_should_let_a_denial_prevail_where_it_denies_all_that_is_asked() -> None:
    denial = {"Effect": "Deny", "Action": "s3:*", "Resource": f"{BUCKET}/secret/*"}
    stage = policies(allow("s3:GetObject", "*"), denial)
    assert not stage.may("Role", "s3:GetObject", f"{BUCKET}/secret/a")
    assert stage.may("Role", "s3:GetObject", f"{BUCKET}/*")


def test_should_hold_a_condition_for_met_unless_the_request_says_otherwise() -> None:
    condition = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    stage = policies(
        allow("kms:Decrypt", {"Fn::GetAtt": ["Key", "Arn"]}, Condition=condition), Key=key(everything_by_the_account())
    )
    assert stage.may("Role", "kms:Decrypt", KEY)
    assert stage.may("Role", "kms:Decrypt", KEY, kms__ViaService="s3.us-east-1.amazonaws.com")
    assert not stage.may("Role", "kms:Decrypt", KEY, kms__ViaService="dynamodb.us-east-1.amazonaws.com")


def test_should_not_hold_the_condition_of_a_denial_for_met_unless_the_request_says_so() -> None:
    denial = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [BUCKET, f"{BUCKET}/*"]}
    stage = policies(
        allow("s3:GetObject", "*"),
        Policy2=bucket_policy({**denial, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}),
    )
    assert stage.may("Role", "s3:GetObject", f"{BUCKET}/a")
    assert not stage.may("Role", "s3:GetObject", f"{BUCKET}/a", aws__SecureTransport="false")


def test_should_compare_every_value_of_a_condition_for_all_values() -> None:
    condition = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["study#*"]}}
    stage = policies(allow("dynamodb:GetItem", "*", Condition=condition))
    assert stage.may("Role", "dynamodb:GetItem", "arn", dynamodb__LeadingKeys=["study#1", "study#2"])
    assert not stage.may("Role", "dynamodb:GetItem", "arn", dynamodb__LeadingKeys=["study#1", "other"])


def test_should_find_who_a_resource_lets_in_by_itself() -> None:
    let = bucket_policy(
        allow("s3:GetObject", f"{BUCKET}/*", Principal={"AWS": {"Fn::GetAtt": ["Role", "Arn"]}}),
        allow("s3:PutObject", f"{BUCKET}/*", Principal={"Service": "logging.s3.amazonaws.com"}),
        allow("s3:ListBucket", BUCKET, Principal="*"),
    )
    stage = policies(Policy2=let)
    assert stage.who("s3:GetObject", f"{BUCKET}/a") == {"Role"}
    assert stage.who("s3:PutObject", f"{BUCKET}/a") == {"logging.s3.amazonaws.com"}
    assert stage.who("s3:ListBucket", BUCKET) == {"Role", "logging.s3.amazonaws.com", "*"}


def everything_by_the_account() -> dict[str, Any]:
    return allow("kms:*", "*", Principal=ROOT)


def test_should_open_a_key_by_a_role_only_where_its_own_policy_leaves_that_to_the_account() -> None:
    grant = allow("kms:Decrypt", KEY)
    assert policies(grant, Key=key(everything_by_the_account())).may("Role", "kms:Decrypt", KEY)
    administration = allow(["kms:Put*", "kms:Describe*"], "*", Principal=ROOT)
    assert not policies(grant, Key=key(administration)).may("Role", "kms:Decrypt", KEY)
    named = allow("kms:Decrypt", "*", Principal={"AWS": {"Fn::GetAtt": ["Role", "Arn"]}})
    assert policies(Key=key(named)).may("Role", "kms:Decrypt", KEY)


def test_should_read_policies_inside_of_a_role_and_managed_ones() -> None:
    inline = {"PolicyName": "p", "PolicyDocument": {"Statement": allow("s3:GetObject", "*")}}
    role = {"AssumeRolePolicyDocument": TRUST, "Policies": [inline], "ManagedPolicyArns": ["arn:aws:iam::aws:policy/X"]}
    stage = policies(Second={"Type": "AWS::IAM::Role", "Properties": role})
    assert stage.may("Second", "s3:GetObject", f"{BUCKET}/a")
    assert stage.managed == {"Role": [], "Second": ["arn:aws:iam::aws:policy/X"]}
    assert [statement.principals for statement in stage.trust["Second"]] == [("lambda.amazonaws.com",)]


def test_should_read_who_may_invoke_a_function() -> None:
    permission = {
        "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]},
        "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com",
        "SourceArn": "arn:aws:events:us-east-1:111122223333:rule/tick",
    }
    stage = policies(
        Function={"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "f"}},
        Permission={"Type": "AWS::Lambda::Permission", "Properties": permission},
    )
    function = stage.arns["Function"]
    assert stage.who("lambda:InvokeFunction", function) == {"events.amazonaws.com"}
    other = "arn:aws:events:us-east-1:111122223333:rule/other"
    assert not stage.who("lambda:InvokeFunction", function, aws__SourceArn=other)


@pytest.mark.parametrize(
    "statement",
    [
        allow("s3:GetObject", "*", Until="tomorrow"),
        allow("s3:GetObject", {"Fn::ImportValue": "x"}),
        allow("s3:GetObject", {"Fn::GetAtt": ["Bucket", "DualStackDomainName"]}),
        allow("s3:GetObject", {"Ref": "Nowhere"}),
        allow("s3:GetObject", "*", Effect="Perhaps"),
        allow("s3:GetObject", "*", Principal={"Federated": "idp"}),
    ],
)
def test_should_fail_rather_than_pass_over_what_it_does_not_know(statement: dict[str, Any]) -> None:
    with pytest.raises(UnknownElementError):
        policies(statement)


@pytest.mark.parametrize("operator", ["StringMatches", "ForSomeValues:StringEquals", "DateLessThan"])
def test_should_fail_when_asked_about_a_condition_that_it_does_not_know(operator: str) -> None:
    stage = policies(allow("s3:GetObject", "*", Condition={operator: {"aws:Anything": "x"}}))
    with pytest.raises(UnknownElementError):
        stage.may("Role", "s3:GetObject", "*")


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("AWS::Backup::BackupVault", {"AccessPolicy": {}}),
        ("AWS::ECR::Repository", {"RepositoryPolicyDocument": {}}),
        ("AWS::IAM::Policy", {"Users": ["u"], "PolicyDocument": {}}),
    ],
)
def test_should_fail_on_a_kind_of_policy_that_it_does_not_know(kind: str, properties: dict[str, Any]) -> None:
    with pytest.raises(UnknownElementError):
        policies(Unknown={"Type": kind, "Properties": properties})


@pytest.mark.parametrize(
    ("one", "other", "overlapping", "covering"),
    [
        ("a*", "a*", True, True),
        ("a*", "*b", True, False),
        ("a*c", "ab", False, False),
        ("*", "anything", True, True),
        ("a?c", "abc", True, True),
        ("a[b]*", "a[b]c", True, True),
        ("", "*", True, False),
        ("x/*/y-*.z", "x/*", True, False),
    ],
)
def test_should_tell_patterns_that_meet_from_those_that_contain(
    one: str, other: str, overlapping: bool, covering: bool
) -> None:
    assert overlaps(one, other) is overlapping
    assert overlaps(other, one) is overlapping
    assert covers(one, other) is covering
