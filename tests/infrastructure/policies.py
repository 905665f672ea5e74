"""Who may do which action on which resource, by every policy of a template.

Errs towards *may*: a condition holds unless what is asked says otherwise, `*` in what is asked means *any*, and what
only narrows (permissions boundaries, policies of VPC endpoints) is left out. A statement that isn't understood raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final

from tests.infrastructure.references import ACCOUNT, REGION, References, UnknownElementError

ANYBODY: Final = "*"

# Where a policy is, and what says whose it is.
_RESOURCE_POLICIES: Final = {
    "AWS::S3::BucketPolicy": ("PolicyDocument", "Bucket"),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", "Queues"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", "Topics"),
    "AWS::SecretsManager::ResourcePolicy": ("ResourcePolicy", "SecretId"),
    "AWS::Logs::ResourcePolicy": ("PolicyDocument", None),
    "AWS::Events::EventBusPolicy": ("Statement", "EventBusName"),
    "AWS::KMS::Key": ("KeyPolicy", None),
    "AWS::DynamoDB::Table": ("ResourcePolicy", None),
}
_NARROWING: Final = {"AWS::EC2::VPCEndpoint"}
# Properties that are called policies and grant nothing.
_NO_POLICIES: Final = {"RedrivePolicy", "RetryPolicy"}
_ELEMENTS: Final = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}


@dataclass(frozen=True)
class Statement:
    """One statement, its references resolved."""

    effect: str
    principals: tuple[str, ...]
    """ARNs of roles and accounts, names of services, or `*`; none in an identity policy"""
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]

    def concerns(self, action: str, resource: str) -> bool:
        """Tell whether an Allow may be about this, or a Deny surely is."""
        about = covers if self.effect == "Deny" else overlaps
        apart = overlaps if self.effect == "Deny" else covers
        action = action.lower()
        return (
            any(about(each.lower(), action) for each in self.actions)
            or (bool(self.not_actions) and not any(apart(each.lower(), action) for each in self.not_actions))
        ) and (
            any(about(each, resource) for each in self.resources)
            or (bool(self.not_resources) and not any(apart(each, resource) for each in self.not_resources))
        )

    def applies(self, context: Mapping[str, Any]) -> bool:
        """Tell whether the conditions hold; of a key that nothing is said about, whether that is what they do least."""
        return all(
            _holds(operator, key.lower(), values, context, unknown=self.effect == "Allow")
            for operator, block in self.conditions.items()
            for key, values in block.items()
        )


@dataclass
class Policies:
    """All policies of a template, by logical id."""

    arns: dict[str, str] = field(default_factory=dict)
    """of roles and all other resources that have one"""
    identity: dict[str, list[Statement]] = field(default_factory=dict)
    """by role"""
    trust: dict[str, list[Statement]] = field(default_factory=dict)
    """by role"""
    resource: dict[str, list[Statement]] = field(default_factory=dict)
    """by ARN of what they protect"""
    managed: dict[str, list[str]] = field(default_factory=dict)
    """managed policies that aren't of the template, by role"""
    keys: set[str] = field(default_factory=set)
    """ARNs of KMS keys, to which an account's policies give access only where the key's policy says so"""

    @classmethod
    def of(cls, template: Mapping[str, Any], *, account: str | None = None, region: str | None = None) -> Policies:
        """Read a template, as of this account and region."""
        return _Reader(template["Resources"], account or ACCOUNT, region or REGION).read()

    def may(self, principal: str, action: str, resource: str, **context: Any) -> bool:
        """Tell whether a principal may do an action on a resource.

        Parameters
        ----------
        principal
            Logical id of a role, name of a service, or `ANYBODY`.
        action
            Such as `s3:GetObject`; with `*`, any of these.
        resource
            ARN; with `*`, any of these.
        **context
            Condition keys with `__` for `:`, such as `kms__ViaService`, and the request's values.
        """
        known = {key.replace("__", ":").lower(): value for key, value in context.items()}
        about = [s for s in self.identity.get(principal, ()) if s.concerns(action, resource) and s.applies(known)]
        own = self.arns.get(principal, principal)
        account = f"arn:aws:iam::{own.split(':')[4]}:root" if own.startswith("arn:") else None
        delegated = resource not in self.keys
        for arn, statements in self.resource.items():
            if not overlaps(arn, resource) and not overlaps(f"{arn}/*", resource):
                continue
            for statement in statements:
                if not (statement.concerns(action, resource) and statement.applies(known)):
                    continue
                if {own, ANYBODY} & set(statement.principals):
                    about.append(statement)
                elif account in statement.principals:
                    delegated |= statement.effect == "Allow"
                    about += [statement] if statement.effect == "Deny" else []
        allows = [s for s in about if s.effect == "Allow"]
        by_resource = [s for s in allows if s.principals]
        return bool(by_resource or (allows and delegated)) and not any(s.effect == "Deny" for s in about)

    def who(self, action: str, resource: str, **context: Any) -> set[str]:
        """Return the principals that may do an action on a resource: roles, services, or anybody."""
        named = {name for statements in self.resource.values() for s in statements for name in s.principals}
        arns = {self.arns[role] for role in self.identity}
        candidates = set(self.identity) | {name for name in named if name not in arns}
        return {name for name in candidates if self.may(name, action, resource, **context)}


