"""Least privilege, by all policies of every stage: what no role can do, and how little each can."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any

import pytest

from imaging_pipeline.stages.definitions import STAGES
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.options import OPTIONS, VARIANTS, variant
from tests.infrastructure.policies import Policies, Statement
from tests.infrastructure.references import ACCOUNT, REGION

READ_OBJECTS = "s3:GetObject*"
WRITE_OBJECTS = ("s3:PutObject", "s3:ReplicateObject", "s3:RestoreObject")
CHANGE_OBJECTS = ("s3:Put*", "s3:Delete*", "s3:Restore*", "s3:Replicate*", "s3:AbortMultipartUpload")

# Actions that AWS lets nobody bound by a resource.
UNBOUNDED = {
    "xray:PutTraceSegments": "X-Ray knows no resources for what is sent",
    "xray:PutTelemetryRecords": "X-Ray knows no resources for what is sent",
    "xray:GetSamplingRules": "sampling rules are the account's",
    "xray:GetSamplingTargets": "sampling rules are the account's",
    "cloudwatch:PutMetricData": "metrics are no resources; bounded by their namespace",
    "logs:CreateLogDelivery": "Step Functions sets up delivery to its log group, and deliveries are no resources",
    "logs:GetLogDelivery": "as CreateLogDelivery",
    "logs:UpdateLogDelivery": "as CreateLogDelivery",
    "logs:DeleteLogDelivery": "as CreateLogDelivery",
    "logs:ListLogDeliveries": "as CreateLogDelivery",
    "logs:PutResourcePolicy": "Step Functions lets log delivery write; policies of CloudWatch Logs are the account's",
    "logs:DescribeResourcePolicies": "as PutResourcePolicy",
    "logs:DescribeLogGroups": "CloudWatch Logs bounds it by no single group",
    "ec2:CreateNetworkInterface": "Lambda makes the interfaces of functions in a VPC; their ids aren't known before",
    "ec2:DescribeNetworkInterfaces": "EC2 bounds nothing that describes",
    "ec2:DeleteNetworkInterface": "as CreateNetworkInterface",
    "ec2:AssignPrivateIpAddresses": "as CreateNetworkInterface",
    "ec2:UnassignPrivateIpAddresses": "as CreateNetworkInterface",
    "ec2:DescribeSubnets": "EC2 bounds nothing that describes",
}
# Services that a resource must admit without saying for whom they ask.
UNCONDITIONAL = {
    ("sns", "events.amazonaws.com"): "a topic's policy may set no condition on EventBridge; no message holds PHI",
}
# Services that don't say, as far as AWS documents, for whom they take on a role: a condition would lock them out.
SILENT = {
    "s3.amazonaws.com": "AWS documents no condition for replication; the role is passed by IAM within its account only,"
    " reads this account's bucket, and writes a bucket of this account (aws:ResourceAccount)",
}


class Rights:
    """The policies of a stage, and its resources by what their logical id says."""

    def __init__(self, stage: StageTemplate) -> None:
        self.stage = stage
        self.policies = Policies.of(stage.json, account=stage.config.account, region=stage.config.region)

    def arn(self, kind: str, part: str) -> str:
        """ARN of the only resource of a type whose logical id has this part."""
        (name,) = [name for name in self.stage.resources(kind) if part in name]
        return self.policies.arns[name]

    def roles(self, part: str = "") -> list[str]:
        return [name for name in self.policies.identity if part in name]

    @property
    def deidentification(self) -> str:
        return self.stage.role("deidentification")

    @property
    def completeness(self) -> str:
        return self.stage.role("completeness")

    def functions(self) -> list[str]:
        """Roles of functions."""
        used = [body["Properties"]["Role"] for body in self.stage.resources("AWS::Lambda::Function").values()]
        return [role["Fn::GetAtt"][0] for role in used]

    @property
    def raw(self) -> str:
        return self.arn("AWS::S3::Bucket", "BucketsRaw")

    @property
    def processed(self) -> str:
        return self.arn("AWS::S3::Bucket", "BucketsProcessed")

    def granted(self) -> Iterator[tuple[str, Statement]]:
        """Every statement that allows a role something."""
        for role, statements in self.policies.identity.items():
            yield from ((role, statement) for statement in statements if statement.effect == "Allow")


@cache
def rights_of(stage: str, encryption: str, workflow: str) -> Rights:
    return Rights(StageTemplate(stage, encryption=encryption, workflow_type=workflow))


@pytest.fixture(params=product(STAGES, ("aes256", "kms"), ("STANDARD", "EXPRESS")), ids="-".join)
def rights(request: pytest.FixtureRequest) -> Rights:
    """Each stage, with each encryption and each type of workflow."""
    return rights_of(*request.param)


def names(roles: set[str]) -> set[str]:
    """Logical ids without CDK's hash."""
    return {role[:-8] for role in roles}


