"""What an emulator needs before it starts."""

from __future__ import annotations

import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from local import emulator
from local.emulator import Emulator
from local.errors import LocalRunError

Usage = namedtuple("Usage", "total used free")


def test_should_say_that_the_folder_for_temporary_files_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "prepare", lambda progress: tmp_path)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/small")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(300 * 2**20, 280 * 2**20, 20 * 2**20))

    with (
        pytest.raises(LocalRunError, match=r"/small, has 20 MiB left, and a run needs 200.* TMPDIR=<folder>"),
        Emulator(),
    ):
        pytest.fail("must not get here")


def test_should_pin_the_emulator_with_hashes() -> None:
    lines = emulator.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if "==" in line]

    assert any(line.startswith("ministack==1.5.33") for line in pins)
    assert all(line.endswith("\\") for line in pins)
