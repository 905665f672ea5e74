"""The functions' code, and the version by which the audit log names it.

`python -m imaging_pipeline.runtime_code` prints the version of the checkout, so that a record leads to a commit.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from aws_cdk import FileSystem, IgnoreMode
from aws_cdk import aws_lambda as lambda_

from imaging_pipeline.dependency_layer import REPOSITORY

# Only the package `runtime`, under its own name, so that imports read the same here and there.
_EXCLUDED = ["/*", "!/runtime", "/runtime/requirements.*", "__pycache__"]
_LOCK_FILE = "runtime/requirements.txt"


def runtime_code() -> lambda_.Code:
    """Return the code that every function has."""
    return lambda_.Code.from_asset(str(REPOSITORY), exclude=_EXCLUDED, ignore_mode=IgnoreMode.GIT)


def code_version(repository: Path = REPOSITORY) -> str:
    """Return SHA-256, in hexadecimal, over what runs in the functions: their code, and the lock of its dependencies.

    The same for the same files, whichever the stage, the platform and the machine.
    """
    code = FileSystem.fingerprint(str(repository), exclude=_EXCLUDED, ignore_mode=IgnoreMode.GIT)
    return hashlib.sha256(code.encode() + (repository / _LOCK_FILE).read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(f"{code_version()}\n")
