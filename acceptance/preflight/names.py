"""Names that the stage wants and that are taken, by resources of an earlier life or by somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from acceptance.preflight.aws import Aws
from acceptance.preflight.deployed import Deployed
from acceptance.preflight.findings import Finding, Verdict, look
from acceptance.preflight.plan import Target
from imaging_pipeline.stages.setting_types import OWN_TAGS

IMPORT: Final = "import it into the stack (cdk import), or delete it once nobody needs it"
DELETE: Final = "delete it, or choose another stage's name"
KEEP: Final = "set pseudonym_key_arn to it, or import it: a new key would give patients new pseudonyms"
RESTORE: Final = f"aws secretsmanager restore-secret; then {KEEP}"

Finder = Callable[[Aws, Target, Sequence[str]], Iterable[str]]
"""Yields names that are taken: these, and others where it is told of more."""


@dataclass(frozen=True)
class Kind:
    """Type of resource that has a name of its own in an account and region.

    Attributes
    ----------
    noun
        What it is called.
    name
        The property with the name.
    taken
        Finds out which names are taken.
    """

    noun: str
    name: str
    taken: Finder


@dataclass(frozen=True)
class Name:
    """Name that the template gives a resource."""

    text: str
    retained: bool


def check_names(aws: Aws, target: Target, deployed: Deployed | None) -> Iterator[Finding]:
    """Look each name up that the stack doesn't have already."""
    free = 0
    for resource_type, kind in KINDS.items():
        names = list(_new_names(target, deployed, resource_type, kind.name))
        if names:
            found = list(look(f"{kind.noun} names", partial(_taken, aws, target, kind, names)))
            yield from found
            free += 0 if found else len(names)
    if free:
        yield Finding(f"names {target.region}", Verdict.OK, f"{free} free")


def check_leftovers(aws: Aws, target: Target) -> Iterator[Finding]:
    """Find what an earlier life of the stage left under names that no other will have: buckets and keys."""
    tags = [{"Key": name, "Values": [target.stack.properties["tags"][name]]} for name in OWN_TAGS]
    found = aws.every(
        "resourcegroupstaggingapi",
        "GetResources",
        "ResourceTagMappingList",
        region=target.region,
        TagFilters=tags,
        ResourceTypeFilters=["s3", "kms"],
    )
    left = sorted(each["ResourceARN"].rpartition(":")[2] for each in found)
    if left:
        needed = "they hold objects of an earlier life, or encrypt them: import them (cdk import), or they stay unused"
        yield Finding(f"leftovers {target.region}", Verdict.WARNING, ", ".join(left), needed)


def _taken(aws: Aws, target: Target, kind: Kind, names: Sequence[Name]) -> Iterator[Finding]:
    check = f"{kind.noun} names"
    taken = set(kind.taken(aws, target, [name.text for name in names]))
    for name in names:
        if name.text not in taken:
            continue
        if kind.noun != "secret":
            yield Finding(check, Verdict.FAILURE, f"{name.text} is taken", IMPORT if name.retained else DELETE)
        elif _is_deleted(aws, target, name.text):
            yield Finding(check, Verdict.FAILURE, f"{name.text} is scheduled for deletion", RESTORE)
        else:
            yield Finding(check, Verdict.FAILURE, f"{name.text} is taken", KEEP)


def _new_names(target: Target, deployed: Deployed | None, resource_type: str, name: str) -> Iterator[Name]:
    present = deployed.resources if deployed else {}
    for logical_id, body in target.stack.of_type(resource_type):
        value = body.get("Properties", {}).get(name)
        if value is not None and present.get(logical_id, {}).get("Properties", {}).get(name) != value:
            yield Name(target.text(value), retained=str(body.get("DeletionPolicy")).startswith("Retain"))


