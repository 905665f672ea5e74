"""Study completeness: when no object of a study has come or is in work for a while, consumers are told, once.

A study is announced in revisions. Each has a manifest of its own next to the study, and one event.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from runtime.contract.events import EventType, ManifestEntry, RevisionCause, StudyDelivered
from runtime.contract.ledger import LedgerStatus, Outline
from runtime.contract.models import Frozen
from runtime.contract.names import PROJECT
from runtime.ledger.rows import Ledger, StudyRevision, timestamp

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_s3.client import S3Client

CHECKPOINT: Final = "completeness"
OVERLAP: Final = timedelta(minutes=5)
"""How far each look goes back behind the one before: an index may lag, and clocks differ."""
FAR_CHECKPOINT: Final = "completeness-far"
FAR_INTERVAL: Final = timedelta(hours=1)
"""How often another look goes back further, and how far each goes on."""
FAR_OVERLAP: Final = timedelta(hours=2)
"""How far it goes back behind the one before: a verdict bears the time at which the workflow began to record it, and
may be an hour older than its record where the ledger was away."""
CLAIM: Final = timedelta(minutes=5)
"""After this an announcement that was begun and not finished is begun again: its function has died."""
MANIFEST_MEDIA_TYPE: Final = "application/jsonl"

_OF_AN_ENTRY: Final = {"output_key", "profile", "profile_hash", "key_id"}
_IN_WORK: Final = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))


class AnnouncementError(Exception):
    """The event bus refused an event; the text is its error code."""


class Consumers:
    """Those who are told of studies: by a manifest in the processed bucket and an event on the stage's bus.

    Parameters
    ----------
    s3, events
        Clients.
    bucket
        Name of the processed bucket.
    bus
        Name of the event bus.
    """

    def __init__(self, s3: S3Client, events: EventBridgeClient, *, bucket: str, bus: str) -> None:
        self._s3 = s3
        self._events = events
        self.bucket = bucket
        self._bus = bus

    def tell(self, announcement: StudyDelivered, manifest: Sequence[ManifestEntry]) -> None:
        """Write a revision's manifest, then announce it.

        Raises
        ------
        AnnouncementError
            The bus refused the event.
        """
        lines = "".join(f"{entry.model_dump_json()}\n" for entry in manifest)
        self._s3.put_object(
            Bucket=self.bucket,
            Key=announcement.manifest_key,
            Body=lines.encode(),
            ContentType=MANIFEST_MEDIA_TYPE,
            ChecksumAlgorithm="CRC64NVME",
        )
        answer = self._events.put_events(
            Entries=[
                {
                    "EventBusName": self._bus,
                    "Source": PROJECT,
                    "DetailType": EventType.STUDY_DELIVERED,
                    "Detail": announcement.model_dump_json(),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            raise AnnouncementError(answer["Entries"][0].get("ErrorCode", "unknown"))


def events_client() -> EventBridgeClient:
    """Return an EventBridge client that waits out throttling and transient errors."""
    return boto3.client("events", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))


class Study(Frozen):
    """The outlines of a study's object versions, all of which have a verdict."""

    study_id: str
    rows: tuple[Outline, ...]

    @property
    def digest(self) -> str:
        """What consumers see of the study, as a hash: it changes when there is something new to tell.

        A result that was written once more is new even if it has the same bytes: the one before may have been lost,
        and the manifest with it.
        """
        told = sorted(
            "\0".join((row.object_id, row.status, row.reason_codes or "", *_written(row))) for row in self.rows
        )
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def announcements(
        self, bucket: str, revision: int, cause: RevisionCause
    ) -> Iterator[tuple[StudyDelivered, list[ManifestEntry]]]:
        """Yield what consumers are told: one announcement, or one for each patient that the study's objects name.

        None where nothing of the study was delivered: its pseudonyms are then unknown.
        """
        counts = Counter(row.status for row in self.rows)
        delivered = {row.output_key: row for row in self.rows if row.status is LedgerStatus.DELIVERED}
        folders: dict[str, list[ManifestEntry]] = {}
        for key in sorted(filter(None, delivered)):
            patient_id, study_instance_uid, *_ = key.split("/")
            entry = ManifestEntry.model_validate(delivered[key].model_dump(include=_OF_AN_ENTRY))
            folders.setdefault(f"{patient_id}/{study_instance_uid}", []).append(entry)
        for folder, entries in folders.items():
            patient_id, study_instance_uid = folder.split("/")
            announcement = StudyDelivered(
                bucket=bucket,
                patient_id=patient_id,
                study_instance_uid=study_instance_uid,
                revision=revision,
                cause=cause,
                delivered=len(entries),
                quarantined=counts[LedgerStatus.QUARANTINED],
                failed=counts[LedgerStatus.FAILED],
                duplicate=counts[LedgerStatus.DUPLICATE],
                manifest_key=f"{folder}/manifest-{revision}.jsonl",
            )
            yield announcement, entries


