"""S3 and Secrets Manager: objects read by ranges of one version, results written and proved. Talks to AWS."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from awscrt.checksums import combine_crc64nvme, crc64nvme
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from runtime.aws import clients
from runtime.contract.objects import ObjectCoordinates, ObjectCreated
from runtime.contract.steps import PixelIdentity
from runtime.dicom.errors import DicomError
from runtime.dicom.source import Origin

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        GetObjectOutputTypeDef,
        HeadObjectOutputTypeDef,
        ObjectVersionTypeDef,
    )

SINGLE_PUT_LIMIT = 8 * 1024 * 1024
"""Bulk data up to this size passes through memory into one PUT; above it, it is copied inside S3."""
MINIMUM_PART = 5 * 1024 * 1024
"""Least size of any part but the last ("Amazon S3 multipart upload limits")."""
COPY_PART = 128 * 1024 * 1024
"""Least size of a copied part; larger where `MAXIMUM_PARTS` would not suffice."""
MAXIMUM_PARTS = 10_000
COPY_THREADS = 8
KEPT_BEGINNING = 1024 * 1024
"""Bytes of an object's beginning that are kept, so that no byte of a usual header is fetched twice."""
CHUNK = 8 * 1024 * 1024
SKIPPED_AT_ONCE = 1024 * 1024
READ_ATTEMPTS = 4
REQUEST_ATTEMPTS = 6
REQUEST_TIMEOUT = 60.0
"""Seconds for the answer to a request, which may copy `COPY_PART` bytes."""
DICOM_MEDIA_TYPE = "application/dicom"

_MARKERS = ("KeyMarker", "VersionIdMarker")
_GONE = frozenset(("NoSuchKey", "NoSuchVersion", "404"))
_BROKEN_BODY = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
_CRC_PERIOD = 2**64 - 1
"""So many zero bytes leave a CRC-64/NVME as it is: the order of x in its field divides it."""


def s3_client() -> S3Client:
    """Return an S3 client for whole objects, whose requests take longer than others."""
    return clients.client("s3", attempts=REQUEST_ATTEMPTS, read_timeout=REQUEST_TIMEOUT)


def read_secret(secret_arn: str) -> str:
    """Return the current text of a secret."""
    return clients.client("secretsmanager").get_secret_value(SecretId=secret_arn)["SecretString"]


def locate(client: S3Client, event: ObjectCreated) -> ObjectCoordinates:
    """Return the coordinates of an event's object version.

    An event without a version id means the newest version with the event's ETag, behind a delete marker or not.

    Raises
    ------
    DicomError
        ``OBJECT_DELETED`` where that version is no longer there.
    """
    bucket, key, etag = event.bucket.name, event.object.key, event.object.etag
    version_id = event.object.version_id or _find_version(client, bucket, key, etag)
    with _missing_object_raises(DicomError("OBJECT_DELETED")):
        head = client.head_object(Bucket=bucket, Key=key, VersionId=version_id)
    return ObjectCoordinates(
        bucket=bucket, key=key, version_id=version_id, size=head["ContentLength"], etag=head["ETag"].strip('"')
    )


def _find_version(client: S3Client, bucket: str, key: str, etag: str | None) -> str:
    """Return the id of the newest version of `key` with this etag; of the newest one where `etag` is None."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for version in page.get("Versions", []):
            if version["Key"] != key:  # S3 lists in the order of keys, newest version first, and `key` is the first
                raise DicomError("OBJECT_DELETED")
            if etag in (None, version["ETag"].strip('"')):
                return version["VersionId"]
    raise DicomError("OBJECT_DELETED")


@contextmanager
def _missing_object_raises(missing: Exception) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            raise missing from None
        raise


def exists(client: S3Client, bucket: str, key: str) -> bool:
    """Tell whether a bucket holds an object. Without the right to list the bucket, S3 refuses the request instead."""
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return False
        raise
    return True


class VersionPage(NamedTuple):
    """Page of the list of a bucket's versions."""

    versions: Sequence[tuple[ObjectCoordinates, datetime]]
    """each with the time of its upload, in the order of keys, newest version of a key first"""
    following: Mapping[str, str]
    """parameters of the request for the next page; empty after the last"""