class _Reader:
    """Reads the policies of a template, one resource after another."""

    def __init__(self, resources: Mapping[str, Any], account: str, region: str) -> None:
        self._resources = resources
        self._references = References(resources, account, region)
        self._policies = Policies()

    def read(self) -> Policies:
        policies = self._policies
        for name, body in self._resources.items():
            if self._references.has_arn(name):
                policies.arns[name] = self._references.arn(name)
            if body["Type"] == "AWS::KMS::Key":
                policies.keys.add(policies.arns[name])
            if body["Type"] == "AWS::IAM::Role":
                policies.identity[name] = []
        for name, body in self._resources.items():
            self._read_resource(name, body["Type"], body.get("Properties", {}))
        return policies

    def _read_resource(self, name: str, kind: str, properties: Mapping[str, Any]) -> None:
        if kind == "AWS::IAM::Role":
            self._read_role(name, properties)
        elif kind in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
            if properties.get("Users") or properties.get("Groups"):
                raise UnknownElementError(f"{name} grants to users or groups")
            for role in properties.get("Roles", ()):
                self._policies.identity[role["Ref"]] += self._statements(properties["PolicyDocument"])
        elif kind == "AWS::Lambda::Permission":
            permission = self._permission(properties)
            self._add(permission.resources[0], [permission])
        elif kind in _RESOURCE_POLICIES:
            where, whose = _RESOURCE_POLICIES[kind]
            if where in properties:
                self._read_resource_policy(name, properties[where], properties[whose] if whose else None)
        elif kind not in _NARROWING:
            unknown = {key for key in properties if re.search(r"Policy(Document)?$", key)} - _NO_POLICIES
            if unknown:
                raise UnknownElementError(f"{name}: {kind} has {', '.join(unknown)}")

    def _read_role(self, name: str, properties: Mapping[str, Any]) -> None:
        self._policies.trust[name] = list(self._statements(properties["AssumeRolePolicyDocument"], resource="*"))
        for policy in properties.get("Policies", ()):
            self._policies.identity[name] += self._statements(policy["PolicyDocument"])
        self._policies.managed[name] = []
        for arn in properties.get("ManagedPolicyArns", ()):
            if isinstance(arn, dict) and arn.get("Ref") in self._resources:
                document = self._resources[arn["Ref"]]["Properties"]["PolicyDocument"]
                self._policies.identity[name] += self._statements(document)
            else:
                self._policies.managed[name].append(str(arn))

    def _read_resource_policy(self, name: str, document: Any, protects: Any) -> None:
        if isinstance(document, str):
            document = json.loads(document)
        if set(document) == {"PolicyDocument"}:
            document = document["PolicyDocument"]
        if "Effect" in document:
            document = {"Statement": [document]}
        owners = [name] if protects is None else protects if isinstance(protects, list) else [protects]
        for owner in owners:
            arn = self._owner(owner)
            self._add(arn, list(self._statements(document, itself=arn)))

    def _owner(self, owner: Any) -> str:
        match owner:
            case str() if owner in self._resources:
                return self._policies.arns.get(owner, owner)
            case {"Ref": name} | {"Fn::GetAtt": [name, _]}:
                return self._references.arn(name)
        raise UnknownElementError(f"a policy of {owner}")

    def _add(self, arn: str, statements: list[Statement]) -> None:
        self._policies.resource.setdefault(arn, []).extend(statements)

    def _permission(self, properties: Mapping[str, Any]) -> Statement:
        conditions = {
            key: (self._references.text(properties[name]),)
            for name, key in (("SourceArn", "aws:SourceArn"), ("SourceAccount", "aws:SourceAccount"))
            if name in properties
        }
        return Statement(
            effect="Allow",
            principals=(self._references.text(properties["Principal"]),),
            actions=(properties["Action"],),
            not_actions=(),
            resources=(self._references.text(properties["FunctionName"]),),
            not_resources=(),
            conditions={"ArnLike": conditions} if conditions else {},
        )

    def _statements(
        self, document: Mapping[str, Any], *, resource: str | None = None, itself: str | None = None
    ) -> Iterator[Statement]:
        if unknown := set(document) - {"Version", "Id", "Statement"}:
            raise UnknownElementError(f"policy with {', '.join(unknown)}")
        statements = document["Statement"]
        for each in statements if isinstance(statements, list) else [statements]:
            if unknown := set(each) - _ELEMENTS:
                raise UnknownElementError(f"statement with {', '.join(unknown)}")
            if each["Effect"] not in {"Allow", "Deny"}:
                raise UnknownElementError(f"effect {each['Effect']}")
            resources = (resource,) if resource else self._references.texts(each.get("Resource", ()))
            yield Statement(
                effect=each["Effect"],
                principals=tuple(self._principals(each.get("Principal", {}))),
                actions=self._references.texts(each.get("Action", ())),
                not_actions=self._references.texts(each.get("NotAction", ())),
                # In a key's own policy `*` is the key.
                resources=tuple(itself if itself and ":kms:" in itself and r == "*" else r for r in resources),
                not_resources=self._references.texts(each.get("NotResource", ())),
                conditions={
                    operator: {key: self._references.texts(values) for key, values in block.items()}
                    for operator, block in each.get("Condition", {}).items()
                },
            )

    def _principals(self, principal: Any) -> Iterator[str]:
        if principal == ANYBODY:
            yield ANYBODY
            return
        for kind, names in principal.items():
            if kind not in {"AWS", "Service"}:
                raise UnknownElementError(f"principal of kind {kind}")
            for name in self._references.texts(names):
                yield f"arn:aws:iam::{name}:root" if re.fullmatch(r"\d{12}", name) else name


