"""Names that are taken, and what an earlier life left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest

from acceptance.preflight.findings import Verdict
from acceptance.preflight.names import DELETE, IMPORT, KEEP, KINDS, RESTORE
from tests.unit.acceptance.preflight.conftest import ACCOUNT, DENIED, REGION, Account, everything

NAME = "medical-imaging-pipeline-staging"
SHARED = {"AWS::Lambda::LayerVersion", "AWS::IAM::Policy", "AWS::EC2::VPCEndpoint", "AWS::EC2::FlowLog"}
"""Types with a name that another resource may have too, or that is another resource's."""


def boto(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload]


def table() -> None:
    boto("dynamodb").create_table(
        TableName=f"{NAME}-ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "object_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "object_id", "KeyType": "HASH"}],
    )


def alias() -> None:
    kms = boto("kms")
    kms.create_alias(AliasName=f"alias/{NAME}-phi", TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])


def state_machine() -> None:
    definition = '{"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}'
    role = f"arn:aws:iam::{ACCOUNT}:role/any"
    boto("stepfunctions").create_state_machine(name=f"{NAME}-replay", definition=definition, roleArn=role)


def rule() -> None:
    boto("events").create_event_bus(Name=NAME)
    boto("events").put_rule(Name=f"{NAME}-study-delivered", EventBusName=NAME, EventPattern='{"source": ["a"]}')


def alarm() -> None:
    boto("cloudwatch").put_metric_alarm(
        AlarmName=f"{NAME}-Unaccounted",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="Unaccounted",
        Namespace="any",
        Period=60,
        Statistic="Sum",
        Threshold=0,
    )


TAKEN: dict[str, tuple[Callable[[], object], str]] = {
    "table": (table, IMPORT),
    "secret": (lambda: boto("secretsmanager").create_secret(Name=f"{NAME}/pseudonym-key", SecretString="0"), KEEP),
    "log group": (lambda: boto("logs").create_log_group(logGroupName=f"/aws/lambda/{NAME}-ingestion"), IMPORT),
    "key alias": (alias, DELETE),
    "state machine": (state_machine, DELETE),
    "queue": (lambda: boto("sqs").create_queue(QueueName=f"{NAME}-intake"), DELETE),
    "topic": (lambda: boto("sns").create_topic(Name=f"{NAME}-notifications"), DELETE),
    "event bus": (lambda: boto("events").create_event_bus(Name=NAME), DELETE),
    "rule": (rule, DELETE),
    "parameter": (
        lambda: boto("ssm").put_parameter(
            Name="/medical-imaging-pipeline/staging/raw-bucket-arn", Value="any", Type="String"
        ),
        DELETE,
    ),
    "alarm": (alarm, DELETE),
    "dashboard": (lambda: boto("cloudwatch").put_dashboard(DashboardName=NAME, DashboardBody="{}"), DELETE),
    "role": (
        lambda: boto("iam").create_role(RoleName=f"{NAME}-delivery-{REGION}", AssumeRolePolicyDocument="{}"),
        DELETE,
    ),
}


@pytest.mark.parametrize("noun", TAKEN)
def test_should_fail_for_a_name_that_is_taken_and_say_what_to_do(account: Account, noun: str) -> None:
    take, needed = TAKEN[noun]
    take()

    finding = account.found(f"{noun} names", everything())

    assert finding.verdict is Verdict.FAILURE
    assert finding.seen.endswith(" is taken")
    assert finding.needed == needed


def test_should_restore_a_pseudonym_key_that_is_going_to_be_deleted(account: Account) -> None:
    secrets = boto("secretsmanager")
    secrets.create_secret(Name=f"{NAME}/pseudonym-key", SecretString="0")
    secrets.delete_secret(SecretId=f"{NAME}/pseudonym-key")

    finding = account.found("secret names", everything())

    assert finding.seen == f"{NAME}/pseudonym-key is scheduled for deletion"
    assert finding.needed == RESTORE


def test_should_not_take_the_stages_own_names_for_taken(account: Account) -> None:
    table()
    account.deploy(everything())

    assert not [finding for finding in account.findings(everything()) if "names" in finding.check]


def test_should_not_take_a_longer_name_for_the_name(account: Account) -> None:
    boto("logs").create_log_group(logGroupName=f"/aws/lambda/{NAME}-ingestion-old")

    assert account.found(f"names {REGION}", everything()).verdict is Verdict.OK


def test_should_look_at_the_other_names_where_a_right_is_missing(account: Account) -> None:
    table()
    account.answers["kms", "ListAliases"] = DENIED

    findings = {finding.check: finding for finding in account.findings(everything())}

    assert findings["key alias names"].seen == "not looked at: needs kms:ListAliases"
    assert findings["table names"].verdict is Verdict.FAILURE


def test_should_not_look_at_names_where_the_stack_cannot_be_looked_at(account: Account) -> None:
    account.deny("cloudformation", "DescribeStacks")

    findings = account.findings(everything())

    assert not [finding for finding in findings if finding.check.endswith(" names")]
    (unseen,) = [finding for finding in findings if finding.verdict is Verdict.UNSEEN]
    assert unseen.seen == "not looked at: needs cloudformation:DescribeStacks"


def test_should_tell_of_buckets_of_an_earlier_life(account: Account) -> None:
    s3 = boto("s3")
    s3.create_bucket(Bucket="left", CreateBucketConfiguration={"LocationConstraint": REGION})
    tags = [{"Key": "project", "Value": "medical-imaging-pipeline"}, {"Key": "stage", "Value": "staging"}]
    s3.put_bucket_tagging(Bucket="left", Tagging={"TagSet": tags})

    finding = account.found(f"leftovers {REGION}", everything())

    assert (finding.verdict, finding.seen) == (Verdict.WARNING, "left")


def test_should_know_every_type_that_has_a_name_of_its_own() -> None:
    named = {
        body["Type"]
        for body in everything().stacks[0].resources.values()
        for name in body.get("Properties", {})
        if name == "Name" or (name.endswith("Name") and name[:-4] in body["Type"])
    }

    assert named - SHARED == set(KINDS) - {"AWS::S3::Bucket"}
