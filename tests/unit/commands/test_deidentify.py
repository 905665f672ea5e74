"""The engine on files: what is written, what is said of each file, and what is left when it is stopped."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from cli.__main__ import main
from cli.commands.deidentify import KEY_VARIABLE

KEY = "5a" * 32
ROOT = Path(__file__).parents[3]


def bundled(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


CT = bundled("CT_small.dcm")
SMALL = {
    "ct/slice.dcm": CT,
    "MR": bundled("MR_small.dcm"),
    "deep/er/rt plan": bundled("rtplan.dcm"),
    "notes.txt": b"not DICOM",
    "empty.dcm": b"",
    "cut.dcm": CT[:-2000],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, content in SMALL.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture(autouse=True)
def signals() -> object:
    before = signal.getsignal(signal.SIGTERM)
    yield None
    signal.signal(signal.SIGTERM, before)


def run(*arguments: object) -> int:
    return main(["deidentify", *map(str, arguments)])


def results(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def outcomes(report: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    return {Path(line["source"]).name: line for line in lines}


def test_should_deliver_files_under_keys_of_pseudonyms(source: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"

    assert run(source, tmp_path / "out", "--report", report) == 1

    found = outcomes(report)
    assert {name: line["verdict"] for name, line in found.items()} == {
        "slice.dcm": "delivered",
        "MR": "delivered",
        "rt plan": "delivered",
        "notes.txt": "quarantined",
        "empty.dcm": "quarantined",
        "cut.dcm": "quarantined",
    }
    delivered = {line["output_key"] for line in found.values() if line["verdict"] == "delivered"}
    assert results(tmp_path / "out").keys() == delivered
    result = dcmread(tmp_path / "out" / str(found["slice.dcm"]["output_key"]))
    original = dcmread(source / "ct/slice.dcm")
    assert result.PixelData == original.PixelData
    assert result.PatientID != original.PatientID
    assert found["slice.dcm"]["output_key"] == (
        f"{result.PatientID}/{result.StudyInstanceUID}/{result.SeriesInstanceUID}/{result.SOPInstanceUID}.dcm"
    )


def test_should_report_what_was_done_and_found(source: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"

    run(source, tmp_path / "out", "--report", report)

    found = outcomes(report)
    done = found["slice.dcm"]["report"]
    assert isinstance(done, dict)
    assert done["profile"] == "research"
    attributes = found["slice.dcm"]["attributes"]
    assert isinstance(attributes, dict)
    assert attributes["OtherPatientIDsSequence"] == {
        "action": "X",
        "reason": "Basic Application Level Confidentiality Profile",
    }
    assert found["slice.dcm"]["output_size"] == len(results(tmp_path / "out")[str(found["slice.dcm"]["output_key"])])
    codes = [finding["code"] for finding in found["cut.dcm"]["findings"]]  # type: ignore[attr-defined]
    assert "TRUNCATED_PIXEL_DATA" in codes


def test_should_deliver_one_file(source: Path, tmp_path: Path) -> None:
    assert run(source / "MR", tmp_path / "out", "--profile", "basic") == 0
    assert len(results(tmp_path / "out")) == 1


def test_should_leave_nothing_but_results_in_the_output(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out")

    assert all(len(Path(name).parts) == 4 for name in results(tmp_path / "out"))
    assert not list((tmp_path / "out").glob(".*"))


def test_should_give_the_same_results_from_several_processes(tmp_path: Path) -> None:
    for number in range(24):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        dataset = dcmread(BytesIO(CT))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}")
        dataset.save_as(folder / f"{number}.dcm")

    assert run(folder, tmp_path / "one", "--workers", "1", "--report", tmp_path / "one.jsonl") == 0
    assert run(folder, tmp_path / "three", "--workers", "3", "--report", tmp_path / "three.jsonl") == 0

    assert results(tmp_path / "one") == results(tmp_path / "three")
    assert len(results(tmp_path / "three")) == 24
    assert (tmp_path / "one.jsonl").read_text() == (tmp_path / "three.jsonl").read_text()


def test_should_call_the_same_result_a_duplicate(source: Path, tmp_path: Path) -> None:
    (source / "copy").write_bytes(CT)
    report = tmp_path / "report.jsonl"

    run(source / "ct", tmp_path / "out")
    assert run(source / "ct", tmp_path / "out", "--report", report) == 0

    assert outcomes(report)["slice.dcm"]["verdict"] == "duplicate"
    assert len(results(tmp_path / "out")) == 1


def test_should_never_overwrite_a_different_result(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(source / "ct", tmp_path / "out")
    before = results(tmp_path / "out")
    (source / "ct/slice.dcm").write_bytes(CT[:-1002] + b"\1\2" + CT[-1000:])

    assert run(source / "ct", tmp_path / "out") == 1

    assert results(tmp_path / "out") == before
    assert "conflict" in capsys.readouterr().out


def test_should_fail_a_file_that_cannot_be_read_and_go_on(source: Path, tmp_path: Path) -> None:
    (source / "dangling").symlink_to(source / "nowhere")
    report = tmp_path / "report.jsonl"

    assert run(source, tmp_path / "out", "--report", report) == 1

    found = outcomes(report)
    assert found["dangling"]["verdict"] == "failed"
    assert found["dangling"]["problem"] == "No such file or directory"
    assert len(found) == len(SMALL) + 1


def test_should_follow_linked_folders_once(source: Path, tmp_path: Path) -> None:
    (source / "deep/loop").symlink_to(source)
    report = tmp_path / "report.jsonl"

    run(source, tmp_path / "out", "--report", report)

    assert len(report.read_text().splitlines()) == len(SMALL)


def test_should_make_a_key_that_its_owner_alone_may_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    key = tmp_path / "key"

    assert run(source / "MR", tmp_path / "one", "--generate-key", key) == 0
    assert run(source / "MR", tmp_path / "two", "--key-file", key) == 0

    assert results(tmp_path / "one") == results(tmp_path / "two")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run(source / "MR", tmp_path / "three", "--generate-key", key) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{in}"], "say where the results go"),
        (["{in}/nothing", "{out}"], "does not exist"),
        (["{in}", "{in}/out"], "inside"),
        (["{in}", "{in}/MR"], "inside"),
        (["{in}", "{in}/../in"], "inside"),
        (["{in}/MR", "{in}/notes.txt"], "File exists"),
        (["{in}", "{out}", "--key-file", "{in}/MR"], "key"),
        (["{in}", "{out}", "--key-file", "{in}/nothing"], "No such file"),
        (["{in}", "{out}", "--report", "{in}"], "Is a directory"),
    ],
)
def test_should_refuse_what_it_cannot_do_in_one_sentence(
    arguments: list[str], sentence: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [argument.format(**{"in": source, "out": tmp_path / "out"}) for argument in arguments]

    assert run(*texts) == 2

    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--profile", "nobody"], ["--workers", "0"], ["--profile", "/nowhere.toml"]])
def test_should_refuse_arguments_that_mean_nothing(
    arguments: list[str], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(source, tmp_path / "out", *arguments)

    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_should_refuse_to_run_without_a_key(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)

    assert run(source, tmp_path / "out") == 2

    assert KEY_VARIABLE in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_should_show_before_and_after_side_by_side(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source / "ct/slice.dcm", "--dry-run") == 0

    lines = capsys.readouterr().out.splitlines()
    name = next(line.split() for line in lines if line.startswith("PatientName "))
    assert name[1] == "CompressedSamples^CT1"
    assert name[3] == "pseudonym"
    assert any(line.split()[:3] == ["InstitutionName", "JFK", "IMAGING"] and " remove " in line for line in lines)
    assert any(line.split()[:4] == ["PatientIdentityRemoved", "-", "YES", "add"] for line in lines)
    assert not any(line.startswith("OtherPatientIDsSequence[") for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_should_give_the_reasons_that_the_engine_had(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.jsonl"
    data_set = dcmread(BytesIO(bundled("test-SR.dcm")))
    data_set.PatientAge = "094Y"
    data_set.save_as(source / "report.dcm")

    run(source / "report.dcm", tmp_path / "out", "--report", report)
    assert run(source / "report.dcm", "--dry-run") == 0

    attributes = outcomes(report)["report.dcm"]["attributes"]
    assert isinstance(attributes, dict)
    reasons = {decision["reason"] for decision in attributes.values()}
    shown = {line.rsplit("  ", 1)[-1] for line in capsys.readouterr().out.splitlines()}
    assert reasons <= shown
    assert "an age over 89 years identifies (45 CFR 164.514)" in shown
    assert "text inside ContentSequence: Clean Structured Content Option (113104)" in shown
    assert not [reason for reason in shown if reason.startswith("private")]  # the file has no private attribute


def test_should_show_why_a_file_would_be_quarantined(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(source / "cut.dcm", "--dry-run") == 1

    assert "TRUNCATED_PIXEL_DATA" in capsys.readouterr().out


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_should_leave_no_half_result_when_it_is_stopped(how: signal.Signals, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(400):
        content = CT.replace(
            b"1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
            f"1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.1{number:04}".encode(),
        )
        (folder / str(number)).write_bytes(content)
    command = [sys.executable, "-m", "cli", "deidentify", str(folder), str(output), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {KEY_VARIABLE: KEY}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(output.glob("*/*/*/*.dcm")) and time.monotonic() < deadline:
        time.sleep(0.01)

    process.send_signal(how)
    process.wait(30)

    whole = results(output)
    assert len(whole) > 0
    finished = [content for name, content in whole.items() if not name.startswith(".partial")]
    # Not by their sizes: one pseudonymous UID in ten is a digit shorter.
    assert {len(dcmread(BytesIO(content)).PixelData) for content in finished} == {len(dcmread(BytesIO(CT)).PixelData)}
    if how is not signal.SIGKILL:
        assert not list(output.glob(".partial*"))
    time.sleep(0.5)
    assert len(results(output)) - len(whole) <= 2, "workers outlived the command"
