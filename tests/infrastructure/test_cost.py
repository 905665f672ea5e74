"""What a million objects cost: counted from the template, not from a list that somebody keeps."""

from __future__ import annotations

import json
import re

import pytest

from imaging_pipeline.cost import PRICES, Assumptions, bill, delivery_states, main
from tests.infrastructure.conftest import StageTemplate

DEFAULTS = Assumptions()


def counts(stage: StageTemplate, assumed: Assumptions = DEFAULTS) -> dict[str, float]:
    """Counts by price, of one kind each."""
    found: dict[str, float] = {}
    for line in bill(stage.json, assumed):
        found[line.price] = found.get(line.price, 0) + line.count
    return found


def test_should_count_every_state_that_a_delivered_object_passes(dev: StageTemplate) -> None:
    by_content = {json.dumps(state, sort_keys=True) for state in delivery_states(dev.json)}
    assert len(by_content) == 14
    assert counts(dev)["states_standard_transition"] == 14_000_000


def test_should_bill_an_express_workflow_by_executions_and_duration() -> None:
    express = counts(StageTemplate("dev", workflow_type="EXPRESS"))
    assert "states_standard_transition" not in express
    assert express["states_express_request"] == 1_000_000
    # Three steps of 250, 250 and 600 ms and four calls of services of 60 ms, in a chunk of 64 MB.
    assert express["states_express_gb_second"] == pytest.approx(1_000_000 * 1.34 / 16)


def test_should_follow_memory_and_architecture_of_the_functions(dev: StageTemplate) -> None:
    memory = {name: {"memory_mb": 1024} for name in ("ingestion", "validation", "deidentification", "dispatcher")}
    larger = counts(StageTemplate("dev", functions=memory))
    assert larger["lambda_gb_second_arm64"] == 2 * counts(dev)["lambda_gb_second_arm64"]
    other = counts(StageTemplate("dev", functions={"ingestion": {"architecture": "x86_64"}}))
    assert other["lambda_gb_second_x86_64"] == pytest.approx(125_000)


def test_should_count_the_writes_to_the_tables_indexes(dev: StageTemplate) -> None:
    assumed = Assumptions(ledger_writes=1, indexed_writes=10, audit_writes=0)
    assert counts(dev, assumed)["dynamodb_write"] == 31_000_000
    assumed = Assumptions(ledger_writes=0, indexed_writes=0, audit_writes=1)
    assert counts(dev, assumed)["dynamodb_write"] == 3_000_000


def test_should_have_a_price_for_everything_that_is_billed(dev: StageTemplate) -> None:
    prices = json.loads(PRICES.read_text())["prices"]
    used = set(counts(dev)) | set(counts(StageTemplate("dev", workflow_type="EXPRESS")))
    assert used | {"lambda_gb_second_x86_64"} == set(prices)
    assert all(price["price"] > 0 and price["per"] > 0 for price in prices.values())


def test_should_print_both_types_and_every_assumption(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "dev", "--set", "log_kb=0"]) == 0
    printed = capsys.readouterr().out
    standard, express = (float(total) for total in re.findall(r"^  total +([\d.,]+)$", printed, flags=re.MULTILINE))
    assert standard > 5 * express > 0
    for name in Assumptions.__dataclass_fields__:
        assert f"  {name} " in printed
    assert "list prices" in printed


@pytest.mark.parametrize("arguments", [["--stage", "moon"], ["--stage", "dev", "--set", "sunshine=1"]])
def test_should_refuse_what_it_does_not_know_in_one_sentence(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(arguments)
    assert isinstance(refusal.value.code, str)
