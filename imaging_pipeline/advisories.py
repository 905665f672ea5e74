"""Known vulnerabilities of what the locks pin: `make advisories`. A report, which never fails a build.

`pip-audit` asks a database on the network. Where that can't be reached, or answers nothing about any package (which
`pip-audit` itself reports as "No known vulnerabilities found"), this says so instead of all clear.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imaging_pipeline.building_blocks.dependency_layer import REPOSITORY

LOCKS: Final[Mapping[str, str]] = {
    "runtime/requirements.txt": "the Lambda layer",
    "requirements.txt": "what synthesizes and deploys",
    "requirements-dev.txt": "tests and checks",
    "local/requirements.txt": "the emulator",
}
SECONDS: Final = 120
"""For all locks together."""
SOCKET_SECONDS: Final = 10


class UnreachableError(RuntimeError):
    """The database could not be asked; the text says why in a few words."""


@dataclass
class Findings:
    """What the database said of the packages of a lock."""

    asked: int = 0
    unknown: list[str] = field(default_factory=list)
    vulnerable: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Package, version, advisory and the versions that mend it."""


def ask(lock: Path, service: Sequence[str], seconds: float) -> Findings:
    """Ask the database about every package of a lock.

    Parameters
    ----------
    lock
        A requirements file with hashes.
    service
        Options of `pip-audit` that choose the database.
    seconds
        The longest to wait.

    Raises
    ------
    UnreachableError
        If there is no answer, or none about any of the packages.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", str(SOCKET_SECONDS), *service]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603
        dependencies = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired as error:
        raise UnreachableError("it took too long to answer") from error
    except json.JSONDecodeError as error:
        last = (done.stderr.strip().splitlines() or ["it did not answer"])[-1]
        raise UnreachableError(last.split(":")[0].split(".")[-1]) from error
    return _findings(dependencies)


def _findings(dependencies: Sequence[Mapping[str, Any]]) -> Findings:
    findings = Findings(asked=len(dependencies))
    for package in dependencies:
        if "skip_reason" in package:
            findings.unknown.append(package["name"])
        for advisory in package.get("vulns", ()):
            mended = ", ".join(advisory["fix_versions"]) or "nothing yet"
            findings.vulnerable.append((package["name"], package["version"], advisory["id"], mended))
    if len(findings.unknown) == findings.asked:
        raise UnreachableError("it answered nothing about any package")
    return findings


def report(service: Sequence[str], seconds: float) -> Iterator[str]:
    """Return the lines of the report."""
    end = time.monotonic() + seconds
    for lock, meaning in LOCKS.items():
        try:
            findings = ask(REPOSITORY / lock, service, max(1, end - time.monotonic()))
        except UnreachableError as error:
            yield f"Vulnerabilities are unknown: the database can't be reached ({error})."
            return
        yield from _of_lock(f"{lock}, {meaning}", findings)


def _of_lock(lock: str, findings: Findings) -> Iterator[str]:
    known = findings.asked - len(findings.unknown)
    if not findings.vulnerable:
        yield f"{lock}: {known} packages, no known vulnerability"
    else:
        yield f"!!! {lock}: {len(findings.vulnerable)} KNOWN VULNERABILITIES in {known} packages"
        for package, version, advisory, mended in sorted(findings.vulnerable):
            yield f"  {package:<28} {version:<12} {advisory:<22} mended by {mended}"
    if findings.unknown:
        yield f"  Not known to the database: {', '.join(sorted(findings.unknown))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m imaging_pipeline.advisories", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the longest to wait for the database")
    options, service = parser.parse_known_args(arguments)
    for line in report(service, options.seconds):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
