"""Checks of logs and traces: how they are kept, that they arrive, and that they name nobody."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import boto3

from acceptance.verification.check import Judgement, alike, check, unset
from acceptance.verification.checks.operations import ARRIVAL_SECONDS
from acceptance.verification.objects import PATIENT_NAME, Sample
from acceptance.verification.run import Run
from acceptance.verification.waiting import until
from imaging_pipeline.stages.setting_types import LOG_RETENTION
from runtime.aws.clients import client as aws_client
from runtime.contract.names import STEPS, Function, Output


def _log_groups(run: Run) -> dict[str, str]:
    """Return the stage's log groups by what writes them."""
    groups = {name.value: f"/aws/lambda/{run.stage.function_name(name)}" for name in Function}
    replay = run.stage.output(Output.REPLAY_STATE_MACHINE_ARN).rpartition(":")[2]
    return groups | {
        "workflow": run.stage.output(Output.WORKFLOW_LOG_GROUP_NAME),
        "replay workflow": f"/aws/vendedlogs/states/{replay}",
    }


@check("log groups: retention and key")
def log_groups(run: Run) -> Judgement:
    """Look at the retention and the key of each log group."""
    logs = boto3.client("logs")
    seen = {}
    for writer, name in _log_groups(run).items():
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next((each for each in found if each["logGroupName"] == name), None)
        seen[writer] = _kept(group.get("retentionInDays"), group.get("kmsKeyId")) if group else "missing"
    days = next(days for days, retention in LOG_RETENTION.items() if retention is run.config.log_retention)
    return alike(_kept(days, run.key_arn("phi")), seen)


def _kept(days: int | None, key_arn: str | None) -> str:
    return f"{days or 'all'} days, {key_arn or 'no key of ours'}"


@check("logs: arrive, by object id")
def logs_arrive(run: Run) -> Judgement:
    """Wait until each step has logged the delivered object."""
    object_id = run.coordinates(Sample.DELIVERED).object_id
    run.row(Sample.DELIVERED)
    deadline = time.monotonic() + ARRIVAL_SECONDS
    groups = _log_groups(run)
    for step in STEPS:
        until(
            lambda step=step: _found(run, groups[step], object_id) or None,  # type: ignore[misc]
            deadline,
            lambda step=step: f"nothing of the object in the log of {step} after {ARRIVAL_SECONDS} s",  # type: ignore[misc]
        )
    return Judgement("in 3 groups", "in 3 groups", ok=True)


@check("logs: nobody's name")
def logs_name_nobody(run: Run) -> Judgement:
    """Search all log groups of functions and workflows for the invented patient."""
    said = [writer for writer, group in _log_groups(run).items() if _found(run, group, PATIENT_NAME)]
    return Judgement("nowhere", ", ".join(said) or "nowhere", not said)


def _found(run: Run, group: str, text: str) -> bool:
    pages = (
        boto3.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, filterPattern=f'"{text}"', startTime=int(run.began.timestamp() * 1000))
    )
    return any(page["events"] for page in pages)


@check("X-Ray: on for functions")
def tracing_functions(run: Run) -> Judgement:
    """Look whether functions trace as the stage says."""
    functions = boto3.client("lambda")
    seen = {}
    for name in Function:
        answer = functions.get_function_configuration(FunctionName=run.stage.function_name(name))
        seen[name.value] = "on" if answer.get("TracingConfig", {}).get("Mode") == "Active" else "off"
    return alike("on" if run.config.xray else "off", seen)


@check("X-Ray: on for workflows", emulator="ignores the traces of workflows")
def tracing_workflows(run: Run) -> Judgement:
    """Look whether state machines trace as the stage says."""
    states = aws_client("stepfunctions")
    seen = {}
    for name, machine in (("workflow", Output.STATE_MACHINE_ARN), ("replay workflow", Output.REPLAY_STATE_MACHINE_ARN)):
        described = states.describe_state_machine(stateMachineArn=run.stage.output(machine))
        seen[name] = "on" if described.get("tracingConfiguration", {}).get("enabled") else "off"
    return alike("on" if run.config.xray else "off", seen)


@check("X-Ray: traces arrive", emulator="sends no traces", skip=unset("xray"))
def traces(run: Run) -> Judgement:
    """Wait for a trace of the workflow. X-Ray samples the first request of a second, so there is one."""
    xray = boto3.client("xray")
    machine = run.stage.output(Output.STATE_MACHINE_ARN).rpartition(":")[2]

    def look() -> bool | None:
        pages = xray.get_paginator("get_trace_summaries").paginate(
            StartTime=run.began, EndTime=datetime.now(UTC), FilterExpression=f'service("{machine}")'
        )
        return True if any(page["TraceSummaries"] for page in pages) else None

    until(look, time.monotonic() + ARRIVAL_SECONDS, lambda: f"none after {ARRIVAL_SECONDS} s")
    return Judgement("one or more", "one or more", ok=True)


CHECKS = (logs_arrive, logs_name_nobody, log_groups, tracing_functions, tracing_workflows, traces)
