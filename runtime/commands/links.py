"""`python -m runtime links`: time-limited download links on the command line."""

import argparse
import json
import os
import re
import sys

from runtime import delivery
from runtime.delivery import DEFAULT_EXPIRY_SECONDS, MAXIMUM_EXPIRY_SECONDS, DeliveryError, DownloadBatch

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--bucket", required=True, help="name of the processed bucket")
    parser.add_argument("--region", required=True, help="the bucket's region")
    parser.add_argument(
        "--expires",
        type=_seconds,
        default=DEFAULT_EXPIRY_SECONDS,
        metavar="DURATION",
        help="how long the links live, as 90s, 30m, 2h or 7d (the most); default 1h, "
        "less where the session of the AWS credentials ends before",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--prefix", help="every object whose key begins so")
    which.add_argument("keys", nargs="*", default=[], metavar="KEY", help="an object's key")


def run(arguments: argparse.Namespace) -> int:
    """Print a link, or the reason why there is none, for every object asked for."""
    delivery.logger.setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "ERROR"))  # the table says it already
    try:
        handler = delivery.PresignedUrlHandler(arguments.bucket, arguments.region)
        keys = arguments.keys or list(handler.keys(arguments.prefix))
        batch = handler.generate_secure_download_urls(keys, arguments.expires)
    except DeliveryError as error:
        sys.stderr.write(f"links: {error}\n")
        return 1
    if not keys:
        sys.stderr.write("links: no object's key begins with this prefix.\n")
        return 1
    sys.stdout.write(_json_lines(batch) if arguments.json else _table(batch))
    sys.stderr.write(f"links: {len(batch.links)} given, {len(batch.failures)} failed\n")
    return 1 if batch.failures else 0


def _seconds(duration: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", duration)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAXIMUM_EXPIRY_SECONDS:
        raise argparse.ArgumentTypeError("say it as 90s, 30m, 2h or 7d, from 1s to 7d")
    return seconds


def _json_lines(batch: DownloadBatch) -> str:
    outcomes = [*batch.links, *batch.failures]
    return "".join(f"{json.dumps(each.model_dump(mode='json'))}\n" for each in outcomes)


def _table(batch: DownloadBatch) -> str:
    rows = [("KEY", "EXPIRES", "LINK")]
    rows += [(_printable(link.key), f"{link.expires_at:%Y-%m-%d %H:%M:%SZ}", link.url) for link in batch.links]
    rows += [(_printable(failure.key), failure.code, failure.message) for failure in batch.failures]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "".join(f"{key:{widths[0]}}  {expires:{widths[1]}}  {last}\n" for key, expires, last in rows)


def _printable(key: str) -> str:
    """Escape what would control the terminal or can't be encoded."""
    return key if key.isprintable() else repr(key)