def _one_by_one(service: str, operation: str, parameter: str, prefix: str = "", of: str = "") -> Finder:
    """Return a finder that asks for each name; for its ARN where `of` says what it is the ARN of."""

    def find(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
        for name in names:
            value = target.arn(of, f"{prefix}{name}") if of else name
            if aws.find(service, operation, region=target.region, **{parameter: value}) is not None:
                yield name

    return find


def _log_groups(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        found = aws.ask("logs", "DescribeLogGroups", region=target.region, logGroupNamePrefix=name)["logGroups"]
        yield from (group["logGroupName"] for group in found)


def _aliases(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
    found = aws.every("kms", "ListAliases", "Aliases", region=target.region)
    yield from (alias["AliasName"] for alias in found if alias["AliasName"] in names)


def _parameters(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
    for some in _batches(names, 10):
        found = aws.ask("ssm", "GetParameters", region=target.region, Names=some)["Parameters"]
        yield from (parameter["Name"] for parameter in found)


def _alarms(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
    for some in _batches(names, 100):
        found = aws.ask("cloudwatch", "DescribeAlarms", region=target.region, AlarmNames=some)
        yield from (alarm["AlarmName"] for alarm in found["MetricAlarms"])


def _rules(aws: Aws, target: Target, names: Sequence[str]) -> Iterator[str]:
    buses = {
        target.text(properties["Name"]): target.text(properties.get("EventBusName", "default"))
        for _, properties in target.resources("AWS::Events::Rule")
    }
    for name in names:
        if aws.find("events", "DescribeRule", region=target.region, Name=name, EventBusName=buses[name]) is not None:
            yield name


def _batches(names: Sequence[str], size: int) -> Iterator[list[str]]:
    return (list(names[start : start + size]) for start in range(0, len(names), size))


def _is_deleted(aws: Aws, target: Target, name: str) -> bool:
    return "DeletedDate" in aws.ask("secretsmanager", "DescribeSecret", region=target.region, SecretId=name)


KINDS: Final[Mapping[str, Kind]] = {
    "AWS::S3::Bucket": Kind("bucket", "BucketName", _one_by_one("s3", "HeadBucket", "Bucket")),
    "AWS::DynamoDB::Table": Kind("table", "TableName", _one_by_one("dynamodb", "DescribeTable", "TableName")),
    "AWS::SecretsManager::Secret": Kind("secret", "Name", _one_by_one("secretsmanager", "DescribeSecret", "SecretId")),
    "AWS::Logs::LogGroup": Kind("log group", "LogGroupName", _log_groups),
    "AWS::KMS::Alias": Kind("key alias", "AliasName", _aliases),
    "AWS::StepFunctions::StateMachine": Kind(
        "state machine",
        "StateMachineName",
        _one_by_one("stepfunctions", "DescribeStateMachine", "stateMachineArn", prefix="stateMachine:", of="states"),
    ),
    "AWS::Lambda::Function": Kind(
        "function", "FunctionName", _one_by_one("lambda", "GetFunctionConfiguration", "FunctionName")
    ),
    "AWS::SQS::Queue": Kind("queue", "QueueName", _one_by_one("sqs", "GetQueueUrl", "QueueName")),
    "AWS::SNS::Topic": Kind("topic", "TopicName", _one_by_one("sns", "GetTopicAttributes", "TopicArn", of="sns")),
    "AWS::Events::EventBus": Kind("event bus", "Name", _one_by_one("events", "DescribeEventBus", "Name")),
    "AWS::Events::Rule": Kind("rule", "Name", _rules),
    "AWS::IAM::Role": Kind("role", "RoleName", _one_by_one("iam", "GetRole", "RoleName")),
    "AWS::CloudTrail::Trail": Kind("trail", "TrailName", _one_by_one("cloudtrail", "GetTrail", "Name")),
    "AWS::SSM::Parameter": Kind("parameter", "Name", _parameters),
    "AWS::CloudWatch::Alarm": Kind("alarm", "AlarmName", _alarms),
    "AWS::CloudWatch::Dashboard": Kind(
        "dashboard", "DashboardName", _one_by_one("cloudwatch", "GetDashboard", "DashboardName")
    ),
}
"""By type of resource. Types whose names needn't be unique, as layers' and inline policies', are not here."""
