"""`imaging-pipeline links`: time-limited download links on the command line."""

import argparse
import os
import re
import sys

from cli import console
from cli.operations import links as delivery
from cli.operations.links import DEFAULT_EXPIRY_SECONDS, MAXIMUM_EXPIRY_SECONDS, DeliveryError
from cli.operations.objects import result_key
from cli.stage import Stage
from cli.tables import printable
from runtime.contract.names import Output

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    parser.add_argument(
        "--expires",
        type=_seconds,
        default=DEFAULT_EXPIRY_SECONDS,
        metavar="DURATION",
        help="how long the links live, as 90s, 30m, 2h or 7d (the most); default 1h, "
        "less where the session of the AWS credentials ends before",
    )
    parser.add_argument(
        "--for",
        dest="recipient",
        type=_recipient,
        required=True,
        metavar="WHOM",
        help="who gets the links, or for what: kept in the audit log with who asked",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--prefix", help="every object whose key begins so")
    which.add_argument("keys", nargs="*", default=[], metavar="KEY", help="a result's key, or an object's id")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Print a link a line, and on standard error why there is none, for the objects asked for."""
    delivery.logger.setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "ERROR"))  # the messages say it already
    stage = Stage(arguments.stage)
    try:
        handler = delivery.PresignedUrlHandler(
            stage.output(Output.PROCESSED_BUCKET_NAME),
            stage.region,
            audit=stage.link_audit,
            recipient=arguments.recipient,
            session=stage.session,
        )
        keys = [result_key(stage, text) for text in arguments.keys] or list(handler.keys(arguments.prefix))
        batch = handler.generate_secure_download_urls(keys, arguments.expires)
    except DeliveryError as error:
        console.complain(arguments, str(error))
        return 1
    if not keys:
        console.complain(arguments, "no object's key begins with this prefix.")
        return 1
    if arguments.json:
        console.print_json([*batch.links, *batch.failures])
    else:
        for link in batch.links:
            sys.stdout.write(f"{link.url}\n")
        for failure in batch.failures:
            console.complain(arguments, f"{printable(failure.key)}: {failure.message}")
    until = min((f" until {link.expires_at:%Y-%m-%d %H:%M} UTC" for link in batch.links), default="")
    console.complain(arguments, f"{len(batch.links)} given{until}, {len(batch.failures)} failed")
    return 1 if batch.failures else 0


def _seconds(duration: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", duration)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAXIMUM_EXPIRY_SECONDS:
        raise argparse.ArgumentTypeError("say it as 90s, 30m, 2h or 7d, from 1s to 7d")
    return seconds


def _recipient(text: str) -> str:
    if not 1 <= len(text.strip()) <= 200:
        raise argparse.ArgumentTypeError("say it in 1 to 200 characters")
    return text.strip()
