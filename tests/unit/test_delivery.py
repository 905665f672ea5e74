import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
import requests
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import EndpointConnectionError
from botocore.session import Session
from botocore.stub import Stubber
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from pydantic import ValidationError
from pydicom.data import get_testdata_file

from cli.__main__ import main
from cli.operations import links as delivery
from cli.operations.links import PresignedUrlHandler
from runtime.aws import clients
from runtime.aws.audit import AuditLog
from runtime.aws.clock import timestamp
from runtime.contract.audit import AuditEvent
from tests.unit.audit_tables import audit_log, away

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = object

BUCKET = "processed"
AUDIT_TABLE = "stage-link-audit"
REGION: Literal["eu-west-1"] = "eu-west-1"
KEY = "2f7c/2.25.11/2.25.12/2.25.13.dcm"
CT = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)


@pytest.fixture
def s3(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    with mock_aws():
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        client = boto3.client("s3", REGION)
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        client.put_object(Bucket=BUCKET, Key=KEY, Body=CT)
        yield client


@pytest.fixture
def audit(s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    return audit_log(AUDIT_TABLE, monkeypatch)


@pytest.fixture
def handler(audit: AuditLog) -> PresignedUrlHandler:
    return PresignedUrlHandler(BUCKET, REGION, audit=audit)


@pytest.fixture
def published(audit: AuditLog) -> None:
    """What the stack publishes of a stage."""
    ssm = boto3.client("ssm", REGION)
    for name, value in (("processed-bucket-name", BUCKET), ("link-audit-table-name", AUDIT_TABLE)):
        ssm.put_parameter(Name=f"/medical-imaging-pipeline/test/{name}", Value=value, Type="String")


def untouched_log() -> AuditLog:
    """Return a log that no test may reach."""
    return AuditLog(clients.client("dynamodb"), "untouched")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logger = logging.getLogger("delivery")
    extra = logging.StreamHandler(stream)
    extra.setFormatter(logger.handlers[0].formatter)
    logger.addHandler(extra)
    logger.setLevel("INFO")  # a run of the command, in this process, leaves it at what commands show
    yield stream
    logger.removeHandler(extra)


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def seconds_from_now(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()


def test_should_download_the_file_as_a_dicom_attachment_through_the_link(handler: PresignedUrlHandler) -> None:
    response = requests.get(handler.generate_secure_download_url(KEY).url, timeout=5)

    assert response.content == CT
    assert response.headers["Content-Type"] == "application/dicom"
    assert response.headers["Content-Disposition"] == 'attachment; filename="2.25.13.dcm"'


def test_should_sign_with_version_4_for_the_regional_virtual_host(handler: PresignedUrlHandler) -> None:
    link = handler.generate_secure_download_url(KEY)

    assert urlsplit(link.url).scheme == "https"
    assert urlsplit(link.url).netloc == "processed.s3.eu-west-1.amazonaws.com"
    assert query(link.url)["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert "/eu-west-1/s3/aws4_request" in query(link.url)["X-Amz-Credential"]
    assert query(link.url)["X-Amz-SignedHeaders"] == "host"


@pytest.mark.parametrize("endpoint", ["http://localhost:4566", "http://127.0.0.1:4566", "http://[::1]:4566"])
def test_should_address_an_endpoint_on_this_machine_by_path(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    handler = PresignedUrlHandler(BUCKET, REGION, audit=untouched_log())

    assert handler._sign(KEY, 60).url.startswith(f"{endpoint}/processed/{KEY}?")


def test_should_live_one_hour_unless_told(handler: PresignedUrlHandler) -> None:
    hour, minute = handler.generate_secure_download_url(KEY), handler.generate_secure_download_url(KEY, 60)

    assert query(hour.url)["X-Amz-Expires"] == "3600"
    assert query(minute.url)["X-Amz-Expires"] == "60"
    for link, life in ((hour, 3600), (minute, 60)):
        signed = datetime.strptime(query(link.url)["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert link.expires_at == signed + timedelta(seconds=life)


@pytest.mark.parametrize("expires_in", [1, 604800])
def test_should_accept_both_ends_of_the_range(handler: PresignedUrlHandler, expires_in: int) -> None:
    assert query(handler.generate_secure_download_url(KEY, expires_in).url)["X-Amz-Expires"] == str(expires_in)


@pytest.mark.parametrize("expires_in", [-1, 0, 604801])
def test_should_refuse_a_life_that_version_4_does_not_allow(handler: PresignedUrlHandler, expires_in: int) -> None:
    with pytest.raises(delivery.InvalidExpiryError, match="between 1 and 604800 seconds"):
        handler.generate_secure_download_url(KEY, expires_in)
    with pytest.raises(delivery.InvalidExpiryError):
        handler.generate_secure_download_urls([KEY], expires_in)


def test_should_end_with_the_signers_session(audit: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    session_end = datetime.now(UTC) + timedelta(minutes=40)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", session_end.isoformat())
    link = PresignedUrlHandler(BUCKET, REGION, audit=audit).generate_secure_download_url(KEY)

    assert 2395 <= int(query(link.url)["X-Amz-Expires"]) <= 2400
    assert timedelta(0) <= session_end - link.expires_at < timedelta(seconds=5)


def test_should_leave_a_link_alone_that_ends_before_the_session(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=6)).isoformat())
    link = PresignedUrlHandler(BUCKET, REGION, audit=audit).generate_secure_download_url(KEY)

    assert query(link.url)["X-Amz-Expires"] == "3600"


def test_should_trust_a_session_of_unknown_end_for_a_quarter_of_an_hour(
    audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    handler = PresignedUrlHandler(BUCKET, REGION, audit=audit)

    assert query(handler.generate_secure_download_url(KEY).url)["X-Amz-Expires"] == "900"
    assert query(handler.generate_secure_download_url(KEY, 30).url)["X-Amz-Expires"] == "30"


def test_should_shorten_to_an_assumed_roles_expiry(audit: AuditLog) -> None:
    role = boto3.client("sts", REGION).assume_role(
        RoleArn="arn:aws:iam::123456789012:role/researcher", RoleSessionName="test", DurationSeconds=1200
    )
    given = role["Credentials"]
    credentials = RefreshableCredentials.create_from_metadata(
        {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        },
        refresh_using=lambda: pytest.fail("1200 s are enough"),
        method="test",
    )
    core = Session()
    vars(core)["_credentials"] = credentials
    link = PresignedUrlHandler(BUCKET, REGION, audit=audit, session=boto3.Session(botocore_session=core))
    assert 1190 < seconds_from_now(link.generate_secure_download_url(KEY).expires_at) <= 1200


@pytest.mark.parametrize("seconds_left", [-60, 0.5])
def test_should_say_when_the_session_is_over(
    s3: S3Client, monkeypatch: pytest.MonkeyPatch, seconds_left: float
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    handler = PresignedUrlHandler(BUCKET, REGION, audit=untouched_log())
    assert handler._credentials is not None
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(seconds=seconds_left)).isoformat())
    vars(handler._credentials)["_expiry_time"] = datetime.now(UTC)

    with pytest.raises(delivery.SessionExpiredError, match="sign in again"):
        handler.generate_secure_download_urls([KEY])


def test_should_say_when_there_are_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(delivery.CredentialsUnavailableError):
        PresignedUrlHandler(BUCKET, REGION, audit=untouched_log()).generate_secure_download_urls([KEY])
    with pytest.raises(delivery.CredentialsUnavailableError):
        list(PresignedUrlHandler(BUCKET, REGION, audit=untouched_log()).keys("2f7c/"))


def test_should_say_when_the_object_is_missing(handler: PresignedUrlHandler) -> None:
    with pytest.raises(delivery.ObjectNotFoundError) as caught:
        handler.generate_secure_download_url("2f7c/missing.dcm")
    assert "2f7c" not in str(caught.value)


def test_should_say_missing_of_a_deleted_object_in_a_versioned_bucket(
    s3: S3Client, handler: PresignedUrlHandler
) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    with pytest.raises(delivery.ObjectNotFoundError):
        handler.generate_secure_download_url(KEY)


@set_initial_no_auth_action_count(4)
def test_should_say_when_the_signer_may_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_aws():
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        s3 = boto3.client("s3", REGION)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"")
        iam = boto3.client("iam", REGION)
        iam.create_user(UserName="nobody")
        key = iam.create_access_key(UserName="nobody")["AccessKey"]
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
        with pytest.raises(delivery.AccessDeniedError):
            PresignedUrlHandler(BUCKET, REGION, audit=untouched_log(), session=session).generate_secure_download_url(
                KEY
            )


def test_should_say_when_the_object_is_archived(s3: S3Client, handler: PresignedUrlHandler) -> None:
    s3.put_object(Bucket=BUCKET, Key="cold.dcm", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(delivery.ObjectArchivedError):
        handler.generate_secure_download_url("cold.dcm")

    s3.restore_object(Bucket=BUCKET, Key="cold.dcm", RestoreRequest={"Days": 1})
    assert handler.generate_secure_download_url("cold.dcm").key == "cold.dcm"


def test_should_give_a_link_to_an_instant_retrieval_object(s3: S3Client, handler: PresignedUrlHandler) -> None:
    s3.put_object(Bucket=BUCKET, Key="cool.dcm", Body=b"x", StorageClass="GLACIER_IR")
    assert handler.generate_secure_download_url("cool.dcm").key == "cool.dcm"


def test_should_say_when_s3_does_not_tell(handler: PresignedUrlHandler) -> None:
    with Stubber(handler._client) as stub:
        stub.add_client_error("head_object", "503", http_status_code=503)
        with pytest.raises(delivery.StorageUnavailableError, match="503"):
            handler.generate_secure_download_url(KEY)


def test_should_not_repeat_the_url_that_botocore_could_not_reach(handler: PresignedUrlHandler) -> None:
    def unreachable(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url=f"https://processed.s3/{KEY}")

    handler._client.meta.events.register("before-call.s3.HeadObject", unreachable)
    with pytest.raises(delivery.StorageUnavailableError) as caught:
        handler.generate_secure_download_url(KEY)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "not-utf-8-\udce9.dcm"])
def test_should_refuse_what_cannot_be_a_key(handler: PresignedUrlHandler, key: str) -> None:
    with pytest.raises(delivery.InvalidKeyError):
        handler.generate_secure_download_url(key)


@pytest.mark.parametrize("bucket", ["", "a", "Upper-Case", "with/slash", "x" * 64, "arn:aws:s3:::b"])
def test_should_refuse_what_cannot_be_a_bucket(bucket: str) -> None:
    with pytest.raises(delivery.ConfigurationError):
        PresignedUrlHandler(bucket, REGION, audit=untouched_log())


def test_should_refuse_an_unknown_profile_and_an_impossible_region(monkeypatch: pytest.MonkeyPatch) -> None:
    audit = untouched_log()
    with pytest.raises(delivery.ConfigurationError, match="Check the bucket's name, the region"):
        PresignedUrlHandler(BUCKET, "eu west", audit=audit)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(delivery.ConfigurationError, match="the AWS profile"):
        PresignedUrlHandler(BUCKET, REGION, audit=audit)


def test_should_report_each_key_of_a_batch_once_and_in_order(s3: S3Client, handler: PresignedUrlHandler) -> None:
    there = [f"p/{number}.dcm" for number in range(40)]
    for key in there:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    missing = [f"p/{number}-missing.dcm" for number in range(5)]

    batch = handler.generate_secure_download_urls([*missing, "", *there], 60)

    assert [link.key for link in batch.links] == there
    assert [failure.key for failure in batch.failures] == [*missing, ""]
    assert [failure.code for failure in batch.failures] == ["OBJECT_NOT_FOUND"] * 5 + ["INVALID_KEY"]
    assert all(failure.message.endswith(".") for failure in batch.failures)
    assert {query(link.url)["X-Amz-Expires"] for link in batch.links} == {"60"}


def test_should_answer_an_empty_batch_with_an_empty_report(handler: PresignedUrlHandler) -> None:
    assert handler.generate_secure_download_urls([]) == delivery.DownloadBatch(links=(), failures=())


def test_should_not_let_a_result_be_changed_or_its_url_be_printed(handler: PresignedUrlHandler) -> None:
    link = handler.generate_secure_download_url(KEY)
    with pytest.raises(ValidationError):
        link.url = "https://example.com"  # type: ignore[misc]
    assert "X-Amz" not in repr(link)


def test_should_log_outcomes_without_urls_or_keys(handler: PresignedUrlHandler, log: io.StringIO) -> None:
    handler.generate_secure_download_urls([KEY, "2f7c/missing.dcm", "\udce9"])

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["service"] for line in lines} == {"delivery"}
    assert sorted(line["message"] for line in lines) == ["download link", "download links"] + ["no download link"] * 2
    assert {line["code"] for line in lines if "code" in line} == {"OBJECT_NOT_FOUND", "INVALID_KEY"}
    assert all(re.fullmatch("[0-9a-f]{32}", line["object_hash"]) for line in lines if "object_hash" in line)
    assert lines[-1]["link_count"] == 1
    assert lines[-1]["failure_count"] == 2
    for secret in ("2f7c", "2.25.13", "http", "X-Amz", BUCKET):
        assert secret not in log.getvalue()


def test_should_record_each_link_before_it_is_given(audit: AuditLog) -> None:
    link = PresignedUrlHandler(BUCKET, REGION, audit=audit, recipient="Study 4711").generate_secure_download_url(KEY)

    [record] = audit.of_subject(KEY)
    assert (record.event, record.output_key, record.output_study) == (AuditEvent.LINK_ISSUED, KEY, "2f7c/2.25.11")
    assert record.principal == boto3.client("sts").get_caller_identity()["Arn"]
    assert (record.recipient, record.expires_at) == ("Study 4711", timestamp(link.expires_at))
    assert "http" not in record.model_dump_json()
    assert "X-Amz" not in record.model_dump_json()


def test_should_record_every_link_of_an_object(audit: AuditLog, handler: PresignedUrlHandler) -> None:
    handler.generate_secure_download_urls([KEY, KEY, "2f7c/missing.dcm"])
    assert len(list(audit.of_subject(KEY))) == 2
    assert list(audit.of_subject("2f7c/missing.dcm")) == [], "nobody got a link"


def test_should_give_no_link_that_the_audit_log_does_not_know(handler: PresignedUrlHandler) -> None:
    with away(AUDIT_TABLE):
        with pytest.raises(delivery.AuditUnavailableError) as caught:
            handler.generate_secure_download_url(KEY)
        batch = handler.generate_secure_download_urls([KEY])
    assert "AccessDeniedException" in str(caught.value)
    assert "2f7c" not in str(caught.value)
    assert batch.links == ()
    assert [failure.code for failure in batch.failures] == ["AUDIT_UNAVAILABLE"]


def test_should_give_no_link_to_a_signer_whose_name_nobody_knows(handler: PresignedUrlHandler) -> None:
    with Stubber(handler._sts) as stub:
        stub.add_client_error("get_caller_identity", "AccessDenied", http_status_code=403)
        with pytest.raises(delivery.AuditUnavailableError):
            handler.generate_secure_download_url(KEY)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b/2.25.1.dcm", "2.25.1.dcm"),
        ("2.25.1", "2.25.1.dcm"),
        ("IMAGE.DCM", "IMAGE.dcm"),
        ("a/b/", "b.dcm"),
        ("/", "object.dcm"),
        ("a/..", "object.dcm"),
        ("a/.dcm", "object.dcm"),
        ("a/.bashrc", "bashrc.dcm"),
        ('a/b";\r\nX-Evil: 1.dcm', "b____X-Evil_ 1.dcm"),
        ("a/..\\..\\win.dcm", "_.._win.dcm"),
        ("a/100%41.dcm", "100%41.dcm"),
        ("a/naïve Bild.dcm", "naïve Bild.dcm"),
        ("a/nai\u0308ve.dcm", "naïve.dcm"),
        ("a/mcd.\u202eexe\u2028.dcm", "mcd._exe_.dcm"),
        ("a/" + "x" * 1000 + ".dcm", "x" * 200 + ".dcm"),
        ("a/" + "x" * 199 + " y.dcm", "x" * 199 + ".dcm"),
        ("a/" + "像" * 300 + ".dcm", "像" * 66 + ".dcm"),
    ],
)
def test_should_name_the_attachment_safely(key: str, name: str) -> None:
    disposition = delivery.attachment_disposition(key)

    form = re.fullmatch(
        r"""attachment; filename="([ !#-~]+)"(?:; filename\*=UTF-8''([A-Za-z0-9%._~-]+))?""", disposition
    )
    assert form is not None
    assert "%" not in form[1]
    assert (unquote(form[2], errors="strict") if form[2] else form[1]) == name
    assert len(name.encode()) <= 255


def test_should_keep_a_disposition_with_odd_letters_through_the_link(
    s3: S3Client, handler: PresignedUrlHandler
) -> None:
    key = "a b+%c/é ü.dcm"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"content")

    response = requests.get(handler.generate_secure_download_url(key).url, timeout=5)

    assert response.content == b"content"
    assert (
        response.headers["Content-Disposition"]
        == """attachment; filename="_ _.dcm"; filename*=UTF-8''%C3%A9%20%C3%BC.dcm"""
    )


