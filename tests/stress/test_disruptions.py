"""What dies, goes away or changes in the middle: each object ends as it should, by itself or by one command."""

from __future__ import annotations

import hashlib
import re

from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Function
from tests.stress.conftest import Figures
from tests.stress.deployed import IN_WORK, Accounts, Deployed, wait_for
from tests.stress.faults import Faults
from tests.stress.objects import CT, image, large_image

SECOND = 1000
UNAVAILABLE_SECONDS = 60
REPLAYED_AT_ONCE = 6


def test_should_deliver_after_a_function_was_killed_in_a_large_copy(
    deployed: Deployed, faults: Faults, figures: Figures
) -> None:
    content = large_image()
    # The proxy takes a part of a multipart upload for an object of its own.
    faults.inject([{"service": "s3", "operation": "PutObject", "latency": 8 * SECOND, "times": 1}])
    with deployed.reaching_aws_at(faults.endpoint, [Function.DEIDENTIFICATION]):
        deployed.upload({"killed/large.dcm": content})
        wait_for(deployed.uploads, 120)

        figures.faults = deployed.kill(Function.DEIDENTIFICATION)
        accounts = deployed.settle("killed/", 1)
        if accounts.statuses[LedgerStatus.FAILED]:
            # The emulator tells a killed function as an exception of its own, which the workflow doesn't repeat.
            figures.redriven = 1
            deployed.run("redrive")
            accounts = deployed.settle("killed/", 1)

    tell(figures, accounts)
    (row,) = accounts.rows
    assert figures.faults
    assert accounts.failed_attempts == 1
    assert row.status is LedgerStatus.DELIVERED
    assert deployed.result(row.output_key or "") == deployed.expected(content)
    assert deployed.sweep() == 1, "what the killed function began"
    assert deployed.uploads() == []


def test_should_start_once_after_a_dispatcher_was_killed_before_it_acknowledged(
    deployed: Deployed, faults: Faults, figures: Figures
) -> None:
    # The dispatcher has started the execution, and is held up as it tells the ledger so.
    is_running = "ExpressionAttributeValues.\":status\".S == 'running'"
    faults.inject([{"service": "dynamodb", "body": is_running, "latency": 30 * SECOND, "times": 1}])
    deployed.hide_messages(10)
    with deployed.reaching_aws_at(faults.endpoint, [Function.DISPATCHER]):
        before = len(deployed.executions())
        deployed.upload({"dispatcher/one.dcm": image()})
        wait_for(lambda: len(deployed.executions()) > before, 120)

        figures.faults = deployed.kill(Function.DISPATCHER)
        accounts = deployed.settle("dispatcher/", 1)

    deployed.hide_messages(60)
    tell(figures, accounts)
    assert figures.faults
    assert accounts.statuses == {LedgerStatus.DELIVERED: 1}
    assert accounts.executions == 1


def test_should_wait_for_a_ledger_that_is_away_for_a_minute(
    deployed: Deployed, faults: Faults, figures: Figures
) -> None:
    objects = {f"away/{number}.dcm": image() for number in range(10)}
    away = {"service": "dynamodb", "error": {"code": "InternalServerError", "status": 500}}
    faults.inject([{**away, "ttl_s": UNAVAILABLE_SECONDS}])
    with deployed.reaching_aws_at(faults.endpoint):
        deployed.upload(objects)
        accounts = deployed.settle("away/", len(objects))

    figures.faults = faults.injected().total()
    tell(figures, accounts)
    assert accounts.seconds > UNAVAILABLE_SECONDS
    assert accounts.statuses == {LedgerStatus.DELIVERED: len(objects)}
    assert accounts.executions == len(objects)


def test_should_deliver_by_redrive_what_failed_while_the_key_could_not_be_read(
    deployed: Deployed, faults: Faults, figures: Figures
) -> None:
    objects = {f"secret/{number}.dcm": image() for number in range(3)}
    denied = {"code": "AccessDeniedException", "status": 400}
    faults.inject([{"service": "secretsmanager", "error": denied}])
    with deployed.reaching_aws_at(faults.endpoint, [Function.DEIDENTIFICATION]):
        deployed.upload(objects)
        failed = deployed.settle("secret/", len(objects))
    assert failed.statuses == {LedgerStatus.FAILED: len(objects)}
    assert failed.results == {}

    redriven = deployed.run("redrive")
    accounts = deployed.settle("secret/", len(objects))

    figures.faults, figures.redriven = faults.injected().total(), len(objects)
    tell(figures, accounts)
    assert redriven.returncode == 0, redriven.stderr
    assert accounts.statuses == {LedgerStatus.DELIVERED: len(objects)}


