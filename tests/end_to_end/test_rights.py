"""The roles of the functions: what each was asked for while the stage ran is what its policy allows, both ways."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from local.pipeline import Pipeline
from local.samples import BUNDLED, as_instance
from runtime.aws.clock import timestamp
from runtime.contract.names import PROJECT, Function, State
from runtime.contract.replay import ReplayFilter, ReplayItem
from tests.end_to_end.conftest import Stage
from tests.infrastructure.policies import Policies, covers

if TYPE_CHECKING:
    from mypy_boto3_lambda.client import LambdaClient

CT = (BUNDLED / "CT_small.dcm").read_bytes()

# Rights that no call of a function uses here, and why it has them nevertheless.
BY_LAMBDA = "Lambda itself uses it on behalf of the function, which the emulator does with rights of its own"
TO_LEARN_THAT_IT_IS_GONE = "no call: only to who may list does S3 say that an object is gone; to others, 403"
WHERE_A_NAME_IS_TAKEN = "only where an execution has ended that the ledger doesn't know, since it was restored"
UNUSED: Mapping[str, Mapping[str, str]] = {
    Function.INGESTION: {"s3:ListBucket": TO_LEARN_THAT_IT_IS_GONE},
    Function.VALIDATION: {"s3:ListBucket": TO_LEARN_THAT_IT_IS_GONE},
    Function.DEIDENTIFICATION: {
        "s3:ListBucket": TO_LEARN_THAT_IT_IS_GONE,
        "s3:AbortMultipartUpload": "only a copy that fails is aborted",
    },
    Function.DISPATCHER: {
        "s3:ListBucket": TO_LEARN_THAT_IT_IS_GONE,
        "sqs:ReceiveMessage": BY_LAMBDA,
        "sqs:DeleteMessage": BY_LAMBDA,
        "sqs:GetQueueAttributes": BY_LAMBDA,
        "states:DescribeExecution": WHERE_A_NAME_IS_TAKEN,
    },
    Function.RECONCILIATION: {"states:DescribeExecution": WHERE_A_NAME_IS_TAKEN},
    Function.REPLAY: {"states:DescribeExecution": WHERE_A_NAME_IS_TAKEN},
}
UNUSED_BY_ALL: Mapping[str, str] = dict.fromkeys(
    ("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"), BY_LAMBDA
)


class Decision(NamedTuple):
    """What a function's role asked for, and whether it got it."""

    function: Function
    action: str
    resource: str
    allowed: bool


class Roles:
    """The functions' roles as they are deployed."""

    def __init__(self, stage: Stage, session: boto3.Session) -> None:
        self._decisions = stage.decisions
        self._iam = session.client("iam")
        functions = session.client("lambda")
        self._names = {
            name: functions.get_function_configuration(FunctionName=function_name(name))["Role"].rpartition("/")[2]
            for name in Function
        }

    def decisions(self) -> list[Decision]:
        """All of the session so far, the first one first."""
        functions = {role: name for name, role in self._names.items()}
        with self._decisions.open() as lines:
            return [
                Decision(functions[each["role"]], each["action"], each["resource"], each["allowed"])
                for each in map(json.loads, lines)
                if each["role"] in functions
            ]

    def announced(self) -> bool:
        """Whether a study was announced in this session."""
        return (Function.COMPLETENESS, "events:PutEvents") in {each[:2] for each in self.decisions()}

    def policies(self) -> Policies:
        """Policies by function."""
        trust: dict[str, Any] = {"Statement": []}
        roles = {
            name: {"AssumeRolePolicyDocument": trust, "Policies": [{"PolicyDocument": self.document(name)}]}
            for name in Function
        }
        resources = {name: {"Type": "AWS::IAM::Role", "Properties": role} for name, role in roles.items()}
        return Policies.of({"Resources": resources})

    def document(self, name: Function) -> dict[str, Any]:
        """The only policy of a function's role."""
        document: Any = self._iam.get_role_policy(RoleName=self._names[name], PolicyName=self._policy(name))
        return dict(document["PolicyDocument"])

    @contextmanager
    def without(self, name: Function, action: str) -> Iterator[None]:
        """Take one right away from a function."""
        before = self.document(name)
        statements = [{**each, "Action": listed(each["Action"])} for each in before["Statement"]]
        rest = [{**each, "Action": [one for one in each["Action"] if one != action]} for each in statements]
        self._put(name, {**before, "Statement": [each for each in rest if each["Action"]]})
        try:
            yield
        finally:
            self._put(name, before)

    def _put(self, name: Function, document: Mapping[str, Any]) -> None:
        self._iam.put_role_policy(
            RoleName=self._names[name], PolicyName=self._policy(name), PolicyDocument=json.dumps(document)
        )

    def _policy(self, name: Function) -> str:
        (policy,) = self._iam.list_role_policies(RoleName=self._names[name])["PolicyNames"]
        return str(policy)


@pytest.fixture
def roles(stage: Stage, isolated_boto3: boto3.Session) -> Roles:
    return Roles(stage, isolated_boto3)


