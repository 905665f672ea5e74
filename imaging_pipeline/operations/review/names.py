"""What resources, and references to them, are called in the words of a reader."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from imaging_pipeline.operations.review.assembly import Resource, Stack

HASH: Final = re.compile(r"[0-9A-F]{8}$")
"""What CDK ends a logical id with."""
WORD: Final = re.compile(r"[A-Z]+[0-9]*(?![a-z])|[A-Z]?[a-z0-9]+")
ANYTHING: Final = "anything"
ACCOUNT: Final = "${AWS::AccountId}"
REFERENCE: Final = re.compile(r"«([^»]+)»")
"""How a reference to a resource stands in a resolved text."""
BEFORE_REFERENCE: Final = re.compile(r"^arn:[^«]*(?=«)")


class Names:
    """Names of everything in an assembly.

    Parameters
    ----------
    stacks
        The assembly. Where two stacks have a resource of the same name, that of the later one begins with its stack's.
    """

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self._stacks = {stack.name: stack for stack in stacks}
        self._names: dict[tuple[str, str], str] = {}
        self._by_physical_name: dict[tuple[str, str], str] = {}
        for stack in stacks:
            self._add(stack)

    def _add(self, stack: Stack) -> None:
        names = {logical_id: self._words(stack, logical_id) for logical_id in stack.resources}
        counts = Counter(names.values())
        taken = set(self._names.values())
        for logical_id, name in names.items():
            unique = name if counts[name] == 1 else f"{name} `{logical_id}`"
            short = self._own_name(stack.name) or stack.name
            self._names[stack.name, logical_id] = f"{short} {unique}" if unique in taken else unique
        for logical_id, resource in stack.resources.items():
            if physical := _physical_name(resource):
                service = resource["Type"].split("::")[1].lower()
                self._by_physical_name[service, physical] = self._names[stack.name, logical_id]

    def _words(self, stack: Stack, logical_id: str) -> str:
        resource = stack.resources[logical_id]
        noun = " ".join(word.lower() for word in WORD.findall(resource["Type"].split("::")[-1]))
        name = self._own_name(_physical_name(resource) or _alias(stack, logical_id))
        if not name:
            words = [word.lower() for word in WORD.findall(HASH.sub("", logical_id))]
            redundant = {word + ending for word in noun.split() for ending in ("", "s")}
            name = " ".join(word for word in words if word not in redundant) or HASH.sub("", logical_id)
        return name if name.endswith(noun) else f"{name} {noun}"

    def _own_name(self, name: str) -> str:
        """Drop the stack's name, with which every name begins; nothing is left of one that is just that."""
        for stack in sorted(self._stacks, key=len, reverse=True):
            name = re.sub(rf"{re.escape(stack)}[-/]", "", name)
        return "" if name.split("/")[-1] in self._stacks else name.removeprefix("alias/").removeprefix("/aws/")

    def of(self, stack: Stack, logical_id: str) -> str:
        """Name of a resource; a logical id that the stack doesn't have is shown as it is."""
        return self._names.get((stack.name, logical_id), f"`{logical_id}`")

    def text(self, stack: Stack, value: object) -> str:
        """Text of a property, with each reference to a resource as its name."""
        text = REFERENCE.sub(r"\1", self.resolved(stack, value))
        return f"`{text}`" if text.startswith(("{", "[")) else text

    def resolved(self, stack: Stack, value: object) -> str:
        """Text of a property, with each reference to a resource as «its name»."""
        match value:
            case str() | int() | float():
                text = str(value)
            case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
                text = self._reference(stack, name)
            case {"Fn::Join": [str(separator), list(parts)]}:
                text = separator.join(self.resolved(stack, part) for part in parts)
            case {"Fn::Sub": str(pattern)}:
                text = re.sub(r"\$\{([\w:]+)(?:\.\w+)?\}", lambda name: self._reference(stack, name[1]), pattern)
            case {"Fn::Select": [_, {"Fn::Split": [_, inner]}]}:
                text = self.resolved(stack, inner)
            case {"Fn::GetStackOutput": {"StackName": name, "OutputName": output}} if name in self._stacks:
                other = self._stacks[name]
                text = self.resolved(other, other.template["Outputs"][output]["Value"])
            case list():
                text = f"[{', '.join(self.resolved(stack, part) for part in value)}]"
            case Mapping():
                text = f"{{{', '.join(f'{key}: {self.resolved(stack, value[key])}' for key in sorted(value))}}}"
            case _:
                text = json.dumps(value)
        return text

    def _reference(self, stack: Stack, name: str) -> str:
        known = {"AWS::AccountId": stack.account, "AWS::Region": stack.region}
        if name.startswith("AWS::"):
            return known.get(name) or f"${{{name}}}"
        return f"«{self.of(stack, name)}»"

    def arn(self, stack: Stack, value: object) -> str:
        """Name of what an ARN, or a pattern of ARNs, stands for; what no resource is known of is shown as it is."""
        text = self.resolved(stack, value)
        if text == "*":
            return ANYTHING
        name, _, rest = BEFORE_REFERENCE.sub("", text).partition("»")
        if name.startswith("«"):
            return _with_rest(name[1:], rest)
        return self._literal_arn(text)

    def _literal_arn(self, text: str) -> str:
        """Find the resource by its name where the ARN was put together from that."""
        parts = re.sub(r"\$\{AWS::(\w+)\}", r"\1", text).split(":")
        if len(parts) > 5 and parts[0] == "arn":
            physical = re.split(r"[:/]", ":".join(parts[5:]), maxsplit=1)[-1]
            if found := self._by_physical_name.get((_service(parts[2]), physical)):
                return found
        return REFERENCE.sub(r"\1", f"`{text}`")


def _with_rest(name: str, rest: str) -> str:
    """Say which part of a resource is meant, unless it is all objects of a bucket or versions of a function."""
    everything = {"/*": "bucket", ":*": "function"}
    return name if not rest or (rest in everything and everything[rest] in name) else f"{name} (`{rest}`)"


def _service(arn_service: str) -> str:
    return {"states": "stepfunctions"}.get(arn_service, arn_service)


def _physical_name(resource: Resource) -> str:
    properties = resource.get("Properties", {})
    for name in (resource["Type"].split("::")[-1] + "Name", "Name"):
        if isinstance(properties.get(name), str):
            return str(properties[name])
    return ""


def _alias(stack: Stack, logical_id: str) -> str:
    """Name of a key by its alias."""
    for _, alias in stack.of_type("AWS::KMS::Alias"):
        if logical_id in references(alias["Properties"].get("TargetKeyId")):
            return str(alias["Properties"]["AliasName"])
    return ""


def references(value: object) -> Iterator[str]:
    """Logical ids of the resources that a property names, however deep."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            yield name
        case Mapping():
            for part in value.values():
                yield from references(part)
        case list():
            for part in value:
                yield from references(part)
