"""Comparison of the content of two objects, without reading it where S3's metadata suffice."""

from __future__ import annotations

from pydantic import Field

from runtime.aws.storage import CHUNK, S3Object
from runtime.contract.models import Frozen
from runtime.dicom.source import ByteSource


class Fingerprint(Frozen):
    """Metadata of S3 about an object's content."""

    size: int = Field(ge=0, description="bytes")
    etag: str
    checksum: str | None = Field(default=None, description="full-object CRC-64/NVME, 16 hexadecimal digits")

    def agrees(self, other: Fingerprint) -> bool | None:
        """Tell whether both are of the same bytes; None where only the bytes can tell.

        Equal ETags are equal content. Different ones prove nothing: of an upload in parts, or of an object under
        SSE-KMS, the ETag is no digest of the content alone.
        """
        if self.size != other.size:
            return False
        if self.checksum is not None and other.checksum is not None:
            return self.checksum == other.checksum
        return True if self.etag == other.etag else None


def fingerprint_of(source: S3Object) -> Fingerprint:
    """Return the fingerprint of a pinned version.

    Raises
    ------
    DicomError
        ``OBJECT_DELETED`` where the version is no longer there.
    """
    checksum = None if source.checksum is None else f"{source.checksum:016x}"
    return Fingerprint(size=source.size, etag=source.coordinates.etag, checksum=checksum)


def same_content(one: ByteSource, other: ByteSource) -> bool:
    """Compare two objects of one size byte by byte, `CHUNK` bytes of each in memory at a time."""
    return all(
        one.read(start, start + CHUNK) == other.read(start, start + CHUNK) for start in range(0, one.size, CHUNK)
    )
