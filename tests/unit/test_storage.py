import base64
import os
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from typing import Any

import boto3
import pytest
from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError, IncompleteReadError
from botocore.response import StreamingBody
from hypothesis import given
from hypothesis import strategies as st

from runtime.aws import storage
from runtime.aws.storage import (
    Result,
    S3Object,
    StagedObject,
    StagedObjectMissingError,
    WriteError,
    locate,
    write_result,
)
from runtime.contract.objects import ObjectCoordinates
from runtime.contract.steps import PixelIdentity
from runtime.dicom.bulk_data import locate_bulk_data
from runtime.dicom.errors import DicomError
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource, Origin
from tests.unit.conftest import PROCESSED, RAW, Buckets, created, dicom_file

CT = dicom_file("CT_small.dcm")
MR = dicom_file("MR_small.dcm")
NEW_HEADER = b"\0" * 128 + b"DICM" + b"new header" * 30
KEY = "patient/study/series/instance.dcm"


def bulk_data_of(source: S3Object) -> tuple[int, int]:
    bulk_data = locate_bulk_data(read_header(source))
    assert bulk_data is not None
    return bulk_data.start, bulk_data.stop


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let CT_small's 32 KiB of pixels go the way of gigabytes."""
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", 1024)
    monkeypatch.setattr(storage, "MINIMUM_PART", 5000)
    monkeypatch.setattr(storage, "COPY_PART", 4096)
    monkeypatch.setattr("moto.settings.S3_UPLOAD_PART_MIN_SIZE", 1)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)


# reading


def test_should_read_a_header_by_ranges_of_the_pinned_version(buckets: Buckets) -> None:
    source = buckets.source(CT)
    header = read_header(source)
    asked = [params for name, params in buckets.requests if name == "GetObject"]
    assert asked
    assert all(params["VersionId"] == source.coordinates.version_id and "Range" in params for params in asked)
    assert header.text(0x00080018) == read_header(BytesSource(CT)).text(0x00080018)
    assert source.bytes_read < len(CT)


def test_should_fetch_no_byte_of_a_header_twice(buckets: Buckets) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    fetched = source.bytes_read
    assert source.read(0, start) == CT[:start]
    assert source.bytes_read == fetched
    assert source.read(start, stop) == CT[start:stop]
    assert source.bytes_read == max(fetched, stop)


@given(ranges=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 130)), max_size=8))
def test_should_answer_any_sequence_of_ranges_as_the_object_does(ranges: list[tuple[int, int]]) -> None:
    content = bytes(range(120))

    class Client:
        """S3 without a network: moto is too slow for hundreds of examples."""

        def get_object(self, *, Range: str, **_: str) -> dict[str, Any]:  # noqa: N803
            start, stop = Range.removeprefix("bytes=").split("-")
            body = content[int(start) : int(stop) + 1]
            return {"Body": StreamingBody(BytesIO(body), len(body)), "ContentRange": Range}

    source = S3Object(
        Client(),  # type: ignore[arg-type]
        ObjectCoordinates(bucket=RAW, key="k", version_id="v", size=120, etag=""),
    )
    for start, stop in ranges:
        assert source.read(start, stop) == content[start:stop]


