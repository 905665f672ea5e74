"""Whether an account's region was bootstrapped for CDK."""

from __future__ import annotations

from collections.abc import Iterator

from acceptance.preflight.aws import Aws
from acceptance.preflight.findings import Finding, Verdict
from acceptance.preflight.plan import Target

PARAMETER = "bootstrapStackVersionSsmParameter"
"""The assembly's name for the SSM parameter with the version; the parameter's own name has the qualifier."""


def check_bootstrap(aws: Aws, target: Target) -> Iterator[Finding]:
    """Compare the version of the bootstrap stack with what the assembly requires."""
    check = f"bootstrap {target.region}"
    name, required = target.stack.properties[PARAMETER], target.stack.properties["requiresBootstrapStackVersion"]
    command = f".venv/bin/python -m local.cdk bootstrap aws://{target.account}/{target.region}"
    found = aws.find("ssm", "GetParameter", region=target.region, Name=name)
    if found is None:
        yield Finding(check, Verdict.FAILURE, "none", command)
        return
    version = int(found["Parameter"]["Value"])
    if version < required:
        yield Finding(check, Verdict.FAILURE, f"version {version}, and {required} is required", command)
    else:
        yield Finding(check, Verdict.OK, f"version {version}, of which {required} is enough")
