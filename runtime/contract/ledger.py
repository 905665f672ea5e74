"""Attributes, statuses, indexes and update expressions of the ledger, for functions and state machine alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from runtime.contract.indexes import Index
from runtime.contract.models import Frozen


class LedgerStatus(StrEnum):
    """Status of an object version; the first two are of one in work, the others ends."""

    RECEIVED = "received"
    RUNNING = "running"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    """its key is none that the stage accepts; its attempt is 0, so that it can be started once the key is"""

    @property
    def rank(self) -> int:
        """Order within an attempt: a row never goes to a lower or equal rank.

        A failure ranks below the other verdicts, since a redrive or a second execution of the attempt may reach one.
        """
        return {LedgerStatus.RECEIVED: 0, LedgerStatus.RUNNING: 1, LedgerStatus.FAILED: 2}.get(self, 3)


class LedgerIndex(StrEnum):
    """Indexes of the ledger."""

    IN_WORK = "in-work"
    BY_VERDICT = "by-verdict"
    BY_STUDY = "by-study"


class LedgerAttribute(StrEnum):
    """Attributes of an object's row in the ledger."""

    OBJECT_ID = "object_id"
    """the table's key"""
    BUCKET = "bucket"
    KEY = "key"
    VERSION_ID = "version_id"
    SIZE = "size"
    ETAG = "etag"
    STATUS = "status"
    RANK = "rank"
    ATTEMPT = "attempt"
    RECEIVED_AT = "received_at"
    UPDATED_AT = "updated_at"
    STUDY_ID = "study_id"
    EXECUTION = "execution"
    REQUESTED_PROFILE = "requested_profile"
    RELEASES = "releases"
    DISMISSAL = "dismissal"
    OUTPUT_KEY = "output_key"
    PROFILE = "profile"
    PROFILE_HASH = "profile_hash"
    KEY_ID = "key_id"
    REASON_CODES = "reason_codes"
    ERROR = "error"
    DUPLICATE_OF = "duplicate_of"
    OPENED_AT = "opened_at"
    """when the attempt was opened"""
    WORK_SHARD = "work_shard"
    """a shard of `IN_WORK`, until there is a verdict"""
    VERDICT_SHARD = "verdict_shard"
    """a shard of the status, while that is a verdict"""
    EXPIRES_AT = "expires_at"
    """seconds since 1970, when DynamoDB removes the item; none: never"""


IN_WORK: Final = "in-work"
"""Kind of the rows without a verdict."""


STUDY_ITEMS: Final = "study#"
"""Prefix of the items that hold the last announced revision of a study."""

TIME_CURSORS: Final = "checkpoint#"
"""Prefix of the items that hold a time up to which a scheduled check got."""

SCAN_CURSORS: Final = "place#"
"""Prefix of the items that hold where a scan of all objects goes on, which may be an object's key."""


class RowProjection(Frozen):
    """Ledger row without coordinates; safe for the research zone.

    The completeness function, which writes there, may read these attributes and no others.
    """

    object_id: str
    status: LedgerStatus
    attempt: int
    updated_at: str
    study_id: str | None = None
    output_key: str | None = None
    profile: str | None = None
    profile_hash: str | None = None
    key_id: str | None = None
    reason_codes: str | None = Field(default=None, description="joined by a space")


LEDGER_INDEXES: Mapping[LedgerIndex, Index] = {
    LedgerIndex.IN_WORK: Index(LedgerAttribute.WORK_SHARD, LedgerAttribute.OPENED_AT, ()),
    LedgerIndex.BY_VERDICT: Index(
        LedgerAttribute.VERDICT_SHARD,
        LedgerAttribute.UPDATED_AT,
        (LedgerAttribute.STUDY_ID, LedgerAttribute.OUTPUT_KEY),
    ),
    LedgerIndex.BY_STUDY: Index(
        LedgerAttribute.STUDY_ID,
        LedgerAttribute.OBJECT_ID,
        tuple(name for name in RowProjection.model_fields if name not in {"object_id", "study_id"}),
    ),
}
"""Each projects what is asked of it and nothing else, since an index pays for the change of a projected attribute."""


LEDGER_CONDITION = "#attempt < :attempt OR (#attempt = :attempt AND #rank < :rank)"
"""Condition of every change of a row. Where it doesn't hold, the change is late or a duplicate, and no failure."""


_PROGRESS = (LedgerAttribute.STATUS, LedgerAttribute.RANK, LedgerAttribute.ATTEMPT, LedgerAttribute.UPDATED_AT)


_OF_A_VERDICT = (
    LedgerAttribute.VERDICT_SHARD,
    LedgerAttribute.REASON_CODES,
    LedgerAttribute.ERROR,
    LedgerAttribute.DUPLICATE_OF,
)


def ledger_update(*attributes: LedgerAttribute) -> str:
    """Return the update expression that sets a row's progress and these attributes.

    Each value's placeholder is named after its attribute, as ``:status``. Attributes of other verdicts are removed.
    """
    sets = (*_PROGRESS, *attributes)
    removes = [attribute for attribute in _OF_A_VERDICT if attribute not in attributes]
    return (
        f"SET {', '.join(f'#{attribute} = :{attribute}' for attribute in sets)}"
        f" REMOVE {', '.join(f'#{attribute}' for attribute in removes)}"
    )


def _verdict(*attributes: LedgerAttribute) -> str:
    return f"{ledger_update(LedgerAttribute.VERDICT_SHARD, *attributes)}, #{LedgerAttribute.WORK_SHARD}"


LEDGER_VERDICTS: Mapping[LedgerStatus, str] = {
    LedgerStatus.DELIVERED: _verdict(
        LedgerAttribute.OUTPUT_KEY, LedgerAttribute.PROFILE, LedgerAttribute.PROFILE_HASH, LedgerAttribute.KEY_ID
    ),
    LedgerStatus.QUARANTINED: _verdict(LedgerAttribute.REASON_CODES),
    LedgerStatus.FAILED: _verdict(LedgerAttribute.ERROR),
    LedgerStatus.DUPLICATE: _verdict(LedgerAttribute.DUPLICATE_OF, LedgerAttribute.OUTPUT_KEY),
}
"""The update expression that records each verdict, under `LEDGER_CONDITION`."""


def expression_names(*expressions: str) -> dict[str, str]:
    """Return the attribute name of each placeholder, as ``#status``, in DynamoDB expressions."""
    return {name: name[1:] for name in re.findall(r"#\w+", " ".join(expressions))}