def test_should_keep_only_a_bounded_beginning_in_memory(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_BEGINNING", 1000)
    source = buckets.source(CT)
    source.read(0, 900)
    source.read(900, 5000)
    assert source.read(0, 5000) == CT[:5000]
    assert len(source._beginning) <= 1000


def test_should_read_again_when_the_connection_breaks_in_a_body(buckets: Buckets) -> None:
    source = buckets.source(CT)
    breaks = iter([True, True, False])

    def cut(parsed: dict[str, Any], **_: Any) -> None:
        if next(breaks):
            parsed["Body"] = StreamingBody(BytesIO(b"half"), 100)

    buckets.s3.meta.events.register("after-call.s3.GetObject", cut)
    assert source.read(0, 100) == CT[:100]
    assert buckets.operations().count("GetObject") == 3


def test_should_give_up_when_every_body_breaks(buckets: Buckets) -> None:
    source = buckets.source(CT)

    def cut(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Body"] = StreamingBody(BytesIO(b"half"), 100)

    buckets.s3.meta.events.register("after-call.s3.GetObject", cut)
    with pytest.raises(IncompleteReadError):
        source.read(0, 100)
    assert buckets.operations().count("GetObject") == storage.READ_ATTEMPTS


def test_should_read_the_range_of_a_store_that_answers_with_the_whole(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "SKIPPED_AT_ONCE", 100)
    source = buckets.source(CT)

    def whole(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("ContentRange")
        parsed["Body"] = StreamingBody(BytesIO(CT), len(CT))

    buckets.s3.meta.events.register("after-call.s3.GetObject", whole)
    assert source.read(0, 200) == CT[:200]
    assert source.read(5250, 6001) == CT[5250:6001]
    assert source.bytes_read == 951


@pytest.mark.parametrize("arrived", [50, 5200, 5500])
def test_should_read_again_when_the_connection_breaks_in_the_whole(buckets: Buckets, arrived: int) -> None:
    source = buckets.source(CT)
    lengths = iter([arrived, len(CT)])

    def whole(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("ContentRange")
        parsed["Body"] = StreamingBody(BytesIO(CT[: next(lengths)]), len(CT))

    buckets.s3.meta.events.register("after-call.s3.GetObject", whole)
    assert source.read(5250, 6001) == CT[5250:6001]
    assert source.bytes_read == 751


def test_should_read_the_pinned_version_when_overwritten_in_between(buckets: Buckets) -> None:
    source = buckets.source(CT)
    buckets.upload(MR)
    assert source.read(0, len(CT)) == CT
    assert source.checksum == crc64nvme(CT)


def test_should_read_the_pinned_version_under_a_delete_marker(buckets: Buckets) -> None:
    source = buckets.source(CT)
    buckets.s3.delete_object(Bucket=RAW, Key="scan.dcm")
    assert source.read(0, 200) == CT[:200]


def test_should_reject_when_the_version_was_deleted(buckets: Buckets) -> None:
    source = buckets.source(CT)
    buckets.s3.delete_object(Bucket=RAW, Key="scan.dcm", VersionId=source.coordinates.version_id)
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        source.read(0, 200)
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        _ = source.checksum


def test_should_not_call_an_object_deleted_when_s3_refuses_for_another_reason(buckets: Buckets) -> None:
    source = buckets.source(CT)

    def deny(parsed: dict[str, Any], http_response: Any, **_: Any) -> None:
        http_response.status_code = 403
        parsed["Error"] = {"Code": "AccessDenied", "Message": "Access Denied"}

    buckets.s3.meta.events.register("after-call.s3.GetObject", deny)
    with pytest.raises(ClientError, match="AccessDenied"):
        source.read(0, 200)


# locating

ODD_KEYS = [
    "a b+c%20d&e=f;g.dcm",
    "Zürich/Müller^Jürgen/日本語 ⅷ.dcm",
    "k" * 1024,
    "ü" * 512,
    " leading/and//empty/../parts?versionId=x#y",
    "quote\"'<>\\\u00a0\u2028.dcm",
]


@pytest.mark.parametrize("key", ODD_KEYS)
@pytest.mark.parametrize("pinned", [True, False])
def test_should_find_the_version_of_any_key(buckets: Buckets, key: str, *, pinned: bool) -> None:
    first = buckets.upload(CT, key)
    buckets.upload(MR, key)
    event = created(key, version_id=first.version_id if pinned else None, etag=first.etag)
    assert locate(buckets.s3, event) == first
    assert S3Object(buckets.s3, first).read(0, 200) == CT[:200]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("key", ODD_KEYS)
def test_should_copy_from_any_key(buckets: Buckets, key: str) -> None:
    source = buckets.source(CT, key)
    start, stop = bulk_data_of(source)
    assert (
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
        is PixelIdentity.PROVED
    )
    assert buckets.result(KEY) == NEW_HEADER + CT[start:stop]


def test_should_take_the_newest_version_with_the_etag(buckets: Buckets) -> None:
    buckets.upload(CT)
    newest = buckets.upload(CT)
    buckets.upload(MR)
    assert locate(buckets.s3, created(etag=newest.etag)) == newest


def test_should_take_the_newest_version_when_the_event_has_no_etag(buckets: Buckets) -> None:
    buckets.upload(CT)
    newest = buckets.upload(MR)
    assert locate(buckets.s3, created()) == newest


def test_should_find_the_version_under_a_delete_marker(buckets: Buckets) -> None:
    uploaded = buckets.upload(CT)
    buckets.s3.delete_object(Bucket=RAW, Key="scan.dcm")
    assert locate(buckets.s3, created(etag=uploaded.etag)) == uploaded


def test_should_not_take_another_key_that_begins_the_same(buckets: Buckets) -> None:
    for suffix in ("", "!", "/1", "0"):
        buckets.upload(CT, f"scan.dcm{suffix}")
    buckets.s3.delete_object(
        Bucket=RAW,
        Key="scan.dcm",
        VersionId=buckets.s3.head_object(Bucket=RAW, Key="scan.dcm")["VersionId"],
    )
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        locate(buckets.s3, created(etag=buckets.upload(CT, "scan.dcmx").etag))


def test_should_not_list_the_other_keys_that_begin_the_same(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        buckets.upload(MR, f"scan.dcm{number}")
    buckets.upload(CT)

    def short_pages(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 2

    buckets.s3.meta.events.register("provide-client-params.s3.ListObjectVersions", short_pages)
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        locate(buckets.s3, created(etag="0" * 32))
    assert buckets.operations().count("ListObjectVersions") == 1


@pytest.mark.parametrize("with_version", [True, False])
def test_should_reject_an_event_of_a_deleted_version(buckets: Buckets, *, with_version: bool) -> None:
    gone = buckets.upload(CT)
    buckets.s3.delete_object(Bucket=RAW, Key=gone.key, VersionId=gone.version_id)
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        locate(buckets.s3, created(version_id=gone.version_id if with_version else None, etag=gone.etag))


# writing


def test_should_write_a_small_result_by_one_put(buckets: Buckets) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    assert (
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
        is PixelIdentity.PROVED
    )
    assert buckets.result(KEY) == NEW_HEADER + CT[start:stop]
    head = buckets.s3.head_object(Bucket=PROCESSED, Key=KEY)
    assert head["ContentType"] == "application/dicom"
    writes = [name for name in buckets.operations() if name not in {"GetObject", "HeadObject"}]
    assert writes == ["PutObject", "PutObject"]  # the upload of the source, and the result


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("header_size", [140, 4999, 5000, 9000])
def test_should_copy_large_bulk_data_inside_s3(buckets: Buckets, header_size: int) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    fetched = source.bytes_read
    header = os.urandom(header_size)
    identity = write_result(buckets.s3, Result(PROCESSED, KEY, header, Origin(source, start, stop)))
    assert identity is PixelIdentity.PROVED
    assert buckets.result(KEY) == header + CT[start:stop]
    assert source.bytes_read <= max(fetched, start + 5000) + len(CT) - stop
    assert buckets.s3.head_object(Bucket=PROCESSED, Key=KEY)["ContentType"] == "application/dicom"
    copies = [params for name, params in buckets.requests if name == "UploadPartCopy"]
    assert {params["CopySource"]["VersionId"] for params in copies} == {source.coordinates.version_id}
    assert not buckets.s3.list_multipart_uploads(Bucket=PROCESSED).get("Uploads")


@pytest.mark.usefixtures("small_parts")
def test_should_copy_in_equal_parts_with_at_least_a_byte_in_the_last(buckets: Buckets) -> None:
    start, stop = 100, 100 + 5000 - len(NEW_HEADER) + 3 * 4096 + 1
    source = buckets.source(CT)
    write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    ranges = sorted(
        tuple(int(place) for place in params["CopySourceRange"].removeprefix("bytes=").split("-"))
        for name, params in buckets.requests
        if name == "UploadPartCopy"
    )
    assert [last - first + 1 for first, last in ranges] == [4096, 4096, 4096, 1]
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ranges))


@pytest.mark.usefixtures("small_parts")
def test_should_never_make_more_parts_than_s3_takes(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAXIMUM_PARTS", 4)
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    assert (
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
        is PixelIdentity.PROVED
    )
    assert buckets.operations().count("UploadPartCopy") == 3
    assert buckets.result(KEY) == NEW_HEADER + CT[start:stop]


def test_should_copy_the_largest_object_of_s3_within_its_limits_of_a_part() -> None:
    largest_object, largest_part = 50 * 10**12, 5 * 1024**3
    assert -(-largest_object // (storage.MAXIMUM_PARTS - 1)) <= largest_part
    assert storage.MINIMUM_PART <= storage.COPY_PART <= largest_part


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("operation", ["UploadPart", "UploadPartCopy", "CompleteMultipartUpload"])
def test_should_leave_no_upload_behind_when_a_request_fails(buckets: Buckets, operation: str) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)

    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, operation)

    buckets.s3.meta.events.register(f"before-call.s3.{operation}", fail)
    with pytest.raises(ClientError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    assert "AbortMultipartUpload" in buckets.operations()
    assert not buckets.s3.list_multipart_uploads(Bucket=PROCESSED).get("Uploads")
    assert not buckets.s3.list_objects_v2(Bucket=PROCESSED).get("Contents")


@pytest.mark.usefixtures("small_parts")
def test_should_cancel_the_other_copies_when_the_first_part_fails(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "COPY_PART", 64)
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)

    def fail(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "UploadPart")

    buckets.s3.meta.events.register("before-call.s3.UploadPart", fail)
    with pytest.raises(ClientError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    assert buckets.operations().count("UploadPartCopy") < (stop - start - 5000) // 64
    assert buckets.operations()[-1] == "AbortMultipartUpload"


@pytest.mark.usefixtures("small_parts")
def test_should_reject_when_the_version_goes_while_it_is_copied(buckets: Buckets) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    source.read(0, len(CT))
    assert source.checksum
    buckets.s3.delete_object(Bucket=RAW, Key="scan.dcm", VersionId=source.coordinates.version_id)
    with pytest.raises(DicomError, match="OBJECT_DELETED"):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    assert not buckets.s3.list_multipart_uploads(Bucket=PROCESSED).get("Uploads")


def test_should_write_a_result_without_bulk_data(buckets: Buckets) -> None:
    identity = write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, None))
    assert identity is PixelIdentity.NO_BULK_DATA
    assert buckets.result(KEY) == NEW_HEADER


# staged origins


def staged(buckets: Buckets, content: bytes, *, checksum: str = "CRC64NVME") -> StagedObject:
    return StagedObject(buckets.s3, buckets.upload(content, "staged/pixels", checksum=checksum))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("limit", [1024, 8 * 1024 * 1024])
def test_should_write_and_prove_staged_bulk_data(buckets: Buckets, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    content = os.urandom(20_000)
    pixels = staged(buckets, content)
    identity = write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(pixels, 0, pixels.size)))
    assert identity is PixelIdentity.PROVED_STAGED
    assert buckets.result(KEY) == NEW_HEADER + content
    copies = [params["CopySource"] for name, params in buckets.requests if name == "UploadPartCopy"]
    pinned = {"Bucket": RAW, "Key": "staged/pixels", "VersionId": pixels.coordinates.version_id}
    assert copies == [pinned] * (4 if limit == 1024 else 0)


@pytest.mark.usefixtures("small_parts")
def test_should_detect_damaged_staged_bulk_data(buckets: Buckets) -> None:
    pixels = staged(buckets, os.urandom(20_000))
    buckets.s3.meta.events.register("provide-client-params.s3.UploadPart", lambda params, **_: flip_a_bit(params))
    with pytest.raises(WriteError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(pixels, 0, pixels.size)))


def test_should_say_so_when_the_staged_object_has_no_comparable_checksum(buckets: Buckets) -> None:
    pixels = staged(buckets, CT, checksum="CRC32")
    identity = write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(pixels, 0, pixels.size)))
    assert identity is PixelIdentity.NO_CHECKSUM


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("limit", [1024, 8 * 1024 * 1024])
@pytest.mark.parametrize("knows_checksum", [True, False])
def test_should_not_blame_the_uploaded_object_when_a_staged_one_is_gone(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, limit: int, *, knows_checksum: bool
) -> None:
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    pixels = staged(buckets, CT)
    assert not knows_checksum or pixels.checksum
    buckets.s3.delete_object(Bucket=RAW, Key="staged/pixels", VersionId=pixels.coordinates.version_id)
    with pytest.raises(StagedObjectMissingError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(pixels, 0, pixels.size)))
    assert not buckets.s3.list_multipart_uploads(Bucket=PROCESSED).get("Uploads")