def _written(row: Outline) -> tuple[str, ...]:
    """Return what tells one writing of a result from another; nothing where the verdict wrote none."""
    if row.status is not LedgerStatus.DELIVERED:
        return ()
    return row.output_key or "", row.profile_hash or "", str(row.attempt)


class Outcomes(Frozen):
    """What one look at the studies led to, in numbers of studies."""

    announced: int = 0
    unchanged: int = 0
    waiting: int = 0
    """not quiet yet; a later look will find them by the verdict they wait for"""
    pending: int = 0
    """being announced by somebody else, or not announced for an error; the next look begins with them"""


def announce_complete_studies(
    ledger: Ledger,
    consumers: Consumers,
    *,
    quiet: timedelta,
    now: datetime,
    on_error: Callable[[Exception], Any],
) -> Outcomes:
    """Announce every study that became quiet since the last look and has something new to tell.

    Parameters
    ----------
    ledger
        Of the stage.
    consumers
        Who is told.
    quiet
        How long no object of a study may have arrived or got its verdict.
    now
        The time, aware.
    on_error
        Is given the error of a study that could not be announced; the others are.
    """
    quiet_since = timestamp(now - quiet)
    outcomes: Counter[str] = Counter()

    def look(checkpoint: str, since: str, until: str) -> None:
        seen: Counter[str] = Counter()
        for study_id in sorted(ledger.judged_studies(since=since, until=until)):
            try:
                outcome = _announce(ledger, consumers, study_id, quiet_since=quiet_since, now=now)
            except Exception as error:  # noqa: BLE001 - one study's trouble must not keep the others back
                on_error(error)
                outcome = "pending"
            seen[outcome] += 1
        if not seen["pending"]:
            ledger.move_checkpoint(checkpoint, until)
        outcomes.update(seen)

    look(CHECKPOINT, _shifted(ledger.checkpoint(CHECKPOINT), -OVERLAP), quiet_since)
    far = ledger.checkpoint(FAR_CHECKPOINT)
    if not far:
        ledger.move_checkpoint(FAR_CHECKPOINT, quiet_since)
    elif (until := _shifted(far, FAR_INTERVAL)) <= quiet_since:
        look(FAR_CHECKPOINT, _shifted(far, -FAR_OVERLAP), until)
    return Outcomes(**outcomes)


def _shifted(checkpoint: str, interval: timedelta) -> str:
    """Return the time that is so long after a checkpoint; the beginning of time where there is none yet."""
    return timestamp(datetime.fromisoformat(checkpoint) + interval) if checkpoint else ""


def _announce(ledger: Ledger, consumers: Consumers, study_id: str, *, quiet_since: str, now: datetime) -> str:
    study = Study(study_id=study_id, rows=tuple(ledger.outlines_of_study(study_id)))
    if any(row.status in _IN_WORK or row.updated_at > quiet_since for row in study.rows):
        return "waiting"
    last = ledger.study(study_id)
    if last is not None and last.published_at is None and last.claimed_at > timestamp(now - CLAIM):
        return "pending"
    digest = study.digest
    if last is not None and last.published_at is not None and last.digest == digest:
        return "unchanged"
    return _publish(ledger, consumers, study, last, now=now)


def _publish(ledger: Ledger, consumers: Consumers, study: Study, last: StudyRevision | None, *, now: datetime) -> str:
    """Claim the next revision, tell consumers, and record that they were told.

    Whoever dies between the last two leaves a claim that ends; consumers may then hear of the revision twice.
    """
    revision = _next_revision(study, last, now)
    announcements = list(study.announcements(consumers.bucket, revision.revision, revision.cause))
    if not announcements:
        return "unchanged"
    if not ledger.revise_study(study.study_id, last, revision):
        return "pending"
    for announcement, manifest in announcements:
        consumers.tell(announcement, manifest)
    published = revision.model_copy(update={"published_at": timestamp(datetime.now(UTC))})
    ledger.revise_study(study.study_id, revision, published)
    return "announced"


def _next_revision(study: Study, last: StudyRevision | None, now: datetime) -> StudyRevision:
    """Return the revision to announce: the last one once more where it may not have been, and is as it was."""
    number, cause = 1, RevisionCause.COMPLETE
    if last is not None:
        unfinished = last.published_at is None
        number = last.revision if unfinished and last.digest == study.digest else last.revision + 1
        if unfinished:
            cause = last.cause
        else:
            is_late = len(study.rows) > last.objects
            cause = RevisionCause.LATE_OBJECTS if is_late else RevisionCause.REPROCESSED
    return StudyRevision(
        revision=number, digest=study.digest, cause=cause, objects=len(study.rows), claimed_at=timestamp(now)
    )
