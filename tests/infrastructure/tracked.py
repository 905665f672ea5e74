"""The files that are part of the repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.conftest import REPOSITORY


def tracked_texts() -> Iterator[tuple[Path, str]]:
    """Yield each text file that git tracks, by its path in the repository; skip the test where there is no git."""
    listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is not a clone of the repository")
    for name in listed.stdout.decode().split("\0"):
        path = REPOSITORY / name
        if name and path.is_file():
            try:
                yield Path(name), path.read_text()
            except UnicodeDecodeError:
                continue
