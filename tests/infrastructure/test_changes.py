"""Settings of a deployed stage are changed: CloudFormation never has to replace what it can't replace.

It makes the new resource before it deletes the old one, so a replacement fails where the new one would have the old
one's name, or a subnet its place. Which properties can't change in place, the schemas say that cfn-lint ships.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from ipaddress import IPv4Network
from itertools import chain
from typing import Any, Final, NamedTuple

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from imaging_pipeline.stages.config import AlarmThresholds, FunctionSettings, StageConfig
from tests.infrastructure.conftest import REPOSITORY, StageTemplate
from tests.infrastructure.options import ACCOUNT, EVERY_OPTION, RESEARCHERS

Resources = Mapping[str, Mapping[str, Any]]

DEPLOYED: Final = "prod", EVERY_OPTION
"""The stage that is changed: it has every option, so that a change may also take one away."""

UNPROTECTED: Final = {"termination_protection": False, "object_lock_mode": None, "object_lock_days": None}


class Change(NamedTuple):
    """What is set to another value, in a stage that was deployed with what is given."""

    settings: Mapping[str, Any]
    given: Mapping[str, Any] = {}


def function(setting: str, value: Any) -> Change:
    return Change({"functions": {"ingestion": {setting: value}}})


CHANGES: Final[Mapping[str, Change]] = {
    "termination_protection": Change({"termination_protection": False}),
    "permissions_boundary": Change({"permissions_boundary": "another-boundary"}),
    "no permissions_boundary": Change({"permissions_boundary": None}),
    "retain_data": Change({"retain_data": False}, UNPROTECTED),
    "encryption": Change({"encryption": "aes256"}),
    "object_lock_mode": Change({"object_lock_mode": "COMPLIANCE"}),
    "object_lock_days": Change({"object_lock_days": 60}),
    "no object_lock_mode": Change({"object_lock_mode": None, "object_lock_days": None}),
    "trail_retention_days": Change({"trail_retention_days": 730}),
    "no trail_retention_days": Change({"trail_retention_days": None}),
    "replica_region": Change({"replica_region": "eu-west-2"}),
    "no replica_region": Change({"replica_region": None}),
    "pseudonym_key_arn": Change(
        {"pseudonym_key_arn": f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:kept-AbCdEf"}
    ),
    "functions.<name>.python_version": function("python_version", "3.13"),
    "functions.<name>.architecture": function("architecture", "x86_64"),
    "functions.<name>.reserved_concurrency": function("reserved_concurrency", 100),
    "workflow_type": Change({"workflow_type": "EXPRESS", "failure_notifications": False}),
    "vpc_cidr": Change({"vpc_cidr": "10.43.0.0/20"}),
    "vpc_cidr around the former": Change({"vpc_cidr": "10.42.0.0/19"}),
    "no vpc_cidr": Change({"vpc_cidr": None}, {"vpc_availability_zones": 2}),
    "vpc_availability_zones": Change({"vpc_availability_zones": 5}),
    "vpc_availability_zones by name": Change({"vpc_availability_zones": "eu-central-1a,eu-central-1b"}),
    "vpc_availability_zones by name with another vpc_cidr": Change(
        {"vpc_availability_zones": "eu-central-1a,eu-central-1b", "vpc_cidr": "10.43.0.0/20"}
    ),
    "delivery_principals": Change({"delivery_principals": [RESEARCHERS]}),
    "no delivery_principals": Change({"delivery_principals": []}),
    "delivery_networks": Change({"delivery_networks": ["203.0.113.0/24"]}),
    "delivery_emails": Change({"delivery_emails": ["other@example.org"]}),
    "alert_emails": Change({"alert_emails": ["other@example.org"]}),
    "failure_notifications": Change({"failure_notifications": False}),
    "ledger_retention_days": Change({"ledger_retention_days": 900}),
    "no ledger_retention_days": Change({"ledger_retention_days": None}),
    "xray": Change({"xray": True}),
    # What only fills in a value is changed together: nothing at all is replaced for it, so nothing is for one of it.
    "explicit_environment, strict, profile, cost_tags, accepted_prefixes, accepted_suffixes, dispatcher_concurrency"
    ", workflow_timeout_seconds, stuck_after_seconds, reconciliation_minutes, study_quiet_seconds, replay_concurrency"
    ", replay_tolerated_failures, functions.<name>.memory_mb, functions.<name>.timeout_seconds": Change(
        {
            "explicit_environment": False,
            "strict": True,
            "profile": "basic",
            "cost_tags": {"owner": "Radiology"},
            "accepted_prefixes": ["ct/"],
            "accepted_suffixes": [],
            "dispatcher_concurrency": 20,
            "workflow_timeout_seconds": 8000,
            "stuck_after_seconds": 12000,
            "reconciliation_minutes": 30,
            "study_quiet_seconds": 300,
            "replay_concurrency": 40,
            "replay_tolerated_failures": 1,
            "functions": {"ingestion": {"memory_mb": 1024, "timeout_seconds": 200}},
        }
    ),
    "infrequent_access_after_days, glacier_after_days, raw_retention_days, processed_retention_days"
    ", operations_retention_days, noncurrent_retention_days, access_log_retention_days, log_retention": Change(
        {
            "infrequent_access_after_days": 60,
            "glacier_after_days": 120,
            "raw_retention_days": 500,
            "processed_retention_days": 410,
            "ledger_retention_days": 1100,
            "operations_retention_days": 60,
            "noncurrent_retention_days": 70,
            "access_log_retention_days": 30,
            "log_retention": 90,
        }
    ),
    ", ".join(f"alarms.{name}" for name in AlarmThresholds.model_fields): Change(
        {"alarms": dict.fromkeys(AlarmThresholds.model_fields, 61)}
    ),
}

FIXED: Final = {
    "stage": "another stage is another stack",
    "account": "a stack is of one account",
    "region": "a stack is of one region",
    "runs_on_this_machine": "the emulator's stage is made anew, not changed",
}
"""Settings that aren't changed, and why."""

