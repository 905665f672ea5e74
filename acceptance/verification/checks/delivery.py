"""Checks of the download links: one that works, and one that has expired."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from typing import Final

from acceptance.verification.check import Judgement, check, same
from acceptance.verification.objects import Sample
from acceptance.verification.run import Run
from acceptance.verification.waiting import until
from cli.operations import links as delivery
from cli.operations.links import DownloadLink, PresignedUrlHandler
from runtime.aws.audit import AuditLog
from runtime.contract.audit import AuditEvent
from runtime.contract.names import Output

EXPIRY_SECONDS = 60
"""Clocks differ: until then an expired link may still work."""
LIFE_SECONDS: Final = 600
FETCH_SECONDS: Final = 60


def fetch(url: str) -> tuple[int, str, bytes]:
    """Follow a link, without credentials; return status, media type and content."""
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - a link of Amazon S3
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, "", b""


def _link(run: Run, seconds: int) -> DownloadLink:
    delivery.logger.setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "ERROR"))  # the table says it already
    audit = AuditLog(run.reader.client("dynamodb"), run.stage.output(Output.LINK_AUDIT_TABLE_NAME))
    handler = PresignedUrlHandler(
        run.processed_bucket,
        run.stage.region,
        audit=audit,
        recipient=f"acceptance test {run.id}",
        session=run.reader,
    )
    return handler.generate_secure_download_url(run.output_key(Sample.DELIVERED), seconds)


@check("link: downloads the result")
def link(run: Run) -> Judgement:
    """Follow a link that is alive."""
    status, media_type, body = fetch(_link(run, LIFE_SECONDS).url)
    told = "the result" if body == run.result(Sample.DELIVERED) else "something else"
    return same("200 application/dicom, the result", f"{status} {media_type}, {told}")


@check("link: refused when it has expired")
def expired_link(run: Run) -> Judgement:
    """Follow a link until it is refused, which its life of a second makes soon."""
    dead = _link(run, 1)
    time.sleep(2)

    def look() -> int | None:
        status, *_ = fetch(dead.url)
        return status if status != 200 else None

    status = until(look, time.monotonic() + EXPIRY_SECONDS, lambda: f"works {EXPIRY_SECONDS} s after its end")
    return same(403, status)


@check("link: on record")
def recorded_link(run: Run) -> Judgement:
    """Look for the records of the links in the audit log of the research zone."""
    records = run.stage.link_audit.of_subject(run.output_key(Sample.DELIVERED))
    ours = [
        each
        for each in records
        if each.event is AuditEvent.LINK_ISSUED and each.recipient == f"acceptance test {run.id}"
    ]
    return same("2 records", f"{len(ours)} records")


CHECKS = (link, expired_link, recorded_link)
