"""Over all of pydicom's bundled files: results stay as valid as their sources were, and pixels are untouched."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from runtime.contract.objects import Severity
from runtime.deidentification.engine import RejectedError
from runtime.dicom.bulk_data import locate_bulk_data
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import finding
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from tests.deidentification import Result, bundled_files, deidentified

PROFILES = ("basic", "research")
CODE_MEANING_IS_A_NAME = {"reportsi.dcm", "reportsi_with_empty_number_tags.dcm"}
"""Reports whose author is called "Enter text", with a concept "Report Text": right to quarantine, if not needed."""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@cache
def verdicts(profile_name: str) -> dict[Path, Result | Exception]:
    found: dict[Path, Result | Exception] = {}
    for path in bundled_files():
        try:
            found[path] = deidentified(path.read_bytes(), profile_name)
        except (DicomError, RejectedError) as error:
            found[path] = error
    return found


def released(profile_name: str) -> dict[Path, Result]:
    return {path: result for path, result in verdicts(profile_name).items() if isinstance(result, Result)}


def installed(tool: str, package: str) -> str:
    path = shutil.which(tool)
    if path is None:
        sentence = f"install {tool} (Debian: apt-get install {package}) to check results with it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path


@pytest.mark.parametrize("profile_name", PROFILES)
def test_should_release_nearly_all_bundled_files_and_give_a_reason_for_the_others(profile_name: str) -> None:
    rejected = {path: error for path, error in verdicts(profile_name).items() if isinstance(error, Exception)}
    codes: Counter[str] = Counter()
    for path, error in rejected.items():
        if isinstance(error, RejectedError):
            assert {reason.code for reason in error.findings} == {"RESIDUAL_IDENTIFIER"}
            assert path.name in CODE_MEANING_IS_A_NAME
            assert profile_name == "basic"
        else:
            assert isinstance(error, DicomError)
            assert finding(error.code).severity is Severity.ERROR
            codes[error.code] += 1
    assert codes["TRUNCATED_PIXEL_DATA"] == 1
    assert len(released(profile_name)) >= 140


@pytest.mark.parametrize("profile_name", PROFILES)
def test_should_leave_the_pixel_data_byte_identical(profile_name: str) -> None:
    with_pixels = 0
    for path, result in released(profile_name).items():
        source = locate_bulk_data(result.header)
        after = read_header(BytesSource(result.content))
        target = locate_bulk_data(after)
        if source is None or target is None:
            assert source is target is None, path.name
            continue
        with_pixels += 1
        before = result.header.source.read(source.element.start, source.stop)
        assert after.source.read(target.element.start, target.stop) == before, path.name
        assert target.stop == after.source.size, f"{path.name}: something follows the pixel data"
    assert with_pixels > 80


@pytest.mark.parametrize("profile_name", PROFILES)
def test_should_open_in_pydicom(profile_name: str) -> None:
    for path, result in released(profile_name).items():
        data_set = result.data_set
        assert str(data_set), path.name
        assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
        assert data_set.file_meta.TransferSyntaxUID == result.header.transfer_syntax


@pytest.mark.parametrize("profile_name", PROFILES)
def test_should_open_in_dcmtk(profile_name: str, tmp_path: Path) -> None:
    dcmdump = installed("dcmdump", "dcmtk")
    for number, result in enumerate(released(profile_name).values()):
        (tmp_path / f"{number}.dcm").write_bytes(result.content)
    dump = subprocess.run([dcmdump, "-q", "+sd", tmp_path], capture_output=True, check=False)
    assert dump.returncode == 0, dump.stderr.decode("utf-8", "replace")[:2000]


@pytest.mark.parametrize("profile_name", PROFILES)
def test_should_not_add_errors_of_dciodvfy(profile_name: str, tmp_path: Path) -> None:
    dciodvfy = installed("dciodvfy", "dicom3tools")

    def errors(content: bytes) -> Counter[str]:
        (tmp_path / "object.dcm").write_bytes(content)
        run = subprocess.run([dciodvfy, tmp_path / "object.dcm"], capture_output=True, check=False)
        lines = (run.stdout + run.stderr).decode("utf-8", "replace").splitlines()
        return Counter(line for line in lines if line.startswith("Error"))

    worse = {}
    for path, result in released(profile_name).items():
        before, after = errors(path.read_bytes()), errors(result.content)
        if after.total() > before.total():
            worse[path.name] = sorted(after - before)
    assert worse == {}