def version_pages(client: S3Client, bucket: str, start: Mapping[str, str]) -> Iterator[VersionPage]:
    """Yield the pages of a bucket's versions from `start`, which is empty or a page's `following`."""
    while True:
        answer = client.list_object_versions(Bucket=bucket, **start)  # type: ignore[arg-type]
        found = [(_coordinates(bucket, version), version["LastModified"]) for version in answer.get("Versions", [])]
        start = {name: answer[f"Next{name}"] for name in _MARKERS if f"Next{name}" in answer}  # type: ignore[literal-required]
        yield VersionPage(found, start)
        if not start:
            return


def versions(client: S3Client, bucket: str, key: str) -> Iterator[ObjectCoordinates]:
    """Yield every version of an object, newest first."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for version in page.get("Versions", []):
            if version["Key"] != key:  # S3 lists in the order of keys, and `key` is the first with this prefix
                return
            yield _coordinates(bucket, version)


def _coordinates(bucket: str, version: ObjectVersionTypeDef) -> ObjectCoordinates:
    return ObjectCoordinates(
        bucket=bucket,
        key=version["Key"],
        version_id=version["VersionId"],
        size=version["Size"],
        etag=version["ETag"].strip('"'),
    )


def keys(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys of a bucket's objects below a prefix."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", []))


def _range_of(answer: GetObjectOutputTypeDef, start: int, stop: int) -> bytes:
    """Read the bytes ``[start, stop)`` that were asked for; a server may answer with all of them (RFC 9110 14.2).

    Raises
    ------
    IncompleteReadError
        There were fewer. Of a body that is not read to its end, botocore notices no early one.
    """
    body = answer["Body"]
    with closing(body):
        if "ContentRange" not in answer:
            left = start
            while left > 0 and (skipped := body.read(min(left, SKIPPED_AT_ONCE))):
                left -= len(skipped)
        content = body.read(stop - start)
    if len(content) != stop - start:
        raise IncompleteReadError(actual_bytes=len(content), expected_bytes=stop - start)
    return content


class S3Object:
    """One version of an object as a `ByteSource`, counting what it fetches."""

    def __init__(self, client: S3Client, coordinates: ObjectCoordinates) -> None:
        self._client = client
        self.coordinates = coordinates
        self.bytes_read = 0
        self._beginning = b""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.coordinates.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of ``[start, stop)`` of the pinned version, by one ranged GET for what is not known yet.

        Raises
        ------
        DicomError
            ``OBJECT_DELETED`` where the version is no longer there.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        content = self._beginning[start:stop]
        if start + len(content) < stop:
            content += self._fetch(start + len(content), stop)
        if start <= len(self._beginning) < stop <= KEPT_BEGINNING:
            self._beginning = self._beginning[:start] + content
        return content

    def _fetch(self, start: int, stop: int) -> bytes:
        """Get a range; again where the connection breaks in its body, which botocore does not retry."""
        for attempts_left in reversed(range(READ_ATTEMPTS)):
            try:
                with _missing_object_raises(self.missing()):
                    answer = self._client.get_object(
                        Bucket=self.coordinates.bucket,
                        Key=self.coordinates.key,
                        VersionId=self.coordinates.version_id,
                        Range=f"bytes={start}-{stop - 1}",
                    )
                    content = _range_of(answer, start, stop)
                break
            except _BROKEN_BODY:
                if not attempts_left:
                    raise
        self.bytes_read += len(content)
        return content

    def checksum_of(self, start: int, stop: int) -> int:
        """Return the CRC-64/NVME of ``[start, stop)``, `CHUNK` bytes in memory at a time."""
        checksum = 0
        for position in range(start, stop, CHUNK):
            checksum = crc64nvme(self.read(position, min(position + CHUNK, stop)), checksum)
        return checksum

    @cached_property
    def checksum(self) -> int | None:
        """The full-object CRC-64/NVME that S3 keeps of the object; None where it keeps none."""
        with _missing_object_raises(self.missing()):
            head = self._client.head_object(
                Bucket=self.coordinates.bucket,
                Key=self.coordinates.key,
                VersionId=self.coordinates.version_id,
                ChecksumMode="ENABLED",
            )
        return _full_object_checksum(head)

    def missing(self) -> Exception:
        """Return the error to raise where the version is no longer there."""
        return DicomError("OBJECT_DELETED")


class StagedObjectMissingError(Exception):
    """A staged object is no longer there. The step that staged it has to run again."""


class StagedObject(S3Object):
    """Version of an object that a step left in the PHI zone for the next one."""

    def missing(self) -> Exception:
        """Return an error of ours: nothing is wrong with what was uploaded."""
        return StagedObjectMissingError()


class Result(NamedTuple):
    """Object to write: a header of its own, then the bytes of an origin in S3."""

    bucket: str
    key: str
    header: bytes
    origin: Origin | None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.header) + (0 if self.origin is None else self.origin.size)


class WriteError(Exception):
    """S3 holds something else than what was written."""


def write_result(client: S3Client, result: Result) -> PixelIdentity:
    """Write a result, the bulk data copied inside S3 where it is large, and prove it.

    S3 is told the checksum that the result must have, so it refuses another one before the result exists.

    Raises
    ------
    DicomError
        ``OBJECT_DELETED`` where the source's version went while it was copied.
    StagedObjectMissingError
        The origin is a staged object that went.
    WriteError
        Size or checksum of what S3 holds differ from what they must be.
    """
    origin = result.origin
    if origin is None:
        _check_written(client, result, _put(client, result, b"", int(crc64nvme(result.header))))
        return PixelIdentity.NO_BULK_DATA
    source = _stored(origin)
    expected = _expected_checksum(source, origin, result.header)
    if origin.size <= SINGLE_PUT_LIMIT:
        version_id = _put(client, result, origin.read(), expected)
    else:
        version_id = _MultipartCopy(client, result, source, origin, expected).run()
    written = _check_written(client, result, version_id)
    if written is None or expected is None:
        return PixelIdentity.NO_CHECKSUM
    if written != expected:
        raise WriteError
    return PixelIdentity.PROVED_STAGED if isinstance(source, StagedObject) else PixelIdentity.PROVED


def _stored(origin: Origin) -> S3Object:
    """Return the object that an origin is a range of."""
    if not isinstance(origin.source, S3Object):
        raise TypeError("the origin of a result in S3 is an object in S3")
    return origin.source


def _check_written(client: S3Client, result: Result, version_id: str | None) -> int | None:
    """Return the full-object checksum of what was written, once its size is what it must be."""
    version: dict[str, Any] = {} if version_id is None else {"VersionId": version_id}
    head = client.head_object(Bucket=result.bucket, Key=result.key, ChecksumMode="ENABLED", **version)
    if head["ContentLength"] != result.size:
        raise WriteError
    return _full_object_checksum(head)


def _expected_checksum(source: S3Object, origin: Origin, header: bytes) -> int | None:
    """Return the CRC-64/NVME that a result must have, by arithmetic from its origin's; None where that has none.

    A CRC is linear: what precedes and what follows the origin's range is taken out of the whole object's checksum,
    and the result's header is put in front of what remains.
    """
    if source.checksum is None:
        return None
    preceding = source.checksum_of(0, origin.start)
    following = source.checksum_of(origin.stop, source.size)
    without_following = _append_zeros(source.checksum ^ following, _CRC_PERIOD - (source.size - origin.stop))
    bulk_data = without_following ^ _append_zeros(preceding, origin.size)
    return int(combine_crc64nvme(crc64nvme(header), bulk_data, origin.size))


def _append_zeros(checksum: int, length: int) -> int:
    """Return a checksum's share in that of the same bytes with `length` more behind them."""
    return int(combine_crc64nvme(checksum, 0, length))