def test_should_let_deidentification_alone_read_raw_and_write_processed_objects(rights: Rights) -> None:
    readers = rights.policies.who(READ_OBJECTS, f"{rights.raw}/*")
    writers = {name for action in WRITE_OBJECTS for name in rights.policies.who(action, f"{rights.processed}/*")}
    assert readers & writers == {rights.deidentification}
    assert writers == {rights.deidentification, rights.completeness}
    assert not rights.policies.who("s3:PutObject", f"{rights.processed}/*.dcm") - readers, "a manifest only"


def test_should_let_no_role_become_another_or_change_what_runs(rights: Rights) -> None:
    for action in ("sts:*", "iam:*", "lambda:Update*", "lambda:Add*", "states:Update*", "s3:PutBucket*", "kms:Put*"):
        assert not {role for role in rights.roles() if rights.policies.may(role, action, "*")}, action


def test_should_let_nothing_pass_between_the_zones_by_way_of_another_role(rights: Rights) -> None:
    """What a role starts runs with rights of its own; whoever may write research objects starts nothing."""
    start = ("lambda:InvokeFunction", "states:StartExecution", "sqs:SendMessage", "events:PutEvents")
    may = rights.policies.may
    starters = {role: {action for action in start if may(role, action, "*")} for role in rights.roles()}
    assert not starters[rights.deidentification]
    assert starters[rights.completeness] == {"events:PutEvents"}, "on the bus"


def test_should_keep_objects_keys_from_completeness(rights: Rights) -> None:
    """See decision 0039: it reads the ledger and writes into the research zone."""
    role = rights.completeness
    table = rights.arn("AWS::DynamoDB::Table", "Ledger")

    def may(action: str, resource: str = table, **context: Any) -> bool:
        return rights.policies.may(role, f"dynamodb:{action}", resource, **context)

    for action in ("GetItem", "UpdateItem"):
        assert may(action, dynamodb__LeadingKeys=["study#5d"])
        assert may(action, dynamodb__LeadingKeys=["checkpoint#completeness"])
        assert not may(action, dynamodb__LeadingKeys=["0123456789abcdef0123456789abcdef"])
        assert not may(action, dynamodb__LeadingKeys=["instance#0123456789abcdef"])
        assert not may(action, dynamodb__LeadingKeys=["place#raw"])
    some = {"dynamodb__Select": "SPECIFIC_ATTRIBUTES"}
    assert not may("Query", f"{table}/index/in-work", dynamodb__Attributes=["status"], **some)
    assert may("Query", f"{table}/index/by-verdict", dynamodb__Attributes=["verdict_shard", "study_id"], **some)
    for index in (f"{table}/index/by-study", f"{table}/index/by-verdict"):
        assert may("Query", index, dynamodb__Attributes=["status", "output_key"], **some)
        for attribute in ("key", "bucket", "version_id", "etag", "execution", "releases"):
            assert not may("Query", index, dynamodb__Attributes=["status", attribute], **some)
        assert not may("Query", index, dynamodb__Select="ALL_ATTRIBUTES")
    assert not may("Query")
    for action in ("Scan", "BatchGetItem", "PartiQL*", "ExportTableToPointInTime"):
        assert not may(action, f"{table}*")
    for action in ("s3:Get*", "s3:List*"):
        assert not rights.policies.may(role, action, "arn:aws:s3:::*")


