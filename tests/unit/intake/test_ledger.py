import itertools
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from runtime.contract.indexes import SHARDS
from runtime.contract.ledger import LEDGER_CONDITION, LEDGER_VERDICTS, LedgerStatus, expression_names
from runtime.contract.objects import Decision, ObjectCoordinates, Release
from runtime.ledger.claims import Claims
from runtime.ledger.cursors import Cursor
from runtime.ledger.fingerprint import Fingerprint
from runtime.ledger.rows import Ledger, Row
from runtime.ledger.table import hashed
from tests.unit.conftest import LEDGER_TABLE
from tests.unit.intake.conftest import execution

OBJECT = ObjectCoordinates(bucket="raw", key="DOE^JANE.dcm", version_id="v1", size=7, etag="e1")
OTHER = OBJECT.model_copy(update={"version_id": "v2"})
DELIVERED = {"output_key": "p/s/s/i.dcm", "profile": "research", "profile_hash": "ab" * 32, "key_id": "k1"}
UID = "1.2.3.4"
ONE = Fingerprint(size=7, etag="e1", checksum="0" * 16)


def row(ledger: Ledger, coordinates: ObjectCoordinates = OBJECT) -> Row:
    found = ledger.row(coordinates.object_id)
    assert found is not None
    return found


def test_should_open_a_row_with_the_object_that_is_received(ledger: Ledger) -> None:
    opened = ledger.receive(execution(OBJECT))
    assert (opened.coordinates, opened.status, opened.attempt) == (OBJECT, LedgerStatus.RECEIVED, 1)
    assert opened.received_at == opened.updated_at
    assert ledger.table.get(OBJECT.object_id)["opened_at"] == opened.updated_at  # type: ignore[index]
    assert opened.current_attempt == execution(OBJECT)


def test_should_know_nothing_of_an_object_that_was_not_received(ledger: Ledger) -> None:
    assert ledger.row(OBJECT.object_id) is None
    ledger.run(execution(OBJECT), "arn")
    assert not ledger.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED)
    ledger.identify(OBJECT.object_id, hashed("1.2"))
    assert ledger.row(OBJECT.object_id) is None


def test_should_leave_a_row_as_it_is_when_it_is_received_again(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.run(execution(OBJECT), "arn:1")
    again = ledger.receive(execution(OBJECT))
    assert (again.status, again.execution) == (LedgerStatus.RUNNING, "arn:1")


def test_should_reach_the_same_row_in_whatever_order_changes_arrive(ledger: Ledger) -> None:
    changes: list[Callable[[], object]] = [
        lambda: ledger.receive(execution(OBJECT)),
        lambda: ledger.run(execution(OBJECT), "arn:1"),
        lambda: ledger.record(execution(OBJECT), LedgerStatus.FAILED, error="States.Timeout"),
        lambda: ledger.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED),
    ]
    for order in itertools.permutations(changes):
        ledger.table.client.delete_item(TableName=LEDGER_TABLE, Key={"object_id": {"S": OBJECT.object_id}})
        ledger.receive(execution(OBJECT))
        statuses = []
        for change in [*order, random.choice(order)]:
            change()
            statuses.append(row(ledger).status.rank)
        assert statuses == sorted(statuses)
        final = row(ledger)
        assert (final.status, final.output_key, final.error) == (LedgerStatus.DELIVERED, "p/s/s/i.dcm", None)