def _put(client: S3Client, result: Result, bulk_data: bytes, checksum: int | None) -> str | None:
    """Write the result by one request; return its version id."""
    body = result.header + bulk_data
    answer = client.put_object(
        Bucket=result.bucket,
        Key=result.key,
        Body=body,
        ContentType=DICOM_MEDIA_TYPE,
        ChecksumAlgorithm="CRC64NVME",
        ChecksumCRC64NVME=_encode_checksum(crc64nvme(body) if checksum is None else checksum),
    )
    return answer.get("VersionId")


class _MultipartCopy:
    """A multipart upload: the header with the first bulk data as part 1, ranges of the origin as the others."""

    def __init__(
        self, client: S3Client, result: Result, source: S3Object, origin: Origin, checksum: int | None
    ) -> None:
        self._client = client
        self._result = result
        self._source = source
        self._origin = origin
        self._checksum = checksum
        self._upload_id = ""

    def run(self) -> str | None:
        """Write the result and return its version id; leave no upload behind when it fails."""
        result = self._result
        upload = self._client.create_multipart_upload(
            Bucket=result.bucket,
            Key=result.key,
            ContentType=DICOM_MEDIA_TYPE,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )
        self._upload_id = upload["UploadId"]
        try:
            parts = self._write_parts()
            return self._complete(parts, full_object=upload.get("ChecksumType") == "FULL_OBJECT")
        except BaseException:
            # What the abort says, such as that a lost answer had completed the upload, must not hide what went wrong.
            with suppress(ClientError):
                self._client.abort_multipart_upload(Bucket=result.bucket, Key=result.key, UploadId=self._upload_id)
            raise

    def _write_parts(self) -> list[CompletedPartTypeDef]:
        stop = self._origin.stop
        copied_from = self._origin.start + max(MINIMUM_PART - len(self._result.header), 0)
        part_size = max(COPY_PART, -(-(stop - copied_from) // (MAXIMUM_PARTS - 1)))
        starts = range(copied_from, stop, part_size)
        threads = ThreadPoolExecutor(COPY_THREADS)
        try:
            with _missing_object_raises(self._source.missing()):
                copies = [
                    threads.submit(self._copy, number, start, min(start + part_size, stop))
                    for number, start in enumerate(starts, 2)
                ]
                return [self._upload_header(copied_from), *(copy.result() for copy in copies)]
        finally:
            threads.shutdown(cancel_futures=True)

    def _complete(self, parts: list[CompletedPartTypeDef], *, full_object: bool) -> str | None:
        """Make the parts an object, unless its size or checksum is not what it must be."""
        checksum: dict[str, Any] = {}
        if full_object:  # a store that keeps a checksum of checksums instead, as the local emulator, would refuse it
            checksum["ChecksumType"] = "FULL_OBJECT"
            if self._checksum is not None:
                checksum["ChecksumCRC64NVME"] = _encode_checksum(self._checksum)
        answer = self._client.complete_multipart_upload(
            Bucket=self._result.bucket,
            Key=self._result.key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": parts},
            MpuObjectSize=self._result.size,
            **checksum,
        )
        return answer.get("VersionId")

    def _upload_header(self, stop: int) -> CompletedPartTypeDef:
        result = self._result
        answer = self._client.upload_part(
            Bucket=result.bucket,
            Key=result.key,
            UploadId=self._upload_id,
            PartNumber=1,
            Body=result.header + self._source.read(self._origin.start, stop),
            ChecksumAlgorithm="CRC64NVME",
        )
        return {"PartNumber": 1, "ETag": answer["ETag"]}

    def _copy(self, number: int, start: int, stop: int) -> CompletedPartTypeDef:
        result, coordinates = self._result, self._source.coordinates
        answer = self._client.upload_part_copy(
            Bucket=result.bucket,
            Key=result.key,
            UploadId=self._upload_id,
            PartNumber=number,
            CopySource={
                "Bucket": coordinates.bucket,
                "Key": coordinates.key,
                "VersionId": coordinates.version_id,
            },
            CopySourceRange=f"bytes={start}-{stop - 1}",
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}


def _full_object_checksum(head: HeadObjectOutputTypeDef) -> int | None:
    """Return the number in S3's Base64 of a CRC-64, eight bytes big endian; None where it is not of the content."""
    text = head.get("ChecksumCRC64NVME")
    if text is None or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return int.from_bytes(base64.b64decode(text), "big")


def _encode_checksum(checksum: int) -> str:
    return base64.b64encode(checksum.to_bytes(8, "big")).decode("ascii")
