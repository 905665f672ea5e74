"""Input, items and results of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from runtime.contract.models import Frozen


class ReplayFilter(Frozen):
    """Filter of a replay. It selects objects to which every given field applies."""

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
    """Outcome of a replay for an object version."""

    STARTED = "started"
    """an attempt that was opened since the replay was requested runs"""
    NOT_SELECTED = "not-selected"
    IN_WORK = "in-work"
    """an older attempt runs, without a verdict yet"""
    SINCE = "changed-since"
    """the row changed since the replay was requested"""


class ReplayAnswer(Frozen):
    """Answer of the replay function about a key. The workflow writes the last ones to the operations bucket."""

    outcomes: Mapping[str, Replayed] = Field(description="by object id, one for each version; none if not accepted")
    in_work: str | None = Field(
        default=None, description="object id of the version whose verdict is waited for; the next follows after it"
    )


class ReplayItem(Frozen):
    """Request to the replay function about a key."""

    bucket: str
    key: str
    filter: ReplayFilter
    answer: ReplayAnswer | None = Field(default=None, description="to the question before about this key")
