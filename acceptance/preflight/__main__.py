"""Look for what would keep a stage from being deployed or from its work. Reads only.

Exit status: 0 when nothing will fail, 1 when something will, 2 when it was asked for wrongly.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from acceptance.preflight.aws import UnseenError
from acceptance.preflight.bootstrap import check_bootstrap
from acceptance.preflight.deployed import (
    check_settings,
    check_state,
    check_subscriptions,
    read_deployed,
)
from acceptance.preflight.findings import Finding, Verdict, look, will_fail
from acceptance.preflight.identity import NoPlaceError, Place, check_region, find_place
from acceptance.preflight.names import check_leftovers, check_names
from acceptance.preflight.page import json_lines, table
from acceptance.preflight.plan import Plan, Target, synthesize
from acceptance.preflight.quotas.room import check_room
from acceptance.preflight.quotas.throughput import check_throughput
from acceptance.preflight.region import check_architecture, check_services, check_zones
from imaging_pipeline.stages.definitions import StageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a stage's account and regions, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m acceptance.preflight", description=__doc__, allow_abbrev=False)
    parser.add_argument("--stage", required=True, help="name of the stage, as dev or prod")
    parser.add_argument(
        "-c", "--context", action="append", default=[], type=_setting, metavar="SETTING=VALUE", help="as with cdk"
    )
    parser.add_argument("--objects-per-hour", type=_rate, metavar="NUMBER", help="that the stage is meant to process")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    options = parser.parse_args(arguments)
    try:
        plan = synthesize(options.stage, dict(options.context))
        findings = list(check(plan, find_place(plan), options.objects_per_hour))
    except (StageError, NoPlaceError) as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, StageError) else 1
    sys.stdout.write(json_lines(findings) if options.json else table(findings))
    return 1 if will_fail(findings) else 0


def check(plan: Plan, place: Place, wanted: float | None) -> Iterator[Finding]:
    """Yield everything that is found of a stage, its own region first, then its replica's.

    Parameters
    ----------
    plan
        The stage.
    place
        Its account and region.
    wanted
        Objects an hour that it is meant to process.
    """
    for target in place.targets(plan):
        yield from _check_stack(place, plan, target, wanted)


def _check_stack(place: Place, plan: Plan, target: Target, wanted: float | None) -> Iterator[Finding]:
    aws = place.aws
    yield from look(f"region {target.region}", partial(check_region, place, target))
    yield from look(f"bootstrap {target.region}", partial(check_bootstrap, aws, target))
    try:
        deployed = read_deployed(aws, target)
    except UnseenError as error:
        yield Finding(f"stack {target.region}", Verdict.UNSEEN, f"not looked at: {error}", "its names neither")
        deployed = None
    else:
        yield from check_state(target, deployed)
        yield from check_names(aws, target, deployed)
        if deployed is None:
            yield from look(f"leftovers {target.region}", partial(check_leftovers, aws, target))
    if deployed:
        yield from check_settings(target, deployed)
        yield from look(f"mail {target.region}", partial(check_subscriptions, aws, target))
    yield from check_room(aws, target, deployed)
    if target.stack.name == plan.config.name:
        yield from check_throughput(aws, plan, target, deployed, wanted)
    for ask in (check_services, check_architecture, check_zones):
        yield from look(f"{ask.__name__.removeprefix('check_')} {target.region}", partial(ask, aws, target))


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"say it as SETTING=VALUE, not {text!r}")
    return name, value


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, and {text!r} is not")
    return rate


if __name__ == "__main__":
    sys.exit(main())
