"""What is kept: for how long, what a deletion leaves of it, and by which key it is encrypted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from imaging_pipeline.operations.review.assembly import Resource, Stack
from imaging_pipeline.operations.review.facts import Fact, Facts, collected, plain
from imaging_pipeline.operations.review.names import Names

KMS_PROPERTY: Final = re.compile(r"kms\w*(id|arn|identifier)", re.IGNORECASE)
DAY_SECONDS: Final = 86_400
AFTER_DELETION: Final = {
    "Delete": "deleted with the stack",
    "Retain": "outlives the stack",
    "RetainExceptOnCreate": "outlives the stack (unless its creation fails)",
    "Snapshot": "a snapshot outlives the stack",
}


def retention(stacks: Sequence[Stack], names: Names) -> Facts:
    """How long each store keeps what, and what becomes of it when the stack is deleted or the store is replaced."""
    return collected(found for stack in stacks for found in _kept(stack, names))


def encryption(stacks: Sequence[Stack], names: Names) -> Facts:
    """By which key each store is encrypted, and which keys rotate."""
    return collected(found for stack in stacks for found in _encrypted(stack, names))


def _kept(stack: Stack, names: Names) -> Iterator[tuple[str, Fact]]:
    for logical_id, resource in stack.resources.items():
        policy = resource.get("DeletionPolicy", "Delete")
        kept = RETENTION.get(resource["Type"])
        if kept is None and policy == "Delete":
            continue
        name = names.of(stack, logical_id)
        yield from plain(name, kept(resource.get("Properties", {})) if kept else ())
        yield name, Fact("", AFTER_DELETION.get(policy, f"`DeletionPolicy` {policy}"))
        if policy != "Delete" and resource.get("UpdateReplacePolicy", "Delete") == "Delete":
            yield name, Fact("", "DELETED when it is replaced")


def _of_bucket(bucket: Resource) -> Iterator[str]:
    if bucket.get("VersioningConfiguration", {}).get("Status") == "Enabled":
        yield "keeps versions"
    else:
        yield "keeps no versions"
    if bucket.get("ObjectLockEnabled"):
        rule = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
        period = ", ".join(f"{rule[name]} {name.lower()}" for name in ("Days", "Years") if name in rule)
        yield f"Object Lock {rule.get('Mode', 'without a default')}" + (f" for {period}" if period else "")
    for rule in bucket.get("LifecycleConfiguration", {}).get("Rules", []):
        for words in _of_lifecycle(rule):
            scope = {name: rule[name] for name in ("Prefix", "TagFilters") if name in rule}
            yield words + (f" for `{_compact(scope)}`" if scope else "")


def _of_lifecycle(rule: Mapping[str, Any]) -> Iterator[str]:
    if rule.get("Status") != "Enabled":
        return
    for name, value in rule.items():
        match name, value:
            case (("Id" | "Status" | "Prefix" | "TagFilters"), _):
                pass
            case "Transitions", list():
                for transition in value:
                    age = _days(transition.get("TransitionInDays", "?"))
                    yield f"moves to {transition['StorageClass']} after {age}"
            case "ExpirationInDays", days:
                yield f"deletes after {_days(days)}"
            case "NoncurrentVersionExpiration", {"NoncurrentDays": days}:
                yield f"deletes old versions after {_days(days)}"
            case "ExpiredObjectDeleteMarker", True:
                yield "drops delete markers that hide nothing"
            case "AbortIncompleteMultipartUpload", {"DaysAfterInitiation": days}:
                yield f"aborts uploads after {_days(days)}"
            case _:
                yield f"`{name}` {_compact(value)}"


def _of_log_group(group: Resource) -> Iterator[str]:
    yield _days(group["RetentionInDays"]) if "RetentionInDays" in group else "for ever"


def _of_table(table: Resource) -> Iterator[str]:
    replicas = table.get("Replicas", [table])
    recovery = [each.get("PointInTimeRecoverySpecification", {}) for each in replicas]
    restorable = all(each.get("PointInTimeRecoveryEnabled") for each in recovery)
    yield "restorable to any second" if restorable else "not restorable to a point in time"
    protected = all(each.get("DeletionProtectionEnabled") for each in replicas)
    yield "protected from deletion" if protected else "not protected from deletion"
    if lifetime := table.get("TimeToLiveSpecification", {}):
        yield f"items end at their `{lifetime.get('AttributeName')}`"


def _of_queue(queue: Resource) -> Iterator[str]:
    yield f"messages {_days(queue.get('MessageRetentionPeriod', 4 * DAY_SECONDS) / DAY_SECONDS)}"


def _of_key(key: Resource) -> Iterator[str]:
    yield f"deleted {_days(key.get('PendingWindowInDays', 30))} after somebody asks for it"


def _of_archive(archive: Resource) -> Iterator[str]:
    yield _days(archive["RetentionDays"]) if archive.get("RetentionDays") else "for ever"


def _nothing_more(_: Resource) -> Iterable[str]:
    return ()


RETENTION: Final[Mapping[str, Callable[[Resource], Iterable[str]]]] = {
    "AWS::DynamoDB::GlobalTable": _of_table,
    "AWS::DynamoDB::Table": _of_table,
    "AWS::Events::Archive": _of_archive,
    "AWS::KMS::Key": _of_key,
    "AWS::KMS::ReplicaKey": _of_key,
    "AWS::Logs::LogGroup": _of_log_group,
    "AWS::S3::Bucket": _of_bucket,
    "AWS::SQS::Queue": _of_queue,
    "AWS::SecretsManager::Secret": _nothing_more,
}

# What encrypts a store of which the template names no key.
KEYS_OF_SERVICES: Final[Mapping[str, str]] = {
    "AWS::CloudTrail::Trail": "the bucket's key",
    "AWS::DynamoDB::GlobalTable": "a key of DynamoDB",
    "AWS::DynamoDB::Table": "a key of DynamoDB",
    "AWS::Events::Archive": "a key of EventBridge",
    "AWS::Events::EventBus": "a key of EventBridge",
    "AWS::Logs::LogGroup": "a key of CloudWatch",
    "AWS::S3::Bucket": "keys of S3",
    "AWS::SNS::Topic": "no key",
    "AWS::SQS::Queue": "a key of SQS",
    "AWS::SecretsManager::Secret": "a key of Secrets Manager",
    "AWS::StepFunctions::StateMachine": "a key of Step Functions",
}


def _encrypted(stack: Stack, names: Names) -> Iterator[tuple[str, Fact]]:
    for logical_id, resource in stack.resources.items():
        name, kind, properties = names.of(stack, logical_id), resource["Type"], resource.get("Properties", {})
        if kind in {"AWS::KMS::Key", "AWS::KMS::ReplicaKey"}:
            yield from plain(name, _of_rotation(kind, properties))
        elif keys := sorted({names.arn(stack, key) for key in _keys(properties)}):
            yield from plain(name, keys)
        elif kind == "AWS::SQS::Queue" and properties.get("SqsManagedSseEnabled") is False:
            yield name, Fact("", "NOT ENCRYPTED")
        elif kind in KEYS_OF_SERVICES:
            yield name, Fact("", KEYS_OF_SERVICES[kind])


def _of_rotation(kind: str, key: Resource) -> Iterator[str]:
    if kind == "AWS::KMS::ReplicaKey":
        yield "rotates with its primary"
    elif key.get("EnableKeyRotation"):
        yield f"rotates every {key.get('RotationPeriodInDays', 365)} days"
    else:
        yield "DOES NOT ROTATE"


def _keys(value: object) -> Iterator[Any]:
    """Values of every property that names a KMS key, however deep."""
    match value:
        case Mapping():
            for name, part in value.items():
                if KMS_PROPERTY.fullmatch(name):
                    yield part
                else:
                    yield from _keys(part)
        case list():
            for part in value:
                yield from _keys(part)


def _days(count: float | str) -> str:
    return "1 day" if count == 1 else f"{count if isinstance(count, str) else format(count, 'g')} days"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
