"""What each store keeps, for how long, what survives the stack, and by which key it is encrypted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from imaging_pipeline.operations.review.assembly import Resource, Stack
from imaging_pipeline.operations.review.facts import Lines
from imaging_pipeline.operations.review.names import Names

KMS_PROPERTY: Final = re.compile(r"kms\w*(id|arn|identifier)", re.IGNORECASE)
DAY_SECONDS: Final = 86_400


def kept(stacks: Sequence[Stack], names: Names) -> Lines:
    """Return what is true of each store, by its name."""
    found = [
        (kind, names.of(stack, logical_id), "; ".join(_of_store(stack, resource, names)))
        for stack in stacks
        for logical_id, resource in stack.of_type(*STORES)
        for kind in [resource["Type"]]
    ]
    order = list(STORES)
    return {name: words for kind, name, words in sorted(found, key=lambda each: (order.index(each[0]), each[1]))}


def _of_store(stack: Stack, resource: Resource, names: Names) -> Iterator[str]:
    properties = resource.get("Properties", {})
    yield from STORES[resource["Type"]](properties)
    if resource.get("DeletionPolicy", "Delete") == "Delete":
        yield "deleted with the stack"
    elif resource.get("UpdateReplacePolicy", "Delete") == "Delete":
        yield "survives the stack, DELETED WHEN REPLACED"
    else:
        yield "survives the stack"
    if keys := sorted({names.arn(stack, key) for key in _keys(properties)}):
        yield ", ".join(keys)
    elif properties.get("SqsManagedSseEnabled") is False:
        yield "NOT ENCRYPTED"


def _bucket(bucket: Resource) -> Iterator[str]:
    rules = [
        rule for rule in bucket.get("LifecycleConfiguration", {}).get("Rules", []) if rule.get("Status") == "Enabled"
    ]
    if not any("ExpirationInDays" in rule for rule in rules):
        yield "for ever"
    for rule in rules:
        scope = {name: rule[name] for name in ("Prefix", "TagFilters") if name in rule}
        for words in _lifecycle(rule):
            yield words + (f" where {json.dumps(scope)}" if scope else "")
    if bucket.get("VersioningConfiguration", {}).get("Status") != "Enabled":
        yield "NO VERSIONS"
    if bucket.get("ObjectLockEnabled"):
        lock = bucket.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
        yield f"locked: {lock.get('Mode', 'by request')} {_days(lock['Days']) if 'Days' in lock else ''}".strip()


def _lifecycle(rule: Mapping[str, Any]) -> Iterator[str]:
    if "ExpirationInDays" in rule:
        yield _days(rule["ExpirationInDays"])
    if "NoncurrentVersionExpiration" in rule:
        yield f"old versions {_days(rule['NoncurrentVersionExpiration']['NoncurrentDays'])}"
    for transition in rule.get("Transitions", []):
        yield f"{transition['StorageClass']} after {_days(transition.get('TransitionInDays', '?'))}"


def _table(table: Resource) -> Iterator[str]:
    lifetime = table.get("TimeToLiveSpecification", {})
    yield f"until `{lifetime['AttributeName']}`" if lifetime.get("Enabled") else "for ever"
    replicas = table.get("Replicas", [table])
    recovery = [each.get("PointInTimeRecoverySpecification", {}) for each in replicas]
    if not all(each.get("PointInTimeRecoveryEnabled") for each in recovery):
        yield "NO POINT-IN-TIME RECOVERY"
    if not all(each.get("DeletionProtectionEnabled") for each in replicas):
        yield "NO DELETION PROTECTION"


def _log_group(group: Resource) -> Iterator[str]:
    yield _days(group["RetentionInDays"]) if "RetentionInDays" in group else "for ever"


def _queue(queue: Resource) -> Iterator[str]:
    yield _days(queue.get("MessageRetentionPeriod", 4 * DAY_SECONDS) / DAY_SECONDS)


def _key(key: Resource) -> Iterator[str]:
    yield f"deleted {_days(key.get('PendingWindowInDays', 30))} after somebody asks for it"
    yield "rotates" if key.get("EnableKeyRotation") else "DOES NOT ROTATE"


def _secret(_: Resource) -> Iterator[str]:
    yield "for ever"


STORES: Final[Mapping[str, Callable[[Resource], Iterator[str]]]] = {
    "AWS::S3::Bucket": _bucket,
    "AWS::DynamoDB::GlobalTable": _table,
    "AWS::DynamoDB::Table": _table,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::SQS::Queue": _queue,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::KMS::Key": _key,
}


def _keys(value: object) -> Iterator[Any]:
    """Yield the value of every property that names a KMS key, however deep."""
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
