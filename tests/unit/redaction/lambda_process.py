"""A process as Lambda's runtime makes it, which fails in every way: `python -m tests.unit.redaction.lambda_process`.

Writes the segments that the X-Ray daemon was sent to the file descriptor that it is given, one JSON object a line.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time

daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
daemon.bind(("127.0.0.1", 0))
daemon.settimeout(0.3)
os.environ["AWS_XRAY_DAEMON_ADDRESS"] = f"127.0.0.1:{daemon.getsockname()[1]}"

root = logging.StreamHandler(sys.stdout)  # which Lambda's runtime has set before it imports a function
root.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
logging.getLogger().addHandler(root)
logging.getLogger().setLevel(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))

from typing import Any  # noqa: E402

from aws_lambda_powertools.utilities.typing import LambdaContext  # noqa: E402

from runtime.contract.objects import ObjectCoordinates  # noqa: E402
from runtime.contract.steps import StepResponse  # noqa: E402
from runtime.observability.entry_points import StepFailedError, entry_point, logger, step  # noqa: E402
from tests.unit.intake.conftest import Context  # noqa: E402
from tests.unit.redaction.provocations import ERRORS, EXITS, KEY  # noqa: E402

BY_NAME = {provoke.__name__: provoke for provoke in (*ERRORS, *EXITS)}
ANSWER = StepResponse.rejected(ObjectCoordinates(bucket="raw", key=KEY, version_id="1", size=1, etag=""), [])
"""It tells the coordinates, which the workflow needs and nobody else may read."""


@step
def a_step(event: dict[str, Any]) -> StepResponse:
    logging.getLogger("botocore.endpoint").debug("Making request for %s", KEY)
    logger.info("%d", KEY)  # can't be formatted: Python would quote it
    if "sleep" in event:
        sys.stdout.write("asleep\n")
        sys.stdout.flush()
        time.sleep(60)
    if "provoke" in event:
        BY_NAME[event["provoke"]]()
    return ANSWER


@entry_point
def an_entry_point(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if "provoke" in event:
        BY_NAME[event["provoke"]]()
    return ANSWER.model_dump(mode="json")


def received() -> list[str]:
    """Return what the daemon was sent since the last time."""
    segments = []
    while True:
        try:
            segments.append(daemon.recv(65536).decode())
        except TimeoutError:
            return segments


def main() -> None:
    if "sleep" in sys.argv:
        a_step({"key": KEY, "sleep": True}, Context())
    for handler in (a_step, an_entry_point):
        handler({"key": KEY}, Context())
        for name in BY_NAME:
            try:
                handler({"key": KEY, "provoke": name}, Context())
            except StepFailedError:
                continue
            sys.stdout.write(f"{name} was not told\n")
    with os.fdopen(int(sys.argv[1]), "w") as out:
        out.writelines(json.dumps(segment) + "\n" for segment in received())


if __name__ == "__main__":
    main()
