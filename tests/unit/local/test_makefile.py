"""What users give to make stays what they gave."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from local.environment import PROJECT_ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

PYTHON = """#!/bin/sh
printf '%s\\n' "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile, with a Python that prints its arguments."""
    shutil.copy(PROJECT_ROOT / "Makefile", tmp_path)
    for file in (
        "requirements.txt",
        "requirements-dev.txt",
        "runtime/requirements.txt",
        ".venv/bin/python",
        ".venv/ready",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    python = tmp_path / ".venv/bin/python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / ".venv/ready").touch()
    return tmp_path


@pytest.mark.parametrize("origin", ["command line", "environment"])
@pytest.mark.parametrize(
    "path",
    [
        "$(touch pwned)",
        "$(shell touch pwned)",
        "$$(touch pwned) ${HOME} $HOME",
        "`touch pwned`",
        'it\'s "quoted"; touch pwned #',
        "~/study with spaces",
        "-study",
        "a\\ b\\",
    ],
)
def test_should_take_dicom_as_a_path_and_never_as_a_command(project: Path, path: str, origin: str) -> None:
    given = {"DICOM": path}
    arguments = [f"DICOM={path}"] if origin == "command line" else []

    done = subprocess.run(
        ["make", "demo", "KEEP=1", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], **({} if arguments else given)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == ["-m", "local.demo", f"--dicom={path}", "--keep"]
    assert not (project / "pwned").exists()


def test_should_evaluate_nothing_but_what_is_to_be_evaluated(project: Path) -> None:
    """The words of an installation go to standard error, since `eval` reads standard output."""
    (project / ".venv/ready").unlink()

    done = subprocess.run(
        ["make", "-s", "env", f"PYTHON={project}/.venv/bin/python"],
        cwd=project,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Installing" in done.stderr
    assert "Installing" not in done.stdout
