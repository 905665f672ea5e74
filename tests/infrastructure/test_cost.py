"""What objects and months cost: counted from the templates, not from a list that somebody keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from imaging_pipeline.operations.cost.__main__ import main
from imaging_pipeline.operations.cost.assumptions import INDEX_USE, Assumptions
from imaging_pipeline.operations.cost.monthly import days_by_class, fixed, kept
from imaging_pipeline.operations.cost.per_object import bill
from imaging_pipeline.operations.cost.prices import PRICES, SERVICES, Line, costs_by_service, total
from imaging_pipeline.operations.cost.templates import NEVER, Lifecycle, Templates
from runtime.contract.names import Metric
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.options import with_every_option

DEFAULTS = Assumptions()
# Of the ledger, for one object: writes of its indexes, and KB that they keep.
LEDGER_INDEX_WRITES = 2 + 1 + 2
LEDGER_INDEX_KB = 0.5 + 0.8
REPLICATED = {"account": "123456789012", "region": "eu-central-1", "replica_region": "eu-west-1"}


def templates(stage: StageTemplate) -> Templates:
    return Templates(stage.json, stage.replica)


@cache
def with_setting(**overrides: Any) -> Templates:
    return templates(StageTemplate("dev", **overrides))


def million(of: Templates, assumed: Assumptions = DEFAULTS) -> dict[str, Line]:
    return by_part(bill(of, assumed))


def by_part(lines: list[Line]) -> dict[str, Line]:
    found = {line.part: line for line in lines}
    assert len(found) == len(lines), "two lines with one name are one row of the report"
    return found


def changed(of: Templates, resource_type: str, id_part: str, **properties: Any) -> Templates:
    """The same templates but for some properties of one resource."""
    template = deepcopy(dict(of.stage))
    (name,) = [
        name
        for name, body in template["Resources"].items()
        if body["Type"] == resource_type and name.startswith(id_part)
    ]
    template["Resources"][name]["Properties"] |= properties
    return Templates(template, of.replica)


# A million objects.


def test_should_count_every_state_that_a_delivered_object_passes(dev: StageTemplate) -> None:
    states = templates(dev).delivery_states()
    assert len({json.dumps(state, sort_keys=True) for state in states}) == 14
    assert million(templates(dev))["state transitions"].quantity == 14_000_000


def test_should_bill_an_express_workflow_by_executions_and_duration() -> None:
    express = million(with_setting(workflow_type="EXPRESS"))
    assert "state transitions" not in express
    assert express["executions"].quantity == 1_000_000
    # Three steps of 250, 250 and 600 ms and four calls of services of 60 ms, in a chunk of 64 MB.
    assert express["executions, GB-seconds"].quantity == pytest.approx(1_000_000 * 1.34 / 16)


def test_should_follow_memory_and_architecture_of_the_functions(dev: StageTemplate) -> None:
    functions: dict[str, dict[str, Any]] = {
        "ingestion": {"memory_mb": 1024},
        "validation": {"architecture": "x86_64"},
    }
    lines, before = million(with_setting_of_functions(functions)), million(templates(dev))
    assert lines["ingestion, GB-seconds"].quantity == 2 * before["ingestion, GB-seconds"].quantity == 250_000
    assert before["validation, GB-seconds"].price == "lambda_gb_second_arm64"
    assert lines["validation, GB-seconds"].price == "lambda_gb_second_x86_64"


def with_setting_of_functions(functions: Mapping[str, Mapping[str, Any]]) -> Templates:
    return templates(StageTemplate("dev", functions=functions))


def test_should_count_the_writes_of_every_index(dev: StageTemplate) -> None:
    lines = million(templates(dev))
    for table, part in (("LedgerTable", "ledger"), ("AuditTable", "audit log")):
        indexes = templates(dev).table(table)["GlobalSecondaryIndexes"]
        assert {index["IndexName"] for index in indexes} == set(INDEX_USE[table]), "what is missing isn't counted"
        writes = sum(use.writes for use in INDEX_USE[table].values())
        assert lines[f"{part}, writes of indexes"].quantity == 1_000_000 * writes
    without = million(changed(templates(dev), "AWS::DynamoDB::Table", "LedgerTable", GlobalSecondaryIndexes=[]))
    assert without["ledger, writes of indexes"].quantity == 0


def test_should_refuse_an_index_of_which_it_knows_nothing(dev: StageTemplate) -> None:
    unknown = [{"IndexName": "by-moon"}]
    with pytest.raises(LookupError, match="LedgerTable's by-moon is missing in INDEX_USE"):
        million(changed(templates(dev), "AWS::DynamoDB::Table", "LedgerTable", GlobalSecondaryIndexes=unknown))


def test_should_count_the_workflows_log_by_the_events_of_its_states(dev: StageTemplate) -> None:
    # Seven tasks of five events, seven other states of two, and two of the execution.
    kilobytes = (7 * 5 + 7 * 2 + 2) * 340 / 1024
    assert 16 < kilobytes < 18
    lines = million(templates(dev))
    assert lines["workflow's logs, GB"].quantity == pytest.approx(1_000_000 * kilobytes / 1024**2)
    assert lines["functions' logs, GB"].quantity == pytest.approx(1_000_000 * 6 / 1024**2)


def test_should_count_no_log_of_a_workflow_that_tells_errors_only(dev: StageTemplate) -> None:
    logging = {"Level": "ERROR"}
    quiet = changed(templates(dev), "AWS::StepFunctions::StateMachine", "Workflow", LoggingConfiguration=logging)
    assert "workflow's logs, GB" not in million(quiet)


def test_should_count_each_move_to_another_storage_class(dev: StageTemplate) -> None:
    moves = {"raw bucket to STANDARD_IA", "processed bucket to STANDARD_IA", "processed bucket to GLACIER"}
    lines = million(templates(dev))
    assert {part for part in lines if " to " in part} == moves
    # S3 tells EventBridge of the upload and of the move.
    assert lines["events of S3"].quantity == 2_000_000


def test_should_count_no_move_of_what_expires_before_or_is_too_small(dev: StageTemplate) -> None:
    lines = million(with_setting(raw_retention_days=60, noncurrent_retention_days=30))
    assert "raw bucket to STANDARD_IA" not in lines
    assert lines["events of S3"].quantity == 1_000_000
    assert not [part for part in million(templates(dev), Assumptions(object_mb=0.1)) if " to " in part]


@pytest.mark.parametrize(
    ("setting", "quantities"),
    [
        ({"encryption": "kms"}, {"KMS requests": 3}),
        # One upload, one PUT, one LIST and nine GET or HEAD requests.
        ({"trail_retention_days": 30}, {"data events of the trail": 12}),
        ({"vpc_cidr": "10.42.0.0/20"}, {"flow logs, GB": 1 / 1024**2}),
        (
            REPLICATED,
            {
                "PUT requests of replication": 2,
                "to the replica's region, GB": 1 / 1024,
                "replication time control, GB": 1 / 1024,
                "raw replica to STANDARD_IA": 1,
                "processed replica to STANDARD_IA": 1,
                "processed replica to GLACIER": 1,
            },
        ),
    ],
    ids=["kms", "trail", "vpc", "replica"],
)
def test_should_count_what_an_option_adds_to_an_object_only_where_it_is_on(
    dev: StageTemplate, setting: Mapping[str, Any], quantities: Mapping[str, float]
) -> None:
    lines, without = million(with_setting(**setting)), million(templates(dev))
    added = {part: line.quantity / 1_000_000 for part, line in lines.items() if part not in without}
    assert added == pytest.approx(quantities)


def test_should_count_traces_only_where_they_are_sent(dev: StageTemplate) -> None:
    assert million(templates(dev))["traces"].quantity == 50_000
    assert "traces" not in million(with_setting(xray=False))


def test_should_count_what_the_trail_records_at_the_replicas() -> None:
    lines = million(templates(with_every_option("prod")))
    assert lines["data events of the trail"].quantity == 14_000_000


def test_should_come_to_what_is_calculated_by_hand(dev: StageTemplate) -> None:
    by_hand = {
        "Step Functions": 14 * 25.0,
        "Lambda": 3.2 * 0.2 + (0.25 + 0.25 + 0.6 + 0.15) * 0.5 * 13.3334,
        "S3": (1 + 2) * 5 + 9 * 0.4 + 10 + 10 + 30,
        "DynamoDB": (6 + LEDGER_INDEX_WRITES + 1 + 2) * 0.625 + 2 * 0.125,
        "SQS": 1.4 * 0.4,
        "EventBridge": 3 * 1.0,
        "CloudWatch": 10.0,
        "logs": (51 * 340 / 1024 + 6) / 1024**2 * 1_000_000 * 0.5,
        "X-Ray": 0.05 * 5,
    }
    lines = bill(templates(dev), DEFAULTS)
    assert costs_by_service(lines) == pytest.approx(by_hand)
    assert total(lines) == pytest.approx(sum(by_hand.values()))


# A month.


def test_should_count_what_costs_without_any_object(dev: StageTemplate) -> None:
    lines = by_part(fixed(templates(dev), DEFAULTS))
    alarms = dev.resources("AWS::CloudWatch::Alarm")
    rates = [name for name in alarms if "ErrorRate" in name or "Concurrency" in name]
    quantities = {
        # A rate is of two metrics.
        "metrics of alarms": len(alarms) + len(rates),
        "dashboard": 1,
        # Those of the stage, and twenty of the functions.
        "custom metrics": len(Metric) + 20,
        # Of raw, processed and operations bucket.
        "request metrics of S3": 3 * 13,
        "secrets": 1,
    }
    assert rates
    assert {part: line.quantity for part, line in lines.items()} == quantities


@pytest.mark.parametrize(
    ("setting", "quantities"),
    [
        ({"encryption": "kms"}, {"keys": 2}),
        ({"vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": 3}, {"interface endpoints, hours": 4 * 3 * 730}),
        (REPLICATED, {"replication metrics of S3": 2 * 4, "secrets": 1, "request metrics of S3": 2 * 13}),
    ],
    ids=["kms", "vpc", "replica"],
)
def test_should_count_what_an_option_adds_to_a_month_only_where_it_is_on(
    dev: StageTemplate, setting: Mapping[str, Any], quantities: Mapping[str, float]
) -> None:
    lines, without = (by_part(fixed(each, DEFAULTS)) for each in (with_setting(**setting), templates(dev)))
    added = {part: line.quantity - (without[part].quantity if part in without else 0) for part, line in lines.items()}
    # Alarms on the replicas depend on more than this.
    assert {part: count for part, count in added.items() if count and part != "metrics of alarms"} == quantities


def test_should_count_an_alarm_on_a_query_as_one_metric(dev: StageTemplate) -> None:
    replica = with_setting(**REPLICATED)
    with_replica = by_part(fixed(replica, DEFAULTS))["metrics of alarms"].quantity
    alone = by_part(fixed(Templates(replica.stage), DEFAULTS))["metrics of alarms"].quantity
    assert replica.replica
    alarms = [body for body in replica.replica["Resources"].values() if body["Type"] == "AWS::CloudWatch::Alarm"]
    assert with_replica - alone == len(alarms)


@pytest.mark.parametrize(
    ("life", "held"),
    [
        (Lifecycle((), NEVER), {"STANDARD": 365}),
        (
            Lifecycle((("STANDARD_IA", 90), ("GLACIER", 180)), NEVER),
            {"STANDARD": 90, "STANDARD_IA": 90, "GLACIER": 185},
        ),
        # Expired after 100 days, and noncurrent for 35 more.
        (Lifecycle((("STANDARD_IA", 90),), 135), {"STANDARD": 90, "STANDARD_IA": 45}),
        (Lifecycle((("STANDARD_IA", 400),), NEVER), {"STANDARD": 365}),
    ],
)
def test_should_know_how_many_days_objects_are_in_which_storage_class(
    life: Lifecycle, held: Mapping[str, float]
) -> None:
    assert days_by_class(life, 365) == held


def test_should_read_the_life_of_an_object_from_the_template() -> None:
    expiring = with_setting(raw_retention_days=100, noncurrent_retention_days=35)
    lines = by_part(kept(expiring, DEFAULTS, objects_per_day=1024))
    assert lines["raw bucket, STANDARD_IA, GB"].quantity == pytest.approx((135 - 90) / 2)


def test_should_count_what_a_year_leaves_by_hand(dev: StageTemplate) -> None:
    lines = by_part(kept(templates(dev), DEFAULTS, objects_per_day=1000))
    quantities = {
        "raw bucket, STANDARD, GB": 90 * 1000 * 0.5 / 1024,
        "raw bucket, STANDARD_IA, GB": 275 * 1000 * 0.5 / 1024,
        "processed bucket, STANDARD, GB": 90 * 1000 * 0.5 / 1024,
        "processed bucket, STANDARD_IA, GB": 90 * 1000 * 0.5 / 1024,
        "processed bucket, GLACIER, GB": 185 * 1000 * 0.5 / 1024,
        # For ever, and with two indexes each: 6 KB an object.
        "ledger with indexes, GB": 365_000 * (1.4 + LEDGER_INDEX_KB) / 1024**2,
        "audit log with indexes, GB": 365_000 * (0.9 + 2 * 0.9) / 1024**2,
        "their point-in-time recovery, GB": 365_000 * (1.4 + 0.9) / 1024**2,
        # Thirty days' logs.
        "logs, compressed, GB": 30_000 * (51 * 340 / 1024 + 6) * 0.15 / 1024**2,
        # Every hour all versions, at half a read unit each.
        "reconciliation, reads": 730 * 365_000 / 2,
        "reconciliation, LIST requests": 730 * 365,
        "reconciliation, GB-seconds": 730 * 365 * 0.5,
    }
    assert {part: line.quantity for part, line in lines.items()} == pytest.approx(quantities)


def test_should_count_what_the_replicas_keep() -> None:
    parts = by_part(kept(with_setting(**REPLICATED), DEFAULTS, objects_per_day=1000))
    assert parts["raw replica, STANDARD, GB"].quantity == parts["raw bucket, STANDARD, GB"].quantity
    assert "processed replica, GLACIER, GB" in parts


def test_should_compare_as_often_and_as_much_as_reconciliation_does() -> None:
    of = with_setting(reconciliation_minutes=120)
    few, many = (by_part(kept(of, DEFAULTS, objects_per_day=count)) for count in (1000, 1_000_000))
    assert few["reconciliation, reads"].quantity == pytest.approx(365 * 365_000 / 2)
    assert many["reconciliation, reads"].quantity == pytest.approx(365 * 500_000 / 2)


# Prices and report.


def test_should_have_a_price_and_its_source_for_everything_that_is_billed(dev: StageTemplate) -> None:
    stages = [
        templates(with_every_option("prod")),
        with_setting(workflow_type="EXPRESS"),
        with_setting_of_functions({"ingestion": {"architecture": "x86_64"}}),
    ]
    lines = [
        line
        for of in stages
        for line in (*bill(of, DEFAULTS), *fixed(of, DEFAULTS), *kept(of, DEFAULTS, objects_per_day=1))
    ]
    assert {line.price for line in lines} == set(PRICES)
    assert {price.split("_")[0] for price in PRICES} == set(SERVICES)
    assert all(price.each > 0 for price in PRICES.values())
    assert all("pricing" in service.page.lower() for service in SERVICES.values())


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["--stage", *arguments]) == 0
    return capsys.readouterr().out


def test_should_print_totals_that_are_the_sums_of_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    tables = printed(capsys, "dev", "--objects-per-day", "20000").split("\n\n")[1:4]
    for table in tables:
        rows = [line.replace("-", "0").replace(",", "").split() for line in table.splitlines()[1:]]
        *parts, total_row = rows[: [row[0] for row in rows].index("total") + 1]
        for column in (-2, -1):
            summed = sum(float(row[column]) for row in parts)
            assert float(total_row[column]) == pytest.approx(summed, abs=0.01 * len(parts))
    standard, express = (
        float(cost) for cost in re.findall(r"^  total +([\d.]+) +([\d.]+)$", tables[0], re.MULTILINE)[0]
    )
    assert standard - express == pytest.approx(350 - 2.40, abs=0.02)
    assert f"{20_000 * 365 / 12:,.0f}" in tables[1]
    share = 20_000 * 365 / 12 / 1_000_000
    assert f"{standard * share:,.2f}"[:5] in tables[1]


def test_should_fit_eighty_columns_with_every_option_on(capsys: pytest.CaptureFixture[str]) -> None:
    context = {**REPLICATED, "encryption": "kms", "trail_retention_days": 90, "vpc_cidr": "10.42.0.0/20"}
    settings = [argument for name, value in context.items() for argument in ("--context", f"{name}={value}")]
    report = printed(capsys, "prod", "--objects-per-day", "1000000", *settings)
    assert max(map(len, report.splitlines())) <= 80
    for row in re.findall(r"^  \S.* [\d.]+(?:/\w+)? +[\d,.-]+ +[\d,.-]+$", report, re.MULTILINE):
        assert re.match(r"  .{33}", row), "a label runs into the figures"


def test_should_print_what_is_assumed_and_where_the_prices_are_from(capsys: pytest.CaptureFixture[str]) -> None:
    report = printed(capsys, "dev", "--set", "function_log_kb=0")
    for name in Assumptions.__dataclass_fields__:
        assert f"  {name} " in report
    assert "function_log_kb             0" in report
    for text in ("by-study", "by-event", "list prices of US East (N. Virginia) as of 20", "Amazon S3 pricing"):
        assert text in " ".join(report.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stage", "moon"], "There is no stage 'moon'"),
        (["--stage", "dev", "--set", "sunshine=1"], "There is no assumption 'sunshine': choose one of object_mb,"),
        (["--stage", "dev", "--set", "object_mb=big"], "object_mb = 'big' is no number of 0 or more."),
        (["--stage", "dev", "--set", "dispatch_batch=0"], "dispatch_batch = '0' is no number of 1 or more."),
        (["--stage", "dev", "--set", "object_mb"], "'object_mb' says no value: write it as <name>=<value>."),
        (["--stage", "dev", "--objects-per-day", "-1"], "objects per day = '-1' is no number of 0 or more."),
    ],
)
def test_should_refuse_what_it_does_not_know_in_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(arguments)
    assert words in str(refusal.value.code)
