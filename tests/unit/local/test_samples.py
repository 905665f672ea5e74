"""What the demo uploads."""

from __future__ import annotations

import os
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


def test_should_show_every_kind_of_name() -> None:
    names = {Path(key).suffix for key in samples()}

    assert names == {".dcm", ".exe", ""}


def test_should_take_every_file_of_a_folder_under_its_own_name(tmp_path: Path) -> None:
    names = ("image", "image.dcm", "study/UPPER.DCM", "study/1.2.840.10008", "study/a 'name' & $more.ima")
    (tmp_path / "study").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"x")

    assert users_own(tmp_path) == {f"yours/{name}": tmp_path / name for name in names}


def test_should_take_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x")

    assert users_own(tmp_path / "image") == {"yours/image": tmp_path / "image"}


def test_should_replace_what_no_key_can_hold(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"M\xfcller.dcm")
    file.write_bytes(b"x")

    assert users_own(tmp_path) == {"yours/M\N{REPLACEMENT CHARACTER}ller.dcm": file}


def test_should_find_the_home_of_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "image").write_bytes(b"x")

    assert users_own(Path("~/image")) == {"yours/image": tmp_path / "image"}


def test_should_take_a_tilde_as_a_name_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    (tmp_path / "~" / "image").write_bytes(b"x")

    assert users_own(Path("~")) == {"yours/image": Path("~/image")}


def test_should_say_what_is_wrong_with_a_path(tmp_path: Path) -> None:
    with pytest.raises(LocalRunError, match="no file or folder"):
        users_own(tmp_path / "missing")
    with pytest.raises(LocalRunError, match="no file or folder"):
        users_own(Path("~nobody-of-this-name/image"))
    with pytest.raises(LocalRunError, match="no files"):
        users_own(tmp_path)