def test_should_account_for_both_versions_of_an_object_overwritten_while_it_is_processed(
    deployed: Deployed, faults: Faults, figures: Figures
) -> None:
    first, second = image(), image()
    faults.inject([{"service": "s3", "operation": "GetObject", "latency": 3 * SECOND, "times": 1}])
    with deployed.reaching_aws_at(faults.endpoint, [Function.INGESTION]):
        deployed.upload({"overwritten/one.dcm": first})
        wait_for(lambda: faults.injected()["s3"], 120)
        deployed.upload({"overwritten/one.dcm": second})
        accounts = deployed.settle("overwritten/", 2)

    tell(figures, accounts)
    assert accounts.statuses == {LedgerStatus.DELIVERED: 2}
    written = {deployed.result(key) for key in accounts.results}
    assert written == {deployed.expected(first), deployed.expected(second)}


def test_should_quarantine_what_was_deleted_before_it_was_processed(deployed: Deployed, figures: Figures) -> None:
    with deployed.without_dispatcher():
        deployed.upload({"deleted/one.dcm": image()})
        (version,) = deployed.s3.list_object_versions(Bucket=deployed.raw, Prefix="deleted/")["Versions"]
        deployed.s3.delete_object(Bucket=deployed.raw, Key=version["Key"], VersionId=version["VersionId"])

    accounts = deployed.settle("deleted/", 1)

    tell(figures, accounts)
    assert [(row.status, row.reason_codes) for row in accounts.rows] == [(LedgerStatus.QUARANTINED, "OBJECT_DELETED")]


def test_should_never_replace_an_instance_by_another_patients(deployed: Deployed, figures: Figures) -> None:
    content = image()
    other = content.replace(b"CompressedSamples^CT1", b"SomebodyElse^Entirely")
    assert other != content
    deployed.upload({"patients/one.dcm": content, "patients/two.dcm": other})

    accounts = deployed.settle("patients/", 2)

    tell(figures, accounts)
    by_status = {row.status: row for row in accounts.rows}
    assert by_status.keys() == {LedgerStatus.DELIVERED, LedgerStatus.QUARANTINED}
    assert by_status[LedgerStatus.QUARANTINED].reason_codes == "CONFLICTING_INSTANCE"
    delivered = by_status[LedgerStatus.DELIVERED]
    source = {"patients/one.dcm": content, "patients/two.dcm": other}[delivered.key]
    assert deployed.result(delivered.output_key or "") == deployed.expected(source)


def test_should_deliver_a_file_under_fifty_keys_once(deployed: Deployed, figures: Figures) -> None:
    content = image()
    deployed.upload({f"fifty/{number}.dcm": content for number in range(50)})

    accounts = deployed.settle("fifty/", 50)

    tell(figures, accounts)
    assert accounts.statuses == {LedgerStatus.DELIVERED: 1, LedgerStatus.DUPLICATE: 49}
    (key,) = accounts.results
    assert deployed.result(key) == deployed.expected(content)


def test_should_write_the_same_bytes_again_after_the_processed_bucket_was_emptied(
    deployed: Deployed, figures: Figures, size: int
) -> None:
    count = max(size // 10, 20)
    content = image()
    objects = {f"replayed/{number}.dcm": image() for number in range(count)}
    deployed.upload(
        objects | {"replayed/twice.dcm": content, "replayed/again.dcm": content, "replayed/not.dcm": CT[:3000]}
    )
    before = deployed.settle("replayed/", count + 3)
    digests = {key: hashlib.sha256(deployed.result(key)).hexdigest() for key in before.results}
    for key in digests:
        deployed.s3.delete_object(Bucket=deployed.processed, Key=key)
    lost = deployed.run("reconcile", "--check-only")

    deployed.replay_at_once(REPLAYED_AT_ONCE)
    replay = deployed.run("replay", "--all", "--yes", "--prefix", "replayed/")
    in_flight: list[int] = []

    def all_started() -> bool:
        rows = deployed.rows("replayed/")
        in_flight.append(sum(row.status in IN_WORK for row in rows))
        return all(row.attempt == 2 for row in rows)

    wait_for(all_started, 240)
    accounts = deployed.settle("replayed/", count + 3)

    tell(figures, accounts)
    assert replay.returncode == 0, replay.stderr
    assert 0 < max(in_flight) <= REPLAYED_AT_ONCE
    assert re.search(rf"^lost +{count + 1}$", lost.stdout, re.MULTILINE), lost.stdout + lost.stderr
    assert {key: hashlib.sha256(deployed.result(key)).hexdigest() for key in accounts.results} == digests
    assert accounts.statuses == before.statuses
    assert accounts.executions == 2 * (count + 3)


def tell(figures: Figures, accounts: Accounts) -> None:
    """Fill in the test's line."""
    figures.objects, figures.seconds = len(accounts.rows), accounts.seconds
    figures.retries = accounts.failed_attempts
