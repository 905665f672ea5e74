"""The layer: what decides its hash, what is in it, and how its failure reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imaging_pipeline.building_blocks import dependency_layer
from imaging_pipeline.building_blocks.dependency_layer import LOCK_FILE, DependencyLayer, LayerError
from imaging_pipeline.stages.config import FunctionSettings

UNZIPPED_LIMIT = 250 * 1024 * 1024  # Lambda's, for code and layers together


def content_hash(*, native: bool = False, **settings: str) -> str:
    return DependencyLayer(FunctionSettings.model_validate(settings), native=native).content_hash


def test_should_name_a_layer_by_architecture_python_version_and_lock_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [
        content_hash(),
        content_hash(architecture="x86_64"),
        content_hash(python_version="3.13"),
        content_hash(native=True),
        content_hash(native=True, architecture="x86_64"),
    ]
    assert len(set(hashes)) == 5
    assert hashes[0] == content_hash()
    changed = tmp_path / "requirements.txt"
    changed.write_bytes(LOCK_FILE.read_bytes() + b"\n")
    monkeypatch.setattr(dependency_layer, "LOCK_FILE", changed)
    assert content_hash() not in hashes


def test_should_hold_the_locked_wheels_for_the_functions_platform_and_no_numpy() -> None:
    layer = DependencyLayer(FunctionSettings(), native=False).build() / "python"
    present = {path.name for path in layer.iterdir()}
    assert {"aws_lambda_powertools", "aws_xray_sdk", "awscrt", "boto3", "pydantic", "pydicom"} <= present
    assert "numpy" not in present
    libraries = [path.name for path in layer.glob("pydantic_core/*.so")]
    assert libraries == ["_pydantic_core.cpython-312-aarch64-linux-gnu.so"]
    assert not (layer / "pydicom" / "data" / "test_files").exists()
    assert not list(layer.rglob("__pycache__"))
    assert sum(path.stat().st_size for path in layer.rglob("*")) < UNZIPPED_LIMIT / 2


def test_should_run_on_this_machine_when_native() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    layer = DependencyLayer(FunctionSettings.model_validate({"python_version": version}), native=True).build()
    imports = (
        "import sys; sys.path.insert(0, sys.argv[1]); import aws_xray_sdk, awscrt.checksums, pydantic_core, pydicom"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", imports, str(layer / "python")]
    assert subprocess.run(command, check=False).returncode == 0


def test_should_say_in_one_sentence_that_pip_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dependency_layer, "BUILD_FOLDER", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(LayerError, match=r"^The Lambda layer for Python 3\.12 on arm64 could not be built: .*\.$"):
        DependencyLayer(FunctionSettings(), native=False).build()
    assert "No matching distribution" in capfd.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing half-built is left to be taken for a layer"


def test_should_lock_exact_versions_with_hashes_and_tell_nothing_of_a_machine() -> None:
    for lock_file in (LOCK_FILE, LOCK_FILE.parents[1] / "requirements.txt"):
        text = lock_file.read_text()
        assert "://" not in text
        requirements = text.replace("\\\n", "").splitlines()
        assert all("==" in line and "--hash=sha256:" in line for line in requirements)
        assert "numpy" not in text
