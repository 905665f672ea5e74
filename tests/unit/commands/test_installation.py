"""The distribution, installed into an environment of its own, as `pipx install .` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from cli import VERSION
from cli.commands import COMMANDS

REPOSITORY = Path(__file__).parents[3]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a copy of the repository; return the environment. Dependencies are those of this environment."""
    source, environment = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("environment")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    for folder in ("cli", "runtime", "imaging_pipeline", "local"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(environment, with_pip=False, symlinks=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if Path(path).name == "site-packages"]
    (site_packages / "dependencies.pth").write_text("\n".join(dependencies))
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    pip = (sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", *options, str(source))
    subprocess.run(pip, env=ENVIRONMENT, check=True, capture_output=True)
    shutil.rmtree(source)
    return environment


def run(installed: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = (str(installed / "bin/imaging-pipeline"), *map(str, arguments))
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_should_tell_its_version(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "--version").stdout == f"imaging-pipeline {VERSION}\n"


def test_should_deidentify_a_folder_from_any_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "IN").mkdir()
    for number in range(10):  # more than one process has work
        shutil.copy(str(get_testdata_file("CT_small.dcm")), tmp_path / "IN" / f"{number}.dcm")

    finished = run(installed, tmp_path, "deidentify", "IN", "OUT", "--generate-key", "key.hex", "--workers", "2")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(list((tmp_path / "OUT").glob("*/*/*/*.dcm"))) == 1
    assert "duplicate" in finished.stdout


def test_should_explain_every_attribute(installed: Path, tmp_path: Path) -> None:
    assert "PatientName" in run(installed, tmp_path, "explain", "--all").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_should_bring_every_command(command: str, installed: Path, tmp_path: Path) -> None:
    finished = run(installed, tmp_path, command, "--help")
    assert finished.stdout.startswith(f"usage: imaging-pipeline {command}")


def test_should_bring_neither_the_infrastructure_nor_what_it_needs(installed: Path) -> None:
    (site_packages,) = installed.glob("lib/python*/site-packages")
    names = {path.name for path in site_packages.iterdir()}
    assert {"cli", "runtime"} <= names
    assert names.isdisjoint({"imaging_pipeline", "local", "tests"})
    required = metadata(site_packages).get_all("Requires-Dist")
    pinned = (REPOSITORY / "runtime/requirements.in").read_text().splitlines()
    assert required == [line for line in pinned if line and not line.startswith("#")]


def metadata(site_packages: Path) -> Message:
    (text,) = site_packages.glob("medical_imaging_pipeline-*.dist-info/METADATA")
    return HeaderParser().parsestr(text.read_text())
