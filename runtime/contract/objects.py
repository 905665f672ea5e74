"""Uploaded objects: arrival, coordinates, facts, findings, and the input of an execution."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from pydantic import BaseModel, Field

from runtime.contract.models import Frozen


class ObjectCoordinates(Frozen):
    """Coordinates of an object version.

    The scanner chose the key, which may identify a patient. So it stays in the PHI zone (workflow history), and logs
    name the object by `object_id`.
    """

    bucket: str
    key: str
    version_id: str
    size: int = Field(ge=0, description="bytes")
    etag: str

    @property
    def object_id(self) -> str:
        """Id that hides the key: 128 bits of SHA-256 over bucket, key and version id, in hexadecimal."""
        return hashlib.sha256("\0".join((self.bucket, self.key, self.version_id)).encode()).hexdigest()[:32]


class Severity(StrEnum):
    """Severity of a finding. An error rejects the object."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Frozen):
    """Violation found in an object. It carries no value of the data set, so it may leave the PHI zone."""

    code: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=64)
    severity: Severity
    attribute: str | None = Field(
        default=None, description="keyword or (gggg,eeee), with the path of sequences and item numbers before it"
    )
    offset: int | None = Field(default=None, ge=0, description="byte offset in the object")
    message: str = Field(description="one sentence: what is wrong and what to do about it")


class EventBucket(BaseModel):
    """Bucket of an S3 event."""

    name: str


class EventObject(BaseModel):
    """Object of an S3 event, which may lack version id and ETag."""

    key: str
    version_id: str | None = Field(default=None, alias="version-id")
    etag: str | None = None
    size: int = Field(default=0, ge=0, description="bytes")


class ObjectCreated(BaseModel):
    """Detail of an EventBridge event "Object Created"."""

    bucket: EventBucket
    object: EventObject


class IntakeMessage(BaseModel):
    """Body of a message in the intake queue: the whole EventBridge event "Object Created"."""

    detail: ObjectCreated


class ObjectFacts(Frozen):
    """Non-identifying facts of an object. Coded values are ones that DICOM defines."""

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


class Decision(Frozen):
    """Decision of a named person about an object in quarantine."""

    by: str = Field(min_length=3, max_length=200)
    reason: str = Field(min_length=10, max_length=1000)


class Release(Decision):
    """Decision to release an object that a risk keeps in quarantine."""


class ExecutionInput(Frozen):
    """Input of an execution and of each of its steps."""

    object: ObjectCoordinates
    attempt: int = Field(default=1, ge=1, description="1, and one more for each retry, release and replay")
    profile: str | None = Field(default=None, description="instead of the stage's")
    release: Release | None = None

    @property
    def execution_name(self) -> str:
        """Name of the execution, one an attempt, so that it can't be started twice."""
        object_id = self.object.object_id
        return object_id if self.attempt == 1 else f"{object_id}-{self.attempt}"
