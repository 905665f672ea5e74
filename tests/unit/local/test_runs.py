"""What a command leaves running is found, by who stops it and by who talks to it; nothing else is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from local import emulator, runs
from local.environment import PROJECT_ROOT
from local.errors import LocalRunError
from local.runs import EmulatorProcess, Record, shell_settings

# A leader that ignores SIGTERM and has a worker, as the emulator has.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(worker.pid, flush=True)
time.sleep(600)
"""

# A command that starts an emulator and waits for it.
COMMAND = """
import sys
from pathlib import Path
from subprocess import Popen
from local import emulator, runs
from local.runs import EmulatorProcess, HEARTBEAT, Record, lock

runs.RECORDS = Path(sys.argv[1])
with Path(sys.argv[2], HEARTBEAT).open("wb") as heartbeat:
    lock(heartbeat)
    emulator = Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=(heartbeat.fileno(),), start_new_session=True
    )
record = Record(EmulatorProcess(emulator.pid, 1, sys.argv[2]))
print(emulator.pid, flush=True)
emulator.wait()
"""


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runs, "RECORDS", tmp_path / "records")
    return runs.RECORDS


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "medical-imaging-pipeline-x"
    folder.mkdir()
    return folder


@pytest.fixture
def command(records: Path, scratch: Path) -> Iterator[tuple[subprocess.Popen[str], EmulatorProcess]]:
    """A running command and its emulator."""
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(records), str(scratch)], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT
    )
    assert command.stdout is not None
    with command, command.stdout:
        emulator = EmulatorProcess(int(command.stdout.readline()), 1, str(scratch))
        yield command, emulator
        command.kill()
        emulator.end(lambda seconds: True)


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_should_end_a_process_that_ignores_sigterm_with_its_workers_and_files(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "STOP_TIMEOUT_SECONDS", 0.2)
    leader = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    with leader, leader.stdout:
        worker = int(leader.stdout.readline())

        EmulatorProcess(leader.pid, 1, str(scratch)).end(partial(emulator._has_ended, leader))

        assert leader.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(worker)
    assert not scratch.exists()


def test_should_end_what_a_killed_command_left(
    command: tuple[subprocess.Popen[str], EmulatorProcess], records: Path, scratch: Path
) -> None:
    process, emulator = command
    process.kill()
    process.wait()
    assert emulator.is_alive()

    assert runs.stop() == (1, 0)

    assert not emulator.is_alive()
    assert not scratch.exists()
    assert not list(records.iterdir())


def test_should_not_end_the_emulator_of_a_command_that_runs(
    command: tuple[subprocess.Popen[str], EmulatorProcess], records: Path
) -> None:
    assert runs.stop() == (0, 0)

    assert command[1].is_alive()
    assert list(records.glob("*.json"))


def test_should_not_end_a_stranger_that_got_the_process_id_of_a_dead_emulator(scratch: Path, records: Path) -> None:
    (scratch / runs.HEARTBEAT).touch()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as stranger:
        process = EmulatorProcess(stranger.pid, 1, str(scratch), {"STAGE": "local"})
        Record(process).keep(process)
        try:
            with pytest.raises(LocalRunError, match="make demo KEEP=1"):
                runs.kept()
            assert runs.stop() == (0, 1)
            assert stranger.poll() is None
        finally:
            stranger.kill()
    assert not scratch.exists()
    assert not list(records.iterdir())


def test_should_talk_to_the_emulator_that_was_kept(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (scratch / runs.HEARTBEAT).open("wb") as heartbeat:
        runs.lock(heartbeat)
        process = EmulatorProcess(1, 1, str(scratch))
        record = Record(process)
        assert runs.main(["env"]) == 1, "the demo still runs"
        record.keep(replace(process, variables={"STAGE": "local"}))
        capsys.readouterr()

        assert runs.main(["env"]) == 0

    assert "export STAGE='local'\n" in capsys.readouterr().out


def test_should_print_nothing_to_evaluate_when_no_emulator_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["env"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "No demo is running to talk to: start one with `make demo KEEP=1`.\n"


def evaluated(settings: str, user: Mapping[str, str]) -> dict[str, str]:
    """Evaluate settings as a user does, and return what the shell's variables are then."""
    printed = subprocess.run(
        ["/bin/sh", "-c", 'eval "$SETTINGS"; unset SETTINGS; exec env -0'],
        env={**user, "SETTINGS": settings},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in printed.split("\0") if line)


def test_should_set_variables_as_they_are_and_unset_what_would_lead_elsewhere(tmp_path: Path) -> None:
    hostile = """'; touch pwned; $(touch pwned) `touch pwned` "$HOME" \\ ~ \n#"""
    user = {
        "PATH": "/usr/bin:/bin",
        "AWS_PROFILE": "hospital",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.org",
        "AWS_SESSION_TOKEN": "secret",
        "AWS_REGION": "eu-central-1",
        "NO_PROXY": "example.org",
    }

    shell = evaluated(shell_settings({"AWS_REGION": "us-east-1", "HOSTILE": hostile}, user, tmp_path), user)

    assert {name for name in shell if name.startswith("AWS_")} == {"AWS_REGION"}
    assert shell["AWS_REGION"] == "us-east-1"
    assert shell["HOSTILE"] == hostile
    assert shell["PATH"] == f"{tmp_path}:/usr/bin:/bin"
    assert shell["NO_PROXY"] == "127.0.0.1,localhost,example.org"
    assert shell_settings({"AWS_REGION": "us-east-1"}, shell, tmp_path).count(str(tmp_path)) == 1, "evaluated again"
