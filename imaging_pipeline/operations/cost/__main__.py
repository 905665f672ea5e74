"""Print what a stage costs: `python -m imaging_pipeline.operations.cost --stage dev`, which `make cost` runs.

Left out: what isn't delivered, downloads of results, storage of access logs and of the trail, completeness's ticks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import inf, nan
from typing import Final

from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.monthly import fixed, kept
from imaging_pipeline.operations.cost.per_object import bill
from imaging_pipeline.operations.cost.report import Bill, report
from imaging_pipeline.operations.cost.templates import Templates, synthesize
from imaging_pipeline.stages.definitions import StageError

WORKFLOW_TYPES: Final = ("STANDARD", "EXPRESS")
OBJECTS_PER_DAY: Final = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bills of both workflow types, what was assumed, and where the prices are from."""
    parser = argparse.ArgumentParser(prog="python -m imaging_pipeline.operations.cost", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--objects-per-day", default=str(OBJECTS_PER_DAY), metavar="NUMBER")
    parser.add_argument("--context", action="append", default=[], metavar="SETTING=VALUE", help="as with cdk")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ASSUMPTION=NUMBER", help="instead of the default"
    )
    options = parser.parse_args(arguments)
    try:
        objects_per_day = _number("objects per day", options.objects_per_day, least=0)
        assumed = Assumptions(**_numbers(_pairs(options.set)))
        settings = _pairs(options.context)
        bills = {
            kind: _bill(synthesize(options.stage, {**settings, "workflow_type": kind}), assumed, objects_per_day)
            for kind in WORKFLOW_TYPES
        }
    except (StageError, LookupError) as error:
        sys.exit(str(error))
    lines = report(options.stage, bills, assumed, objects_per_day=objects_per_day)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _bill(templates: Templates, assumed: Assumptions, objects_per_day: float) -> Bill:
    return Bill(
        million=bill(templates, assumed),
        fixed=fixed(templates, assumed),
        kept=kept(templates, assumed, objects_per_day=objects_per_day),
    )


def _pairs(given: Sequence[str]) -> dict[str, str]:
    """Return names and values.

    Raises
    ------
    LookupError
        If something is no pair.
    """
    for each in given:
        if "=" not in each:
            raise LookupError(f"{each!r} says no value: write it as <name>=<value>.")
    return dict(each.split("=", 1) for each in given)


def _numbers(given: Mapping[str, str]) -> dict[str, float]:
    """Return assumptions by name.

    Raises
    ------
    LookupError
        If there is none of a name, or its value is no number that makes sense.
    """
    least = {each.name: each.metadata["least"] for each in fields(Assumptions)}
    for name in given:
        if name not in least:
            raise LookupError(f"There is no assumption {name!r}: choose one of {', '.join(least)}.")
    return {name: _number(name, value, least=least[name]) for name, value in given.items()}


def _number(name: str, value: str, *, least: float) -> float:
    """Return a finite number of at least this much.

    Raises
    ------
    LookupError
        If it is none.
    """
    try:
        number = float(value)
    except ValueError:
        number = nan
    if not least <= number < inf:
        raise LookupError(f"{name} = {value!r} is no number of {least:g} or more.")
    return number


if __name__ == "__main__":
    sys.exit(main())
