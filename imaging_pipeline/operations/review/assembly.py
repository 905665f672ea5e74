"""The synthesized assembly: its stacks and their templates, of this revision and of another one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[3]
ASSEMBLY: Final = REPOSITORY / "cdk.out"

LAST_WORDS: Final = 10
"""Lines to show of an app that failed."""

Resource = Mapping[str, Any]


class AssemblyError(RuntimeError):
    """There is nothing to review; the text is one sentence for the person at the command line."""


@dataclass(frozen=True)
class Stack:
    """One stack of an assembly.

    Attributes
    ----------
    name
        Of the stack.
    account, region
        Where it is deployed; empty where the app was not told.
    properties
        What the assembly says of the stack besides its template: tags, termination protection.
    template
        The CloudFormation template.
    folder
        Of the assembly, with the assets; None where there is only a template.
    """

    name: str
    account: str
    region: str
    properties: Mapping[str, Any]
    template: Mapping[str, Any]
    folder: Path | None = None

    @property
    def resources(self) -> Mapping[str, Resource]:
        """Resources by logical id."""
        found: Mapping[str, Resource] = self.template.get("Resources", {})
        return found

    def of_type(self, *types: str) -> Iterator[tuple[str, Resource]]:
        """Resources of these types, with their logical ids."""
        return ((name, body) for name, body in self.resources.items() if body["Type"] in types)

    def output(self, name: str) -> object:
        """Value of an output; None if the stack has none of this name."""
        return self.template.get("Outputs", {}).get(name, {}).get("Value")


def read_assembly(folder: Path) -> tuple[Stack, ...]:
    """Return the stacks of the assembly, by name. Templates of earlier syntheses in the same folder don't count.

    Raises
    ------
    AssemblyError
        If there is no assembly in the folder.
    """
    try:
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    except FileNotFoundError as error:
        raise AssemblyError(f"There is no assembly in {folder.name}: synthesize a stage first.") from error
    stacks = [
        _stack(folder, name, artifact)
        for name, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
    ]
    return tuple(sorted(stacks, key=lambda stack: stack.name))


def _stack(folder: Path, name: str, artifact: Mapping[str, Any]) -> Stack:
    account, region = artifact["environment"].removeprefix("aws://").split("/")
    return Stack(
        name=name,
        account=account.removeprefix("unknown-account"),
        region=region.removeprefix("unknown-region"),
        properties=artifact["properties"],
        template=json.loads((folder / artifact["properties"]["templateFile"]).read_text()),
        folder=folder,
    )


def commit(revision: str) -> str:
    """Return the short hash of the commit that a revision names.

    Raises
    ------
    AssemblyError
        If this clone has no such revision.
    """
    # After `--end-of-options`, so that a revision can't be taken for an option.
    found = _git("rev-parse", "--verify", "--quiet", "--short", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode != 0:
        raise AssemblyError(f"This clone has no revision {revision!r} to compare with: fetch it first.")
    return found.stdout.decode().strip()


def synthesize_revision(revision: str, context: Mapping[str, str], scratch: Path) -> tuple[Stack, ...]:
    """Synthesize another revision with its own app, in this Python environment and without building its layer.

    Parameters
    ----------
    revision
        A commit of this clone.
    context
        The stage and the settings that were given on the command line.
    scratch
        An empty folder, which has to stay for as long as the stacks are used.

    Raises
    ------
    AssemblyError
        If that revision's app fails; after the first line the text has what it said last.
    """
    source, assembly = scratch / "source", scratch / "assembly"
    archive = _git("archive", "--format=tar", commit(revision))
    if archive.returncode != 0:
        raise AssemblyError(archive.stderr.decode().strip())
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(source, filter="data")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"CDK_OUTDIR": str(assembly), "CDK_CONTEXT_JSON": json.dumps(_context(source, context))}
    app = [sys.executable, "-m", "app"]
    done = subprocess.run(app, cwd=source, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-LAST_WORDS:]
        raise AssemblyError("\n".join([f"its app ended with code {done.returncode}", *said]))
    return read_assembly(assembly)


def _context(source: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Context as the CDK command line gives it: of `cdk.json`, then of `cdk.context.json`, then what was given."""
    context: dict[str, Any] = json.loads((source / "cdk.json").read_text())["context"]
    for folder in (source, REPOSITORY):
        if (folder / "cdk.context.json").exists():
            context |= json.loads((folder / "cdk.context.json").read_text())
            break
    return {**context, **given, "aws:cdk:bundling-stacks": []}


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=False)  # noqa: S603, S607
