"""Times as the ledger and the audit log write them, and countdowns."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """Return an aware time in UTC as Step Functions writes it. Such texts sort by time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """Return the present time as a `timestamp`."""
    return timestamp(datetime.now(UTC))


def countdown(seconds: float) -> Callable[[], float]:
    """Return a countdown of `seconds` that begins now: a function that returns the seconds left."""
    deadline = time.monotonic() + seconds
    return lambda: deadline - time.monotonic()
