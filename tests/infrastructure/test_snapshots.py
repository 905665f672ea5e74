"""The whole template of every stage, so that a review sees each change of what is deployed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.infrastructure.conftest import StageTemplate, joined
from tests.infrastructure.options import OPTIONS, with_option

ASSET_HASH = re.compile(r"\b[0-9a-f]{64}\b")


def readable(node: Any) -> Any:
    """Mask asset hashes, and show JSON in strings as the JSON it is."""
    if isinstance(node, list):
        return [readable(item) for item in node]
    if not isinstance(node, dict):
        return ASSET_HASH.sub("ASSET", node) if isinstance(node, str) else node
    if "Fn::Join" in node:
        try:
            return readable(json.loads(joined(node)))
        except (json.JSONDecodeError, TypeError):
            pass
    return {key: readable(value) for key, value in node.items()}


def test_should_deploy_what_the_snapshot_shows(every_stage: StageTemplate, snapshot: SnapshotAssertion) -> None:
    assert readable(every_stage.json) == snapshot(extension_class=JSONSnapshotExtension)


def entries(template: dict[str, Any]) -> dict[str, Any]:
    """What a template declares: resources, outputs, parameters, conditions and mappings."""
    sections = {name: body for name, body in readable(template).items() if isinstance(body, dict)}
    return {f"{section}.{name}": body for section, bodies in sections.items() for name, body in bodies.items()}


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What has to be done to one template to have the other."""
    old, new = entries(before), entries(after)
    return {
        "added": {name: new[name] for name in sorted(new.keys() - old.keys())},
        "changed": {name: new[name] for name in sorted(new.keys() & old.keys()) if new[name] != old[name]},
        "removed": sorted(old.keys() - new.keys()),
    }


@pytest.mark.parametrize("option", OPTIONS)
def test_should_deploy_with_an_option_what_the_snapshot_shows(
    dev: StageTemplate, option: str, snapshot: SnapshotAssertion
) -> None:
    """The whole template, as the differences to that of the stage, which has a snapshot of its own."""
    changes = differences(dev.json, with_option(option).json)
    assert changes["added"] or changes["changed"]
    assert changes == snapshot(extension_class=JSONSnapshotExtension)


def test_should_deploy_the_same_states_as_an_express_workflow(dev: StageTemplate, snapshot: SnapshotAssertion) -> None:
    express = StageTemplate("dev", workflow_type="EXPRESS")
    assert express.states == dev.states
    machine = express.one("AWS::StepFunctions::StateMachine", "Workflow")
    assert readable(machine) == snapshot(extension_class=JSONSnapshotExtension)


def test_should_show_the_state_machine_as_json_and_mask_only_asset_hashes(dev: StageTemplate) -> None:
    shown = readable(dev.json)
    machines = [r for r in shown["Resources"].values() if r["Type"] == "AWS::StepFunctions::StateMachine"]
    starts = [machine["Properties"]["DefinitionString"]["StartAt"] for machine in machines]
    assert sorted(starts) == ["IngestionStep", "ReplayObjects"]
    masks = re.findall(r'"([^"]*ASSET[^"]*)"', json.dumps(shown))
    assert set(masks) == {"ASSET.zip", "ASSET"}
    assert masks.count("ASSET.zip") == 8, "seven functions and a layer"
    assert masks.count("ASSET") == 5, "the code's version, of the four verdicts and of the dispatcher's"
