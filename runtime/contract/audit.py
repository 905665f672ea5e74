"""Records of the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from runtime.contract.indexes import Index
from runtime.contract.models import Published


class AuditEvent(StrEnum):
    """What the audit log records: the verdicts, what people decide, and what is handed out."""

    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    RELEASED = "released"
    """a person decided that an object's risks don't keep it in quarantine"""
    DISMISSED = "dismissed"
    """a person decided that nothing more is to be done about an object in quarantine"""
    LINK_ISSUED = "link-issued"


class AuditIndex(StrEnum):
    """Indexes of the audit tables."""

    BY_EVENT = "by-event"
    BY_STUDY = "by-study"


EVENT_SHARD: Final = "event_shard"
"""Attribute of an audit table's items besides those of the record: a shard of its event."""


AUDIT_INDEXES: Mapping[AuditIndex, Index] = {
    AuditIndex.BY_EVENT: Index(EVENT_SHARD, "at", None),
    AuditIndex.BY_STUDY: Index("output_study", "output_key", None),
}
"""Both project whole records, which answer every query."""


class AuditRecord(Published):
    """What happened, once: a record is added and never changed.

    Names patients by pseudonyms and raw objects by their id; people who decide or download are named.
    """

    subject: str = Field(description="object id; of a download link the output key, since who links knows no more")
    record_id: str = Field(description="of the subject: <attempt>#<verdict>, or random for what a person did")
    event: AuditEvent
    at: str = Field(description="ISO 8601, UTC")
    attempt: int | None = Field(default=None, description="that reached the verdict, or that a release starts")
    execution: str | None = Field(default=None, description="ARN")
    code_version: str | None = Field(
        default=None, description="of the functions: python -m imaging_pipeline.building_blocks.runtime_code"
    )
    profile: str | None = None
    profile_hash: str | None = None
    key_id: str | None = Field(default=None, description="of the pseudonym key")
    output_study: str | None = Field(default=None, description="<patient>/<study>, the beginning of output_key")
    output_key: str | None = None
    duplicate_of: str | None = Field(default=None, description="object id")
    reason_codes: str | None = Field(default=None, description="joined by a space; of a decision: what it is about")
    error: str | None = Field(default=None, description="name of the error with which the attempt failed")
    principal: str | None = Field(default=None, description="ARN of the caller, as AWS STS knows it")
    by: str | None = Field(default=None, description="name that the person who decided gave")
    reason_sha256: str | None = Field(default=None, description="of the decision's reason, whose text the ledger has")
    recipient: str | None = Field(default=None, description="for whom or for what a link was asked")
    expires_at: str | None = Field(default=None, description="ISO 8601, UTC; the link's end")


def verdict_record_id(attempt: int | str, event: AuditEvent) -> str:
    """Return the id of a verdict's record, the same for every repetition."""
    return f"{attempt}#{event}"


def audit_insert(table: str, attributes: Iterable[str]) -> str:
    """Return the PartiQL statement that adds a record with these attributes, with their values as parameters.

    INSERT refuses an existing key. So the right to it, unlike the right to PutItem, is no right to overwrite.
    """
    values = ", ".join(f"'{attribute}': ?" for attribute in attributes)
    return f'INSERT INTO "{table}" VALUE {{{values}}}'
