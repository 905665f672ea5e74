"""A multi-frame object of a gibibyte: its pixels stay in S3."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import UID

from local.pipeline import Pipeline
from local.samples import BUNDLED, as_instance
from runtime.contract.names import PROJECT, Function, State

FRAMES, ROWS, COLUMNS = 2048, 512, 512
PIXEL_BYTES = FRAMES * ROWS * COLUMNS * 2
BLOCK = os.urandom(1024 * 1024 - 8)
MOVED_LIMIT = 16 * 1024 * 1024
GROWTH_LIMIT = 32 * 1024 * 1024
"""Of the function's peak memory over what a file of 39 KB needs: the first part of 5 MiB, its copies on their way, and
the threads that copy the others."""


def blocks() -> Iterator[bytes]:
    """Pixels, no two megabytes of which are the same."""
    return (struct.pack("<Q", number) + BLOCK for number in range(PIXEL_BYTES // (len(BLOCK) + 8)))


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = pydicom.dcmread(BUNDLED / "CT_small.dcm", stop_before_pixels=True)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = FRAMES, ROWS, COLUMNS
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5.6.7.8")
    for tag in [element.tag for element in dataset if element.tag > 0x7FE00010]:
        del dataset[tag]
    header = BytesIO()
    dataset.save_as(header)
    path = tmp_path_factory.mktemp("large") / "large.dcm"
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, PIXEL_BYTES))
        file.writelines(blocks())
    return path


def peak_memory(function: str) -> int:
    """Return the most memory that a process of the emulator running this function has had, in bytes."""
    peaks = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if f"ministack-lambda-{PROJECT}-local-{function}-".encode() in (process / "cmdline").read_bytes():
                peaks.append(int((process / "status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
    return max(peaks)


def test_should_move_a_few_megabytes_through_the_function_for_a_gibibyte(large_file: Path, pipeline: Pipeline) -> None:
    small = pipeline.process("small.dcm", as_instance((BUNDLED / "CT_small.dcm").read_bytes(), 99))
    assert small.end is State.SUCCESS
    before = peak_memory(Function.DEIDENTIFICATION) if sys.platform == "linux" else None

    outcome = pipeline.process("large.dcm", large_file)

    assert (outcome.end, outcome.reason_codes) == (State.SUCCESS, ())
    done = outcome.result["deidentification"]
    assert done["bytes_read"] + done["bytes_written"] < MOVED_LIMIT
    if before is not None:
        assert peak_memory(Function.DEIDENTIFICATION) - before < GROWTH_LIMIT
    assert outcome.output_key is not None
    body = pipeline.s3.get_object(Bucket=pipeline.processed_bucket, Key=outcome.output_key)["Body"]
    body.read(done["output_size"] - PIXEL_BYTES)
    expected, written = hashlib.sha256(), hashlib.sha256()
    for block in blocks():
        expected.update(block)
        written.update(body.read(len(block)))
    assert body.read() == b""
    assert written.digest() == expected.digest()
