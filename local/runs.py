"""Emulators on record: what `make env` talks to, and what `make stop` ends.

Each running emulator has a record, locked by the command that started it for as long as that lives. An unlocked record
is of an emulator that was kept, or that a killed command left behind.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from local.environment import LOOPBACK_HOSTS, PROJECT_ROOT
from local.errors import LocalRunError

RECORDS = PROJECT_ROOT / ".emulator" / "running"
STOP_TIMEOUT_SECONDS = 2
HEARTBEAT = "running"
"""File in an emulator's scratch folder that its process keeps locked for as long as it lives."""


@dataclass(frozen=True)
class EmulatorProcess:
    """A running emulator: what is needed to talk to it and to end it."""

    pid: int
    port: int
    scratch: str
    variables: Mapping[str, str] = field(default_factory=dict)
    """of a shell that talks to the stage deployed to it; none until it is kept"""

    @property
    def endpoint(self) -> str:
        """URL at which every AWS service answers."""
        return f"http://127.0.0.1:{self.port}"

    def is_healthy(self) -> bool:
        """Tell whether an emulator answers at the endpoint."""
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{self.endpoint}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def is_alive(self) -> bool:
        """Tell whether the process runs. Its id alone doesn't: after its end another process may get it."""
        try:
            with Path(self.scratch, HEARTBEAT).open("rb") as file:
                return not lock(file)
        except FileNotFoundError:
            return False

    def end(self, has_ended: Callable[[float], bool]) -> None:
        """End the emulator with all its workers, which share its process group, and remove what it wrote.

        Parameters
        ----------
        has_ended
            Waits so many seconds for the process and tells whether it is gone.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            # It may hang on SIGTERM. SIGKILL goes out even when it has gone, to workers that outlived it.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            has_ended(STOP_TIMEOUT_SECONDS)
        shutil.rmtree(self.scratch, ignore_errors=True)


class Record:
    """The record of an emulator whose command is this process.

    Parameters
    ----------
    process
        The emulator.
    """

    def __init__(self, process: EmulatorProcess) -> None:
        self._path = RECORDS / f"{Path(process.scratch).name}.json"
        self._locked = self._write(process)

    def keep(self, process: EmulatorProcess) -> None:
        """Leave the emulator to `make env` and `make stop`."""
        self._write(process).close()
        self._locked.close()

    def remove(self) -> None:
        """Forget an emulator that has ended."""
        self._path.unlink(missing_ok=True)
        self._locked.close()

    def _write(self, process: EmulatorProcess) -> IO[str]:
        """Write the record whole or not at all, and return its file, locked until it is closed."""
        RECORDS.mkdir(parents=True, exist_ok=True)
        partial_record = self._path.with_suffix(".partial")
        file = partial_record.open("w", encoding="utf-8")
        lock(file)
        json.dump(asdict(process), file)
        file.flush()
        partial_record.replace(self._path)
        return file


def lock(file: IO[Any]) -> bool:
    """Lock a file until it is closed by all that inherited it; tell whether it could be."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def kept() -> EmulatorProcess:
    """Return the emulator that was kept last.

    Raises
    ------
    LocalRunError
        None is running.
    """
    for _, process in _unlocked():
        if process.variables and process.is_alive():
            return process
    raise LocalRunError("No demo is running to talk to: start one with `make demo KEEP=1`.")


def stop() -> tuple[int, int]:
    """End the emulators that were kept or left behind, and remove what dead ones left.

    Returns
    -------
    tuple
        How many emulators were ended, and how many had died before.
    """
    ended = dead = 0
    for path, process in _unlocked():
        if process.is_alive():
            ended += 1
            process.end(partial(_has_ended, process))
        else:
            dead += 1
            shutil.rmtree(process.scratch, ignore_errors=True)
        path.unlink(missing_ok=True)
    return ended, dead


def shell_settings(variables: Mapping[str, str], user: Mapping[str, str], executables: Path) -> str:
    """Return what makes a POSIX shell one that talks to the emulator, and to nothing of AWS.

    Parameters
    ----------
    variables
        To set.
    user
        Variables of that shell. Those of AWS that aren't among `variables` are unset.
    executables
        Folder to be searched for commands first.
    """
    settings = dict(variables)
    for name in ("NO_PROXY", "no_proxy"):
        settings[name] = ",".join(dict.fromkeys([*LOOPBACK_HOSTS, *filter(None, user.get(name, "").split(","))]))
    settings["PATH"] = os.pathsep.join(dict.fromkeys([str(executables), *user["PATH"].split(os.pathsep)]))
    strangers = sorted(name for name in user if name.startswith("AWS_") and name not in settings)
    lines = [f"unset {name}" for name in strangers] + [f"export {name}={_quoted(settings[name])}" for name in settings]
    return "\n".join([*lines, ""])


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _unlocked() -> Iterator[tuple[Path, EmulatorProcess]]:
    """Yield the records of emulators whose commands have ended, the latest first; each is locked meanwhile."""
    for path in sorted(RECORDS.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        with path.open("rb") as file:
            if lock(file):
                yield path, EmulatorProcess(**json.load(file))


def _has_ended(process: EmulatorProcess, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not process.is_alive()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the settings of a shell, or stop what is left running."""
    parser = argparse.ArgumentParser(prog="python -m local.runs", description=__doc__)
    parser.add_argument("verb", choices=("env", "stop"))
    if parser.parse_args(arguments).verb == "stop":
        ended, dead = stop()
        remains = f" Removed the files of {dead} killed before." if dead else ""
        sys.stdout.write(f"Stopped {ended} emulator(s).{remains}\n" if ended or dead else "Nothing was left running.\n")
        return 0
    try:
        variables = kept().variables
    except LocalRunError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(shell_settings(variables, os.environ, Path(sys.executable).parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
