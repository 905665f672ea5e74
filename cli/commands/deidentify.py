"""`imaging-pipeline deidentify`: what the pipeline does, on files of this machine."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TextIO

from cli.deidentification.comparison import print_comparison
from cli.deidentification.folder import FileOutcome, FolderDeidentifier, Verdict, find_files
from cli.parser import add_json_argument
from cli.profiles import DEFAULT_PROFILE, add_profile_argument
from cli.tables import OneLine, text_table
from cli.words import in_words
from runtime.contract.objects import Severity
from runtime.deidentification.engine import Deidentifier
from runtime.deidentification.profile import Profile
from runtime.deidentification.pseudonyms import KEY_BYTES, Pseudonyms

KEY_VARIABLE: Final = "PSEUDONYM_KEY"
SUCCESSES: Final = frozenset((Verdict.DELIVERED, Verdict.DUPLICATE))

_FILES_A_TASK: Final = 8
_LISTED: Final = 20
_BAR: Final = 30
_REDRAW_SECONDS: Final = 0.1


class UsageError(Exception):
    """The command was asked for what it can't do; the text says what to change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("input", type=Path, metavar="IN", help="a file, or a folder with all below it")
    parser.add_argument("output", type=Path, metavar="OUT", nargs="?", help="folder of the results, outside IN")
    add_profile_argument(parser, default=DEFAULT_PROFILE)
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help=f"the pseudonym key, {2 * KEY_BYTES} hexadecimal characters; default the variable {KEY_VARIABLE}",
    )
    key.add_argument("--generate-key", type=Path, metavar="FILE", help="make a key, keep it in this new file, use it")
    parser.add_argument("--workers", type=_count, default=_cores(), metavar="N", help="processes; default all cores")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of each file, as JSON lines")
    add_json_argument(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing; show each header before and after, side by side"
    )


def run(arguments: argparse.Namespace) -> int:
    """De-identify what was asked for and say what became of it."""
    try:
        files = _files(arguments.input)
        pseudonyms = _pseudonyms(arguments)
        if arguments.dry_run:
            return print_comparison(files, arguments.profile, pseudonyms, as_json=arguments.json)
        return _run(arguments, files, pseudonyms)
    except UsageError as error:
        sys.stderr.write(f"deidentify: {error}\n")
        return 2


def _run(arguments: argparse.Namespace, files: list[Path], pseudonyms: Pseudonyms) -> int:
    outcomes: list[FileOutcome] = []
    started = time.monotonic()
    with ExitStack() as stack:
        output = _output(arguments)
        report = _report(arguments.report, stack)
        partial = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".partial-", dir=output)))
        _stop_cleanly_on_termination()
        progress = _Progress(len(files))
        try:
            for outcome in _outcomes(files, arguments, (arguments.profile, pseudonyms, output, partial)):
                if report is not None:
                    report.write(outcome.model_dump_json(exclude_none=True) + "\n")
                if arguments.json:
                    sys.stdout.write(outcome.model_dump_json(exclude_none=True) + "\n")
                outcomes.append(outcome.model_copy(update={"report": None, "attributes": None}))
                progress.show(outcomes)
        except BrokenProcessPool:
            progress.clear()
            sys.stderr.write("deidentify: a worker process was killed, most likely for want of memory; run again\n")
        progress.clear()
    if not arguments.json:
        sys.stdout.write(_summary(outcomes, len(files), time.monotonic() - started))
    succeeded = sum(outcome.verdict in SUCCESSES for outcome in outcomes)
    return 0 if succeeded == len(files) else 1


