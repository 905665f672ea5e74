"""The functions' code, and the version by which the audit log names it.

`python -m imaging_pipeline.building_blocks.runtime_code` prints the version of the checkout, so that a
record leads to a commit.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from aws_cdk import AssetHashType, CopyOptions, FileSystem, IgnoreMode
from aws_cdk import aws_lambda as lambda_

from imaging_pipeline.building_blocks.asset_folders import MODES, asset_folder
from imaging_pipeline.building_blocks.dependency_layer import REPOSITORY

# Only the package `runtime`, under its own name, so that imports read the same here and there.
_EXCLUDED = ["/*", "!/runtime", "/runtime/requirements.*", "__pycache__"]
_LOCK_FILE = "runtime/requirements.txt"
_BUILD_FOLDER = REPOSITORY / ".build" / "code"


def runtime_code() -> lambda_.Code:
    """Return the code that every function has, from a copy whose modes are not those of the checkout."""
    content_hash = FileSystem.fingerprint(
        str(REPOSITORY), exclude=_EXCLUDED, ignore_mode=IgnoreMode.GIT, extra_hash=MODES
    )
    folder = asset_folder(_BUILD_FOLDER / content_hash, _copy)
    return lambda_.Code.from_asset(str(folder), asset_hash=content_hash, asset_hash_type=AssetHashType.CUSTOM)


def _copy(folder: Path) -> None:
    options = CopyOptions(exclude=_EXCLUDED, ignore_mode=IgnoreMode.GIT)
    FileSystem.copy_directory(str(REPOSITORY), str(folder), options)


def code_version(repository: Path = REPOSITORY) -> str:
    """Return SHA-256, in hexadecimal, over what runs in the functions: their code, and the lock of its dependencies.

    The same for the same files, whichever the stage, the platform and the machine.
    """
    code = FileSystem.fingerprint(str(repository), exclude=_EXCLUDED, ignore_mode=IgnoreMode.GIT)
    return hashlib.sha256(code.encode() + (repository / _LOCK_FILE).read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(f"{code_version()}\n")
