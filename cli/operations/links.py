"""Time-limited download links for objects of the processed bucket.

A link is a presigned S3 GET (Signature Version 4). Whoever holds it may download that one object until it expires,
so neither links nor keys enter a log: logs name an object by a hash of its bucket and key. That a link was given, by
whom, for whom and until when, is in the audit log before anybody has it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import sys
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import parse_qs, quote, urlsplit

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError
from pydantic import Field

from runtime.aws.audit import AuditLog, principal, study_of
from runtime.aws.clients import PARALLEL_REQUESTS, client
from runtime.aws.clock import now, timestamp
from runtime.contract.audit import AuditEvent, AuditRecord
from runtime.contract.models import Frozen
from runtime.observability.redaction import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT_EXPIRY_SECONDS = 3600
MAXIMUM_EXPIRY_SECONDS = 7 * 24 * 3600
"""The longest life that Signature Version 4 allows a presigned URL."""

UNKNOWN_SESSION_SECONDS = 900
"""What a session is trusted to have left when its credentials don't tell: the shortest session that AWS STS issues.

Lambda and exported environment variables hand out temporary credentials without an expiry, and a link dies with the
session that signed it. Whoever knows the expiry sets AWS_CREDENTIAL_EXPIRATION, which botocore reads.
"""

_FILE_NAME_BYTES = 200  # file systems stop at 255, and browsers append "(1)" and the like
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}

logger = Logger(service="delivery", stream=sys.stderr)  # standard output belongs to the command line's result


class DeliveryError(Exception):
    """No link can be given. The text never holds a key, a bucket or a URL.

    Attributes
    ----------
    code
        Machine-readable reason.
    """

    code: ClassVar[str]
    sentence: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"{self.sentence} ({detail})" if detail else self.sentence)


class InvalidExpiryError(DeliveryError, ValueError):
    """The asked expiry is outside of what Signature Version 4 allows."""

    code = "INVALID_EXPIRY"
    sentence = f"A link lives between 1 and {MAXIMUM_EXPIRY_SECONDS} seconds (7 days): ask for a life in that range."


class InvalidKeyError(DeliveryError, ValueError):
    """No S3 object can have this key."""

    code = "INVALID_KEY"
    sentence = "An object's key has between 1 and 1024 bytes in UTF-8: check the key."


class ConfigurationError(DeliveryError):
    """Bucket name, region, AWS profile or endpoint can't be used."""

    code = "CONFIGURATION"
    sentence = "Check the bucket's name, the region, the AWS profile and the endpoint."


class CredentialsUnavailableError(DeliveryError):
    """There are no AWS credentials to sign with."""

    code = "CREDENTIALS_UNAVAILABLE"
    sentence = "There are no usable AWS credentials to sign a link with: sign in, or set a profile or a role."


class SessionExpiredError(DeliveryError):
    """The session of the AWS credentials is over, so a link would be dead at once."""

    code = "SESSION_EXPIRED"
    sentence = "The session of the AWS credentials has expired: sign in again."


class ObjectNotFoundError(DeliveryError):
    """There is no such object, or its current version is a delete marker, or there is no such bucket."""

    code = "OBJECT_NOT_FOUND"
    sentence = "There is no such object in the bucket, or no such bucket: check both names."


class AccessDeniedError(DeliveryError):
    """The signer may not read the object. S3 also says so of a missing object to who may not list the bucket."""

    code = "ACCESS_DENIED"
    sentence = "S3 denies access: the object is missing, or the signer lacks s3:GetObject or use of the bucket's key."


class ObjectArchivedError(DeliveryError):
    """The object is in an archive storage class and has no restored copy."""

    code = "OBJECT_ARCHIVED"
    sentence = "The object is archived: restore it in S3 and ask again when the restore is complete."


class StorageUnavailableError(DeliveryError):
    """S3 could not be asked, or gave an answer that says nothing about the object."""

    code = "STORAGE_UNAVAILABLE"
    sentence = "S3 could not tell whether the object exists: check region, clock and network, then try again."


class AuditUnavailableError(DeliveryError):
    """The link can't be recorded, so nobody gets it."""

    code = "AUDIT_UNAVAILABLE"
    sentence = "The audit log can't record the link, so none is given: the signer needs the right to add to it."


class DownloadLink(Frozen):
    """A link to the object's current version."""

    key: str
    url: str = Field(repr=False, description="holding it is permission to download: never log it")
    expires_at: datetime = Field(description="UTC; the end of the signer's session where that comes first")


class DownloadFailure(Frozen):
    """Why there is no link for a key."""

    key: str
    code: str
    message: str = Field(description="one sentence: what is wrong and what to do about it")