def _outcomes(
    files: list[Path], arguments: argparse.Namespace, setting: tuple[Profile, Pseudonyms, Path, Path]
) -> Iterator[FileOutcome]:
    """Yield the files' outcomes in order, from as many processes as there is work for."""
    workers = min(arguments.workers, -(-len(files) // _FILES_A_TASK))
    if workers == 1:
        folder = _folder(*setting)
        yield from map(folder.deidentify, files)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of whoever calls
    executor = ProcessPoolExecutor(workers, context, _start_worker, setting)
    try:
        yield from executor.map(_deidentify_in_worker, files, chunksize=_FILES_A_TASK)
    finally:
        executor.shutdown(cancel_futures=True)


def _folder(profile: Profile, pseudonyms: Pseudonyms, output: Path, partial: Path) -> FolderDeidentifier:
    return FolderDeidentifier(Deidentifier(profile, pseudonyms), output, partial)


_worker: FolderDeidentifier | None = None


def _start_worker(profile: Profile, pseudonyms: Pseudonyms, output: Path, partial: Path) -> None:
    """Build the engine once a process; leave Ctrl-C to the parent, and end when it is gone."""
    global _worker  # noqa: PLW0603 - a pool has no other way to hand a worker its state
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _folder(profile, pseudonyms, output, partial)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _deidentify_in_worker(path: Path) -> FileOutcome:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    return _worker.deidentify(path)


def _stop_cleanly_on_termination() -> None:
    """Let SIGTERM end the run as Ctrl-C does, so that what isn't whole yet is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    files = list(find_files(path))
    if not files:
        raise UsageError(f"{path} holds no file")
    return files


def _output(arguments: argparse.Namespace) -> Path:
    output: Path | None = arguments.output
    if output is None:
        raise UsageError("say where the results go: OUT, a folder; or --dry-run")
    if output.resolve().is_relative_to(arguments.input.resolve()):
        raise UsageError(f"{output} is inside {arguments.input}: results and originals must not mix")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise UsageError(f"{output} can't be written to")
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from None
    return output


def _report(path: Path | None, stack: ExitStack) -> TextIO | None:
    try:
        return None if path is None else stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _pseudonyms(arguments: argparse.Namespace) -> Pseudonyms:
    """Return the pseudonyms under the key that was asked for; a dry run may do without, under a key of its own."""
    try:
        if arguments.generate_key is not None:
            return Pseudonyms.from_hex(_generate_key(arguments.generate_key))
        if arguments.key_file is not None:
            return Pseudonyms.from_hex(arguments.key_file.read_text("ascii"))
        if KEY_VARIABLE in os.environ:
            return Pseudonyms.from_hex(os.environ[KEY_VARIABLE])
    except FileExistsError as error:
        raise UsageError(f"{error.filename} exists: use it with --key-file, or name a new file") from None
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{arguments.key_file} holds no key") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    if arguments.dry_run:
        sys.stderr.write("deidentify: no key given; pseudonyms and dates are shown under one made for this run\n")
        return Pseudonyms(secrets.token_bytes(KEY_BYTES))
    raise UsageError(f"a pseudonym key is needed: --key-file, --generate-key or the variable {KEY_VARIABLE}")


def _generate_key(path: Path) -> str:
    """Write a new key to a new file that its owner alone may read."""
    key = secrets.token_hex(KEY_BYTES)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:  # noqa: PTH123 - its mode must be right from the start
        stream.write(key + "\n")
    return key


def _cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError("a number from 1 to 9999")
    return int(text)


class _Progress:
    """One line on a terminal that is drawn over and over; nothing where standard error is none."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = self._drawn = time.monotonic()
        self._shown = sys.stderr.isatty()

    def show(self, outcomes: Sequence[FileOutcome]) -> None:
        """Draw the line if the last drawing is a while ago."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        done = len(outcomes)
        bar = "#" * (_BAR * done // self._total)
        rate = done / (now - self._started)
        left = (self._total - done) / rate
        sys.stderr.write(
            f"\r\x1b[K[{bar:<{_BAR}}] {done} of {self._total} files, {rate:.0f} files/s, {left:.0f} s left"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _summary(outcomes: Sequence[FileOutcome], total: int, seconds: float) -> str:
    """Return the table of verdicts with their reasons, the speed, and the first files that were not delivered."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    size = sum(outcome.output_size for outcome in outcomes)
    rows: list[tuple[str, ...]] = [("VERDICT", "FILES", "REASON")]
    for verdict in Verdict:
        if verdicts[verdict]:
            rows.append((verdict.value, str(verdicts[verdict]), ""))
            reasons = Counter(reason for each in outcomes if each.verdict is verdict for reason in _reasons(each))
            rows += [("", f"  {count}", *in_words([reason])) for reason, count in reasons.most_common()]
    if len(outcomes) < total:
        rows.append(("not tried", str(total - len(outcomes)), ""))
    done = len(outcomes)
    speed = f"{done} files in {seconds:.1f} s: {done / seconds:.0f} files/s, {size / 1e6:.1f} MB written\n"
    rest = [outcome for outcome in outcomes if outcome.verdict not in SUCCESSES]
    listed = [(each.verdict, OneLine(each.source), " ".join(_reasons(each))) for each in rest[:_LISTED]]
    parts = [text_table(rows), speed]
    if listed:
        parts.append("\n" + text_table([("VERDICT", "FILE", "REASON"), *listed]))
    if len(rest) > _LISTED:
        parts.append(f"and {len(rest) - _LISTED} more, which --report FILE lists\n")
    return "".join(parts)


def _reasons(outcome: FileOutcome) -> list[str]:
    """Return the distinct codes of what stopped a file."""
    if outcome.verdict in SUCCESSES:
        return []
    errors = [finding.code for finding in outcome.findings if finding.severity is Severity.ERROR]
    return [outcome.problem] if outcome.problem is not None else list(dict.fromkeys(errors))
