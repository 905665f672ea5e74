"""S3 and Secrets Manager: objects read by ranges of one version, results written and proved. Talks to AWS."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import boto3
from awscrt.checksums import combine_crc64nvme, crc64nvme
from botocore.config import Config
from botocore.exceptions import ClientError

from runtime.contract import ObjectCoordinates, ObjectCreated, PixelIdentity
from runtime.dicom.errors import DicomError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef
    from mypy_boto3_secretsmanager.client import SecretsManagerClient

SINGLE_PUT_LIMIT = 8 * 1024 * 1024
"""Bulk data up to this size passes through memory into one PUT; above it, it is copied inside S3."""
MINIMUM_PART = 5 * 1024 * 1024
"""What S3 accepts as any part but the last ("Amazon S3 multipart upload limits")."""
COPY_PART = 128 * 1024 * 1024
COPY_THREADS = 8
DICOM_MEDIA_TYPE = "application/dicom"

_GONE = frozenset(("NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed", "405", "412", "PreconditionFailed"))


def s3_client() -> S3Client:
    """Return an S3 client that waits out throttling and transient errors."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 6}, max_pool_connections=COPY_THREADS)
    return boto3.client("s3", config=config)


def read_secret(secret_arn: str) -> str:
    """Return the current text of a secret."""
    client: SecretsManagerClient = boto3.client("secretsmanager")
    return client.get_secret_value(SecretId=secret_arn)["SecretString"]


def locate(client: S3Client, event: ObjectCreated) -> ObjectCoordinates:
    """Return the coordinates of the version an event speaks of.

    An event without a version id means the newest version with the event's etag, deleted since or not.

    Raises
    ------
    DicomError
        ``OBJECT_DELETED`` where that version is no longer there.
    """
    bucket, key, etag = event.bucket.name, event.object.key, event.object.etag
    version_id = event.object.version_id or _find_version(client, bucket, key, etag)
    with _missing_object_is_rejected():
        head = client.head_object(Bucket=bucket, Key=key, VersionId=version_id)
    return ObjectCoordinates(
        bucket=bucket, key=key, version_id=version_id, size=head["ContentLength"], etag=head["ETag"].strip('"')
    )


def _find_version(client: S3Client, bucket: str, key: str, etag: str | None) -> str:
    """Return the id of the newest version of `key` with this etag; of the newest one where `etag` is None."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
        for version in page.get("Versions", []):
            if version["Key"] != key:
                break
            if etag in (None, version["ETag"].strip('"')):
                return version["VersionId"]
    raise DicomError("OBJECT_DELETED")


@contextmanager
def _missing_object_is_rejected() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            raise DicomError("OBJECT_DELETED") from None
        raise


class S3Object:
    """One version of an object as a `ByteSource`, counting what it fetches."""

    def __init__(self, client: S3Client, coordinates: ObjectCoordinates) -> None:
        self._client = client
        self.coordinates = coordinates
        self.bytes_read = 0

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.coordinates.size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of ``[start, stop)`` by one ranged GET of the pinned version.

        Raises
        ------
        DicomError
            ``OBJECT_DELETED`` where the version is no longer there.
        """
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        with _missing_object_is_rejected():
            answer = self._client.get_object(
                Bucket=self.coordinates.bucket,
                Key=self.coordinates.key,
                VersionId=self.coordinates.version_id,
                Range=f"bytes={start}-{stop - 1}",
            )
            content = answer["Body"].read()
        self.bytes_read += len(content)
        return content

    @cached_property
    def checksum(self) -> int | None:
        """The full-object CRC-64/NVME that S3 keeps of the object; None where it keeps none."""
        head = self._client.head_object(
            Bucket=self.coordinates.bucket,
            Key=self.coordinates.key,
            VersionId=self.coordinates.version_id,
            ChecksumMode="ENABLED",
        )
        return _decode_checksum(head.get("ChecksumCRC64NVME"))


class Result(NamedTuple):
    """What is written: new header bytes, then the bytes ``[start, stop)`` of the source."""

    bucket: str
    key: str
    header: bytes
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.header) + self.stop - self.start


class WriteError(Exception):
    """What S3 holds is not what was written."""


