"""Print the review of the assembly in `cdk.out`, and write it beside the templates as `review.md`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging_pipeline.operations.review.assembly import (
    ASSEMBLY,
    AssemblyError,
    commit,
    read_assembly,
    synthesize_revision,
)
from imaging_pipeline.operations.review.page import Review, details, page

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
        at_a_glance, folded = _review(Review(read_assembly(options.output)), options.base, context)
    except AssemblyError as error:
        sys.exit(str(error))
    file = options.output / PAGE
    file.write_text(at_a_glance + folded)
    sys.stdout.write(f"{at_a_glance}\nDetails: {os.path.relpath(file)}\n")
    return 0


def _review(now: Review, revision: str | None, context: Mapping[str, str]) -> tuple[str, str]:
    """Return the page and its details."""
    if revision is None:
        return _text(now, None, "nothing: BASE=<revision> compares")
    named = f"{revision} ({commit(revision)})"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            base = Review(synthesize_revision(revision, context, Path(scratch)))
        except AssemblyError as error:
            reason, *said = str(error).splitlines()
            at_a_glance, folded = _text(now, None, f"**UNKNOWN: {named} could not be synthesized: {reason}**")
            return at_a_glance, "\n".join(["", "```", *(said or ["It said nothing."]), "```", folded])
        return _text(now, base, named)


def _text(now: Review, base: Review | None, compared_with: str) -> tuple[str, str]:
    return "\n".join(page(now, base, compared_with)) + "\n", "\n".join(details(now, base)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
