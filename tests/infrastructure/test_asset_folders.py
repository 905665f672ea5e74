"""Lambda's assets: what everybody may read, whatever the umask of who checked out, synthesizes and deploys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from imaging_pipeline.building_blocks import dependency_layer, runtime_code
from imaging_pipeline.building_blocks.asset_folders import asset_folder
from imaging_pipeline.building_blocks.dependency_layer import DependencyLayer
from imaging_pipeline.stages.config import FunctionSettings
from tests.infrastructure.conftest import FEATURE_FLAGS, REPOSITORY

# A layer without its dependencies, which would have to be fetched.
SYNTHESIS = """
from imaging_pipeline.building_blocks.dependency_layer import DependencyLayer
import app

def install(self, target):
    target.mkdir(parents=True)
    (target / "module.py").write_text("pass")

DependencyLayer._install = install
app.main()
"""


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Modes of what is in a folder, by path."""
    return {str(path.relative_to(folder)): S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def write(folder: Path) -> None:
    (folder / "package").mkdir()
    for name, mode in (("module.py", 0o600), ("library.so", 0o700)):
        path = folder / "package" / name
        path.write_text("pass")
        path.chmod(mode)


@pytest.mark.usefixtures("_umask")
def test_should_let_everybody_read_what_is_made_under_any_umask(tmp_path: Path) -> None:
    folder = asset_folder(tmp_path / "layers" / "hash", write)
    assert S_IMODE(folder.stat().st_mode) == 0o755
    assert modes(folder) == {"package": 0o755, "package/module.py": 0o644, "package/library.so": 0o755}
    assert [path.name for path in folder.parent.iterdir()] == ["hash"]


def test_should_take_what_was_made_before_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        asset_folder(tmp_path / "hash", write)  # a second time it would fail, since the folders are there
    assert modes(tmp_path / "hash")


def test_should_put_what_everybody_may_read_into_the_assets_of_a_private_checkout(tmp_path: Path) -> None:
    """CDK's command line stores the modes of the files in the assembly, and no folders."""
    checkout = tmp_path / "checkout"
    for name in ("app.py", "imaging_pipeline", "runtime"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            checkout.mkdir()
            shutil.copy(source, checkout)
    for path in (checkout, *checkout.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    before = modes(checkout)
    context = json.dumps({**FEATURE_FLAGS, "stage": "dev"})
    result = subprocess.run(
        [sys.executable, "-B", "-c", SYNTHESIS],
        env=os.environ | {"CDK_OUTDIR": str(tmp_path / "out"), "CDK_CONTEXT_JSON": context},
        cwd=checkout,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    files = {
        path: mode
        for path, mode in modes(tmp_path / "out").items()
        if path.startswith("asset.") and (tmp_path / "out" / path).is_file()
    }
    assert {path.split("/", 1)[1] for path in files} >= {"runtime/contract/names.py", "python/module.py"}
    assert set(files.values()) == {0o644}
    assert {path: mode for path, mode in modes(checkout).items() if not path.startswith(".build")} == before


def test_should_make_another_asset_of_the_same_files_when_the_rule_for_modes_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was uploaded with other modes would stay otherwise, since both hashes see content alone."""
    monkeypatch.setattr(runtime_code, "_BUILD_FOLDER", tmp_path)
    found: list[tuple[str, str]] = []
    for rule in ("0600", "0644"):
        monkeypatch.setattr(dependency_layer, "MODES", rule)
        monkeypatch.setattr(runtime_code, "MODES", rule)
        runtime_code.runtime_code()
        (code,) = {path.name for path in tmp_path.iterdir()} - {code for code, _ in found}
        found.append((code, DependencyLayer(FunctionSettings(), native=False).content_hash))
    (code, layer), (other_code, other_layer) = found
    assert code != other_code
    assert layer != other_layer