def test_should_use_every_right_and_need_no_other(
    roles: Roles, pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    began = len(roles.decisions())

    everything_that_functions_do(roles, pipeline, isolated_boto3)

    policies, decisions = roles.policies(), roles.decisions()
    asked = set(decisions[began:])
    assert {decision.function for decision in asked} == set(Function)
    assert not {decision for decision in asked if not decision.allowed}
    assert not {each for each in asked if not policies.may(each.function, each.action, each.resource)}
    rights = [
        (name, action, resource)
        for name, statements in policies.identity.items()
        for statement in statements
        for action in statement.actions
        for resource in statement.resources
    ]
    unused = {
        (name, action)
        for name, action, resource in rights
        if not any((name, action) == each[:2] and covers(resource, each.resource) for each in decisions)
    }
    excused = {(name, action) for name in Function for action in {**UNUSED.get(name, {}), **UNUSED_BY_ALL}}
    assert not unused - excused
    assert not excused - {(name, action) for name, action, _ in rights}, "reasons for rights that nobody has"


def test_should_fail_an_object_for_one_missing_right(roles: Roles, pipeline: Pipeline) -> None:
    began = len(roles.decisions())
    with roles.without(Function.DEIDENTIFICATION, "s3:PutObject"):
        outcome = pipeline.process("right-missing.dcm", as_instance(CT, 71))
    assert outcome.end is State.FAILURE
    denied = {decision for decision in roles.decisions()[began:] if not decision.allowed}
    assert {(decision.function, decision.action) for decision in denied} == {
        (Function.DEIDENTIFICATION, "s3:PutObject")
    }


def everything_that_functions_do(roles: Roles, pipeline: Pipeline, session: boto3.Session) -> None:
    """Deliver, ignore, find a duplicate, an object that is gone and a lost event, replay, and announce."""
    functions = session.client("lambda")
    content = as_instance(CT, 70)
    assert pipeline.process("rights/ct.dcm", content).end is State.SUCCESS
    assert pipeline.process("rights/again.dcm", content).end is State.DUPLICATE
    pipeline.upload("rights/ignored.txt", b"no object of the pipeline")
    with events_lost(session):
        pipeline.upload("rights/lost.dcm", as_instance(CT, 72))
        gone = pipeline.upload("rights/gone.dcm", CT)
    pipeline.s3.delete_object(Bucket=pipeline.raw_bucket, Key="rights/gone.dcm", VersionId=gone)
    message = created(pipeline.raw_bucket, "rights/gone.dcm", gone)
    assert invoke(functions, Function.DISPATCHER, {"Records": [message]}) == {"batchItemFailures": []}
    time.sleep(2.1)  # S3's times are whole seconds
    with variable(functions, Function.RECONCILIATION, STUCK_AFTER_SECONDS="1"):
        assert invoke(functions, Function.RECONCILIATION, {})["started"] >= 1
    (lost,) = pipeline.ended("rights/lost.dcm", 1)
    assert lost.end is State.SUCCESS
    everything = ReplayFilter(requested_at=timestamp_in_a_minute())
    item = ReplayItem(bucket=pipeline.raw_bucket, key="rights/ct.dcm", filter=everything)
    replayed = invoke(functions, Function.REPLAY, item.model_dump())
    assert list(replayed["outcomes"].values()) == ["started"]
    pipeline.ended("rights/ct.dcm", 1)
    with variable(functions, Function.COMPLETENESS, STUDY_QUIET_SECONDS="1"):
        # By this invocation or by the schedule's, once no object of the study is in work, another test's included.
        deadline = time.monotonic() + 60
        while not invoke(functions, Function.COMPLETENESS, {})["announced"] and not roles.announced():
            assert time.monotonic() < deadline
            time.sleep(1.1)


def created(bucket: str, key: str, version_id: str) -> dict[str, Any]:
    """A message of the intake queue, as Lambda gives it to the dispatcher."""
    detail = {"bucket": {"name": bucket}, "object": {"key": key, "version-id": version_id}}
    return {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps({"detail": detail})}


def timestamp_in_a_minute() -> str:
    """A time before which all rows changed."""
    return timestamp(datetime.now(UTC) + timedelta(minutes=1))


def function_name(name: Function) -> str:
    return f"{PROJECT}-local-{name}"


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def invoke(functions: LambdaClient, name: Function, event: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke a function as its schedule or the replay workflow does."""
    answer = functions.invoke(FunctionName=function_name(name), Payload=json.dumps(event).encode())
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, result
    return result


@contextmanager
def variable(functions: LambdaClient, name: Function, **values: str) -> Iterator[None]:
    """Set environment variables of a function."""
    before = functions.get_function_configuration(FunctionName=function_name(name))["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=function_name(name), Environment={"Variables": before | values}
    )
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=function_name(name), Environment={"Variables": before})


@contextmanager
def events_lost(session: boto3.Session) -> Iterator[None]:
    """Let no event of S3 reach the queue."""
    events, rule = session.client("events"), f"{PROJECT}-local-object-created"
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)
