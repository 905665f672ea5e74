"""An uploaded object: its arrival, coordinates, facts and findings, and what starts an execution."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from pydantic import BaseModel, Field

from runtime.contract.models import Frozen


class ObjectCoordinates(Frozen):
    """Where one version of one uploaded object is.

    The key is what the scanner chose and may identify a patient: it stays in the PHI zone (workflow history), and
    logs name the object by `object_id`.
    """

    bucket: str
    key: str
    version_id: str
    size: int = Field(ge=0, description="bytes")
    etag: str

    @property
    def object_id(self) -> str:
        """128 bits of SHA-256 over bucket, key and version id, in hexadecimal: an id that does not tell the key."""
        return hashlib.sha256("\0".join((self.bucket, self.key, self.version_id)).encode()).hexdigest()[:32]


class Severity(StrEnum):
    """What a finding means for the object."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Frozen):
    """One thing that is wrong with an object. Carries no value of the data set, so it may leave the PHI zone."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=64)
    severity: Severity
    attribute: str | None = Field(
        default=None, description="keyword or (gggg,eeee), with the path of sequences and item numbers before it"
    )
    offset: int | None = Field(default=None, ge=0, description="byte offset in the object")
    message: str = Field(description="one sentence: what is wrong and what to do about it")


class EventBucket(BaseModel):
    """The bucket of an S3 event."""

    name: str


class EventObject(BaseModel):
    """The object of an S3 event; version id and etag as far as the event carries them."""

    key: str
    version_id: str | None = Field(default=None, alias="version-id")
    etag: str | None = None
    size: int = Field(default=0, ge=0, description="bytes")


class ObjectCreated(BaseModel):
    """The detail of an EventBridge event "Object Created"."""

    bucket: EventBucket
    object: EventObject


class IntakeMessage(BaseModel):
    """The body of a message in the intake queue: the EventBridge event "Object Created", whole."""

    detail: ObjectCreated


class ObjectFacts(Frozen):
    """What ingestion tells of an object. Nothing in here identifies a person: coded values are ones DICOM defines."""

    sop_class_uid: str | None
    transfer_syntax_uid: str
    modality: str | None
    rows: int | None
    columns: int | None
    number_of_frames: int | None
    samples_per_pixel: int | None
    bits_allocated: int | None
    element_count: int
    header_size: int = Field(description="bytes before the pixel data")
    bytes_read: int = Field(description="bytes fetched from S3 by the step")


class Release(Frozen):
    """A named person's decision to release an object that a risk kept in quarantine."""

    by: str = Field(min_length=3, max_length=200)
    reason: str = Field(min_length=10, max_length=1000)


class ExecutionInput(Frozen):
    """What starts an execution, and what every step gets of it."""

    object: ObjectCoordinates
    attempt: int = Field(default=1, ge=1, description="1, and one more for each retry, release and replay")
    profile: str | None = Field(default=None, description="instead of the stage's")
    release: Release | None = None

    @property
    def execution_name(self) -> str:
        """The execution's name: the same for the same attempt, so that it can't be started twice."""
        object_id = self.object.object_id
        return object_id if self.attempt == 1 else f"{object_id}-{self.attempt}"
