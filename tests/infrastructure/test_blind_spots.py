"""Where the rule packs are blind: tables, custom resources, dead letters, retries, time-outs, grants to services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from imaging_pipeline.stages.definitions import STAGES
from runtime.contract.names import Function
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.key_use import listed, referred

MAILS = {"alert_emails": "a@example.org", "delivery_emails": "r@example.org", "failure_notifications": True}
each_stage = pytest.mark.parametrize("name", STAGES)

# What records or announces a verdict waits for its service, and fails the execution where it stays away: there is no
# way on without it. A replay counts the keys that failed, and without that count it did not end well.
WITHOUT_A_WAY_ON = {
    "AuditDelivery",
    "AuditDuplicate",
    "AuditQuarantine",
    "AuditFailure",
    "RecordDelivery",
    "RecordDuplicate",
    "RecordQuarantine",
    "RecordFailure",
    "AnnounceDelivery",
    "AnnounceQuarantine",
    "ReplayObject",
}
# Of the task itself, and what Lambda reports most: what passes must not become a permanent failure.
TRANSIENT = (
    "States.Timeout",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
)
COUNTING = {"CountKeys"}
"""What the emulator can't do, and stage `local` doesn't."""


@cache
def notifying(name: str) -> StageTemplate:
    """A stage with subscribers, so that every asynchronous edge is there."""
    return StageTemplate(name, **MAILS)


def tasks(states: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task, also within maps."""
    for name, state in states.items():
        if state["Type"] == "Task":
            yield name, state
        if state["Type"] == "Map":
            yield from tasks(state["ItemProcessor"]["States"])


def every_task(stage: StageTemplate) -> dict[str, dict[str, Any]]:
    return dict([*tasks(stage.machine("Workflow")["States"]), *tasks(stage.machine("Replay")["States"])])


def asynchronous_edges(stage: StageTemplate) -> dict[str, str | None]:
    """What sends without waiting for an answer, and its dead-letter queue.

    Not what a rule has given to a function: what becomes of that is tested with the schedules.
    """
    edges: dict[str, str | None] = {}
    for name, body in stage.resources("AWS::Events::Rule").items():
        for target in body["Properties"]["Targets"]:
            edges[f"{name} {target['Id']}"] = referred(target.get("DeadLetterConfig", {}).get("Arn", {}))
    for name, body in stage.resources("AWS::SNS::Subscription").items():
        edges[name] = referred(body["Properties"].get("RedrivePolicy", {}).get("deadLetterTargetArn", {}))
    for name, body in stage.resources("AWS::Lambda::EventSourceMapping").items():
        source = stage.json["Resources"][referred(body["Properties"]["EventSourceArn"])]
        edges[name] = referred(source["Properties"].get("RedrivePolicy", {}).get("deadLetterTargetArn", {}))
    for name, body in stage.resources("AWS::Events::EventBus").items():
        if "KmsKeyIdentifier" in body["Properties"]:
            edges[name] = referred(body["Properties"].get("DeadLetterConfig", {}).get("Arn", {}))
    return edges


@each_stage
def test_should_have_a_dead_letter_queue_at_every_asynchronous_edge(name: str) -> None:
    stage = notifying(name)
    edges = asynchronous_edges(stage)
    # Five rules, two subscriptions, the dispatcher's queue, and a bus that is encrypted.
    assert len(edges) == 8 + (stage.config.encryption == "kms")
    queues = stage.resources("AWS::SQS::Queue")
    assert [edge for edge, queue in edges.items() if queue not in queues] == []
    last = {queue for queue, body in queues.items() if "RedrivePolicy" not in body["Properties"]}
    assert set(edges.values()) == last, "every other queue has a dead-letter queue"


@each_stage
def test_should_keep_dead_letters_for_as_long_as_sqs_can(name: str) -> None:
    stage = notifying(name)
    for queue in {queue for queue in asynchronous_edges(stage).values() if queue}:
        assert stage.json["Resources"][queue]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600


def counting(stage: StageTemplate) -> set[str]:
    return set() if stage.config.runs_on_this_machine else COUNTING


def test_should_bound_and_retry_every_task(every_stage: StageTemplate) -> None:
    found = every_task(every_stage)
    assert len(found) == 19 + len(counting(every_stage))
    for name, task in found.items():
        assert task["TimeoutSeconds"] > 0, name
        for error in TRANSIENT:
            (retry, *_) = [r for r in task["Retry"] if {error, "States.ALL"} & set(r["ErrorEquals"])]
            assert retry["MaxAttempts"] >= 3, (name, error)


def test_should_catch_every_error_of_a_task_that_has_a_way_on(every_stage: StageTemplate) -> None:
    def catches(task: dict[str, Any]) -> bool:
        return any("States.ALL" in catcher["ErrorEquals"] for catcher in task.get("Catch", []))

    assert {name for name, task in every_task(every_stage).items() if not catches(task)} == (
        WITHOUT_A_WAY_ON | counting(every_stage)
    )


def test_should_wait_when_a_function_is_throttled(every_stage: StageTemplate) -> None:
    found = every_task(every_stage)
    functions = every_stage.resources("AWS::Lambda::Function")
    resources = {":lambda:invoke", *(f"${{{function}.Arn}}" for function in functions)}
    invocations = {name: task for name, task in found.items() if task["Resource"].endswith(tuple(resources))}
    assert len(invocations) == 4
    for task in invocations.values():
        (patient,) = [r for r in task["Retry"] if "Lambda.TooManyRequestsException" in r["ErrorEquals"]]
        assert (patient["MaxAttempts"], patient["JitterStrategy"]) == (40, "FULL")


