"""Waiting for what a stage does by and by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_SECONDS = 2.0

Answer = TypeVar("Answer")


class NotSeenError(Exception):
    """What was waited for did not come. The text is one sentence, without keys."""


def until(look: Callable[[], Answer | None], deadline: float, told: Callable[[], str]) -> Answer:
    """Look again and again until there is an answer.

    Parameters
    ----------
    look
        Returns None where it has to be asked again.
    deadline
        By `time.monotonic`; a look is made once, however late it is.
    told
        Returns what is said when it has passed.

    Raises
    ------
    NotSeenError
        There was none by then.
    """
    while (answer := look()) is None:
        if time.monotonic() > deadline:
            raise NotSeenError(told())
        time.sleep(POLL_SECONDS)
    return answer
