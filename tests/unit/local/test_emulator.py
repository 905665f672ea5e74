"""The emulator's process never outlives the run, and a kept one is ended by its record alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local import emulator
from local.emulator import EmulatorProcess

# A leader that ignores SIGTERM and has a worker, as the emulator has.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(worker.pid, flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_should_end_a_process_that_ignores_sigterm_with_its_workers_and_files(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    leader = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    with leader, leader.stdout:
        worker = int(leader.stdout.readline())

        EmulatorProcess(leader.pid, 1, str(scratch)).end(lambda seconds: emulator._has_ended(leader, 0.2))

        assert leader.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(worker)
    assert not scratch.exists()


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_should_not_end_a_stranger_that_got_the_process_id_of_a_kept_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "KEPT", tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    record = {"pid": stranger.pid, "port": 1, "scratch": str(scratch)}
    (tmp_path / f"{stranger.pid}.json").write_text(json.dumps(record))
    try:
        assert emulator.stop_kept() == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert not scratch.exists()
    assert not list(tmp_path.glob("*.json"))


def test_should_pin_the_emulator_with_hashes() -> None:
    lines = emulator.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if "==" in line]

    assert any(line.startswith("ministack==1.5.33") for line in pins)
    assert all(line.endswith("\\") for line in pins)
