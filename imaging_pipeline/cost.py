"""What a stage costs per million objects: `python -m imaging_pipeline.cost --stage dev`.

Counted from the synthesized template (states on the way of a delivered object, memory and architecture of functions,
indexes of the tables, batch size) and from assumptions that are printed; multiplied by list prices in `prices.json`.
Storage, the objects' own uploads and what is not delivered are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from aws_cdk import App, Environment
from aws_cdk.assertions import Template

from imaging_pipeline.stack import ImagingPipelineStack
from imaging_pipeline.stages import StageError, stage_config
from runtime.contract import STEPS, Function, State, StatusCode

MILLION: Final = 1_000_000
REPOSITORY: Final = Path(__file__).resolve().parent.parent
PRICES: Final = Path(__file__).with_name("prices.json")
EXPRESS_CHUNK_GB: Final = 64 / 1024
"""EXPRESS executions are billed by memory in chunks of 64 MB; these hold a few kilobytes of state."""
WORKFLOW_TYPES: Final = ("STANDARD", "EXPRESS")


def _assumed(value: float, meaning: str) -> float:
    given: float = field(default=value, metadata={"meaning": meaning})
    return given


@dataclass(frozen=True)
class Assumptions:
    """What the template can't tell, for one delivered object. Measure your own; change them with `--set`."""

    ingestion_ms: float = _assumed(250, "billed duration of ingestion")
    validation_ms: float = _assumed(250, "billed duration of validation")
    deidentification_ms: float = _assumed(600, "billed duration of de-identification, its copy by S3 included")
    dispatcher_ms: float = _assumed(150, "billed duration of the dispatcher for each object")
    integration_ms: float = _assumed(60, "duration of each task that calls a service")
    dispatch_batch: float = _assumed(5, "objects in a dispatcher's batch")
    s3_puts: float = _assumed(1, "PUT, COPY or multipart requests that write the result")
    s3_gets: float = _assumed(9, "GET or HEAD requests on object and result")
    s3_lists: float = _assumed(1, "LIST requests: looking the version up where the event has none")
    ledger_writes: float = _assumed(6, "writes: receive, run, study, claim, confirm, verdict; of items up to 1 KB")
    ledger_reads: float = _assumed(2, "consistent reads, of items up to 4 KB")
    indexed_writes: float = _assumed(5 / 3, "writes to each index, on average: in-work 2, by-verdict 1, by-study 2")
    audit_writes: float = _assumed(1, "writes of the audit record of up to 1 KB, to its table and to each index")
    log_kb: float = _assumed(12, "KB of logs of functions and workflow")
    traced_percent: float = _assumed(5, "percent of requests that X-Ray samples")


@dataclass(frozen=True)
class Line:
    """A part of the bill for a million objects."""

    price: str
    count: float
    of: str = ""


def synthesize(stage: str, overrides: Mapping[str, object]) -> dict[str, Any]:
    """Return a stage's template without building its layer.

    Raises
    ------
    StageError
        If the stage or a setting isn't valid.
    """
    config = stage_config(stage, overrides)
    flags = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    app = App(analytics_reporting=False, context={**flags, "aws:cdk:bundling-stacks": []})
    environment = Environment(account=config.account, region=config.region)
    stack = ImagingPipelineStack(app, config.name, config=config, env=environment)
    return dict(Template.from_stack(stack).to_json())


