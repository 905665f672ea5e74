"""Input, items and results of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from runtime.contract.models import Frozen


class ReplayFilter(Frozen):
    """Which objects a replay runs again: those to which everything given here applies."""

    requested_at: str = Field(description="ISO 8601, UTC; an object whose row changed since is not run once more")
    unfinished: bool = Field(default=False, description="only those without a result, a quarantine or a duplicate")
    reason_code: str | None = Field(default=None, description="only those quarantined for this reason")
    received_since: str | None = Field(default=None, description="ISO 8601, UTC, or its beginning")
    received_before: str | None = Field(default=None, description="ISO 8601, UTC, or its beginning")
    profile_hash: str | None = Field(default=None, description="only those that this profile wrote, or its beginning")


class ReplayInput(Frozen):
    """Input of the replay workflow."""

    prefix: str = Field(description="of keys in the raw bucket; empty: all of them")
    filter: ReplayFilter


class Replayed(StrEnum):
    """What a replay did with an object version."""

    STARTED = "started"
    """its attempt was opened after the replay was asked for, by the replay itself as a rule, and runs"""
    NOT_SELECTED = "not-selected"
    IN_WORK = "in-work"
    """an older attempt is running: its verdict is still to come"""
    SINCE = "changed-since"
    """the row changed after the replay was asked for, by the replay itself perhaps"""


class ReplayAnswer(Frozen):
    """What the replay function answers; the workflow's results in the operations bucket hold one for each key."""

    outcomes: Mapping[str, Replayed] = Field(description="by object id, one for each version; none if not accepted")
    in_work: str | None = Field(
        default=None, description="object id of the version whose verdict is waited for; the next follows after it"
    )


class ReplayItem(Frozen):
    """What the replay function is asked: one key that the workflow listed."""

    bucket: str
    key: str
    filter: ReplayFilter
    answer: ReplayAnswer | None = Field(default=None, description="to the question before about this key")
