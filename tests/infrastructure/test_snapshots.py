"""Templates as the snapshots show them, so that a review sees each change of what is deployed.

Stage `prod` is shown whole, stage `dev` as its differences from that, the other stages and the options as theirs from
`dev`: a change to all of them is one change to `prod`'s snapshot.
"""

from __future__ import annotations

import json
import re

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.infrastructure.conftest import StageTemplate, synthesized
from tests.infrastructure.options import OPTIONS, with_option
from tests.infrastructure.snapshots import Differences, differences, readable


def test_should_deploy_what_the_snapshot_shows(prod: StageTemplate, snapshot: SnapshotAssertion) -> None:
    assert readable(prod.json) == snapshot(extension_class=JSONSnapshotExtension)


@pytest.mark.parametrize(("stage", "base"), [("dev", "prod"), ("staging", "dev"), ("local", "dev")])
def test_should_differ_from_another_stage_as_the_snapshot_shows(
    stage: str, base: str, snapshot: SnapshotAssertion
) -> None:
    assert differences(synthesized(base), synthesized(stage)) == snapshot(extension_class=Differences)


@pytest.mark.parametrize("option", OPTIONS)
def test_should_change_for_an_option_what_the_snapshot_shows(
    dev: StageTemplate, option: str, snapshot: SnapshotAssertion
) -> None:
    changes = differences(dev, with_option(option))
    assert changes
    assert changes == snapshot(extension_class=Differences)


def test_should_deploy_the_same_states_as_an_express_workflow(dev: StageTemplate, snapshot: SnapshotAssertion) -> None:
    express = StageTemplate("dev", workflow_type="EXPRESS")
    assert express.states == dev.states
    assert differences(dev, express) == snapshot(extension_class=Differences)


def test_should_show_the_state_machine_as_json_and_mask_only_asset_hashes(dev: StageTemplate) -> None:
    shown = readable(dev.json)
    machines = [r for r in shown["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine"]
    starts = [machine["Properties"]["DefinitionString"]["StartAt"] for machine in machines]
    assert sorted(starts) == ["IngestionStep", "ReplayObjects"]
    masks = re.findall(r'"([^"]*ASSET[^"]*)"', json.dumps(shown))
    assert set(masks) == {"ASSET.zip", "ASSET"}
    assert masks.count("ASSET.zip") == 8, "seven functions and a layer"
    assert masks.count("ASSET") == 5, "the code's version, of the four verdicts and of the dispatcher's"


def test_should_show_every_difference_and_nothing_that_each_stage_has_of_its_own(dev: StageTemplate) -> None:
    """Another name, account and region alone make no difference."""
    assert differences(dev, dev) == ""
    elsewhere = StageTemplate("dev", account="123456789012", region="eu-central-1")
    assert "eu-central-1" in json.dumps(elsewhere.json)
    assert differences(dev, elsewhere) == ""
    changed = StageTemplate("dev")
    key = changed.json["Resources"].pop(changed.named("AWS::SQS::Queue", "intake"))
    changed.json["Resources"]["Another"] = {**key, "Type": "AWS::SQS::Another"}
    changed.function("ingestion")["MemorySize"] = 513
    lines = differences(dev, changed).splitlines()
    kinds = [line.partition(": ")[0] for line in lines if line[0] not in "@+- "]
    assert sorted(kinds) == ["added", "changed", "removed"]
    at = lines.index('-  "MemorySize": 512')
    assert lines[at + 1] == '+  "MemorySize": 513'
