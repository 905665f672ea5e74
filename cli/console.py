"""What the commands for operators share: the stage's argument, how rows are printed, and how trouble is told."""

import argparse
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)
from pydantic import BaseModel

from cli.parser import add_json_argument, unknown
from cli.stage import OperationError, connect
from cli.tables import text_table
from runtime.aws.retries import is_transient
from runtime.dicom.findings import FINDINGS
from runtime.observability.redaction import error_code

Command = Callable[[argparse.Namespace], int]
TROUBLE: Final = (OperationError, ClientError, BotoCoreError)
"""What may keep a command from its work."""


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage and where it is, and the choice between a table for people and JSON Lines for machines.

    `--region` and `--profile` mean what they mean to the AWS CLI. A de-identification profile has another name where a
    command takes one besides.
    """
    stage = os.environ.get("STAGE")
    parser.add_argument(
        "--stage",
        default=stage,
        required=not stage,
        help="name of the stage, as dev or prod; default $STAGE",
    )
    parser.add_argument("--region", help="AWS region of the stage; default AWS_REGION, or the AWS profile's")
    parser.add_argument("--profile", dest="aws_profile", help="AWS profile whose credentials are used")
    add_json_argument(parser)


def moment(text: str) -> str:
    """Parse a time in UTC, or its beginning: it is compared with the ledger's times as text."""
    beginning = text.removesuffix("Z").replace(" ", "T")
    if re.fullmatch(r"\d{4}-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,3})?)?)?)?)?", beginning, re.ASCII) is None:
        raise argparse.ArgumentTypeError("say it in UTC as 2026-11-23 or 2026-11-23T14:30")
    try:
        datetime.fromisoformat(beginning + "0001-01-01T00:00:00.000"[len(beginning) :])
    except ValueError:
        raise argparse.ArgumentTypeError(f"no calendar or clock has {text}") from None
    return beginning


def reason_code(text: str) -> str:
    """Parse the code of a reason for which an object is in quarantine."""
    if text not in FINDINGS:
        raise argparse.ArgumentTypeError(unknown(text, FINDINGS))
    return text


def tells_trouble(command: Command) -> Command:
    """Make a command say in a sentence what kept it from its work, and return 1, instead of raising.

    What AWS answers may quote keys, so its error code is told and not its text.
    """

    @functools.wraps(command)
    def run(arguments: argparse.Namespace) -> int:
        try:
            connect(arguments.aws_profile, arguments.region)
            return command(arguments)
        except TROUBLE as error:
            complain(arguments, sentence(error))
            return 1

    return run


def sentence(error: Exception) -> str:
    """Return what there is to say of one of `TROUBLE`."""
    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {error_code(error)}.{_advice(error_code(error))}"
    if isinstance(error, BotoCoreError):
        return next((text for kinds, text in _CAUSES.items() if isinstance(error, kinds)), _UNREACHABLE)
    return str(error)


_CAUSES: Final[dict[tuple[type[BotoCoreError], ...], str]] = {
    (NoRegionError,): "No region is chosen: add --region, or set AWS_REGION.",
    (ProfileNotFound,): "The AWS configuration has no such profile: check --profile, or AWS_PROFILE.",
    (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, SSOError): (
        "There are no usable AWS credentials: sign in, or name an AWS profile with --profile."
    ),
}
_UNREACHABLE: Final = "AWS can't be reached: check region and network."


def _advice(code: str) -> str:
    if code.startswith("AccessDenied"):
        return " The credentials lack the right to it: docs/rights.md says what each command needs."
    if code.startswith(("ExpiredToken", "UnrecognizedClient", "InvalidClientTokenId")):
        return " The credentials are not accepted any more: sign in again."
    return ""


def start_each(arguments: argparse.Namespace, object_ids: Sequence[str], start: Callable[[str], bool]) -> int:
    """Start an attempt at each object, print the outcomes, and return the exit status.

    What is refused for one object keeps no other back. After trouble that all would meet, the rest is not tried.
    """
    outcomes: dict[str, str] = dict.fromkeys(object_ids, "not tried")
    started = 0
    for object_id in outcomes:
        try:
            outcomes[object_id] = "started" if start(object_id) else "already started"
            started += 1
        except TROUBLE as error:
            outcomes[object_id] = sentence(error).removeprefix(f"{object_id}: ")
            if _all_would_meet(error):
                break
    if arguments.json:
        print_json({"object_id": object_id, "outcome": outcome} for object_id, outcome in outcomes.items())
    else:
        print_table(("OBJECT", "OUTCOME"), outcomes.items())
    undone = len(outcomes) - started
    complain(arguments, f"{started} started, {undone} not")
    return 1 if undone else 0


def _all_would_meet(error: Exception) -> bool:
    """Tell whether AWS is away or throttles, or does not know the caller or what he may do."""
    denied = isinstance(error, ClientError) and error_code(error).startswith(("AccessDenied", "ExpiredToken"))
    return denied or isinstance(error, BotoCoreError) or is_transient(error)


def complain(arguments: argparse.Namespace, sentence: str) -> None:
    """Say on standard error what went wrong, or how much was done."""
    sys.stderr.write(f"{arguments.command}: {sentence}\n")


def print_json(models: Iterable[BaseModel | dict[str, object]]) -> None:
    """Print one JSON object a line."""
    for model in models:
        document = model.model_dump(mode="json") if isinstance(model, BaseModel) else model
        sys.stdout.write(f"{json.dumps(document)}\n")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as wide as the terminal."""
    sys.stdout.write(text_table([header, *rows]))
