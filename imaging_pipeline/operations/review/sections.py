"""The sections of a review, but for rights and stores, which have modules of their own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.per_object import bill
from imaging_pipeline.operations.cost.prices import CURRENCY, costs_by_service
from imaging_pipeline.operations.cost.templates import Templates
from imaging_pipeline.operations.review.assembly import Resource, Stack
from imaging_pipeline.operations.review.facts import Fact, Facts, Section, collected, plain
from imaging_pipeline.operations.review.names import Names
from imaging_pipeline.operations.review.rights import POLICIES, PRINCIPALS, Rights
from imaging_pipeline.operations.review.stores import KEYS_OF_SERVICES, RETENTION, encryption, retention

ALARMS: Final = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
COMPARISONS: Final = {
    "GreaterThanOrEqualToThreshold": "at least",
    "GreaterThanThreshold": "above",
    "LessThanOrEqualToThreshold": "at most",
    "LessThanThreshold": "below",
}
POLICIES_OF_RESOURCES: Final = (
    *("BucketPolicy", "QueuePolicy", "TopicPolicy", "EventBusPolicy", "ResourcePolicy", "Permission", "VPCEndpoint"),
)
LONGEST_VALUE: Final = 80


def sections(stacks: Sequence[Stack]) -> list[Section]:
    """Review an assembly."""
    names = Names(stacks)
    rights = Rights(stacks, names)
    return [
        Section("Stacks", _stacks(stacks)),
        Section("Resources", _resources(stacks)),
        Section("Roles: what each may do", rights.of_roles, grants=True),
        Section("Everybody else: what the resources' own policies allow", rights.of_others, grants=True),
        Section("Retention", retention(stacks, names)),
        Section("Encryption", encryption(stacks, names)),
        Section("Alarms", _alarms(stacks, names)),
        Section("Outputs", _outputs(stacks, names)),
        Section("Options", _options(stacks, names)),
        Section("Cost of a million delivered objects", _cost(stacks)),
    ]


def every_property(stacks: Sequence[Stack], compared: set[tuple[str, str]]) -> Section:
    """Return what else a template says, so that no change stays unseen.

    Of resources that only one revision has the type is enough, and what policies say is told as rights.
    """
    names = Names(stacks)
    return Section(
        "Everything else in the template",
        collected(
            (names.of(stack, logical_id), fact)
            for stack in stacks
            for logical_id, resource in stack.resources.items()
            for fact in _properties(stack, names, resource, whole=(stack.name, logical_id) in compared)
        ),
    )


def _properties(stack: Stack, names: Names, resource: Resource, *, whole: bool) -> Iterator[Fact]:
    yield Fact("", resource["Type"])
    if whole:
        given = {name: part for name, part in resource.items() if name not in {"Type", "Properties", "Metadata"}}
        for path, value in _leaves(given | resource.get("Properties", {})):
            if path.startswith("PolicyDocument."):
                continue
            text = names.text(stack, value)
            if len(text) > LONGEST_VALUE:
                text = f"{len(text)} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:12]}"
            yield Fact(f"`{path}`", text)


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        here = f"{path}.{name}" if path else name
        intrinsic = isinstance(part, Mapping) and any(key == "Ref" or key.startswith("Fn::") for key in part)
        if isinstance(part, Mapping) and not intrinsic:
            yield from _leaves(part, here)
        else:
            yield here, part


def _stacks(stacks: Sequence[Stack]) -> Facts:
    return collected(found for stack in stacks for found in plain(stack.name, _of_stack(stack)))


def _of_stack(stack: Stack) -> Iterator[str]:
    yield f"account {stack.account or 'of whoever deploys'}"
    yield f"region {stack.region or 'of whoever deploys'}"
    yield f"termination protection {'on' if stack.properties.get('terminationProtection') else 'OFF'}"
    for name, value in stack.properties.get("tags", {}).items():
        yield f"tag {name}={value}"
    for part in sorted(set(stack.template) - {"Resources", "Outputs", "Description"}):
        for name in stack.template[part]:
            yield f"{part.lower()}: {name}"


def _resources(stacks: Sequence[Stack]) -> Facts:
    return collected(
        (stack.name, Fact("", f"{kind.removeprefix('AWS::')} {count}{'' if _described(kind) else ' (counted only)'}"))
        for stack in stacks
        for kind, count in Counter(resource["Type"] for resource in stack.resources.values()).items()
    )


def _described(kind: str) -> bool:
    """Say whether another section tells about resources of a type."""
    others = (*ALARMS, *PRINCIPALS, *POLICIES, "AWS::SNS::Subscription", "AWS::KMS::Alias")
    return kind in {*others, *RETENTION, *KEYS_OF_SERVICES, *OPTIONS} or kind.endswith(POLICIES_OF_RESOURCES)


def _alarms(stacks: Sequence[Stack], names: Names) -> Facts:
    return collected(found for stack in stacks for found in _of_alarms(stack, names))


def _of_alarms(stack: Stack, names: Names) -> Iterator[tuple[str, Fact]]:
    listeners: set[str] = set()
    for logical_id, alarm in stack.of_type(*ALARMS):
        name = names.of(stack, logical_id)
        told = [names.arn(stack, action) for action in alarm["Properties"].get("AlarmActions", [])]
        listeners.update(told)
        yield name, Fact("", _threshold(alarm["Properties"], names, stack))
        yield name, Fact("tells", ", ".join(told) or "NOBODY")
        if alarm["Properties"].get("ActionsEnabled") is False:
            yield name, Fact("", "MUTED")
    for _, subscription in stack.of_type("AWS::SNS::Subscription"):
        given = subscription["Properties"]
        told_by = names.arn(stack, given["TopicArn"])
        listeners.discard(told_by)
        yield told_by, Fact("tells", f"{names.text(stack, given.get('Endpoint', '?'))} by {given['Protocol']}")
    for topic in listeners:
        yield topic, Fact("tells", "NOBODY YET")


def _threshold(alarm: Resource, names: Names, stack: Stack) -> str:
    if "AlarmRule" in alarm:
        return names.text(stack, alarm["AlarmRule"])
    metric, period = f"{alarm.get('MetricName')} ({alarm.get('Statistic')})", alarm.get("Period")
    for query in alarm.get("Metrics", []):
        period = query.get("MetricStat", query).get("Period", period)
        if query.get("ReturnData", True):
            metric = query.get("Label") or query.get("Expression") or query["MetricStat"]["Metric"]["MetricName"]
    comparison = COMPARISONS.get(alarm["ComparisonOperator"], alarm["ComparisonOperator"])
    minutes = f"{period * alarm['EvaluationPeriods'] / 60:g} minutes" if period else "?"
    return f"{metric} {comparison} {alarm.get('Threshold', '?')} in {minutes}"


def _outputs(stacks: Sequence[Stack], names: Names) -> Facts:
    return collected(
        (stack.name, Fact("", f"{name} ({names.arn(stack, output['Value'])})"))
        for stack in stacks
        for name, output in stack.template.get("Outputs", {}).items()
    )


def _options(stacks: Sequence[Stack], names: Names) -> Facts:
    return collected(found for stack in stacks for found in _of_options(stack, names))


def _of_options(stack: Stack, names: Names) -> Iterator[tuple[str, Fact]]:
    for logical_id, resource in stack.resources.items():
        of_its_type = OPTIONS.get(resource["Type"])
        if of_its_type:
            for option, state in of_its_type(stack, resource.get("Properties", {}), names):
                yield option, Fact(state, names.of(stack, logical_id))


def _of_function(stack: Stack, function: Resource, names: Names) -> Iterator[tuple[str, str]]:
    yield "X-Ray", _on(function.get("TracingConfig", {}).get("Mode") == "Active")
    yield "network", "in the VPC" if "VpcConfig" in function else "outside a VPC"
    variables = function.get("Environment", {}).get("Variables", {})
    for name in ("PROFILE", "STRICT"):
        if name in variables:
            yield name.lower(), names.text(stack, variables[name])


def _of_machine(_: Stack, machine: Resource, __: Names) -> Iterator[tuple[str, str]]:
    yield "X-Ray", _on(machine.get("TracingConfiguration", {}).get("Enabled"))
    yield "workflow type", machine.get("StateMachineType", "STANDARD")


def _of_role(stack: Stack, role: Resource, names: Names) -> Iterator[tuple[str, str]]:
    boundary = role.get("PermissionsBoundary")
    yield "permissions boundary", names.arn(stack, boundary) if boundary else "none"


def _of_bucket(stack: Stack, bucket: Resource, names: Names) -> Iterator[tuple[str, str]]:
    yield "Object Lock", _on(bucket.get("ObjectLockEnabled"))
    rules = bucket.get("ReplicationConfiguration", {}).get("Rules", [])
    copies = ", ".join(names.arn(stack, rule["Destination"]["Bucket"]) for rule in rules)
    yield "replication", f"to {copies}" if copies else "off"


def _of_trail(stack: Stack, trail: Resource, names: Names) -> Iterator[tuple[str, str]]:
    selectors = trail.get("EventSelectors") or trail.get("AdvancedEventSelectors")
    yield "CloudTrail", names.text(stack, selectors) if selectors else "management events"


def _on(setting: object) -> str:
    return "on" if setting else "off"


OPTIONS: Final[Mapping[str, Callable[[Stack, Resource, Names], Iterable[tuple[str, str]]]]] = {
    "AWS::CloudTrail::Trail": _of_trail,
    "AWS::IAM::Role": _of_role,
    "AWS::Lambda::Function": _of_function,
    "AWS::S3::Bucket": _of_bucket,
    "AWS::StepFunctions::StateMachine": _of_machine,
}


def _cost(stacks: Sequence[Stack]) -> Facts:
    """Cost of the stack with the workflow; a revision with another structure may not be what the estimate knows."""
    for stack in stacks:
        if any("Workflow" in logical_id for logical_id, _ in stack.of_type("AWS::StepFunctions::StateMachine")):
            replica = next((each.template for each in stacks if each.name == f"{stack.name}-replica"), None)
            try:
                costs = costs_by_service(bill(Templates(stack.template, replica), Assumptions()))
            except (LookupError, ValueError, TypeError) as error:
                return {stack.name: frozenset({Fact("", f"can't be estimated: {error}")})}
            total = f"{sum(costs.values()):,.2f} {CURRENCY} in all, at list prices and without storage"
            parts = (f"{service} {cost:,.2f}" for service, cost in costs.items())
            return collected(plain(stack.name, (total, *parts)))
    return {}