def test_should_let_no_role_but_one_decrypt_phi_and_encrypt_research_objects(rights: Rights) -> None:
    if rights.stage.config.encryption == "aes256":
        assert not rights.policies.who("kms:*", "*"), "no keys, no rights to any"
        return
    phi, research = (rights.arn("AWS::KMS::Key", f"{zone}Key") for zone in ("PHI", "Research"))
    s3 = {"kms__ViaService": f"s3.{rights.stage.config.region or REGION}.amazonaws.com"}
    may = rights.policies.may
    by_s3 = {role for role in rights.roles() if may(role, "kms:Decrypt", phi, **s3)}
    encrypt = {role for role in rights.roles() for action in ("Encrypt", "GenerateDataKey*", "ReEncrypt*")
               if may(role, f"kms:{action}", research)}  # fmt: skip
    assert by_s3 & encrypt == {rights.deidentification}
    by_any = {role for role in rights.roles() if may(role, "kms:Decrypt", phi)}
    assert by_any & encrypt == {rights.deidentification, rights.completeness}, "the latter by the ledger alone"


def test_should_let_no_role_use_a_key_but_through_a_service(rights: Rights) -> None:
    """But for state machines, which encrypt their histories and what delivers their logs by themselves."""
    histories = {"kms:EncryptionContext:aws:states:stateMachineArn", "kms:EncryptionContext:SourceArn"}
    for role, statement in rights.granted():
        if any(action.startswith("kms:") for action in statement.actions):
            bounds = set(statement.conditions["StringEquals"])
            assert bounds == {"kms:ViaService"} or ("StateMachine" in role and bounds < histories), role


@pytest.mark.parametrize("encryption", ["aes256", "kms"])
def test_should_let_no_delivery_role_reach_the_phi_zone(encryption: str) -> None:
    rights = Rights(StageTemplate("staging", encryption=encryption, **OPTIONS["delivery"]))
    (role,) = rights.roles("DeliveryRole")
    assert rights.policies.may(role, "s3:GetObject", f"{rights.processed}/*")
    assert not rights.policies.may(role, "s3:Put*", f"{rights.processed}/*")
    assert not reached(rights, role)


def test_should_see_a_delivery_role_that_reaches_the_phi_zone() -> None:
    stage = StageTemplate("dev", encryption="kms")
    trusted = {"Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}}
    statement = {"Effect": "Allow", "Action": ["s3:GetObject", "kms:Decrypt"], "Resource": "*"}
    policy = {"PolicyName": "Read", "PolicyDocument": {"Statement": [statement]}}
    stage.json["Resources"]["DeliveryRole"] = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": trusted, "Policies": [policy]},
    }
    found = reached(Rights(stage), "DeliveryRole")
    assert {resource.split(":")[2] for resource in found} == {"s3", "kms"}


def reached(rights: Rights, role: str) -> set[str]:
    """Resources of the PHI zone to which a role may do anything."""
    phi = {
        "AWS::S3::Bucket": ("BucketsRaw", "BucketsOperations"),
        "AWS::DynamoDB::Table": ("Ledger", "Audit"),
        "AWS::SQS::Queue": ("",),
        "AWS::StepFunctions::StateMachine": ("",),
        "AWS::SecretsManager::Secret": ("",),
        "AWS::KMS::Key": ("ZonesPHI",),
        "AWS::Lambda::Function": ("",),
        "AWS::Logs::LogGroup": ("",),
    }
    resources = {
        rights.policies.arns[name]
        for kind, parts in phi.items()
        for name in rights.stage.resources(kind)
        if name.startswith(parts)
    }
    return {
        arn
        for arn in resources
        for part in (arn, f"{arn}/*", f"{arn}:*")
        if rights.policies.may(role, f"{arn.split(':')[2]}:*", part)
    }


