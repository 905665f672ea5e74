"""Who may do what: the roles of the stage, and everybody whom a resource's own policy names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from imaging_pipeline.operations.review.assembly import Resource, Stack
from imaging_pipeline.operations.review.facts import NOTHING, PROHIBITION, Fact, Facts, collected
from imaging_pipeline.operations.review.names import ACCOUNT, ANYTHING, Names, references

ASSUMED_BY: Final = "assumed by"
BOUNDARY: Final = "at most"
THROUGH: Final = " through "
EVERYONE: Final = "everyone"
ENDPOINT: Final = "AWS::EC2::VPCEndpoint"
PRINCIPALS: Final = ("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group")
POLICIES: Final = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy")
ATTACHED_TO: Final = ("Roles", "Users", "Groups", "RoleName", "UserName")
ROOT: Final = re.compile(r"arn:[^:]+:iam::([^:]+):root")


class Rights:
    """Rights in an assembly.

    Parameters
    ----------
    stacks, names
        The assembly, and what its resources are called.

    Attributes
    ----------
    of_roles
        By what acts in the role, such as a function, or else by the role's own name.
    of_others
        Of services, accounts and everybody else outside the stage, by its name.
    """

    def __init__(self, stacks: Sequence[Stack], names: Names) -> None:
        self._names = names
        self._roles = {
            (stack.name, logical_id): self._actor(stack, logical_id)
            for stack in stacks
            for logical_id, _ in stack.of_type(*PRINCIPALS)
        }
        facts = collected(found for stack in stacks for found in self._all(stack))
        actors = sorted(set(self._roles.values()))
        self.of_roles: Facts = {actor: facts.get(actor, frozenset()) for actor in actors}
        self.of_others: Facts = {subject: of_it for subject, of_it in facts.items() if subject not in actors}

    def _actor(self, stack: Stack, role: str) -> str:
        """Name the resources that work in this role."""
        users = {
            self._names.of(stack, logical_id).replace(" bucket", " replication")  # a bucket itself does nothing else
            for logical_id, resource in stack.resources.items()
            if role in _roles_of(resource.get("Properties", {}))
        }
        return ", ".join(sorted(users)) or self._names.of(stack, role)

    def _all(self, stack: Stack) -> Iterator[tuple[str, Fact]]:
        for logical_id, resource in stack.resources.items():
            properties = resource.get("Properties", {})
            if resource["Type"] in PRINCIPALS:
                yield from self._of_principal(stack, logical_id, properties)
            elif resource["Type"] in POLICIES:
                yield from self._of_attached_policy(stack, logical_id, properties)
            elif resource["Type"] == "AWS::Lambda::Permission":
                yield from self._of_permission(stack, properties)
            else:
                yield from self._of_own_policy(stack, logical_id, resource)

    def _of_principal(self, stack: Stack, logical_id: str, properties: Resource) -> Iterator[tuple[str, Fact]]:
        actor = self._roles[stack.name, logical_id]
        for statement in _statements(properties.get("AssumeRolePolicyDocument", {})):
            where = self._where(stack, statement)
            for principal in self._principals(stack, statement):
                for action in listed(statement.get("Action")):
                    means = principal if action == "sts:AssumeRole" else f"{principal} ({action})"
                    yield actor, Fact(ASSUMED_BY, _effect(statement) + means, where)
        for policy in listed(properties.get("ManagedPolicyArns")):
            yield actor, Fact("managed policy", f"all of {self._names.arn(stack, policy)}")
        if "PermissionsBoundary" in properties:
            yield actor, Fact(BOUNDARY, f"what {self._names.arn(stack, properties['PermissionsBoundary'])} allows")
        for inline in properties.get("Policies", []):
            yield from self._of_document(stack, [actor], inline["PolicyDocument"])

    def _of_attached_policy(self, stack: Stack, logical_id: str, properties: Resource) -> Iterator[tuple[str, Fact]]:
        """Rights of those a policy is attached to; of the policy itself where it doesn't name them."""
        attached = [each for name in ATTACHED_TO for each in listed(properties.get(name))]
        actors = [self._principal(stack, each) for each in attached] or [self._names.of(stack, logical_id)]
        yield from self._of_document(stack, actors, properties["PolicyDocument"])

    def _of_permission(self, stack: Stack, properties: Resource) -> Iterator[tuple[str, Fact]]:
        sources = ("SourceArn", "SourceAccount", "PrincipalOrgID")
        conditions = {f"aws:{name}": properties[name] for name in sources if name in properties}
        statement = {"Condition": {"ArnLike": conditions} if conditions else {}}
        function = self._names.arn(stack, properties["FunctionName"])
        fact = Fact(function, str(properties["Action"]), self._where(stack, statement))
        yield self._principal(stack, properties["Principal"]), fact

    def _of_own_policy(self, stack: Stack, logical_id: str, resource: Resource) -> Iterator[tuple[str, Fact]]:
        owner = self._names.of(stack, logical_id)
        if resource["Type"] == ENDPOINT and "PolicyDocument" not in resource.get("Properties", {}):
            yield EVERYONE, Fact(f"{ANYTHING}{THROUGH}{owner}", "*")
        for document in self._documents(stack, resource.get("Properties", {})):
            for statement in _statements(document):
                for subject, fact in self._of_statement(stack, self._principals(stack, statement), statement):
                    about = fact.about
                    if resource["Type"] == ENDPOINT:
                        about = f"{about}{THROUGH}{owner}"
                    elif about in {ANYTHING, ""}:
                        about = owner
                    yield subject, fact._replace(about=about)

    def _documents(self, stack: Stack, value: object) -> Iterator[Mapping[str, Any]]:
        """Find policy documents in a resource's properties, JSON in texts included."""
        match value:
            case {"Statement": statements}:
                yield {"Statement": statements}
            case {"Fn::Join": _} | str():
                text = self._names.resolved(stack, value)
                if text.startswith("{") and '"Statement"' in text:
                    yield json.loads(text)
            case Mapping():
                for part in value.values():
                    yield from self._documents(stack, part)
            case list():
                for part in value:
                    yield from self._documents(stack, part)

    def _of_document(
        self, stack: Stack, actors: Sequence[str], document: Mapping[str, Any]
    ) -> Iterator[tuple[str, Fact]]:
        for statement in _statements(document):
            yield from self._of_statement(stack, actors, statement)

    def _of_statement(
        self, stack: Stack, actors: Iterable[str], statement: Mapping[str, Any]
    ) -> Iterator[tuple[str, Fact]]:
        where = self._where(stack, statement)
        resources = [self._names.arn(stack, each) for each in listed(statement.get("Resource"))]
        if "NotResource" in statement:
            excepted = ", ".join(self._names.arn(stack, each) for each in listed(statement["NotResource"]))
            resources = [f"{ANYTHING} but {excepted}"]
        actions = listed(statement.get("Action"))
        if "NotAction" in statement:
            actions = [f"* but {', '.join(listed(statement['NotAction']))}"]
        for actor in actors:
            for resource in resources or [""]:
                for action in actions:
                    yield actor, Fact(resource, _effect(statement) + action, where)

    def _principals(self, stack: Stack, statement: Mapping[str, Any]) -> list[str]:
        if "NotPrincipal" in statement:
            excepted = self._principals(stack, {"Principal": statement["NotPrincipal"]})
            return [f"everyone but {', '.join(excepted)}"]
        given = statement.get("Principal", "*")
        values = [each for kind in given.values() for each in listed(kind)] if isinstance(given, Mapping) else [given]
        return [self._principal(stack, value) for value in values]

    def _principal(self, stack: Stack, value: object) -> str:
        if actor := self._role(stack, value):
            return actor
        text = self._names.text(stack, value)
        if text == "*":
            return EVERYONE
        if root := ROOT.fullmatch(text):
            return "this account" if root[1] in {stack.account, ACCOUNT} else f"account {root[1]}"
        return text if re.fullmatch(r"[\w.-]+|`.+`", text) else f"`{text}`"

    def _where(self, stack: Stack, statement: Mapping[str, Any]) -> str:
        """Write conditions as text."""
        return " and ".join(
            f"{key} {operator} {self._alternatives(stack, value)}"
            for operator, keys in sorted(statement.get("Condition", {}).items())
            for key, value in sorted(keys.items())
        )

    def _alternatives(self, stack: Stack, value: object) -> str:
        return " or ".join(self.bearer(stack, each) for each in listed(value))

    def bearer(self, stack: Stack, value: object) -> str:
        """Name what an ARN stands for; of a role, what acts in it."""
        return self._role(stack, value) or self._names.arn(stack, value)

    def _role(self, stack: Stack, value: object) -> str:
        """Name what acts in the role that a value refers to; empty if it refers to none."""
        return next((self._roles[stack.name, i] for i in references(value) if (stack.name, i) in self._roles), "")


