"""What stays when a stack is deleted, and what the runbook for deploying it again says of that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from tests.infrastructure.conftest import REPOSITORY, StageTemplate, synthesized
from tests.infrastructure.options import DURABILITY, OPTIONS

RUNBOOK = (REPOSITORY / "docs" / "operations.md").read_text()
TITLE = "### A stage is deployed again after its stack was deleted\n"
ALWAYS = "every stage"

# By the setting that the runbook names.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    ALWAYS: {},
    "`encryption`": {"encryption": "kms"},
    "`workflow_type`": {"workflow_type": "EXPRESS"},
    "`replica_region`": DURABILITY,
    **{f"`{next(iter(option))}`": option for option in OPTIONS.values()},
}
each_variant = pytest.mark.parametrize("name", VARIANTS)

NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::KMS::Key": "no name, but an alias, which does not stay",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SecretsManager::Secret": "Name",
}


@cache
def variant(name: str) -> StageTemplate:
    return StageTemplate("staging", **VARIANTS[name])


def retained(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Resources that outlive a stack, by logical id."""
    return {
        name: body for name, body in template["Resources"].items() if body.get("DeletionPolicy", "Delete") != "Delete"
    }


def templates(stage: StageTemplate) -> list[dict[str, Any]]:
    return [stage.json, *([stage.replica] if stage.replica else [])]


def taken(stage: StageTemplate) -> set[tuple[str, str]]:
    """Type and name of what stays under a name that the stack's next life asks for."""
    return {
        (body["Type"], body["Properties"][NAMES[body["Type"]]].replace("-staging", "-<stage>"))
        for template in templates(stage)
        for body in retained(template).values()
        if NAMES[body["Type"]] in body["Properties"]
    }


def section() -> str:
    return RUNBOOK.split(TITLE)[1].split("\n### ")[0]


def documented() -> dict[str, set[tuple[str, str]]]:
    """The runbook's table: type and name, by the setting without which there is none."""
    lines = section().splitlines()
    start = lines.index("| what | type | name | with |") + 2
    found: dict[str, set[tuple[str, str]]] = {}
    for line in takewhile(lambda line: line.startswith("|"), lines[start:]):
        _, kind, name, setting = (cell.strip() for cell in line.strip("|").split("|"))
        found.setdefault(setting, set()).add((kind.strip("`"), name.strip("`")))
    return found


@each_variant
def test_should_list_what_is_retained_under_a_fixed_name(name: str) -> None:
    rows = documented()
    assert taken(variant(name)) == rows[ALWAYS] | rows.get(name, set())


def test_should_list_nothing_that_no_stage_retains() -> None:
    assert set(documented()) <= set(VARIANTS)
    assert len(documented()[ALWAYS]) == 13


def test_should_leave_nothing_where_a_stage_does_not_retain() -> None:
    assert not retained(synthesized("dev").json)


def references(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
            yield name
        case {"Fn::GetStackOutput": output}:
            yield f"stack {output['StackName']}"
        case dict():
            yield from (name for each in value.values() for name in references(each))
        case list():
            yield from (name for each in value for name in references(each))


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "`replica_region`"])
def test_should_be_able_to_import_all_at_once(name: str) -> None:
    """CloudFormation imports into a stack that holds nothing else, so nothing may refer to what is made later."""
    needed(variant(name).json)


def test_should_be_able_to_import_with_replicas_as_the_runbook_says() -> None:
    replicated = variant("`replica_region`")
    assert replicated.replica
    needed(replicated.replica)
    needed(StageTemplate("staging", **{k: v for k, v in DURABILITY.items() if k != "replica_region"}).json)


def needed(template: Mapping[str, Any]) -> None:
    stays = retained(template)
    assert stays
    for name, body in stays.items():
        missing = {*references(body), *body.get("DependsOn", [])} - set(stays)
        assert {each for each in missing if not each.startswith("AWS::")} == set(), name


@pytest.mark.parametrize("name", ["`encryption`", "`replica_region`", "`vpc_cidr`"])
def test_should_map_each_retained_resource_by_what_cloudformation_imports_it_by(name: str, tmp_path: Path) -> None:
    (program,) = re.findall(r"<<'END'\n(.*?)END\n", section(), re.DOTALL)
    for template in templates(variant(name)):
        stays = retained(template)
        left = [
            {
                "LogicalResourceId": logical_id,
                "ResourceType": body["Type"],
                "PhysicalResourceId": f"the {logical_id}",
                "ResourceStatus": "DELETE_SKIPPED",
            }
            for logical_id, body in stays.items()
        ]
        (tmp_path / "left.json").write_text(json.dumps(left))
        command = [sys.executable, "-", str(tmp_path / "left.json")]
        printed = subprocess.run(command, input=program, capture_output=True, text=True, check=True).stdout
        assert json.loads(printed) == {
            logical_id: {identifier(body["Type"]): f"the {logical_id}"} for logical_id, body in stays.items()
        }


def identifier(resource_type: str) -> str:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    (path,) = schema["primaryIdentifier"]
    return str(path).removeprefix("/properties/")
