"""Study completeness: a quiet study, of which no object arrived or is in work for a while, is announced once.

A study is announced in revisions. Each has a manifest next to the study, and one event.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from runtime.aws.clock import timestamp
from runtime.contract.events import EventType, ManifestEntry, RevisionCause, StudyDelivered
from runtime.contract.ledger import TIME_CURSORS, LedgerStatus, RowProjection
from runtime.contract.models import Frozen
from runtime.contract.names import PROJECT
from runtime.ledger.cursors import Cursor
from runtime.ledger.rows import Ledger
from runtime.ledger.studies import Studies, StudyRevision

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient
    from mypy_boto3_s3.client import S3Client

NEAR_CURSOR: Final = f"{TIME_CURSORS}completeness"
OVERLAP: Final = timedelta(minutes=5)
"""Time that a look goes back behind the one before, since an index may lag and clocks differ."""
FAR_CURSOR: Final = f"{TIME_CURSORS}completeness-far"
FAR_INTERVAL: Final = timedelta(hours=1)
"""Interval of the far looks, and the time that each goes on."""
FAR_OVERLAP: Final = timedelta(hours=2)
"""Time that a far look goes back behind the one before.

A verdict bears the time at which the workflow began to record it. Its record may be an hour younger, if the ledger was
away."""
CLAIM: Final = timedelta(minutes=5)
"""Time after which an unfinished announcement is begun again: its function has died."""
MANIFEST_MEDIA_TYPE: Final = "application/jsonl"

_OF_AN_ENTRY: Final = {"output_key", "profile", "profile_hash", "key_id"}
_IN_WORK: Final = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))


class AnnouncementError(Exception):
    """Refusal of an event by the event bus. The text is the error code."""


class Publisher:
    """Publisher of studies: a manifest in the processed bucket and an event on the stage's bus.

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

    def publish(self, announcement: StudyDelivered, manifest: Sequence[ManifestEntry]) -> None:
        """Write a revision's manifest, then put its event.

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


class Study(Frozen):
    """Rows of a study's object versions, all of which have a verdict."""

    study_id: str
    rows: tuple[RowProjection, ...]

    @property
    def digest(self) -> str:
        """Hash over what a revision publishes, which differs when there is something new.

        A result that was written once more is new even with the same bytes: the one before may have been lost, and the
        manifest with it.
        """
        published = sorted(
            "\0".join((row.object_id, row.status, row.reason_codes or "", *_written(row))) for row in self.rows
        )
        return hashlib.sha256("\n".join(published).encode()).hexdigest()

    def announcements(
        self, bucket: str, revision: int, cause: RevisionCause
    ) -> Iterator[tuple[StudyDelivered, list[ManifestEntry]]]:
        """Yield an announcement, with its manifest, for each patient that the study's objects name.

        There is none where nothing of the study was delivered, since its pseudonyms are unknown.
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


def _written(row: RowProjection) -> tuple[str, ...]:
    """Return what identifies the writing of a row's result; empty where it has none."""
    if row.status is not LedgerStatus.DELIVERED:
        return ()
    return row.output_key or "", row.profile_hash or "", str(row.attempt)


class Outcomes(Frozen):
    """Numbers of studies by the outcome of a look at them."""

    announced: int = 0
    unchanged: int = 0
    waiting: int = 0
    """not quiet yet; a later look finds them by their next verdict"""
    pending: int = 0
    """announced by another function right now, or failed; the next look begins with them"""


def announce_complete_studies(
    ledger: Ledger,
    publisher: Publisher,
    *,
    quiet: timedelta,
    now: datetime,
    on_error: Callable[[Exception], Any],
) -> Outcomes:
    """Announce every study that became quiet since the last look and has something new.

    Parameters
    ----------
    ledger
        Of the stage.
    publisher
        Of the stage.
    quiet
        Time without an arrival or a verdict after which a study is complete.
    now
        The present time, aware.
    on_error
        Called with the error of each study that could not be announced.
    """
    quiet_since = timestamp(now - quiet)
    outcomes: Counter[str] = Counter()

    def look(cursor: Cursor, since: str, until: str) -> None:
        seen: Counter[str] = Counter()
        for study_id in sorted(ledger.judged_studies(since=since, until=until)):
            try:
                outcome = _announce(ledger, publisher, study_id, quiet_since=quiet_since, now=now)
            except Exception as error:  # noqa: BLE001 - a study's failure must not keep the others back
                on_error(error)
                outcome = "pending"
            seen[outcome] += 1
        if not seen["pending"]:
            cursor.advance(until)
        outcomes.update(seen)

    near, far = Cursor(ledger.table, NEAR_CURSOR), Cursor(ledger.table, FAR_CURSOR)
    look(near, _shifted(near.read(), -OVERLAP), quiet_since)
    position = far.read()
    if not position:
        far.advance(quiet_since)
    elif (until := _shifted(position, FAR_INTERVAL)) <= quiet_since:
        look(far, _shifted(position, -FAR_OVERLAP), until)
    return Outcomes(**outcomes)


def _shifted(position: str, interval: timedelta) -> str:
    """Return the time that is `interval` after a cursor's position; empty at the beginning."""
    return timestamp(datetime.fromisoformat(position) + interval) if position else ""


def _announce(ledger: Ledger, publisher: Publisher, study_id: str, *, quiet_since: str, now: datetime) -> str:
    """Announce a study if it is quiet and has something new; return the outcome's name in `Outcomes`."""
    study = Study(study_id=study_id, rows=tuple(ledger.rows_of_study(study_id)))
    if any(row.status in _IN_WORK or row.updated_at > quiet_since for row in study.rows):
        return "waiting"
    studies = Studies(ledger.table)
    last = studies.last_revision(study_id)
    if last is not None and last.published_at is None and last.claimed_at > timestamp(now - CLAIM):
        return "pending"
    if last is not None and last.published_at is not None and last.digest == study.digest:
        return "unchanged"
    return _publish(studies, publisher, study, last, now=now)


def _publish(studies: Studies, publisher: Publisher, study: Study, last: StudyRevision | None, *, now: datetime) -> str:
    """Claim the next revision, publish it, and record that it was published.

    A function that dies between the last two leaves a claim that ends, and the revision may be published twice.
    """
    revision = _next_revision(study, last, now)
    announcements = list(study.announcements(publisher.bucket, revision.revision, revision.cause))
    if not announcements:
        return "unchanged"
    if not studies.revise(study.study_id, last, revision):
        return "pending"
    for announcement, manifest in announcements:
        publisher.publish(announcement, manifest)
    published = revision.model_copy(update={"published_at": timestamp(datetime.now(UTC))})
    studies.revise(study.study_id, revision, published)
    return "announced"


def _next_revision(study: Study, last: StudyRevision | None, now: datetime) -> StudyRevision:
    """Return the revision to announce: the last one again, if it is unpublished and nothing changed since."""
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
