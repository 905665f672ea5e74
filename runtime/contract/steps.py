"""Answers of the workflow's steps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Self

from pydantic import Field

from runtime.contract.models import Frozen
from runtime.contract.names import TAG_VALUE_LENGTH
from runtime.contract.objects import Finding, ObjectCoordinates, ObjectFacts, Severity


class StatusCode(IntEnum):
    """Verdict of a step. Any other failure is an exception, which Step Functions retries or catches."""

    ACCEPTED = 200
    REJECTED = 422


class IngestionBody(Frozen):
    """Body of an accepted ingestion."""

    object: ObjectCoordinates
    object_id: str
    study_id: str | None = Field(description="32 hexadecimal digits of SHA-256 over Study Instance UID")
    facts: ObjectFacts


class ValidationBody(Frozen):
    """Body of an accepted validation."""

    warning_count: int
    warning_codes: list[str]
    bytes_read: int


class PixelIdentity(StrEnum):
    """Proof that the result's bulk data is that of its origin, byte for byte, without reading it."""

    PROVED = "proved"
    """the source's bulk data: the full-object CRC-64/NVME of source and result agree"""
    PROVED_STAGED = "proved-staged"
    """the staged object's, which differs from the source's: their full-object CRC-64/NVME agree"""
    NO_CHECKSUM = "no-full-object-checksum"
    """origin or result has no full-object CRC-64/NVME to compare; sizes agree"""
    NO_BULK_DATA = "no-bulk-data"
    RE_ENCODED = "re-encoded"
    """of a deflated object, which was inflated and deflated again: no checksum of S3 covers its bulk data alone"""


class Outcome(StrEnum):
    """Outcome of an accepted de-identification."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    """same SOP Instance UID and bytes as a delivered object; nothing was written"""


class DeidentificationBody(Frozen):
    """Body of an accepted de-identification."""

    outcome: Outcome
    duplicate_of: str | None = Field(default=None, description="object id")
    output_key: str
    output_size: int
    profile: str
    profile_hash: str
    key_id: str
    action_counts: Mapping[str, int]
    risks: list[str]
    pixel_identity: PixelIdentity | None = Field(description="None where nothing was written")
    bytes_read: int
    bytes_written: int


class AppliedProfile(Frozen):
    """Profile and key by which an object was judged; empty where none was applied."""

    profile: str = ""
    profile_hash: str = ""
    key_id: str = ""


class RejectionBody(AppliedProfile):
    """Body of a rejection: every finding, and the distinct error codes in one string that fits an S3 tag."""

    object: ObjectCoordinates
    object_id: str
    reason_codes: str = Field(
        max_length=TAG_VALUE_LENGTH, description="error codes joined by a space, as many as an S3 tag's value holds"
    )
    findings: list[Finding]


class StepResponse(Frozen):
    """Answer of every step."""

    statusCode: StatusCode  # noqa: N815 - the name the workflow's Choice states read
    body: IngestionBody | ValidationBody | DeidentificationBody | RejectionBody

    @classmethod
    def accepted(cls, body: IngestionBody | ValidationBody | DeidentificationBody) -> Self:
        """Return the answer 200: the next step goes on."""
        return cls(statusCode=StatusCode.ACCEPTED, body=body)

    @classmethod
    def rejected(
        cls, object_: ObjectCoordinates, findings: list[Finding], applied: AppliedProfile | None = None
    ) -> Self:
        """Return the answer 422: the object is quarantined for these findings, by this profile if one was applied."""
        codes = dict.fromkeys(finding.code for finding in findings if finding.severity is Severity.ERROR)
        body = RejectionBody(
            object=object_,
            object_id=object_.object_id,
            reason_codes=f"{' '.join(codes)} "[: TAG_VALUE_LENGTH + 1].rpartition(" ")[0],  # whole codes only
            findings=findings,
            **(applied or AppliedProfile()).model_dump(),
        )
        return cls(statusCode=StatusCode.REJECTED, body=body)
