"""Waiting out trouble that passes: throttling is back-pressure, not failure."""

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
RESERVE: Final = 20.0
"""Seconds that must be left to begin another attempt, which may wait for a time-out itself."""

START_SECONDS: Final = 60.0
"""How long one start waits where many are to be made, `RESERVE` included."""

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


def patiently(act: Callable[[], Answer], seconds_left: Callable[[], float]) -> Answer:
    """Do something that may be repeated, again after a random pause while trouble passes and time remains.

    Parameters
    ----------
    act
        Harmless to repeat from wherever it fails.
    seconds_left
        Until the function is stopped.
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


def within(seconds: float) -> Callable[[], float]:
    """Return what tells how many of these seconds, which begin now, are left."""
    deadline = time.monotonic() + seconds
    return lambda: deadline - time.monotonic()