def test_should_write_no_result_from_what_is_not_in_s3(buckets: Buckets) -> None:
    with pytest.raises(TypeError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(BytesSource(CT), 0, 10)))


# proving


def content_checksum(content: bytes) -> int:
    """CRC-64/NVME bit by bit, from its definition: reflected polynomial, all ones in and out."""
    register = 2**64 - 1
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x9A6C9329AC4BC9B5 if register & 1 else 0)
    return register ^ (2**64 - 1)


class Held:
    """A source whose bytes and checksum are known, for the arithmetic alone."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.checksum = content_checksum(content)

    def checksum_of(self, start: int, stop: int) -> int:
        return content_checksum(self.content[start:stop])


@given(header=st.binary(max_size=200), bulk_data=st.binary(min_size=1, max_size=300), new=st.binary(max_size=200))
def test_should_compute_the_checksum_that_the_result_has(header: bytes, bulk_data: bytes, new: bytes) -> None:
    for trailer in (b"", b"\0", bulk_data[::-1], b"\0" * 100):
        source = Held(header + bulk_data + trailer)
        origin = Origin(source, len(header), len(header) + len(bulk_data))  # type: ignore[arg-type]
        expected = storage._expected_checksum(source, origin, new)  # type: ignore[arg-type]
        assert expected == content_checksum(new + bulk_data)


def test_should_take_zero_bytes_away_as_it_appends_them() -> None:
    for length in (0, 1, 7, 4096, 2**32, 5 * 2**40):
        longer = storage._append_zeros(0x0123456789ABCDEF, length)
        assert storage._append_zeros(longer, storage._CRC_PERIOD - length) == 0x0123456789ABCDEF


@pytest.mark.parametrize("trailer", [b"", b"\0\1trailing"])
@pytest.mark.parametrize("limit", [1024, 8 * 1024 * 1024])
def test_should_prove_pixels_of_an_object_with_or_without_a_trailer(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, small_parts: None, trailer: bytes, limit: int
) -> None:
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    monkeypatch.setattr(storage, "CHUNK", 100)
    source = buckets.source(CT + trailer)
    start, stop = bulk_data_of(source)
    result = Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop))
    assert write_result(buckets.s3, result) is PixelIdentity.PROVED


def flip_a_bit(params: dict[str, Any]) -> None:
    body = bytearray(params["Body"])
    body[-1] ^= 1
    params["Body"] = bytes(body)


def shift_the_range(params: dict[str, Any]) -> None:
    first, last = params["CopySourceRange"].removeprefix("bytes=").split("-")
    params["CopySourceRange"] = f"bytes={int(first) - 1}-{int(last) - 1}"


@pytest.mark.parametrize(
    ("operation", "damage", "limit"),
    [
        ("UploadPart", flip_a_bit, 1024),
        ("UploadPartCopy", shift_the_range, 1024),
    ],
)
def test_should_detect_a_damaged_pixel(
    buckets: Buckets,
    monkeypatch: pytest.MonkeyPatch,
    small_parts: None,
    operation: str,
    damage: Callable[[dict[str, Any]], None],
    limit: int,
) -> None:
    """moto takes a wrong checksum of an upload, unlike S3, so that what is asked of S3 afterwards must tell."""
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    buckets.s3.meta.events.register(f"provide-client-params.s3.{operation}", lambda params, **_: damage(params))
    with pytest.raises(WriteError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))


@pytest.mark.parametrize("limit", [1024, 8 * 1024 * 1024])
def test_should_tell_s3_what_checksum_and_size_the_result_must_have(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, small_parts: None, limit: int
) -> None:
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    told = [params for name, params in buckets.requests if params.get("ChecksumCRC64NVME")][-1]
    expected = crc64nvme(NEW_HEADER + CT[start:stop])
    assert told["ChecksumCRC64NVME"] == base64.b64encode(expected.to_bytes(8, "big")).decode()
    assert told.get("MpuObjectSize", len(told.get("Body", b""))) == len(NEW_HEADER) + stop - start


@pytest.mark.parametrize("limit", [1024, 8 * 1024 * 1024])
def test_should_say_so_when_the_source_has_no_comparable_checksum(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, small_parts: None, limit: int
) -> None:
    monkeypatch.setattr(storage, "SINGLE_PUT_LIMIT", limit)
    source = buckets.source(CT, checksum="CRC32")
    start, stop = bulk_data_of(source)
    identity = write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
    assert identity is PixelIdentity.NO_CHECKSUM
    assert buckets.result(KEY) == NEW_HEADER + CT[start:stop]


def test_should_not_take_a_checksum_of_checksums_for_one_of_the_content(buckets: Buckets) -> None:
    source = buckets.source(CT)

    def composite(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ChecksumType"] = "COMPOSITE"

    buckets.s3.meta.events.register("after-call.s3.HeadObject", composite)
    assert source.checksum is None


def test_should_detect_a_result_of_another_size(buckets: Buckets, small_parts: None) -> None:
    source = buckets.source(CT, checksum="CRC32")
    start, stop = bulk_data_of(source)

    def drop_a_part(params: dict[str, Any], **_: Any) -> None:
        params["MultipartUpload"]["Parts"].pop()

    buckets.s3.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", drop_a_part)
    with pytest.raises(WriteError):
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))


def test_should_check_the_version_it_wrote_when_another_writer_follows(buckets: Buckets) -> None:
    source = buckets.source(CT)
    start, stop = bulk_data_of(source)
    other = boto3.client("s3")

    def overwrite(**_: Any) -> None:
        other.put_object(Bucket=PROCESSED, Key=KEY, Body=b"another result")

    buckets.s3.meta.events.register("after-call.s3.PutObject", overwrite)
    assert (
        write_result(buckets.s3, Result(PROCESSED, KEY, NEW_HEADER, Origin(source, start, stop)))
        is PixelIdentity.PROVED
    )