def test_should_let_no_function_write_the_bucket_that_triggers_it(rights: Rights) -> None:
    triggering = [
        rights.policies.arns[name]
        for name, body in rights.stage.resources("AWS::S3::Bucket").items()
        if "NotificationConfiguration" in body["Properties"]
    ]
    assert triggering == [rights.raw]
    for role, action in product(rights.functions(), CHANGE_OBJECTS):
        assert not rights.policies.may(role, action, f"{rights.raw}/*"), (role, action)
    assert names({role for role in rights.roles() if rights.policies.may(role, "s3:Put*", f"{rights.raw}/*")}) == {
        "WorkflowStateMachineRole"
    }, "which tags what it quarantines"


def test_should_give_every_function_and_state_machine_a_role_of_its_own(rights: Rights) -> None:
    machines = rights.stage.resources("AWS::StepFunctions::StateMachine").values()
    used = rights.functions() + [body["Properties"]["RoleArn"]["Fn::GetAtt"][0] for body in machines]
    assert len(used) == len(set(used))


def test_should_attach_no_managed_policy(rights: Rights) -> None:
    assert not any(rights.policies.managed.values())
    assert not rights.stage.resources("AWS::IAM::ManagedPolicy")


def test_should_allow_no_role_actions_by_a_pattern(rights: Rights) -> None:
    for role, statement in rights.granted():
        assert not statement.not_actions, role
        assert not statement.not_resources, role
        assert not [action for action in statement.actions if "*" in action or "?" in action], role


def test_should_bound_every_action_by_a_resource_where_aws_can(rights: Rights) -> None:
    for role, statement in rights.granted():
        for resource in statement.resources:
            if not is_of_one_resource(rights, resource):
                assert set(statement.actions) <= set(UNBOUNDED), (role, resource)


def is_of_one_resource(rights: Rights, pattern: str) -> bool:
    """Tell whether a pattern begins with the name of one resource, as objects and indexes of it do."""
    fixed = pattern.split("*", maxsplit=1)[0]
    executions = [
        arn.replace(":stateMachine:", kind)
        for arn in rights.policies.arns.values()
        if ":stateMachine:" in arn
        for kind in (":execution:", ":mapRun:")
    ]
    return any(
        fixed == arn or fixed.startswith((f"{arn}/", f"{arn}:"))
        for arn in (*(arn.removesuffix(":*") for arn in rights.policies.arns.values()), *executions)
    )


def test_should_bound_metrics_by_their_namespace(rights: Rights) -> None:
    for role in rights.roles():
        assert not rights.policies.may(role, "cloudwatch:PutMetricData", "*", cloudwatch__namespace="AWS/Billing")


@pytest.mark.parametrize("name", VARIANTS)
def test_should_trust_one_service_with_a_role_and_only_on_behalf_of_this_account(name: str) -> None:
    stage = variant(name)
    trust = Policies.of(stage.json, account=stage.config.account, region=stage.config.region).trust
    assert len(trust) > len(stage.resources("AWS::Lambda::Function"))
    for role, statements in trust.items():
        if "Delivery" in role:  # whom it trusts, the stage names
            continue
        (statement,) = statements
        (service,) = statement.principals
        assert statement.actions == ("sts:AssumeRole",)
        assert service.endswith(".amazonaws.com")
        account = statement.conditions.get("StringEquals", {}).get("aws:SourceAccount")
        assert account == (None if service in SILENT else (stage.config.account or ACCOUNT,)), role


def test_should_have_no_role_in_a_replica_stack() -> None:
    assert all("AWS::IAM::Role" not in json.dumps(replica) for name in VARIANTS if (replica := variant(name).replica))


def test_should_open_no_resource_to_anybody_or_another_account(rights: Rights) -> None:
    account = f"arn:aws:iam::{rights.stage.config.account or ACCOUNT}:root"
    roles = {rights.policies.arns[role] for role in rights.roles()}
    for arn, statements in rights.policies.resource.items():
        for statement in (statement for statement in statements if statement.effect == "Allow"):
            services = {name for name in statement.principals if name.endswith(".amazonaws.com")}
            assert set(statement.principals) <= {account, *roles, *services}, arn
            keys = {key for block in statement.conditions.values() for key in block}
            says_for_whom = any(
                key in {"aws:SourceAccount", "aws:SourceArn"} or key.startswith("kms:EncryptionContext:")
                for key in keys
            )
            assert says_for_whom or not services or (arn.split(":")[2], *services) in UNCONDITIONAL, (arn, services)


