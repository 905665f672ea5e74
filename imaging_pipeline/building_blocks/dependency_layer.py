"""The Lambda layer's files: locked wheels for the functions' platform, installed by pip, without Docker."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from imaging_pipeline.building_blocks.asset_folders import MODES, asset_folder
from imaging_pipeline.stages.config import FunctionSettings

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK_FILE = REPOSITORY / "runtime" / "requirements.txt"
BUILD_FOLDER = REPOSITORY / ".build" / "layers"

MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
# Weight that no function uses: console scripts, compiled caches, and the images pydicom brings for its own tests.
UNUSED = ("python/bin", "python/**/__pycache__", "python/pydicom/data/test_files")


class LayerError(RuntimeError):
    """The layer can't be built; the text is one sentence for the person at the command line."""


class DependencyLayer:
    """Dependencies of every function on one platform.

    Parameters
    ----------
    settings
        Python version and architecture of the functions.
    native
        Take wheels for the machine this runs on instead of Lambda's.
    """

    def __init__(self, settings: FunctionSettings, *, native: bool) -> None:
        self._settings = settings
        self._native = native

    @property
    def content_hash(self) -> str:
        """SHA-256 over what decides the layer's content: architecture, Python version, recipe, modes and lock file."""
        parts = [self._settings.architecture, self._settings.python_version, *self._platforms(), *UNUSED, MODES]
        return hashlib.sha256("\0".join(parts).encode() + b"\0" + LOCK_FILE.read_bytes()).hexdigest()

    def build(self) -> Path:
        """Folder with the layer's files; installed once for a content hash, later taken as it is.

        Raises
        ------
        LayerError
            If pip fails; what pip said is on stderr.
        """
        return asset_folder(BUILD_FOLDER / self.content_hash, self._fill)

    def _fill(self, folder: Path) -> None:
        self._install(folder / "python")
        for pattern in UNUSED:
            for path in folder.glob(pattern):
                shutil.rmtree(path)

    def _install(self, target: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-qq",
            "--no-input",
            "--no-compile",
            "--target",
            str(target),
        ]
        command += ["--only-binary=:all:", "--no-deps", "--require-hashes", "--requirement", str(LOCK_FILE)]
        if not self._native:
            command += ["--implementation", "cp", "--python-version", self._settings.python_version]
            command += [f"--platform={name}" for name in self._platforms()]
        environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        result = subprocess.run(command, env=environment, check=False)  # noqa: S603 - all arguments are ours
        if result.returncode != 0:
            raise LayerError(
                f"The Lambda layer for Python {self._settings.python_version} on {self._settings.architecture}"
                f" could not be built: pip ended with code {result.returncode}, for the reason it gave above."
            )

    def _platforms(self) -> list[str]:
        """Wheel platforms that run there: Lambda's Python 3.11 has glibc 2.26, later versions have 2.34."""
        if self._native:
            return [f"{sys.platform}-{platform.libc_ver()[0]}"]
        machine = MACHINES[self._settings.architecture]
        older = [f"manylinux2014_{machine}"]
        return older if self._settings.python_version == "3.11" else [f"manylinux_2_28_{machine}", *older]