def delivery_states(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the states that a delivered object passes, in order."""
    machine = _only(template, "AWS::StepFunctions::StateMachine", "Workflow")
    # References become a placeholder: what they name is of no account here.
    text = "".join(part if isinstance(part, str) else "X" for part in machine["DefinitionString"]["Fn::Join"][1])
    states = json.loads(text)["States"]
    passed, name = [], State.INGESTION_STEP.value
    while True:
        state = states[name]
        passed.append(state)
        if state["Type"] in {"Succeed", "Fail"}:
            return passed
        name = _accepted(state) if state["Type"] == "Choice" else state["Next"]


def bill(template: Mapping[str, Any], assumed: Assumptions) -> list[Line]:
    """Return what a million delivered objects use, by the names of the prices."""
    return [
        *_workflow(template, assumed),
        *_functions(template, assumed),
        *_tables(template, assumed),
        Line("s3_put", MILLION * (assumed.s3_puts + assumed.s3_lists)),
        Line("s3_get", MILLION * assumed.s3_gets),
        # Sent once; received and deleted in batches.
        Line("sqs_request", MILLION * (1 + 2 / assumed.dispatch_batch)),
        Line("eventbridge_event", MILLION * _calls(template, ":events:putEvents")),
        Line("cloudwatch_put_metric", MILLION * _calls(template, ":putMetricData")),
        Line("logs_gb", MILLION * assumed.log_kb / 1024**2),
        *_traces(template, assumed),
    ]


def costs(lines: Sequence[Line]) -> dict[str, float]:
    """Return what a bill comes to for each service, by the first word of its prices, in the currency of the list."""
    prices = json.loads(PRICES.read_text())["prices"]
    by_service: dict[str, float] = {}
    for line in lines:
        service = line.price.split("_")[0]
        by_service[service] = by_service.get(service, 0) + line.count * _each(prices[line.price])
    return by_service


def _each(price: Mapping[str, Any]) -> float:
    return float(price["price"]) / float(price["per"])


def _workflow(template: Mapping[str, Any], assumed: Assumptions) -> Iterator[Line]:
    states = delivery_states(template)
    if _only(template, "AWS::StepFunctions::StateMachine", "Workflow")["StateMachineType"] == "STANDARD":
        yield Line("states_standard_transition", MILLION * len(states))
        return
    tasks = sum(state["Type"] == "Task" for state in states) - len(STEPS)
    durations = asdict(assumed)
    milliseconds = tasks * assumed.integration_ms + sum(durations[f"{step}_ms"] for step in STEPS)
    yield Line("states_express_request", MILLION)
    yield Line("states_express_gb_second", MILLION * milliseconds / 1000 * EXPRESS_CHUNK_GB)


def _functions(template: Mapping[str, Any], assumed: Assumptions) -> Iterator[Line]:
    yield Line("lambda_request", MILLION * (len(STEPS) + 1 / assumed.dispatch_batch))
    durations = asdict(assumed)
    for name in (*STEPS, Function.DISPATCHER):
        properties = _only(template, "AWS::Lambda::Function", f"Functions{name.capitalize()}")
        (architecture,) = properties["Architectures"]
        gb_seconds = MILLION * durations[f"{name}_ms"] / 1000 * properties["MemorySize"] / 1024
        yield Line(f"lambda_gb_second_{architecture}", gb_seconds, of=f", {name}")


def _tables(template: Mapping[str, Any], assumed: Assumptions) -> Iterator[Line]:
    ledger_writes = assumed.ledger_writes + _indexes(template, "LedgerTable") * assumed.indexed_writes
    yield Line("dynamodb_write", MILLION * ledger_writes, of=", ledger")
    yield Line("dynamodb_read", MILLION * assumed.ledger_reads, of=", ledger")
    audit_writes = assumed.audit_writes * (1 + _indexes(template, "AuditTable"))
    yield Line("dynamodb_write", MILLION * audit_writes, of=", audit log")


def _indexes(template: Mapping[str, Any], table: str) -> int:
    (found,) = [
        resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table" and name.startswith(table)
    ]
    return len(found["GlobalSecondaryIndexes"])


def _traces(template: Mapping[str, Any], assumed: Assumptions) -> Iterator[Line]:
    if "TracingConfig" in _only(template, "AWS::Lambda::Function", f"Functions{Function.INGESTION.capitalize()}"):
        yield Line("xray_trace", MILLION * assumed.traced_percent / 100)


def _calls(template: Mapping[str, Any], action: str) -> int:
    return sum(str(state.get("Resource", "")).endswith(action) for state in delivery_states(template))


def _accepted(choice: Mapping[str, Any]) -> str:
    """Return where an accepted object goes: the rule that asks for this status and nothing else."""
    for rule in choice["Choices"]:
        if rule.get("NumericEquals") == StatusCode.ACCEPTED:
            return str(rule["Next"])
    raise LookupError("a Choice state has no way for an accepted object")


def _only(template: Mapping[str, Any], resource_type: str, id_part: str) -> dict[str, Any]:
    (properties,) = [
        resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type and id_part in name
    ]
    return dict(properties)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill of both workflow types, what was assumed, and where the prices are from."""
    parser = argparse.ArgumentParser(prog="python -m imaging_pipeline.cost", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--context", action="append", default=[], metavar="SETTING=VALUE", help="as with cdk")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ASSUMPTION=NUMBER", help="instead of the default"
    )
    options = parser.parse_args(arguments)
    try:
        overrides = dict(setting.split("=", 1) for setting in options.context)
        changed = {name: float(value) for name, value in (each.split("=", 1) for each in options.set)}
        assumed = Assumptions(**changed)
        bills = {
            kind: bill(synthesize(options.stage, {**overrides, "workflow_type": kind}), assumed)
            for kind in WORKFLOW_TYPES
        }
    except (StageError, ValueError, TypeError) as error:
        sys.exit(str(error))
    sys.stdout.write("\n".join(_report(options.stage, bills, assumed)) + "\n")
    return 0


def _report(stage: str, bills: Mapping[str, Sequence[Line]], assumed: Assumptions) -> Iterator[str]:
    listed = json.loads(PRICES.read_text())
    prices = listed["prices"]
    yield f"Stage {stage}: {listed['currency']} for a million delivered objects, without storage"
    for kind, lines in bills.items():
        yield f"\n{kind:<42}{'count':>14}{'price of a million':>22}{'cost':>10}"
        total = 0.0
        for line in lines:
            each = _each(prices[line.price])
            total += line.count * each
            name = prices[line.price]["unit"] + line.of
            yield f"  {name:<40}{line.count:>14,.0f}{each * MILLION:>22,.2f}{line.count * each:>10,.2f}"
        yield f"  {'total':<40}{total:>46,.2f}"
    yield "\nAssumed for each object"
    for assumption in fields(assumed):
        yield f"  {assumption.name:<22}{getattr(assumed, assumption.name):>8g}  {assumption.metadata['meaning']}"
    yield f"\nPrices: {listed['source']} (imaging_pipeline/prices.json)."


if __name__ == "__main__":
    sys.exit(main())