def write_result(client: S3Client, source: S3Object, result: Result) -> PixelIdentity:
    """Write a result, the bulk data copied inside S3 where it is large, and prove it.

    Raises
    ------
    DicomError
        ``OBJECT_DELETED`` where the source's version went while it was copied.
    WriteError
        Size or checksum of what S3 holds differ from what they must be; the result has been deleted.
    """
    if result.stop - result.start <= SINGLE_PUT_LIMIT:
        body = result.header + source.read(result.start, result.stop)
        client.put_object(
            Bucket=result.bucket,
            Key=result.key,
            Body=body,
            ContentType=DICOM_MEDIA_TYPE,
            ChecksumAlgorithm="CRC64NVME",
        )
    else:
        _MultipartCopy(client, source, result).run()
    return _prove(client, source, result)


class _MultipartCopy:
    """A multipart upload: the header with the first bulk data as part 1, ranges of the source as the others."""

    def __init__(self, client: S3Client, source: S3Object, result: Result) -> None:
        self._client = client
        self._source = source
        self._result = result
        self._upload_id = ""

    def run(self) -> None:
        """Write the result; leave no upload behind when it fails."""
        result = self._result
        self._upload_id = self._client.create_multipart_upload(
            Bucket=result.bucket,
            Key=result.key,
            ContentType=DICOM_MEDIA_TYPE,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )["UploadId"]
        try:
            self._write_parts()
        except BaseException:
            self._client.abort_multipart_upload(Bucket=result.bucket, Key=result.key, UploadId=self._upload_id)
            raise

    def _write_parts(self) -> None:
        result = self._result
        copied_from = result.start + max(MINIMUM_PART - len(result.header), 0)
        starts = range(copied_from, result.stop, COPY_PART)
        threads = ThreadPoolExecutor(COPY_THREADS)
        try:
            with _missing_object_is_rejected():
                copies = [threads.submit(self._copy, number, start) for number, start in enumerate(starts, 2)]
                parts = [self._upload_header(copied_from), *(copy.result() for copy in copies)]
        finally:
            threads.shutdown(cancel_futures=True)
        self._client.complete_multipart_upload(
            Bucket=result.bucket,
            Key=result.key,
            UploadId=self._upload_id,
            ChecksumType="FULL_OBJECT",
            MultipartUpload={"Parts": parts},
        )

    def _upload_header(self, stop: int) -> CompletedPartTypeDef:
        result = self._result
        answer = self._client.upload_part(
            Bucket=result.bucket,
            Key=result.key,
            UploadId=self._upload_id,
            PartNumber=1,
            Body=result.header + self._source.read(result.start, stop),
            ChecksumAlgorithm="CRC64NVME",
        )
        return {"PartNumber": 1, "ETag": answer["ETag"]}

    def _copy(self, number: int, start: int) -> CompletedPartTypeDef:
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
            CopySourceRange=f"bytes={start}-{min(start + COPY_PART, result.stop) - 1}",
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}


def _prove(client: S3Client, source: S3Object, result: Result) -> PixelIdentity:
    """Compare what S3 holds with what it must hold; delete it where they differ."""
    head = client.head_object(Bucket=result.bucket, Key=result.key, ChecksumMode="ENABLED")
    written = _decode_checksum(head.get("ChecksumCRC64NVME"))
    same = head["ContentLength"] == result.size
    if result.start == result.stop:
        identity = PixelIdentity.NO_BULK_DATA
    elif written is None or source.checksum is None:
        identity = PixelIdentity.NO_CHECKSUM
    else:
        identity = PixelIdentity.PROVED
        same = same and _same_bulk_data(source, result, written)
    if not same:
        client.delete_object(Bucket=result.bucket, Key=result.key)
        raise WriteError
    return identity


def _same_bulk_data(source: S3Object, result: Result, written: int) -> bool:
    """Tell whether source and result hold the same bulk data, by the arithmetic of their checksums alone.

    A CRC is linear: that of the result, less its header's share, is the bulk data's own; put between the source's
    header and trailer it must give the source's.
    """
    length = result.stop - result.start
    bulk_data = written ^ combine_crc64nvme(crc64nvme(result.header), 0, length)
    head, tail = source.read(0, result.start), source.read(result.stop, source.size)
    expected = combine_crc64nvme(combine_crc64nvme(crc64nvme(head), bulk_data, length), crc64nvme(tail), len(tail))
    return bool(expected == source.checksum)


def _decode_checksum(text: str | None) -> int | None:
    """Return the number in S3's Base64 of a CRC-64, eight bytes big endian."""
    return None if text is None else int.from_bytes(base64.b64decode(text), "big")