@pytest.mark.parametrize("machine", ["Workflow", "Replay"])
def test_should_allow_a_state_machine_exactly_what_its_states_do(rights: Rights, machine: str) -> None:
    """The emulator enforces no rights of state machines, so their definitions are what is compared."""
    allowed = {
        (action, resource.removesuffix(":*"))
        for role, statement in rights.granted()
        if role.startswith(f"{machine}StateMachineRole")
        for action, resource in product(statement.actions, statement.resources)
        if action not in UNBOUNDED or action == "cloudwatch:PutMetricData"
    }
    # AWS documents what a distributed map needs: to run its children, and to write its results in parts.
    of_a_map = {"states:StartExecution", "states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"}
    of_results = {"s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"}
    of_keys = {"kms:Decrypt", "kms:GenerateDataKey"}
    allowed = {(action, on) for action, on in allowed if action not in of_a_map | of_results | of_keys}
    assert allowed == set(needed(rights, rights.stage.machine(machine)["States"]))


def needed(rights: Rights, states: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of action and resource that states call."""

    def resolved(text: str) -> str:
        for name, arn in rights.policies.arns.items():
            text = text.replace(f"${{{name}.Arn}}", arn).replace(f"${{{name}}}", arn)
        return text

    for state in states.values():
        if state["Type"] == "Map":
            yield from needed(rights, state["ItemProcessor"]["States"])
            yield "s3:ListBucket", resolved(state["ItemReader"]["Parameters"]["Bucket"])
        elif state["Type"] == "Task":
            action, resource = call(state)
            own = {"s3": f"{rights.raw}/*", "states": map_runs(rights)}
            yield action, own.get(action.partition(":")[0]) or resolved(resource)


def map_runs(rights: Rights) -> str:
    """ARN of the runs of the replay workflow's map."""
    (machine,) = [arn for arn in rights.policies.arns.values() if arn.endswith("-replay") and ":stateMachine:" in arn]
    return f"{machine.replace(':stateMachine:', ':mapRun:')}/*"


def call(task: dict[str, Any]) -> tuple[str, str]:
    """The right that a task needs."""
    parameters = task.get("Parameters", {})
    resource = task["Resource"].rpartition(":::")[2]
    rights: dict[str, Callable[[], tuple[str, str]]] = {
        "lambda:invoke": lambda: ("lambda:InvokeFunction", parameters["FunctionName"]),
        "dynamodb:updateItem": lambda: ("dynamodb:UpdateItem", parameters["TableName"]),
        "aws-sdk:dynamodb:executeStatement": lambda: ("dynamodb:PartiQLInsert", inserted_into(parameters["Statement"])),
        "aws-sdk:sfn:describeMapRun": lambda: ("states:DescribeMapRun", "runs of its map"),
        "events:putEvents": lambda: ("events:PutEvents", parameters["Entries"][0]["EventBusName"]),
        "aws-sdk:cloudwatch:putMetricData": lambda: ("cloudwatch:PutMetricData", "*"),
        "aws-sdk:s3:putObjectTagging": lambda: (
            f"s3:PutObject{'Version' if 'VersionId.$' in parameters else ''}Tagging",
            "raw objects",
        ),
    }
    return rights[resource]() if resource in rights else ("lambda:InvokeFunction", resource)


def inserted_into(statement: str) -> str:
    """The table to which a PartiQL statement adds an item; it does nothing else."""
    written = re.fullmatch(r'INSERT INTO "([^"]+)" VALUE \{[^}]*\}', re.sub(r"\$\{(\w+)\}", r"<\1>", statement))
    assert written, statement
    return re.sub(r"<(\w+)>", r"${\1}", written[1])


def test_should_list_no_action_as_unbounded_that_is_never_allowed() -> None:
    used = {action for name in STAGES for _, s in rights_of(name, "kms", "STANDARD").granted() for action in s.actions}
    assert {action for action in UNBOUNDED if not action.startswith("ec2:")} <= used, json.dumps(sorted(used))