IMPOSSIBLE: Final = {
    "vpc_availability_zones by name": "**Exchanging zones**",
}
"""Changes that CloudFormation can't make as they are, and where docs/options.md has the way."""

LEFT_BEHIND: Final = {
    "no vpc_cidr": {"AWS::Logs::LogGroup /aws/vpc/medical-imaging-pipeline-prod"},
    "pseudonym_key_arn": {"AWS::SecretsManager::Secret medical-imaging-pipeline-prod/pseudonym-key"},
}
"""What is kept with its name where an option is taken away, and so is in the way of the option's return."""

LASTING: Final = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"}
"""Types whose resources hold what a new one wouldn't have."""


@cache
def templates(*, changed: str | None = None, given: str | None = None) -> tuple[Resources, Resources]:
    """Resources of the stage and of its replica: deployed for a change, or after it."""
    stage, options = DEPLOYED
    settings = {**options, **(CHANGES[given].given if given else {}), **(CHANGES[changed].settings if changed else {})}
    if settings["vpc_cidr"] is None:
        del settings["vpc_availability_zones"]
    made = StageTemplate(stage, **settings)
    same_replica = settings["replica_region"] == options["replica_region"]
    return made.json["Resources"], made.replica["Resources"] if made.replica and same_replica else {}


def before_and_after(name: str) -> Iterator[tuple[Resources, Resources]]:
    """What a change does to each stack, and what taking it back does."""
    before = templates(given=name) if CHANGES[name].given else templates()
    after = templates(changed=name, given=name)
    for old, new in zip(before, after, strict=True):
        yield old, new
        yield new, old


