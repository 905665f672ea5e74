"""Retries of what AWS throttles: throttling is back-pressure, not failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's own

Answer = TypeVar("Answer")

FIRST_PAUSE: Final = 0.5
"""seconds"""
LONGEST_PAUSE: Final = 10.0
"""seconds"""
RESERVE: Final = 20.0
"""Seconds that must be left to begin another attempt, which may wait for time-outs of a client itself."""

START_SECONDS: Final = 60.0
"""Seconds for one start where many are to be made, `RESERVE` included."""

_BACK_PRESSURE: Final = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "ProvisionedThroughputExceededException"}
    | {"RequestLimitExceeded", "RequestThrottled", "SlowDown", "ExecutionLimitExceeded", "RequestTimeout"}
    | {"KmsThrottlingException"}
)


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    if isinstance(error, ClientError):
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return answer["Error"]["Code"] in _BACK_PRESSURE or status == 429 or status >= 500
    return isinstance(error, ConnectionError | HTTPClientError)


def retry(act: Callable[[], Answer], seconds_left: Callable[[], float]) -> Answer:
    """Call `act`, and again after transient errors, with exponential backoff and full jitter.

    Parameters
    ----------
    act
        An idempotent action.
    seconds_left
        Countdown to the last moment.

    Raises
    ------
    Exception
        The error of `act`, if it isn't transient or too little time is left.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return act()
        except Exception as error:
            if not is_transient(error) or seconds_left() < RESERVE + pause:
                raise
        time.sleep(random.uniform(0, pause))  # noqa: S311 - spreads load, guards no secret
        pause = min(2 * pause, LONGEST_PAUSE)