ARGUMENTS = ("links", "--stage", "test", "--for", "a study")


@pytest.mark.usefixtures("published", "log")
def test_should_leave_the_log_to_the_library(
    capsys: pytest.CaptureFixture[str], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POWERTOOLS_LOG_LEVEL", raising=False)
    assert main([*ARGUMENTS, KEY, "missing.dcm"]) == 1
    assert log.getvalue() == ""
    missing, summary = capsys.readouterr().err.splitlines()
    assert missing.startswith("links: missing.dcm: There is no such object in the bucket")
    assert re.fullmatch(r"links: 1 given until [0-9-]{10} [0-9:]{5} UTC, 1 failed", summary)


@pytest.mark.usefixtures("published", "log")
def test_should_print_a_link_a_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--expires", "2h", KEY, "missing.dcm", KEY]) == 1
    links = capsys.readouterr().out.splitlines()
    assert [urlsplit(link).path for link in links] == [f"/{KEY}", f"/{KEY}"]
    assert query(links[0])["X-Amz-Expires"] == "7200"


@pytest.mark.usefixtures("published", "log")
def test_should_print_json_lines_and_tell_that_some_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--json", "missing.dcm", "\udce9", KEY]) == 1
    link, missing, impossible = map(json.loads, capsys.readouterr().out.splitlines())
    assert link["key"] == KEY
    assert seconds_from_now(datetime.fromisoformat(link["expires_at"])) > 3500
    assert (missing["key"], missing["code"]) == ("missing.dcm", "OBJECT_NOT_FOUND")
    assert impossible["code"] == "INVALID_KEY"


@pytest.mark.usefixtures("published", "log")
def test_should_find_the_objects_of_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--json", "--prefix", "2f7c/"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == KEY


@pytest.mark.usefixtures("published", "log")
def test_should_tell_when_a_prefix_has_no_objects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--prefix", "zzz/"]) == 1
    assert "no object" in capsys.readouterr().err


@pytest.mark.usefixtures("published", "log")
def test_should_tell_when_the_bucket_to_list_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    name = "/medical-imaging-pipeline/test/processed-bucket-name"
    boto3.client("ssm", REGION).put_parameter(Name=name, Value="missing", Type="String", Overwrite=True)
    assert main([*ARGUMENTS, "--prefix", ""]) == 1
    assert capsys.readouterr().err.startswith("links: There is no such object in the bucket, or no such bucket")


@pytest.mark.usefixtures("published", "log")
def test_should_escape_keys_that_would_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "\x1b[2J", "\udce9"]) == 1
    said = capsys.readouterr().err
    assert r"links: \x1b[2J: " in said
    assert r"links: \udce9: " in said


@pytest.mark.usefixtures("published", "log")
def test_should_keep_for_whom_links_were_asked(audit: AuditLog) -> None:
    assert main([*ARGUMENTS, "--for", " Dr. Grace Hopper ", "--prefix", "2f7c/"]) == 0
    assert [record.recipient for record in audit.of_subject(KEY)] == ["Dr. Grace Hopper"]


@pytest.mark.usefixtures("published", "log")
def test_should_say_when_there_is_no_such_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["links", "--stage", "nowhere", "--for", "a study", KEY]) == 1
    assert "no stage 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nope",),
        ("links",),
        ("links", "--stage", "test", KEY),
        ARGUMENTS,
        (*ARGUMENTS, "--prefix", "a", KEY),
        (*ARGUMENTS, "--for", " ", KEY),
        (*ARGUMENTS, "--for", "x" * 201, KEY),
        *((*ARGUMENTS, KEY, "--expires", wrong) for wrong in ("0s", "8d", "1", "h", "-1h", "1.5h", "9" * 99 + "s")),
    ],
)
def test_should_explain_wrong_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: imaging-pipeline" in capsys.readouterr().err
