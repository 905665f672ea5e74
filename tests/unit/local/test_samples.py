"""What the demo uploads."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from local.errors import LocalRunError
from local.samples import VALID, samples, users_own


def test_should_show_at_least_twenty_kinds_of_valid_file() -> None:
    kinds = set()
    for name in VALID:
        dataset = pydicom.dcmread(Path(pydicom.data.__file__).parent / "test_files" / name, stop_before_pixels=True)
        kinds.add(
            (
                dataset.SOPClassUID,
                dataset.file_meta.TransferSyntaxUID,
                dataset.get("SamplesPerPixel"),
                dataset.get("BitsAllocated"),
                dataset.get("NumberOfFrames"),
            )
        )

    assert len(kinds) >= 20


def test_should_upload_only_keys_that_start_an_execution() -> None:
    objects = samples()

    assert all(key.endswith(".dcm") for key in objects)
    assert any(key.startswith("broken/") for key in objects)


def test_should_take_every_file_of_a_folder_once(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    for name in ("image", "image.dcm", "study/UPPER.DCM"):
        (tmp_path / name).write_bytes(b"x")

    keys = users_own(tmp_path)

    assert len(keys) == 3
    assert set(keys.values()) == {tmp_path / "image", tmp_path / "image.dcm", tmp_path / "study/UPPER.DCM"}
    assert all(key.lower().endswith(".dcm") for key in keys)


def test_should_take_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "image.dcm").write_bytes(b"x")

    assert users_own(tmp_path / "image.dcm") == {"yours/image.dcm": tmp_path / "image.dcm"}


def test_should_say_what_is_wrong_with_a_path(tmp_path: Path) -> None:
    with pytest.raises(LocalRunError, match="no file or folder"):
        users_own(tmp_path / "missing")
    with pytest.raises(LocalRunError, match="no files"):
        users_own(tmp_path)