def covers(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches all that `text`, itself perhaps a pattern, stands for."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


@cache
def overlaps(one: str, other: str) -> bool:
    """Tell whether there is a text that both patterns match."""
    if "*" not in one + other and "?" not in one + other:
        return one == other
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*" or other[0] == "*":
        star, rest = (one, other) if one[0] == "*" else (other, one)
        return overlaps(star[1:], rest) or overlaps(star, rest[1:])
    return (one[0] == other[0] or "?" in (one[0], other[0])) and overlaps(one[1:], other[1:])


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": lambda value, wanted: covers(wanted, value),
    "ArnEquals": lambda value, wanted: covers(wanted, value),
    "ArnLike": lambda value, wanted: covers(wanted, value),
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
}
_NEGATED: Final = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
# Of addresses and of presence nothing is asked here: what they narrow is taken as not narrowed.
_NOT_ASKED: Final = {"IpAddress", "NotIpAddress", "Null"}


def _holds(operator: str, key: str, wanted: tuple[str, ...], context: Mapping[str, Any], *, unknown: bool) -> bool:
    """Evaluate one condition; `unknown` is the answer where nothing is known of the key."""
    quantifier, _, name = operator.rpartition(":")
    name = name.removesuffix("IfExists")
    if quantifier not in {"", "ForAllValues", "ForAnyValue"} or (
        name not in _OPERATORS and name not in _NEGATED and name not in _NOT_ASKED
    ):
        raise UnknownElementError(f"condition operator {operator}")
    if key not in context or name in _NOT_ASKED:
        return unknown
    values = context[key] if isinstance(context[key], (list, tuple, set)) else [context[key]]
    matches = _OPERATORS[_NEGATED.get(name, name)]
    found = [any(matches(str(value), each) for each in wanted) != (name in _NEGATED) for value in values]
    return all(found) if quantifier == "ForAllValues" else any(found)
