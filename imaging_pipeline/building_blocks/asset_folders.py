"""Folders that Lambda's assets are made of: readable by everybody, whatever the umask of who synthesizes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from stat import S_IXUSR
from typing import Final

MODES: Final = "0644, 0755 where executable"
"""Modes of what is uploaded. Part of each asset's hash, which sees content alone: under another rule, another asset."""


def asset_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return `folder`, filled once and then taken as it is; its name must tell its content and `MODES`.

    CDK's command line stores the modes that it finds, and Lambda reads code as a user that doesn't own it: what only
    its owner may read can't be imported there.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch, "asset")
            made.mkdir()
            fill(made)
            _normalize_modes(made)
            if not folder.exists():  # another synthesis may have been quicker
                made.rename(folder)
    return folder


def _normalize_modes(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & S_IXUSR
        path.chmod(0o755 if executable else 0o644)
