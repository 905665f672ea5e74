"""De-identification of files on this machine, with folders in place of the pipeline's buckets."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import Field

from runtime.contract.models import Frozen
from runtime.contract.objects import Finding, Severity
from runtime.deidentification.engine import Deidentified, Deidentifier, RejectedError
from runtime.deidentification.report import DeidentificationReport
from runtime.deidentification.rules.decision import Decision
from runtime.dicom.checks.compliance import check_compliance
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error, reported
from runtime.dicom.header import read_header
from runtime.dicom.source import FileSource, Origin

_CHUNK: Final = 1024 * 1024


class Verdict(StrEnum):
    """Verdict on a file. Nothing but DELIVERED wrote anything."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    """its result is there already, byte for byte"""
    CONFLICT = "conflict"
    """another result is there under the same key"""
    QUARANTINED = "quarantined"
    FAILED = "failed"
    """the file couldn't be read or its result couldn't be written"""


class FileOutcome(Frozen):
    """Outcome of one file. The path of the source may name the patient: an outcome stays where the files are."""

    source: str
    verdict: Verdict
    output_key: str | None = Field(default=None, description="where the result is, or would have been")
    output_size: int = Field(default=0, description="bytes written")
    findings: tuple[Finding, ...] = ()
    report: DeidentificationReport | None = None
    attributes: Mapping[str, Decision] | None = Field(
        default=None, description="action that each attribute met, with its reason; all others are kept"
    )
    problem: str | None = Field(default=None, description="of a conflict or failure: one sentence")


class FileChangedError(Exception):
    """The file changed while it was read, so that header and pixels may be of two patients."""


class _State(NamedTuple):
    """State of a file, by which a change while it is read is noticed."""

    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> _State:
        status = path.stat()
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


def find_files(path: Path) -> Iterator[Path]:
    """Yield a file, or all files below a folder in a stable order, links followed once.

    Yields a folder that can't be listed, so that it fails like a file that can't be read.
    """
    if not path.is_dir():
        yield path
        return
    seen: set[Path] = set()
    pending = [path]
    while pending:
        folder = pending.pop()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        try:
            entries = [(entry, entry.is_dir()) for entry in sorted(folder.iterdir())]
        except OSError:
            yield folder
            continue
        yield from (entry for entry, is_folder in entries if not is_folder)
        pending += [entry for entry, is_folder in reversed(entries) if is_folder]


class FolderDeidentifier:
    """De-identifies files into a folder.

    Parameters
    ----------
    deidentifier
        The engine.
    output
        Folder of the results, named by their output keys.
    partial
        Folder on the same file system for results that aren't whole yet.
    """

    def __init__(self, deidentifier: Deidentifier, output: Path, partial: Path) -> None:
        self._deidentifier = deidentifier
        self._output = output
        self._partial = partial

    def deidentify(self, path: Path) -> FileOutcome:
        """De-identify one file; whatever is wrong with it is part of the outcome, never an exception."""
        source = printable_path(path)
        try:
            return self._deliver(path)
        except DicomError as error:
            return FileOutcome(source=source, verdict=Verdict.QUARANTINED, findings=(from_error(error),))
        except RejectedError as rejection:
            findings = tuple(reported(rejection.findings))
            return FileOutcome(source=source, verdict=Verdict.QUARANTINED, findings=findings)
        except OSError as error:
            return FileOutcome(source=source, verdict=Verdict.FAILED, problem=error.strerror or "It can't be read.")
        except FileChangedError:
            return FileOutcome(source=source, verdict=Verdict.FAILED, problem="The file changed while it was read.")
        except Exception:  # noqa: BLE001 - a defect that one file shows must not lose the others' verdicts
            return FileOutcome(
                source=source, verdict=Verdict.FAILED, problem="A defect: report what kind of file it is."
            )

    def _deliver(self, path: Path) -> FileOutcome:
        state = _State.of(path)
        header = read_header(FileSource(path))
        findings = check_compliance(header)
        if any(finding.severity is Severity.ERROR for finding in findings):
            raise RejectedError(findings)
        result = self._deidentifier.deidentify(header)
        verdict = self._write(path, state, result)
        return FileOutcome(
            source=printable_path(path),
            verdict=verdict,
            output_key=result.output_key,
            output_size=result.size if verdict is Verdict.DELIVERED else 0,
            findings=tuple(reported(findings)),
            report=result.report,
            attributes=result.attributes,
            problem="Another result has this key: two inputs share their UIDs, or the profile changed."
            if verdict is Verdict.CONFLICT
            else None,
        )

    def _write(self, path: Path, state: _State, result: Deidentified) -> Verdict:
        """Write a result under a name of this process, then give it its own name at once, if that is free."""
        partial = self._partial / f"{os.getpid()}.dcm"
        target = self._output / result.output_key
        try:
            write_result(partial, result)
            if _State.of(path) != state or partial.stat().st_size != result.size:
                raise FileChangedError
            target.parent.mkdir(parents=True, exist_ok=True)
            if _place(partial, target):
                return Verdict.DELIVERED
            return Verdict.DUPLICATE if filecmp.cmp(partial, target, shallow=False) else Verdict.CONFLICT
        finally:
            partial.unlink(missing_ok=True)


def write_result(target: Path, result: Deidentified) -> None:
    """Write a result, its bulk data copied from the file of its origin, inside the kernel where it can be."""
    with target.open("wb", buffering=0) as stream:
        stream.write(result.header)
        if result.origin is not None:
            _append(stream, result.origin)


def printable_path(path: Path) -> str:
    """Return a path as text, with what is no UTF-8 in it escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _append(stream: FileIO, origin: Origin) -> None:
    """Append a range of a file to another, inside the kernel where it can be, else by chunks."""
    if not isinstance(origin.source, FileSource):
        raise TypeError("the origin of a result in a folder is a file")
    start, stop, target = origin.start, origin.stop, stream.fileno()
    with origin.source.path.open("rb", buffering=0) as file:
        source, copied = file.fileno(), 1
        while start < stop and copied:
            try:
                copied = os.copy_file_range(source, target, stop - start, offset_src=start)
            except (AttributeError, OSError):  # not on this platform, or not between these file systems
                copied = os.write(target, os.pread(source, min(stop - start, _CHUNK), start))
            start += copied


def _place(partial: Path, target: Path) -> bool:
    """Give a whole result its name unless the name is taken; a link, unlike a rename, never replaces a file."""
    try:
        target.hardlink_to(partial)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if target.exists():
            return False
        partial.rename(target)
    return True
