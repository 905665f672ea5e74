"""Who must use a key so that a template works, and who may: by the key's policy and the roles' policies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.infrastructure.conftest import StageTemplate, joined

Statement = dict[str, Any]

ENCRYPTED_BY: dict[str, tuple[str | int, ...]] = {
    "AWS::S3::Bucket": (
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        0,
        "ServerSideEncryptionByDefault",
        "KMSMasterKeyID",
    ),
    "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
    "AWS::StepFunctions::StateMachine": ("EncryptionConfiguration", "KmsKeyId"),
    "AWS::Events::EventBus": ("KmsKeyIdentifier",),
}
"""Where a resource that holds data names its key."""

ARNS = {
    "AWS::SQS::Queue": ("sqs", "", "QueueName"),
    "AWS::SNS::Topic": ("sns", "", "TopicName"),
    "AWS::Logs::LogGroup": ("logs", "log-group:", "LogGroupName"),
    "AWS::Events::EventBus": ("events", "event-bus/", "Name"),
    "AWS::StepFunctions::StateMachine": ("states", "stateMachine:", "StateMachineName"),
}

MESSAGE = ("Decrypt", "GenerateDataKey")
STORE = (
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
# What an action of a role on something encrypted asks of the key, through the action's service.
BY_ACTION = {
    "s3:GetObject": ("Decrypt",),
    "s3:GetObjectVersion": ("Decrypt",),
    "s3:PutObject": ("GenerateDataKey",),
    "s3:AbortMultipartUpload": ("Decrypt",),
    "secretsmanager:GetSecretValue": ("Decrypt",),
    "sqs:ReceiveMessage": ("Decrypt",),
    "sqs:SendMessage": MESSAGE,
    "states:StartExecution": MESSAGE,
    **{
        f"dynamodb:{action}": ("Decrypt",)
        for action in ("BatchGetItem", "GetItem", "UpdateItem", "Query", "PartiQLInsert")
    },
}


@dataclass(frozen=True)
class Need:
    """Somebody must do something with a key."""

    edge: str
    who: str
    """A service principal, or the logical id of a role."""
    action: str
    key: str
    context: tuple[tuple[str, str], ...]
    """Condition keys of the request to KMS, as the service is known to fill them."""


class KeyUse:
    """The uses of keys in one template, which must name its account and region."""

    def __init__(self, stage: StageTemplate) -> None:
        self._stage = stage
        self._resources: Mapping[str, dict[str, Any]] = stage.json["Resources"]
        self._account, self._region = stage.config.account, stage.config.region
        self.policies: dict[str, list[Statement]] = {
            name: body["Properties"]["KeyPolicy"]["Statement"]
            for name, body in stage.resources("AWS::KMS::Key").items()
        }
        self.roles: dict[str, list[Statement]] = {}
        for body in stage.resources("AWS::IAM::Policy").values():
            (role,) = body["Properties"]["Roles"]
            self.roles.setdefault(role["Ref"], []).extend(body["Properties"]["PolicyDocument"]["Statement"])

    def key_of(self, name: str) -> str | None:
        """The key that encrypts a resource."""
        body = self._resources[name]
        value: Any = body["Properties"]
        for step in ENCRYPTED_BY.get(body["Type"], ()):
            value = value[step] if isinstance(step, int) else value.get(step, {})
        return referred(value) if "Fn::GetAtt" in value else None

    def needs(self) -> list[Need]:
        """Everything that must be allowed."""
        every = [self._rules(), self._alarms(), self._subscriptions(), self._buses(), self._logs(), self._machines()]
        return [need for needs in [*every, self._roles()] for need in needs]

    def permitted(self, need: Need) -> bool:
        """Whether the policies allow it."""
        return any(
            f"kms:{need.action}" in listed(statement["Action"])
            and _holds(statement, need)
            and self._speaks_to(statement, need)
            for statement in self.policies[need.key]
        )

    def twin(self) -> KeyUse:
        """Return a copy whose policies can be changed."""
        twin = copy.copy(self)
        twin.policies, twin.roles = copy.deepcopy(self.policies), copy.deepcopy(self.roles)
        return twin

    def _speaks_to(self, statement: Statement, need: Need) -> bool:
        principal = statement["Principal"]
        if "Service" in principal:
            return need.who in listed(principal["Service"])
        delegated = principal["AWS"] == f"arn:aws:iam::{self._account}:root"
        return delegated and any(
            f"kms:{need.action}" in listed(own["Action"])
            and need.key in [referred(resource) for resource in listed(own["Resource"])]
            and _holds(own, need)
            for own in self.roles.get(need.who, [])
        )

    def _arn(self, name: str) -> str:
        body = self._resources[name]
        service, kind, property_name = ARNS[body["Type"]]
        return f"arn:aws:{service}:{self._region}:{self._account}:{kind}{body['Properties'][property_name]}"

    def _need(self, edge: str, who: str, actions: tuple[str, ...], to: str, **context: str) -> Iterator[Need]:
        if key := self.key_of(to):
            named = tuple((name.replace("__", ":"), value) for name, value in context.items())
            yield from (Need(f"{edge} -> {to}", who, action, key, named) for action in actions)

    def _message(self, edge: str, service: str, to: str) -> Iterator[Need]:
        """A service sends to a queue or a topic by itself, and need not say to KMS for whose resource it does."""
        names = {"AWS::SQS::Queue": "aws__sqs__arn", "AWS::SNS::Topic": "aws__sns__topicArn"}
        name = names[self._resources[to]["Type"]]
        context = {f"kms__EncryptionContext__{name}": self._arn(to)}
        yield from self._need(edge, f"{service}.amazonaws.com", MESSAGE, to, **context)

    def _rules(self) -> Iterator[Need]:
        for name, body in self._stage.resources("AWS::Events::Rule").items():
            for target in body["Properties"]["Targets"]:
                for arn in (target["Arn"], target["DeadLetterConfig"]["Arn"]):
                    if self._resources[referred(arn)]["Type"] in {"AWS::SQS::Queue", "AWS::SNS::Topic"}:
                        yield from self._message(f"rule {name}", "events", referred(arn))

    def _alarms(self) -> Iterator[Need]:
        for name, body in self._stage.resources("AWS::CloudWatch::Alarm").items():
            for action in body["Properties"]["AlarmActions"]:
                yield from self._message(f"alarm {name}", "cloudwatch", referred(action))

    def _subscriptions(self) -> Iterator[Need]:
        for name, body in self._stage.resources("AWS::SNS::Subscription").items():
            queue = referred(body["Properties"]["RedrivePolicy"]["deadLetterTargetArn"])
            yield from self._message(f"subscription {name}", "sns", queue)

    def _buses(self) -> Iterator[Need]:
        for name, body in self._stage.resources("AWS::Events::EventBus").items():
            arn = self._arn(name)
            source = {"aws__SourceAccount": str(self._account), "aws__SourceArn": arn}
            context = {**source, "kms__EncryptionContext__aws__events__event-bus__arn": arn}
            yield from self._need("bus", "events.amazonaws.com", ("DescribeKey",), name, **source)
            yield from self._need("bus", "events.amazonaws.com", MESSAGE, name, **context)
            if dead_letters := body["Properties"].get("DeadLetterConfig"):
                yield from self._message(f"bus {name}", "events", referred(dead_letters["Arn"]))

    def _logs(self) -> Iterator[Need]:
        for name in self._stage.resources("AWS::Logs::LogGroup"):
            context = {"kms__EncryptionContext__aws__logs__arn": self._arn(name)}
            yield from self._need("log", f"logs.{self._region}.amazonaws.com", STORE, name, **context)

    def _machines(self) -> Iterator[Need]:
        for name, body in self._stage.resources("AWS::StepFunctions::StateMachine").items():
            role = referred(body["Properties"]["RoleArn"])
            context = {"kms__EncryptionContext__aws__states__stateMachineArn": self._arn(name)}
            yield from self._need("history", role, MESSAGE, name, **context)
            delivery = {"kms__EncryptionContext__SourceArn": f"arn:aws:logs:{self._region}:{self._account}:*"}
            yield from self._need("log", role, ("GenerateDataKey",), name, **delivery)
            yield from self._need("log", "delivery.logs.amazonaws.com", ("Decrypt",), name, **delivery)

    def _roles(self) -> Iterator[Need]:
        machines = {self._arn(name): name for name in self._stage.resources("AWS::StepFunctions::StateMachine")}
        own = {referred(self._resources[name]["Properties"]["RoleArn"]): name for name in machines.values()}
        for role, statements in self.roles.items():
            for action, resource in _pairs(statements):
                names = [part for part in re.findall(r"\$\{(\w+)", resource) if part in self._resources]
                names += [machines[resource]] if resource in machines else []
                via = f"{action.split(':')[0]}.{self._region}.amazonaws.com"
                # A distributed map's own child executions are part of its history.
                for name in [name for name in names if name != own.get(role)]:
                    yield from self._need(f"{role} {action}", role, BY_ACTION[action], name, kms__ViaService=via)


def _pairs(statements: list[Statement]) -> Iterator[tuple[str, str]]:
    """Pairs of an action that may need a key, and a resource."""
    for statement in statements:
        for action in [action for action in listed(statement["Action"]) if action in BY_ACTION]:
            yield from ((action, joined(resource)) for resource in listed(statement["Resource"]))


def listed(value: Any) -> list[Any]:
    """One or several, as a list."""
    return value if isinstance(value, list) else [value]


def referred(value: Any) -> str:
    """The logical id that a reference names."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            return name
    return ""


def _holds(statement: Statement, need: Need) -> bool:
    """Whether the statement's conditions hold for the request."""
    context = dict(need.context)
    conditions = statement.get("Condition", {})
    assert set(conditions) <= {"StringEquals"}, conditions
    return all(context.get(name) in listed(value) for name, value in conditions.get("StringEquals", {}).items())