def test_should_bound_every_machine_and_log_no_data_of_executions(every_stage: StageTemplate) -> None:
    for name, body in every_stage.resources("AWS::StepFunctions::StateMachine").items():
        assert every_stage.machine(name)["TimeoutSeconds"] > 0
        logging = body["Properties"]["LoggingConfiguration"]
        assert (logging["Level"], logging.get("IncludeExecutionData", False)) == ("ALL", False)


def test_should_bound_every_function(every_stage: StageTemplate) -> None:
    for body in every_stage.resources("AWS::Lambda::Function").values():
        assert 1 <= body["Properties"]["Timeout"] <= 900


@pytest.mark.parametrize(("name", "latest"), [("reconciliation", 300), ("completeness", 60)])
def test_should_call_a_scheduled_function_once_a_tick_and_leave_no_message_where_it_fails(
    every_stage: StageTemplate, name: str, latest: int
) -> None:
    """A lasting fault would make three calls and a message a minute; alarms tell of it once."""
    (target,) = every_stage.schedule(name)["Targets"]
    function = referred(target["Arn"])
    assert function == every_stage.named("AWS::Lambda::Function", name)
    (invocations,) = [
        body["Properties"]
        for body in every_stage.resources("AWS::Lambda::EventInvokeConfig").values()
        if referred(body["Properties"]["FunctionName"]) == function
    ]
    assert (invocations["MaximumRetryAttempts"], invocations["MaximumEventAgeInSeconds"]) == (0, latest)
    assert "DeadLetterConfig" not in every_stage.resources("AWS::Lambda::Function")[function]["Properties"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": latest}
    alarms = {body["Properties"]["AlarmName"] for body in every_stage.resources("AWS::CloudWatch::Alarm").values()}
    alarm = f"{every_stage.config.name}-{name.capitalize()}"
    assert {f"{alarm}Throttles", *(() if every_stage.config.runs_on_this_machine else (f"{alarm}ErrorRate",))} <= alarms


def test_should_drop_a_late_tick_however_far_two_reconciliations_are_apart() -> None:
    """The next tick does the same work."""
    (target,) = StageTemplate("dev", reconciliation_minutes=24 * 60).schedule("reconciliation")["Targets"]
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 300


def test_should_have_no_function_that_lambda_calls_again_by_itself(every_stage: StageTemplate) -> None:
    """Lambda repeats an asynchronous call that failed twice, unless it is told not to."""
    called = {
        referred(target["Arn"])
        for rule in every_stage.resources("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
    } & set(every_stage.resources("AWS::Lambda::Function"))
    told = {
        referred(body["Properties"]["FunctionName"])
        for body in every_stage.resources("AWS::Lambda::EventInvokeConfig").values()
    }
    assert called == told


def test_should_recover_encrypt_and_protect_every_table(every_stage: StageTemplate) -> None:
    """Of either kind: the packs don't look at `AWS::DynamoDB::GlobalTable`, which CDK's TableV2 makes."""
    tables = [body["Properties"] for body in every_stage.resources("AWS::DynamoDB::Table").values()]
    replicas = [
        {**replica, "SSESpecification": body["Properties"]["SSESpecification"]}
        for body in every_stage.resources("AWS::DynamoDB::GlobalTable").values()
        for replica in body["Properties"]["Replicas"]
    ]
    assert tables
    for table in tables + replicas:
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table["DeletionProtectionEnabled"] is every_stage.config.termination_protection


def test_should_deploy_no_code_but_its_own(every_stage: StageTemplate) -> None:
    """Neither custom resources nor the functions and roles that CDK makes for them."""
    types = {body["Type"] for body in every_stage.json["Resources"].values()}
    assert not [name for name in types if name.startswith("Custom::") or name == "AWS::CloudFormation::CustomResource"]
    names = {body["Properties"]["FunctionName"] for body in every_stage.resources("AWS::Lambda::Function").values()}
    assert names == {f"{every_stage.config.name}-{function}" for function in Function}


@each_stage
def test_should_admit_services_on_behalf_of_its_own_resources_only(name: str) -> None:
    """Queues, topics, buckets and functions let a service in for a named source, or for this account."""
    stage = notifying(name)
    unbounded = []
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy"):
        for policy, body in stage.resources(kind).items():
            for statement in body["Properties"]["PolicyDocument"]["Statement"]:
                services = listed(statement["Principal"].get("Service", [])) if statement["Principal"] != "*" else []
                if services and "aws:Source" not in json.dumps(statement.get("Condition", {})):
                    unbounded += [(policy, service) for service in services]
    # "Using resource-based policies for Amazon EventBridge": AWS refuses conditions for it in a topic's policy.
    assert {service for _, service in unbounded} == {"events.amazonaws.com"}
    assert all("AnnouncementsDeliveries" in policy or "Notifications" in policy for policy, _ in unbounded)
    for permission in stage.resources("AWS::Lambda::Permission").values():
        assert "SourceArn" in permission["Properties"]


def test_should_let_every_target_of_a_rule_be_reached(every_stage: StageTemplate) -> None:
    """Each queue, topic and function that a rule names admits EventBridge."""
    admitted = {
        referred(resource)
        for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for body in every_stage.resources(kind).values()
        for statement in body["Properties"]["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
        for resource in listed(statement["Resource"])
    } | {
        referred(permission["Properties"]["FunctionName"])
        for permission in every_stage.resources("AWS::Lambda::Permission").values()
    }
    for rule in every_stage.resources("AWS::Events::Rule").values():
        for target in rule["Properties"]["Targets"]:
            assert {referred(target["Arn"]), referred(target["DeadLetterConfig"]["Arn"])} <= admitted
