"""Verifies a deployed stage: `python -m acceptance.verification --stage dev`.

Exit status: 0 when every check held that was not skipped, 1 when one did not or could not be made, 2 when nothing was
tried, since the stage, a setting or the credentials are not right.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from acceptance.verification import cleanup
from acceptance.verification.check import Check, trouble
from acceptance.verification.checks import (
    access,
    contents,
    delivery,
    events,
    observability,
    operations,
    replicas,
    storage,
    tables,
    verdicts,
)
from acceptance.verification.page import Page
from acceptance.verification.run import Run, new_run_id
from cli.stage import OperationError
from imaging_pipeline.stages.config import StageConfig
from imaging_pipeline.stages.definitions import StageError, stage_config
from runtime.observability.redaction import suppress_diagnostics

CHECKS: Final[Sequence[Check]] = (
    cleanup.leftovers,
    *verdicts.VERDICTS,
    verdicts.ledger_row,
    events.subscribed,
    *contents.CHECKS,
    *storage.CHECKS,
    *tables.CHECKS,
    *delivery.CHECKS,
    *verdicts.REPLAY,
    verdicts.audit_records,
    operations.report,
    events.announced,
    # What takes its time comes last. Alarms are looked at before anything is asked for that must be refused.
    *observability.CHECKS,
    *operations.CHECKS,
    *access.CHECKS,
    replicas.replicated,
    events.study_announced,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks, remove what they made, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m acceptance.verification", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="SETTING=VALUE", help="as the stage was deployed with"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    options = parser.parse_args(arguments)
    try:
        config = stage_config(options.stage, dict(setting.split("=", 1) for setting in options.context))
        run = _begin(config)
    except ValueError as error:
        parser.exit(2, f"{error if isinstance(error, StageError) else 'Say a setting as <setting>=<value>.'}\n")
    except (OperationError, ClientError, BotoCoreError) as error:
        parser.exit(2, f"{trouble(error)}\n")
    page = Page(as_json=options.json)
    try:
        with suppress_diagnostics(), ExitStack() as made:
            page.add(CHECKS[0].line(run))
            made.callback(lambda: page.add(cleanup.own.line(run)))
            for check in CHECKS[1:]:
                page.add(check.line(run))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. What is left, a run removes that begins an hour after this one.\n")
        return 1
    finally:
        page.close()
    return 0 if page.passed else 1


def _begin(config: StageConfig) -> Run:
    """Return a run against the stage that the settings mean.

    Raises
    ------
    OperationError
        The credentials are of another account, or there is no such stage.
    """
    if config.region:
        boto3.setup_default_session(region_name=config.region)
    run = Run(config, new_run_id())
    account = run.stage.principal.split(":")[4]
    if config.account not in (None, account):
        raise OperationError(f"The credentials are of account {account}, and the stage is of {config.account}.")
    run.raw_bucket  # noqa: B018 - looked up, so that a stage that isn't there is told at once
    return run


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: what was made is removed
    sys.exit(main())
