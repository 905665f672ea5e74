"""Events on the stage's bus, and the manifest of a study."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from runtime.contract.models import Published


class EventType(StrEnum):
    """Detail types of what the pipeline announces on the stage's event bus, under the source `PROJECT`."""

    INSTANCE_DELIVERED = "InstanceDelivered"
    INSTANCE_QUARANTINED = "InstanceQuarantined"
    STUDY_DELIVERED = "StudyDelivered"


class Announcement(Published):
    """An event's detail. Consumers outside of the PHI zone read it: pseudonyms, codes and counts, nothing else."""


class InstanceDelivered(Announcement):
    """An object's de-identified copy was written."""

    object_id: str = Field(description="32 hexadecimal digits; the same for every attempt at the same upload")
    attempt: int = Field(ge=1)
    output_key: str = Field(description="<patient>/<study>/<series>/<instance>.dcm, pseudonyms all")
    output_size: int = Field(ge=0, description="bytes")
    profile: str
    profile_hash: str
    modality: str | None
    sop_class_uid: str | None
    transfer_syntax_uid: str


class InstanceQuarantined(Announcement):
    """An object was not released."""

    object_id: str = Field(description="32 hexadecimal digits; the same for every attempt at the same upload")
    attempt: int = Field(ge=1)
    reason_codes: str = Field(description="joined by a space")


class RevisionCause(StrEnum):
    """Why a study was announced."""

    COMPLETE = "complete"
    """for the first time"""
    LATE_OBJECTS = "late-objects"
    """objects of the study arrived after the revision before"""
    REPROCESSED = "reprocessed"
    """the verdict on objects of the revision before, or what was written of them, changed"""


class StudyDelivered(Announcement):
    """A study is complete: no object of it arrived and none was in work for the stage's quiet time.

    The counts are of object versions. They agree with the study's rows in the ledger when it was announced.
    """

    bucket: str = Field(description="that holds the results and the manifest")
    patient_id: str = Field(description="pseudonym")
    study_instance_uid: str = Field(description="pseudonym")
    revision: int = Field(ge=1, description="replaces every lower one of the study")
    cause: RevisionCause
    delivered: int = Field(ge=1)
    quarantined: int = Field(ge=0)
    failed: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    manifest_key: str = Field(description="of a JSON Lines file, one ManifestEntry for each delivered instance")


ANNOUNCEMENTS: Mapping[EventType, type[Announcement]] = {
    EventType.INSTANCE_DELIVERED: InstanceDelivered,
    EventType.INSTANCE_QUARANTINED: InstanceQuarantined,
    EventType.STUDY_DELIVERED: StudyDelivered,
}


class ManifestEntry(Announcement):
    """A line of a study's manifest: one delivered instance."""

    output_key: str
    profile: str
    profile_hash: str
    key_id: str = Field(description="of the pseudonym key")
