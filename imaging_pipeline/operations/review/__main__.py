"""Print the review of the assembly in `cdk.out`, and write it beside the templates as `review.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imaging_pipeline.operations.review.assembly import (
    ASSEMBLY,
    AssemblyError,
    Stack,
    commit,
    read_assembly,
    synthesize_revision,
)
from imaging_pipeline.operations.review.page import changes, summary
from imaging_pipeline.operations.review.sections import every_property, sections

PAGE = "review.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Review what was synthesized, and compare it with what another revision synthesizes for the same stage."""
    parser = argparse.ArgumentParser(
        prog="python -m imaging_pipeline.operations.review", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--base", metavar="REVISION", help="commit, branch or tag to compare with")
    parser.add_argument("-o", "--output", type=Path, default=ASSEMBLY, metavar="FOLDER", help="of the assembly")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="SETTING=VALUE", help="as with cdk")
    # Whatever else the CDK command line was given is its own.
    options, _ = parser.parse_known_args(arguments)
    context = dict(setting.split("=", 1) for setting in options.context if "=" in setting)
    try:
        page = "\n".join(_page(read_assembly(options.output), options.base, context)) + "\n"
    except AssemblyError as error:
        sys.exit(str(error))
    (options.output / PAGE).write_text(page)
    sys.stdout.write(page)
    return 0


def _page(stacks: Sequence[Stack], base: str | None, context: Mapping[str, str]) -> Iterator[str]:
    yield f"# Review of {', '.join(stack.name for stack in stacks)}"
    if base:
        yield from ("", f"## Changes since {base} ({commit(base)})")
        yield from _changes(stacks, base, context)
    yield from summary(sections(stacks))


def _changes(stacks: Sequence[Stack], base: str, context: Mapping[str, str]) -> Iterator[str]:
    try:
        earlier = synthesize_revision(base, context)
    except AssemblyError as error:
        reason, *said = str(error).splitlines()
        yield from ("", f"**Unknown: {base} could not be synthesized for this stage: {reason}.**")
        yield from ("", "```", *(said or ["It said nothing."]), "```")
        return
    compared = _ids(stacks) & _ids(earlier)
    yield from changes(
        [*sections(stacks), every_property(stacks, compared)], [*sections(earlier), every_property(earlier, compared)]
    )


def _ids(stacks: Sequence[Stack]) -> set[tuple[str, str]]:
    return {(stack.name, logical_id) for stack in stacks for logical_id in stack.resources}


if __name__ == "__main__":
    sys.exit(main())
