"""Shared fixtures: the two buckets of a stage in moto, with requests to S3 recorded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws
from pydicom.data import get_testdata_file

from runtime import storage
from runtime.contract import ObjectCoordinates, ObjectCreated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = object

RAW = "raw-bucket"
PROCESSED = "processed-bucket"


def dicom_file(name: str) -> bytes:
    """Return one of pydicom's bundled files."""
    return Path(str(get_testdata_file(name))).read_bytes()


@dataclass
class Buckets:
    """A raw and a processed bucket, versioned both, and what was asked of S3."""

    s3: S3Client
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests.append((model.name, dict(params)))

    def operations(self) -> list[str]:
        return [name for name, _ in self.requests]

    def upload(self, content: bytes, key: str = "scan.dcm", *, checksum: str = "CRC64NVME") -> ObjectCoordinates:
        answer = self.s3.put_object(Bucket=RAW, Key=key, Body=content, ChecksumAlgorithm=checksum)  # type: ignore[arg-type]
        return ObjectCoordinates(
            bucket=RAW,
            key=key,
            version_id=answer["VersionId"],
            size=len(content),
            etag=answer["ETag"].strip('"'),
        )

    def source(self, content: bytes, key: str = "scan.dcm", *, checksum: str = "CRC64NVME") -> storage.S3Object:
        return storage.S3Object(self.s3, self.upload(content, key, checksum=checksum))

    def result(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=PROCESSED, Key=key)["Body"].read()


def created(key: str = "scan.dcm", *, version_id: str | None = None, etag: str | None = None) -> ObjectCreated:
    """Return the detail of an event "Object Created", its version id and etag left out where they are None."""
    optional = {name: value for name, value in (("version-id", version_id), ("etag", etag)) if value is not None}
    return ObjectCreated.model_validate({"bucket": {"name": RAW}, "object": {"key": key, **optional}})


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = storage.s3_client()
        for bucket in (RAW, PROCESSED):
            s3.create_bucket(Bucket=bucket)
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        buckets = Buckets(s3)
        s3.meta.events.register("provide-client-params.s3.*", buckets.record)
        yield buckets
