"""What leaves the hospital: by which profile, to whom, from where, and what is copied or recorded elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from imaging_pipeline.operations.review.assembly import Resource, Stack
from imaging_pipeline.operations.review.facts import Lines
from imaging_pipeline.operations.review.names import Names, references
from imaging_pipeline.operations.review.rights import ASSUMED_BY, Rights, listed
from runtime.contract.names import Output

RESULTS: Final = (Output.PROCESSED_BUCKET_NAME, "ProcessedReplicaName")
NETWORKS: Final = ("aws:SourceIp", "aws:SourceVpce")
HASH: Final = """\
import sys
from runtime.deidentification.profile import load_profile
from runtime.deidentification.rules.resolution import Ruleset
ruleset = Ruleset(load_profile(sys.argv[1]))
print(ruleset.profile.content_hash(ruleset.digest))
"""
"""Asks the deployed code for the hash that it stamps into ledger and results."""


def variable(stack: Stack, name: str) -> dict[str, Resource]:
    """Return the values that functions have in a variable of their environment, and one of these functions for each."""
    environments = [
        (function["Properties"], function["Properties"].get("Environment", {}).get("Variables", {}))
        for _, function in stack.of_type("AWS::Lambda::Function")
    ]
    return {str(variables[name]): function for function, variables in environments if name in variables}


def profile_name(stack: Stack) -> str:
    """Return name and hash of the profile that the stack makes results by; empty if it makes none."""
    name, code = _profile(stack)
    return f"{name}, hash {_hash(name, code)}" if name else ""


def profile(stack: Stack) -> Lines:
    """Return what that profile releases, from the code in the assembly."""
    name, code = _profile(stack)
    file = next(code.glob(f"**/profiles/{name}.toml"), None)
    return dict(_released(tomllib.loads(file.read_text("utf-8")))) if file else {}


def _profile(stack: Stack) -> tuple[str, Path]:
    """Return the profile's name and the folder of the code that has it."""
    for name, function in variable(stack, "PROFILE").items():
        if stack.folder:
            return name, stack.folder / f"asset.{function['Code'].get('S3Key', '').removesuffix('.zip')}"
    return "", Path()


def _released(profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "by profile", profile["description"]
    yield "options", ", ".join(sorted(profile.get("options", ()))) or "none"
    if overrides := profile.get("overrides"):
        yield "overrides", ", ".join(sorted(f"{each['attribute']} {each['action']}" for each in overrides))
    if shift := profile.get("date_shift"):
        yield "dates", f"move {shift['minimum_days']} to {shift['maximum_days']} days into the past"
    policies: dict[str, list[str]] = {}
    for risk, policy in sorted(profile["risks"].items()):
        policies.setdefault(policy, []).append(risk)
    for policy, risks in sorted(policies.items()):
        verdict, _, condition = policy.partition("-")
        yield f"{verdict.rstrip('e')}ed {condition.replace('-', ' ')}".strip(), ", ".join(risks)


@cache
def _hash(name: str, code: Path) -> str:
    # Without bytecode, which would become part of the asset.
    command = [sys.executable, "-B", "-c", HASH, name]
    environment = os.environ | {"PYTHONPATH": str(code)}
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()[:12] or "unknown"


def access(stacks: Sequence[Stack], names: Names, rights: Rights) -> Lines:
    """Return who can read results and from where, who is told of them, and what else takes data elsewhere."""
    found: dict[str, set[str]] = {}
    for stack in stacks:
        for label, value in (*_results(stack, rights), *_elsewhere(stack, names)):
            found.setdefault(label, set()).add(value)
    return {label: ", ".join(sorted(values)) for label, values in found.items()}


def _results(stack: Stack, rights: Rights) -> Iterator[tuple[str, str]]:
    """Yield what the policies of the buckets with results refuse, and who is let into a role from outside."""
    results = {name for output in RESULTS for name in references(stack.output(output))}
    refusals = [
        statement.get("Condition", {}).values()
        for _, policy in stack.of_type("AWS::S3::BucketPolicy")
        if results & {*references(policy["Properties"]["Bucket"])}
        for statement in listed(policy["Properties"]["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Deny" and any("s3:GetObject" in str(each) for each in listed(statement["Action"]))
    ]
    networks = [network for refusal in refusals for name in NETWORKS for network in _values(refusal, name)]
    readers = [
        rights.bearer(stack, reader)
        for refusal in refusals
        if not any(_values(refusal, name) for name in NETWORKS)
        for reader in _values(refusal, "aws:PrincipalArn")
    ]
    if results:
        yield from (("results are read by", each) for each in readers or ["whomever the account's IAM allows"])
        yield from (("results are read from", each) for each in networks or ["anywhere"])
    for actor, facts in rights.of_roles.items():
        for fact in facts:
            if fact.about == ASSUMED_BY and not fact.says.endswith(".amazonaws.com"):
                yield f"{actor} is assumed by", fact.says


def _values(operators: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    return [value for keys in operators for value in listed(keys.get(key))]


def _elsewhere(stack: Stack, names: Names) -> Iterator[tuple[str, str]]:
    announced = {*references(stack.output(Output.DELIVERY_TOPIC_ARN))}
    if announced:
        told = [words for topic, words in addresses(stack, names) if topic in announced]
        yield "deliveries are announced to", ", ".join(told) or "nobody: no address, no subscription"
    for _, bucket in stack.of_type("AWS::S3::Bucket"):
        for rule in bucket["Properties"].get("ReplicationConfiguration", {}).get("Rules", []):
            yield "copies", f"to {names.arn(stack, rule['Destination']['Bucket'])}"
    for _, trail in stack.of_type("AWS::CloudTrail::Trail"):
        yield "reads and writes of objects are recorded", f"in {names.arn(stack, trail['Properties']['S3BucketName'])}"
    functions = [function["Properties"] for _, function in stack.of_type("AWS::Lambda::Function")]
    if functions:
        bound = sum("VpcConfig" in function for function in functions)
        yield "functions", f"{bound} of {len(functions)} in the VPC" if bound else "can reach the internet"


def addresses(stack: Stack, names: Names) -> Iterator[tuple[str, str]]:
    """Yield the logical id of a topic and an address of it, for each subscription."""
    for _, subscription in stack.of_type("AWS::SNS::Subscription"):
        given = subscription["Properties"]
        for topic in references(given["TopicArn"]):
            yield topic, f"{names.text(stack, given.get('Endpoint', '?'))} by {given['Protocol']}"
