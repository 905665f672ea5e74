"""The pinned CDK CLI, under the Node that this Python environment brings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CDK_CLI = "aws-cdk@2.1148.1"
"""Pinned: npm's `latest` is an accidental publish of an old build, which can't read this library's assemblies."""


def command(*arguments: str) -> list[str]:
    """Return the command line that runs the CDK CLI with `arguments`."""
    return [str(Path(sys.executable).parent / "npx"), "--yes", CDK_CLI, *arguments]


def with_own_tools(environment: Mapping[str, str]) -> dict[str, str]:
    """Let the CLI find this environment's `node` and `python`, and send no telemetry."""
    path = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    return {**environment, "PATH": path, "CDK_DISABLE_CLI_TELEMETRY": "true"}


if __name__ == "__main__":
    # With the credentials, profile and terminal of whoever asks.
    sys.exit(subprocess.call(command(*sys.argv[1:], "--no-notices"), env=with_own_tools(os.environ)))  # noqa: S603