def test_should_keep_the_first_of_two_verdicts_of_one_attempt(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    assert ledger.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED)
    assert not ledger.record(execution(OBJECT), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert not ledger.record(execution(OBJECT), LedgerStatus.FAILED, error="States.Timeout")
    assert (row(ledger).status, row(ledger).reason_codes) == (LedgerStatus.DELIVERED, None)


def test_should_let_a_redriven_execution_put_its_verdict_over_its_failure(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.record(execution(OBJECT), LedgerStatus.FAILED, error="States.Timeout")
    assert ledger.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED)
    assert (row(ledger).status, row(ledger).error) == (LedgerStatus.DELIVERED, None)


def test_should_begin_a_later_attempt_and_refuse_what_is_late_of_the_one_before(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.record(execution(OBJECT), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    second = row(ledger).next_attempt(profile="basic")
    opened = ledger.receive(second)
    assert (opened.status, opened.attempt, opened.requested_profile) == (LedgerStatus.RECEIVED, 2, "basic")
    assert opened.reason_codes is None
    assert not ledger.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED)
    assert ledger.receive(execution(OBJECT)).attempt == 2
    assert row(ledger).next_attempt().profile == "basic"


def test_should_keep_who_released_and_why_for_every_later_attempt(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    seen = row(ledger)
    first = Release(by="Dr. A", reason="No text in the pixels.")
    second = Release(by="Dr. B", reason="Looked at it once more.")
    assert ledger.release(seen, first)
    assert ledger.release(seen, second)
    assert [kept.by for kept in row(ledger).releases] == ["Dr. A", "Dr. B"]
    assert row(ledger).next_attempt().release == second


def test_should_keep_no_release_of_what_went_on_since_it_was_looked_at(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    seen = row(ledger)
    decision = Release(by="Dr. A", reason="No text in the pixels.")
    ledger.run(execution(OBJECT), "arn:1")
    assert not ledger.release(seen, decision)
    ledger.receive(execution(OBJECT, 2))
    assert not ledger.release(seen, decision)
    assert row(ledger).releases == ()


def test_should_not_name_the_execution_of_the_attempt_before(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.run(execution(OBJECT), "arn:1")
    assert row(ledger).execution == "arn:1"
    assert ledger.receive(execution(OBJECT, 2)).execution is None


def test_should_quarantine_unread_only_what_it_does_not_know(ledger: Ledger) -> None:
    assert ledger.reject_unread(OBJECT, "OBJECT_DELETED")
    assert not ledger.reject_unread(OBJECT, "OBJECT_DELETED")
    assert (row(ledger).status, row(ledger).reason_codes) == (LedgerStatus.QUARANTINED, "OBJECT_DELETED")
    ledger.receive(execution(OTHER))
    assert not ledger.reject_unread(OTHER, "OBJECT_DELETED")
    assert row(ledger, OTHER).status is LedgerStatus.RECEIVED


def test_should_ignore_only_what_it_does_not_know(ledger: Ledger) -> None:
    assert ledger.ignore(OBJECT)
    assert not ledger.ignore(OBJECT)
    ignored = row(ledger)
    assert (ignored.status, ignored.attempt, ignored.coordinates) == (LedgerStatus.IGNORED, 0, OBJECT)
    ledger.receive(execution(OTHER))
    assert not ledger.ignore(OTHER)
    opened = ledger.receive(execution(OBJECT))
    assert (opened.status, opened.attempt, opened.received_at) == (LedgerStatus.RECEIVED, 1, ignored.received_at)
    assert not list(ledger.with_status(LedgerStatus.IGNORED))


def test_should_keep_no_dismissal_of_what_went_on_since_it_was_looked_at(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.record(execution(OBJECT), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    seen, decision = row(ledger), Decision(by="Dr. A", reason="Nobody needs it.")
    ledger.receive(seen.next_attempt())
    assert not ledger.dismiss(seen, decision)
    ledger.record(seen.next_attempt(), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert not row(ledger).is_dismissed
    assert ledger.dismiss(row(ledger), decision)
    assert row(ledger).is_dismissed
    ledger.receive(row(ledger).next_attempt())
    assert not row(ledger).is_dismissed


def test_should_count_by_verdict_since_a_time_and_what_is_in_work(ledger: Ledger) -> None:
    objects = [OBJECT.model_copy(update={"version_id": f"v{number}"}) for number in range(20)]
    for coordinates in objects:
        ledger.receive(execution(coordinates))
    assert (ledger.count_in_work(), ledger.count(LedgerStatus.FAILED)) == (20, 0)
    assert ledger.oldest_in_work() == min(row(ledger, each).updated_at for each in objects)
    for coordinates in objects[:15]:
        ledger.record(execution(coordinates), LedgerStatus.FAILED, error="States.Timeout")
    assert (ledger.count_in_work(), ledger.count(LedgerStatus.FAILED)) == (5, 15)
    assert ledger.count(LedgerStatus.FAILED, since="2020") == 15
    assert ledger.count(LedgerStatus.FAILED, since="2999") == 0
    assert ledger.count(LedgerStatus.DELIVERED) == 0


def test_should_tell_that_nothing_is_in_work(ledger: Ledger) -> None:
    assert (ledger.count_in_work(), ledger.oldest_in_work()) == (0, None)


def test_should_answer_what_is_quarantined_since_a_time_and_what_a_study_has(ledger: Ledger) -> None:
    for coordinates in (OBJECT, OTHER):
        ledger.receive(execution(coordinates))
        ledger.identify(coordinates.object_id, hashed("1.2"))
    ledger.record(execution(OBJECT), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert [found.object_id for found in ledger.with_status(LedgerStatus.QUARANTINED)] == [OBJECT.object_id]
    assert not list(ledger.with_status(LedgerStatus.QUARANTINED, since="2999-01-01"))
    assert not list(ledger.with_status(LedgerStatus.QUARANTINED, until="2020-01-01"))
    assert {found.object_id for found in ledger.rows_of_study(hashed("1.2"))} == {OBJECT.object_id, OTHER.object_id}
    assert not list(ledger.rows_of_study(hashed("1.3")))


def test_should_tell_which_of_many_objects_it_does_not_know(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB leaves items of a batch undone where they are large, or it is throttled."""
    ledger.receive(execution(OBJECT))
    asked: list[int] = []
    ask = ledger.table.client.batch_get_item

    def leave_half(RequestItems: Any) -> Any:  # noqa: N803 - as boto3 names it
        keys = RequestItems[LEDGER_TABLE]["Keys"]
        asked.append(len(keys))
        now, later = keys[: len(keys) // 2 or 1], keys[len(keys) // 2 or 1 :]
        answer = ask(RequestItems={LEDGER_TABLE: RequestItems[LEDGER_TABLE] | {"Keys": now}})
        left = {LEDGER_TABLE: RequestItems[LEDGER_TABLE] | {"Keys": later}} if later else {}
        return answer | {"UnprocessedKeys": left}

    monkeypatch.setattr(ledger.table.client, "batch_get_item", leave_half)
    monkeypatch.setattr("runtime.ledger.table.time.sleep", lambda _: None)
    others = [f"{number:032x}" for number in range(149)]
    assert ledger.unknown([*others, OBJECT.object_id]) == set(others)
    assert asked == [100, 50, 25, 13, 7, 4, 2, 1, 50, 25, 13, 7, 4, 2, 1]
    assert ledger.unknown([]) == set()


def test_should_project_a_row_without_coordinates(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    ledger.identify(OBJECT.object_id, hashed("1.2"))
    [projection] = ledger.rows_of_study(hashed("1.2"))
    assert projection.model_dump(exclude_none=True).keys() == {
        "object_id",
        "status",
        "attempt",
        "updated_at",
        "study_id",
    }


def test_should_tell_of_which_studies_objects_were_judged_between_two_times(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour, coordinates in enumerate((OBJECT, OTHER)):
        ledger.receive(execution(coordinates))
        ledger.identify(coordinates.object_id, hashed(f"1.{hour}"))
        monkeypatch.setattr("runtime.ledger.rows.now", lambda hour=hour: f"2026-11-23T0{hour}:00:00.000Z")
        ledger.record(execution(coordinates), LedgerStatus.FAILED, error="States.Timeout")
    assert ledger.judged_studies(since="", until="~") == {hashed("1.0"), hashed("1.1")}
    assert ledger.judged_studies(since="", until="2026-11-23T00:30") == {hashed("1.0")}
    assert ledger.judged_studies(since="2026-11-23T00:30", until="~") == {hashed("1.1")}


def test_should_find_what_is_in_work_and_not_what_has_a_verdict(ledger: Ledger) -> None:
    for coordinates in (OBJECT, OTHER):
        ledger.receive(execution(coordinates))
    ledger.run(execution(OTHER), "arn:1")
    assert [each.object_id for each in ledger.with_status(LedgerStatus.RECEIVED)] == [OBJECT.object_id]
    assert [each.object_id for each in ledger.with_status(LedgerStatus.RUNNING)] == [OTHER.object_id]
    ledger.record(execution(OTHER), LedgerStatus.DELIVERED, **DELIVERED)
    assert not list(ledger.with_status(LedgerStatus.RUNNING))
    ledger.receive(execution(OTHER, 2))
    assert len(list(ledger.with_status(LedgerStatus.RECEIVED))) == 2
    assert not list(ledger.with_status(LedgerStatus.DELIVERED))


def test_should_answer_in_the_order_of_time_whichever_shard_has_a_row(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = itertools.cycle(range(SHARDS))
    monkeypatch.setattr("runtime.ledger.table.random.randrange", lambda _: next(shards) * 7 % SHARDS)
    monkeypatch.setattr("runtime.ledger.rows.BATCH", 7)
    expected = []
    for minute in range(40):
        coordinates = OBJECT.model_copy(update={"version_id": str(minute)})
        monkeypatch.setattr("runtime.ledger.rows.now", lambda minute=minute: f"2026-11-23T10:{minute:02}:00.000Z")
        ledger.receive(execution(coordinates))
        ledger.record(execution(coordinates), LedgerStatus.DELIVERED, **DELIVERED)
        expected.append(coordinates.object_id)
    assert [each.object_id for each in ledger.with_status(LedgerStatus.DELIVERED)] == expected
    assert [each.object_id for each in ledger.delivered(since="2026-11-23T10:05", until="2026-11-23T10:30")] == (
        expected[5:30]
    )


@pytest.fixture
def claims(ledger: Ledger) -> Claims:
    return Claims(ledger.table)


def test_should_give_an_instance_to_the_first_that_claims_it(claims: Claims) -> None:
    assert claims.claim(UID, "a", ONE).holder == "a"
    assert claims.claim(UID, "b", ONE).holder == "a"
    assert claims.claim(UID, "a", ONE).revision == 2
    assert claims.claim("1.2.3.5", "b", ONE).holder == "b"


def test_should_refuse_to_change_a_claim_that_is_no_longer_as_it_was_seen(claims: Claims) -> None:
    seen = claims.claim(UID, "a", ONE)
    assert claims.change(UID, seen, "b", ONE, delivered_as="key-of-b")
    assert not claims.change(UID, seen, "a", ONE, delivered_as="key-of-a")
    now = claims.claim(UID, "a", ONE)
    assert (now.holder, now.output_key) == ("b", "key-of-b")


def test_should_move_a_cursor_anywhere_and_advance_it_only_forwards(ledger: Ledger) -> None:
    cursor = Cursor(ledger.table, "checkpoint#a")
    assert cursor.read() == ""
    for position, reached in (("2026-01-02", "2026-01-02"), ("2026-01-01", "2026-01-02"), ("2026-01-03", "2026-01-03")):
        cursor.advance(position)
        assert cursor.read() == reached
    cursor.move("2026-01-01")
    assert cursor.read() == "2026-01-01"
    assert Cursor(ledger.table, "checkpoint#b").read() == ""


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({"reason_codes": "NOT_DICOM TRUNCATED"}, ["NOT_DICOM", "TRUNCATED"]),
        ({"error": "States.Timeout"}, ["States.Timeout"]),
    ],
)
def test_should_tell_why_a_row_has_its_verdict(ledger: Ledger, facts: dict[str, str], reasons: list[str]) -> None:
    assert ledger.receive(execution(OBJECT)).reasons == []
    verdict = LedgerStatus.FAILED if "error" in facts else LedgerStatus.QUARANTINED
    ledger.record(execution(OBJECT), verdict, **facts)
    assert row(ledger).reasons == reasons


@pytest.mark.parametrize("status", LEDGER_VERDICTS)
def test_should_name_every_value_of_a_verdict_after_its_attribute(ledger: Ledger, status: LedgerStatus) -> None:
    """The state machine builds its request from the same strings."""
    update = LEDGER_VERDICTS[status]
    names = expression_names(update, LEDGER_CONDITION)
    assert all(name == f"#{attribute}" for name, attribute in names.items())
    ledger.receive(execution(OBJECT))
    sets = update.removeprefix("SET ").partition(" REMOVE ")[0].split(", ")
    values: dict[str, Any] = {part.partition(" = ")[2]: {"S": "x"} for part in sets}
    values |= {":rank": {"N": str(status.rank)}, ":attempt": {"N": "1"}, ":status": {"S": status.value}}
    ledger.table.client.update_item(
        TableName=LEDGER_TABLE,
        Key={"object_id": {"S": OBJECT.object_id}},
        UpdateExpression=update,
        ConditionExpression=LEDGER_CONDITION,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )
    assert row(ledger).status is status


def test_should_raise_what_is_no_failed_condition(ledger: Ledger) -> None:
    ledger.table.client.delete_table(TableName=LEDGER_TABLE)
    with pytest.raises(ClientError):
        ledger.receive(execution(OBJECT))


def test_should_read_numbers_as_they_were_written(ledger: Ledger) -> None:
    opened = ledger.receive(execution(OBJECT.model_copy(update={"size": 2**40})))
    assert opened.size == 2**40
    assert not isinstance(opened.size, Decimal)


def test_should_let_a_row_and_a_claim_expire_so_long_after_their_last_attempt(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    expiring = Ledger(ledger.table.client, LEDGER_TABLE, retention_days=10)
    claim = f"instance#{hashed(UID)}"

    def ends(name: str) -> object:
        item = ledger.table.get(name)
        assert item is not None
        return item.get("expires_at")

    monkeypatch.setattr("runtime.ledger.table.time.time", lambda: 1000.5)
    expiring.receive(execution(OBJECT))
    Claims(expiring.table).claim(UID, OBJECT.object_id, ONE)
    assert expiring.reject_unread(OTHER, "OBJECT_DELETED")
    assert [ends(name) for name in (OBJECT.object_id, OTHER.object_id, claim)] == [1000 + 10 * 86400] * 3
    monkeypatch.setattr("runtime.ledger.table.time.time", lambda: 2000.5)
    expiring.record(execution(OBJECT), LedgerStatus.DELIVERED, **DELIVERED)
    assert ends(OBJECT.object_id) == 1000 + 10 * 86400
    expiring.receive(execution(OBJECT, 2))
    seen = Claims(expiring.table).claim(UID, OBJECT.object_id, ONE)
    monkeypatch.setattr("runtime.ledger.table.time.time", lambda: 3000.5)
    assert Claims(expiring.table).change(UID, seen, OBJECT.object_id, ONE, delivered_as="key")
    assert (ends(OBJECT.object_id), ends(claim)) == (2000 + 10 * 86400, 3000 + 10 * 86400)
    ledger.receive(execution(OBJECT, 3))
    assert ends(OBJECT.object_id) == 2000 + 10 * 86400, "an operator's attempt leaves the end as it is"


def test_should_let_nothing_expire_where_the_stage_keeps_the_ledger_for_ever(ledger: Ledger) -> None:
    ledger.receive(execution(OBJECT))
    Claims(ledger.table).claim(UID, OBJECT.object_id, ONE)
    for name in (OBJECT.object_id, f"instance#{hashed(UID)}"):
        assert "expires_at" not in (ledger.table.get(name) or {})