@cache
def schema(kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-central-1", kind).schema
    return found


def create_only(kind: str) -> set[tuple[str, ...]]:
    """Paths of the properties that can't be changed in place."""
    return {tuple(path.split("/")[2:]) for path in schema(kind).get("createOnlyProperties", ())}


def name_properties(kind: str) -> set[str]:
    """Properties that name a resource of a type, of which there is one in the account and region."""
    identifiers = [schema(kind)["primaryIdentifier"], *schema(kind).get("additionalIdentifiers", ())]
    naming = {path.split("/")[2] for paths in identifiers for path in paths} | {"Name", f"{kind.split('::')[2]}Name"}
    return {path[0] for path in create_only(kind)} & naming


def at(resource: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = resource.get("Properties", {})
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def refers_to(value: Any, names: Collection[str]) -> bool:
    return any(f'"{name}"' in json.dumps(value) for name in names)


def replaced(before: Resources, after: Resources) -> dict[str, set[str]]:
    """Properties for which a resource is replaced, by logical id; those included that refer to another replaced one."""
    found: dict[str, set[str]] = {}
    both = [name for name in before if name in after and before[name]["Type"] == after[name]["Type"]]
    known = -1
    while known < len(found):
        known = len(found)
        for name in both:
            for path in create_only(after[name]["Type"]):
                old, new = at(before[name], path), at(after[name], path)
                if old != new or refers_to(new, found.keys() - {name}):
                    found.setdefault(name, set()).add("/".join(path))
    return found


def physical_names(resources: Resources, *, but: Collection[str] = ()) -> dict[str, str]:
    """Names that a template gives, with their type, by logical id; without those that name another resource."""
    return {
        name: f"{body['Type']} {json.dumps(given).strip(chr(34))}"
        for name, body in resources.items()
        for part in name_properties(body["Type"])
        if (given := at(body, (part,))) is not None and not refers_to(given, but)
    }


def clashes(before: Resources, after: Resources) -> Iterator[str]:
    """Resources that CloudFormation would have to make while another one has their name or place."""
    gone = replaced(before, after)
    old = physical_names(before)
    new = physical_names(after, but=gone)
    for name in new:
        if name in gone and old.get(name) == new[name]:
            yield f"{new[name]} for {', '.join(sorted(gone[name]))}"
        others = [other for other in old if other != name and old[other] == new[name]]
        if others and name not in before:
            yield f"{new[name]}, which {others[0]} has"
    for name in subnets(after):
        for other in subnets(before):
            made = name not in before or name in gone
            same_vpc = at(after[name], ("VpcId",)) == at(before[other], ("VpcId",)) and not refers_to(
                at(after[name], ("VpcId",)), gone
            )
            if made and same_vpc and network(after[name]).overlaps(network(before[other])):
                yield f"AWS::EC2::Subnet {network(after[name])} where {other} is"


def subnets(resources: Resources) -> list[str]:
    return [name for name, body in resources.items() if body["Type"] == "AWS::EC2::Subnet"]


def network(subnet: Mapping[str, Any]) -> IPv4Network:
    return IPv4Network(at(subnet, ("CidrBlock",)))


def left_behind(before: Resources, after: Resources) -> set[str]:
    """Names of resources that a change takes out of the template, and that stay."""
    kept = {name: body for name, body in before.items() if body.get("DeletionPolicy", "Delete") != "Delete"}
    names = physical_names(kept)
    return {names[name] for name in names if name not in after}


def settings() -> Iterator[str]:
    """Every setting, those of functions and alarms one by one."""
    for name in StageConfig.model_fields:
        if name == "functions":
            yield from (f"functions.<name>.{part}" for part in FunctionSettings.model_fields)
        elif name == "alarms":
            yield from (f"alarms.{part}" for part in AlarmThresholds.model_fields)
        else:
            yield name


def test_should_change_every_setting() -> None:
    assert {part for name in CHANGES for part in name.split(", ")} | set(FIXED) >= set(settings())


@pytest.mark.parametrize("name", CHANGES)
def test_should_change_a_deployed_stage_without_replacing_anything_under_its_name(name: str) -> None:
    stages = list(before_and_after(name))
    assert any(old != new for old, new in stages)
    found = {clash for old, new in stages for clash in clashes(old, new)}
    assert bool(found) == (name in IMPOSSIBLE), found


@pytest.mark.parametrize("name", CHANGES)
def test_should_never_replace_what_holds_data(name: str) -> None:
    for old, new in before_and_after(name):
        assert [each for each in replaced(old, new) if new[each]["Type"] in LASTING] == []


@pytest.mark.parametrize("name", [name for name in CHANGES if ", " in name])
def test_should_change_together_only_what_replaces_nothing(name: str) -> None:
    assert [gone for old, new in before_and_after(name) if (gone := replaced(old, new))] == []


@pytest.mark.parametrize("name", CHANGES)
def test_should_leave_nothing_behind_in_the_way_but_what_is_documented(name: str) -> None:
    (old, new), *_ = before_and_after(name)
    assert left_behind(old, new) == LEFT_BEHIND.get(name, set())


def test_should_document_the_way_of_changes_that_are_impossible_and_what_is_left_behind() -> None:
    text = (REPOSITORY / "docs" / "options.md").read_text()
    left = [
        name.split(" ")[1].replace("medical-imaging-pipeline-prod", "<stack>") for name in chain(*LEFT_BEHIND.values())
    ]
    assert [way for way in (*IMPOSSIBLE.values(), *left) if way not in text] == []
