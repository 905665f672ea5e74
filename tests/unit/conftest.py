"""Shared fixtures: the two buckets of a stage in moto, with requests to S3 recorded, and the handlers on them."""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import botocore.session
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.loaders import Loader
from moto import mock_aws
from pydicom.data import get_testdata_file

from runtime.aws import clients, storage
from runtime.aws.audit import AuditLog
from runtime.contract.ledger import LEDGER_INDEXES
from runtime.contract.objects import ExecutionInput, ObjectCoordinates, ObjectCreated
from runtime.ledger.rows import Ledger
from tests.unit import indexes
from tests.unit.audit_tables import audit_log

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = object

RAW = "raw-bucket"
PROCESSED = "processed-bucket"
SECRET = "stage/pseudonym-key"
LEDGER_TABLE = "stage-ledger"
AUDIT_TABLE = "stage-audit"
CODE_VERSION = "c0de" * 16
SERVICE = "medical-imaging-pipeline-test"

# Handlers and Powertools read the environment when they are imported, as Lambda has them do.
os.environ.update(
    STAGE="test",
    STRICT="false",
    PROCESSED_BUCKET=PROCESSED,
    PSEUDONYM_SECRET_ARN=SECRET,
    PROFILE="research",
    LEDGER_TABLE=LEDGER_TABLE,
    AUDIT_TABLE=AUDIT_TABLE,
    CODE_VERSION=CODE_VERSION,
    POWERTOOLS_SERVICE_NAME=SERVICE,
    POWERTOOLS_METRICS_NAMESPACE="MedicalImaging/Pipeline",
    POWERTOOLS_LOG_LEVEL="INFO",
    AWS_DEFAULT_REGION="us-east-1",
)
# It makes a socket for traces, which the tests themselves may not.
importlib.import_module("runtime.observability.entry_points")


class SharedLoader(Loader):
    """Loader of botocore's models of AWS's services that reads each once for the sessions of all tests."""

    models: ClassVar[dict[tuple[object, ...], object]] = {}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cache = self.models


botocore.session.create_loader = SharedLoader


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


class Context(LambdaContext):
    """What Lambda tells a function of its invocation."""

    _function_name = "function"
    _memory_limit_in_mb = 512
    _invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    _aws_request_id = "00000000-0000-0000-0000-000000000000"


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


@pytest.fixture
def ledger(buckets: Buckets) -> Ledger:
    client = clients.client("dynamodb", attempts=2)
    client.create_table(
        TableName=LEDGER_TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=indexes.key_attributes("object_id", indexes=LEDGER_INDEXES),
        KeySchema=indexes.key_schema("object_id"),
        GlobalSecondaryIndexes=indexes.definitions(LEDGER_INDEXES),
    )
    return Ledger(client, LEDGER_TABLE)


@pytest.fixture
def audit(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    return audit_log(AUDIT_TABLE, monkeypatch)


@dataclass
class Handlers:
    """The three functions, invoked as Step Functions invokes them."""

    buckets: Buckets

    def invoke(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = importlib.import_module(f"runtime.handlers.{name}").handler(event, Context())
        return answer

    def ingest(self, coordinates: ObjectCoordinates) -> dict[str, Any]:
        return self.invoke("ingestion", ExecutionInput(object=coordinates).model_dump(mode="json"))

    def validate(self, coordinates: ObjectCoordinates) -> dict[str, Any]:
        return self.invoke("validation", ExecutionInput(object=coordinates).model_dump(mode="json"))

    def deidentify(self, coordinates: ObjectCoordinates) -> dict[str, Any]:
        return self.invoke("deidentification", ExecutionInput(object=coordinates).model_dump(mode="json"))


@pytest.fixture
def handlers(
    buckets: Buckets, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
) -> Iterator[Handlers]:
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString="0123456789abcdef" * 4)
    for name in ("ingestion", "validation", "deidentification"):
        monkeypatch.setattr(importlib.import_module(f"runtime.handlers.{name}"), "s3", buckets.s3)
    for name in ("ingestion", "deidentification"):
        monkeypatch.setattr(importlib.import_module(f"runtime.handlers.{name}"), "ledger", ledger)
    yield Handlers(buckets)
    importlib.import_module("runtime.handlers.deidentification").deidentifier.cache_clear()


class StandardOutput:
    """Standard output as it is when something is written; the logger took that of its import."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """Capture what functions write."""
    for handler in importlib.import_module("runtime.observability.entry_points").logger.handlers:
        monkeypatch.setattr(handler, "stream", StandardOutput())
    return capsys
