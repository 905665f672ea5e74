import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from runtime.contract.events import ManifestEntry, RevisionCause, StudyDelivered
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.cursors import Cursor
from runtime.ledger.studies import Studies
from runtime.observability.entry_points import StepFailedError
from runtime.operations import completeness
from tests.unit.conftest import PROCESSED
from tests.unit.operations.conftest import Stage

STUDY = "5d" * 16


class Bus:
    """EventBridge, and what was put on it."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stage = stage
        self._patch = monkeypatch
        self.events = boto3.client("events")
        self.entries: list[dict[str, Any]] = []
        self.events.meta.events.register("provide-client-params.events.PutEvents", self._record)
        publisher = completeness.Publisher(stage.buckets.s3, self.events, bucket=PROCESSED, bus="stage")
        monkeypatch.setattr("runtime.handlers.completeness.publisher", publisher)

    def _record(self, params: dict[str, Any], **_: Any) -> None:
        self.entries.extend(params["Entries"])

    def announced(self) -> list[StudyDelivered]:
        return [StudyDelivered.model_validate_json(entry["Detail"]) for entry in self.entries]

    def tick(self, minutes: float) -> dict[str, Any]:
        """Invoke the function as its schedule does, some minutes from now."""

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(minutes=minutes)

        self._patch.setattr("runtime.handlers.completeness.datetime", Clock)
        return self._stage.invoke("completeness", {"source": "aws.events"})


@pytest.fixture
def bus(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Bus:
    return Bus(stage, monkeypatch)


def deliver(stage: Stage, name: str, **facts: Any) -> ObjectCoordinates:
    coordinates = stage.buckets.upload(name.encode(), f"DOE/{name}.dcm")
    stage.finish(coordinates, LedgerStatus.DELIVERED, study_id=STUDY, **facts)
    return coordinates


def manifest(stage: Stage, announcement: StudyDelivered) -> list[ManifestEntry]:
    lines = stage.buckets.result(announcement.manifest_key).decode().splitlines()
    return [ManifestEntry.model_validate_json(line) for line in lines]


def test_should_announce_a_study_once_when_it_is_quiet(stage: Stage, bus: Bus) -> None:
    delivered = [deliver(stage, name) for name in ("one", "two")]
    rejected = stage.buckets.upload(b"three", "three.dcm")
    stage.finish(rejected, LedgerStatus.QUARANTINED, study_id=STUDY, reason_codes="RISK_ULTRASOUND")
    assert bus.tick(9) == {"announced": 0, "unchanged": 0, "waiting": 0, "pending": 0}
    assert bus.tick(11)["announced"] == 1
    assert bus.tick(12) == {"announced": 0, "unchanged": 1, "waiting": 0, "pending": 0}
    bus.tick(60)
    assert bus.tick(61) == {"announced": 0, "unchanged": 0, "waiting": 0, "pending": 0}
    [announced] = bus.announced()
    assert announced == StudyDelivered(
        bucket=PROCESSED,
        patient_id="P1",
        study_instance_uid="2.25.1",
        revision=1,
        cause=RevisionCause.COMPLETE,
        delivered=2,
        quarantined=1,
        failed=0,
        duplicate=0,
        manifest_key="P1/2.25.1/manifest-1.jsonl",
    )
    assert {(entry["Source"], entry["DetailType"], entry["EventBusName"]) for entry in bus.entries} == {
        ("medical-imaging-pipeline", "StudyDelivered", "stage")
    }
    keys = [entry.output_key for entry in manifest(stage, announced)]
    assert keys == sorted(f"P1/2.25.1/2.25.2/{each.object_id}.dcm" for each in delivered)


def test_should_tell_consumers_no_key_and_nothing_that_leads_to_one(stage: Stage, bus: Bus) -> None:
    coordinates = deliver(stage, "one", output_key="P1/2.25.1/2.25.2/2.25.3.dcm")
    bus.tick(11)
    [announced] = bus.announced()
    told = json.dumps(bus.entries) + stage.buckets.result(announced.manifest_key).decode()
    for secret in ("DOE", coordinates.object_id, coordinates.version_id, STUDY):
        assert secret not in told


def test_should_make_a_new_revision_of_a_late_object_and_say_so(stage: Stage, bus: Bus) -> None:
    deliver(stage, "one")
    bus.tick(11)
    deliver(stage, "two")
    assert bus.tick(9)["announced"] == 0
    bus.tick(12)
    first, second = bus.announced()
    assert (second.revision, second.cause, second.delivered) == (2, "late-objects", 2)
    assert (len(manifest(stage, first)), len(manifest(stage, second))) == (1, 2)


def test_should_say_that_a_study_was_processed_again(stage: Stage, bus: Bus) -> None:
    coordinates = deliver(stage, "one")
    bus.tick(11)
    stage.buckets.s3.delete_object(Bucket=PROCESSED, Key="P1/2.25.1/manifest-1.jsonl")
    stage.finish(coordinates, LedgerStatus.DELIVERED, attempt=2)
    bus.tick(12)
    stage.finish(coordinates, LedgerStatus.DELIVERED, attempt=3, profile_hash="cd" * 32)
    bus.tick(13)
    announced = bus.announced()
    assert [(each.revision, each.cause) for each in announced] == [
        (1, "complete"),
        (2, "reprocessed"),
        (3, "reprocessed"),
    ]
    assert [manifest(stage, each)[0].profile_hash[:2] for each in announced[1:]] == ["ab", "cd"]


def test_should_not_announce_again_that_an_object_stays_in_quarantine(stage: Stage, bus: Bus) -> None:
    deliver(stage, "one")
    rejected = stage.buckets.upload(b"two", "two.dcm")
    for attempt in (1, 2):
        stage.finish(
            rejected, LedgerStatus.QUARANTINED, study_id=STUDY, attempt=attempt, reason_codes="RISK_ULTRASOUND"
        )
        bus.tick(10 + attempt)
    assert len(bus.announced()) == 1


def test_should_wait_for_the_verdict_of_every_object(stage: Stage, bus: Bus) -> None:
    deliver(stage, "one")
    running = stage.buckets.upload(b"two", "two.dcm")
    stage.ledger.receive(ExecutionInput(object=running))
    stage.ledger.identify(running.object_id, STUDY)
    assert bus.tick(11)["waiting"] == 1
    stage.ledger.record(ExecutionInput(object=running), LedgerStatus.FAILED, error="States.Timeout")
    assert bus.tick(12)["announced"] == 1
    assert [(each.delivered, each.failed) for each in bus.announced()] == [(1, 1)]


def test_should_announce_nothing_of_a_study_without_a_result(stage: Stage, bus: Bus) -> None:
    coordinates = stage.buckets.upload(b"one", "one.dcm")
    stage.finish(coordinates, LedgerStatus.QUARANTINED, study_id=STUDY, reason_codes="RISK_ULTRASOUND")
    assert bus.tick(11)["unchanged"] == 1
    assert bus.entries == []


def test_should_announce_each_patient_of_a_mixed_study(stage: Stage, bus: Bus) -> None:
    deliver(stage, "one", output_key="P1/2.25.1/2.25.2/2.25.3.dcm")
    deliver(stage, "two", output_key="P2/2.25.1/2.25.2/2.25.4.dcm")
    bus.tick(11)
    assert [(each.patient_id, each.delivered) for each in bus.announced()] == [("P1", 1), ("P2", 1)]
    assert {key.manifest_key for key in bus.announced()} == {
        "P1/2.25.1/manifest-1.jsonl",
        "P2/2.25.1/manifest-1.jsonl",
    }


def test_should_announce_the_same_revision_when_the_one_who_began_it_died(
    stage: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(stage, "one")
    bus.events.delete_event_bus(Name="stage")
    with pytest.raises(StepFailedError):
        bus.tick(11)
    boto3.client("events").create_event_bus(Name="stage")
    assert bus.tick(12)["pending"] == 1  # whoever began it may still be at it
    assert bus.tick(17)["announced"] == 1
    assert bus.tick(18)["announced"] == 0
    assert {(each.revision, each.cause) for each in bus.announced()} == {(1, "complete")}


def test_should_not_let_two_announce_one_revision(stage: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(stage, "one")
    seen = Studies.last_revision

    def revision_before_another_announces(studies: Studies, study_id: str) -> Any:
        last = seen(studies, study_id)
        monkeypatch.setattr(Studies, "last_revision", seen)
        bus.tick(11)
        return last

    monkeypatch.setattr(Studies, "last_revision", revision_before_another_announces)
    assert bus.tick(11)["pending"] == 1
    assert [each.revision for each in bus.announced()] == [1]


def near_cursor(stage: Stage) -> Cursor:
    return Cursor(stage.ledger.table, completeness.NEAR_CURSOR)


def test_should_announce_the_others_where_one_study_fails(stage: Stage, bus: Bus) -> None:
    deliver(stage, "one", output_key="not-a-result-key")
    other = stage.buckets.upload(b"two", "two.dcm")
    stage.finish(other, LedgerStatus.DELIVERED, study_id="cd" * 16)
    for _ in range(2):
        with pytest.raises(StepFailedError):
            bus.tick(11)
    assert [each.delivered for each in bus.announced()] == [1]
    assert near_cursor(stage).read() == ""


def test_should_go_back_behind_the_last_look_as_indexes_lag(stage: Stage, bus: Bus) -> None:
    assert bus.tick(11)["announced"] == 0
    coordinates = deliver(stage, "one")
    stage.change(coordinates, updated_at=_text(datetime.now(UTC) - timedelta(minutes=3)))
    assert bus.tick(11)["announced"] == 1


def test_should_find_within_an_hour_what_was_recorded_long_after_its_verdict(stage: Stage, bus: Bus) -> None:
    """The ledger was away for an hour when the workflow recorded the verdict."""
    assert bus.tick(11)["announced"] == 0
    coordinates = deliver(stage, "one")
    stage.change(coordinates, updated_at=_text(datetime.now(UTC) - timedelta(minutes=60)))
    assert bus.tick(12)["announced"] == 0
    assert bus.tick(12 + 60)["announced"] == 1
    assert bus.tick(12 + 120)["announced"] == 0
    assert [each.revision for each in bus.announced()] == [1]


def test_should_go_on_near_where_it_can_not_look_far(stage: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is more to look at than the function has time for."""
    bus.tick(11)
    deliver(stage, "one")
    query = stage.ledger.judged_studies

    def refuse_far(*, since: str, until: str) -> Any:
        if since < _text(datetime.now(UTC) - timedelta(minutes=30)):
            raise TimeoutError
        return query(since=since, until=until)

    monkeypatch.setattr(stage.ledger, "judged_studies", refuse_far)
    for _ in range(2):
        with pytest.raises(StepFailedError):
            bus.tick(12 + 60)
    assert [each.revision for each in bus.announced()] == [1]
    assert near_cursor(stage).read() > _text(datetime.now(UTC) + timedelta(minutes=60))


def test_should_not_look_at_everything_again_where_it_never_looked_far(stage: Stage, bus: Bus) -> None:
    """As after an update from a version that did not."""
    near_cursor(stage).advance(_text(datetime.now(UTC) - timedelta(minutes=1)))
    stage.change(deliver(stage, "old"), updated_at="2026-01-02T03:04:05.678Z")
    assert bus.tick(11)["announced"] == 0
    far_cursor = Cursor(stage.ledger.table, completeness.FAR_CURSOR)
    assert far_cursor.read() == near_cursor(stage).read()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