class DownloadBatch(Frozen):
    """The outcome for every key asked for, each in exactly one of the two, in the order asked."""

    links: tuple[DownloadLink, ...]
    failures: tuple[DownloadFailure, ...]


class PresignedUrlHandler:
    """Gives out download links to one bucket's objects.

    Links follow the object's current version on purpose: when a file is de-identified again under a stricter
    profile, a link given out before must not reach what was replaced.

    Parameters
    ----------
    bucket
        Name of the processed bucket.
    region
        The bucket's region: links are signed for it and name its regional endpoint.
    audit
        Where each link is recorded before it is given.
    recipient
        For whom or for what the links are, as the record says it.
    session
        Whose credentials sign; by default those that boto3 finds. AWS_ENDPOINT_URL is honoured.

    Raises
    ------
    ConfigurationError
        Bucket name, region, profile or endpoint can't be used.
    """

    def __init__(
        self,
        bucket: str,
        region: str,
        *,
        audit: AuditLog,
        recipient: str | None = None,
        session: boto3.Session | None = None,
    ) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise ConfigurationError("not the name of an S3 bucket")
        self._bucket = bucket
        self._audit = audit
        self._recipient = recipient
        try:
            session = session or boto3.Session()
            self._client = _regional_client(session, region)
            self._sts = client("sts", session=session, region=region)
            self._credentials = session.get_credentials()
        except (BotoCoreError, ValueError) as error:
            raise ConfigurationError from error

    def generate_secure_download_url(self, key: str, expires_in: int = DEFAULT_EXPIRY_SECONDS) -> DownloadLink:
        """Give a link that downloads the object as an `application/dicom` attachment.

        Parameters
        ----------
        key
            The object's key.
        expires_in
            Seconds the link lives, 1 to 604800. Shortened to what the signer's session has left, which is taken
            to be `UNKNOWN_SESSION_SECONDS` where temporary credentials don't tell.

        Raises
        ------
        InvalidExpiryError, InvalidKeyError, CredentialsUnavailableError, SessionExpiredError
            Nothing can be signed.
        ObjectNotFoundError, AccessDeniedError, ObjectArchivedError, StorageUnavailableError
            S3 would not serve the object, or could not be asked.
        AuditUnavailableError
            The link could not be recorded.
        """
        object_hash = hashlib.sha256(f"{self._bucket}\0{key}".encode(errors="replace")).hexdigest()[:32]
        try:
            link = self._sign(key, self._allowed_seconds(expires_in))
            self._require_downloadable(key)
            self._record(link)
        except DeliveryError as error:
            logger.warning("no download link", object_hash=object_hash, code=error.code)
            raise
        logger.info("download link", object_hash=object_hash, expires_at=link.expires_at.isoformat())
        return link

    def generate_secure_download_urls(
        self, keys: Iterable[str], expires_in: int = DEFAULT_EXPIRY_SECONDS
    ) -> DownloadBatch:
        """Give a link for each key, or the reason why there is none; one key's trouble stays its own.

        Parameters
        ----------
        keys
            The objects' keys.
        expires_in
            As for `generate_secure_download_url`.

        Raises
        ------
        InvalidExpiryError, CredentialsUnavailableError, SessionExpiredError
            No key could get a link.
        """
        self._allowed_seconds(expires_in)

        def outcome(key: str) -> DownloadLink | DownloadFailure:
            try:
                return self.generate_secure_download_url(key, expires_in)
            except DeliveryError as error:
                return DownloadFailure(key=key, code=error.code, message=str(error))

        with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="delivery") as pool:
            outcomes = list(pool.map(outcome, keys))
        batch = DownloadBatch(
            links=tuple(each for each in outcomes if isinstance(each, DownloadLink)),
            failures=tuple(each for each in outcomes if isinstance(each, DownloadFailure)),
        )
        logger.info("download links", link_count=len(batch.links), failure_count=len(batch.failures))
        return batch

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys that begin with `prefix`, in S3's order.

        Raises
        ------
        DeliveryError
            The bucket can't be listed.
        """
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (item["Key"] for item in page.get("Contents", []))
        except (BotoCoreError, ClientError, RuntimeError) as error:
            raise _delivery_error(error) from None

    def _allowed_seconds(self, expires_in: int) -> int:
        """Bound a link's life by Signature Version 4 and by the signer's session."""
        if not 1 <= expires_in <= MAXIMUM_EXPIRY_SECONDS:
            raise InvalidExpiryError
        if self._credentials is None:
            raise CredentialsUnavailableError
        try:
            token = self._credentials.get_frozen_credentials().token  # refreshes what is about to expire
        except RuntimeError as error:
            raise _delivery_error(error) from None
        except (BotoCoreError, ClientError):
            raise CredentialsUnavailableError from None
        session_end: datetime | None = getattr(self._credentials, "_expiry_time", None)
        if session_end is not None:
            seconds_left = int((session_end - datetime.now(UTC)).total_seconds())
        else:
            seconds_left = UNKNOWN_SESSION_SECONDS if token else MAXIMUM_EXPIRY_SECONDS
        if seconds_left < 1:
            raise SessionExpiredError
        return min(expires_in, seconds_left)

    def _sign(self, key: str, seconds: int) -> DownloadLink:
        try:
            key_size = len(key.encode())
        except UnicodeEncodeError:  # an argument of the command line that was not UTF-8
            key_size = 0
        if not 1 <= key_size <= 1024:
            raise InvalidKeyError
        url = self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentType": "application/dicom",
                "ResponseContentDisposition": attachment_disposition(key),
            },
            ExpiresIn=seconds,
        )
        signed_at = datetime.strptime(parse_qs(urlsplit(url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%S%z")
        return DownloadLink(key=key, url=url, expires_at=signed_at + timedelta(seconds=seconds))

    def _require_downloadable(self, key: str) -> None:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key)
        except (BotoCoreError, ClientError, RuntimeError) as error:
            raise _delivery_error(error) from None  # botocore's texts may hold the URL, and so the key
        restored = 'ongoing-request="false"' in head.get("Restore", "")
        if (head.get("StorageClass") in _ARCHIVES or head.get("ArchiveStatus")) and not restored:
            raise ObjectArchivedError

    def _record(self, link: DownloadLink) -> None:
        try:
            self._audit.record(
                AuditRecord(
                    subject=link.key,
                    record_id=uuid.uuid4().hex,
                    event=AuditEvent.LINK_ISSUED,
                    at=now(),
                    output_study=study_of(link.key),
                    output_key=link.key,
                    principal=self._principal,
                    recipient=self._recipient,
                    expires_at=timestamp(link.expires_at),
                )
            )
        except ClientError as error:
            raise AuditUnavailableError(error_code(error)) from None
        except (BotoCoreError, RuntimeError):
            raise AuditUnavailableError from None

    @cached_property
    def _principal(self) -> str:
        return principal(self._sts)


def attachment_disposition(key: str) -> str:
    """Make the Content-Disposition (RFC 6266) under which a browser saves the object, named by the key's last part.

    Control and formatting characters, quotes, and what file systems refuse are replaced, so that the name can
    neither end the header nor leave the download folder. A name outside of ASCII is added as RFC 5987 has it.
    """
    name = unicodedata.normalize("NFC", key.rstrip("/").rpartition("/")[2])
    name = re.sub(r'[\\/:*?"<>|;]', "_", name)
    name = "".join("_" if unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" else c for c in name)
    stem = (name[:-4] if name.lower().endswith(".dcm") else name).strip(". ")
    stem = stem.encode()[:_FILE_NAME_BYTES].decode(errors="ignore").rstrip(". ") or "object"
    name = f"{stem}.dcm"
    plain = re.sub(r"[^ -~]|%", "_", name)  # some clients decode %XX in the quoted form
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{encoded}'


def _regional_client(session: boto3.Session, region: str) -> S3Client:
    """Make a client whose links name the regional endpoint: the default style signs for the global one.

    Buckets become host names, except on an endpoint on this machine, where `bucket.localhost` may not resolve.
    """

    def client(addressing_style: Literal["virtual", "path"]) -> S3Client:
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing_style, "us_east_1_regional_endpoint": "regional"},
            max_pool_connections=PARALLEL_REQUESTS,
            connect_timeout=5,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        return session.client("s3", region_name=region, config=config)

    virtual_host = client("virtual")
    return client("path") if _is_loopback(virtual_host.meta.endpoint_url) else virtual_host


def _is_loopback(endpoint_url: str) -> bool:
    host = urlsplit(endpoint_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _delivery_error(error: BotoCoreError | ClientError | RuntimeError) -> DeliveryError:
    """Say in our terms what S3 or the way to it answered; a HEAD's answer has a status, but no text."""
    if isinstance(error, RuntimeError):  # botocore's way to say that even the refreshed credentials have expired
        return SessionExpiredError()
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        return CredentialsUnavailableError()
    if not isinstance(error, ClientError):
        return StorageUnavailableError()
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 404:
        return ObjectNotFoundError()
    if status in (401, 403):
        return AccessDeniedError()
    return StorageUnavailableError(f"S3 answered {status}")