def gains(now: Facts, base: Facts) -> Facts:
    """Return rights that are new, and prohibitions and boundaries that are gone."""
    found = {}
    for subject in {*now, *base}:
        of_now, of_base = now.get(subject, NOTHING), base.get(subject, NOTHING)
        gained = {fact for fact in of_now - of_base if not _limits(fact)}
        gained |= {fact._replace(says=f"no longer {fact.says}") for fact in of_base - of_now if _limits(fact)}
        if gained:
            found[subject] = frozenset(gained)
    return found


def _limits(fact: Fact) -> bool:
    return fact.about == BOUNDARY or fact.says.startswith(PROHIBITION)


def _effect(statement: Mapping[str, Any]) -> str:
    return PROHIBITION if statement.get("Effect") == "Deny" else ""


def _statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return listed(document.get("Statement"))


def listed(value: object) -> list[Any]:
    """Return what CloudFormation writes as a list where it is more than one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _roles_of(value: object) -> Iterator[str]:
    """Logical ids of the roles that properties say to act in: those under a name that ends in Role or RoleArn."""
    match value:
        case Mapping():
            for name, part in value.items():
                if name.endswith(("Role", "RoleArn")):
                    yield from references(part)
                else:
                    yield from _roles_of(part)
        case list():
            for part in value:
                yield from _roles_of(part)
