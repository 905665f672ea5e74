"""A study that marks everything goes every way through the stage; then every place that anybody reads is searched.

`docs/redaction.md` says what may be where. The files' contents may be nowhere but in the raw bucket and, where the
profile keeps them, in results; the objects' keys nowhere but in the places that `KEYS_ALLOWED` names.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from cli.__main__ import main
from cli.operations.links import PresignedUrlHandler
from local.environment import ACCOUNT, REGION, isolation
from local.pipeline import Pipeline
from runtime.aws import clients
from runtime.aws.audit import AuditLog
from runtime.contract.events import EventType
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import PROJECT, Function, Output
from runtime.deidentification.profile import load_profile
from runtime.ledger.rows import Ledger, Row
from tests.end_to_end.conftest import Stage
from tests.hostile_study import HostileObject, HostileStudy
from tests.markers import Script

STAGE = "local"
STEPS = (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)
DECISION = ("--by", "Dr. Ada Byron", "--reason", "Looked at every frame: no text is burned in.")

KEYS_ALLOWED = frozenset(("execution", "dead letter", "ledger key"))
"""Places in the PHI zone that need the key; no operator's screen shows them unasked."""
PLACES = frozenset(
    {
        *("log", "metric", "event", "notification", "alarm", "output", "parameter", "command", "link", "download"),
        *(
            "result's key",
            "result's metadata",
            "result's tags",
            "manifest",
            "raw object's tags",
            "ledger",
            "ledger key",
        ),
        *("audit", "link audit"),
        *("execution", "execution's name", "dead letter", "dead letter's attributes"),
    }
)


@dataclass
class Story:
    """What was sent through the stage, and what was heard and said meanwhile."""

    stage: Stage
    session: boto3.Session
    study: HostileStudy = field(default_factory=HostileStudy)
    objects: dict[str, HostileObject] = field(default_factory=dict)
    plain: list[HostileObject] = field(default_factory=list)
    """delivered without a person's release"""
    said: list[tuple[str, str]] = field(default_factory=list)
    """place and text, of what can be heard only once"""

    def __post_init__(self) -> None:
        self.pipeline: Pipeline = self.stage.pipeline
        self.ledger = Ledger(clients.client("dynamodb"), self.stage.outputs[Output.LEDGER_TABLE_NAME])
        self.sqs = self.session.client("sqs")
        self.lambda_ = self.session.client("lambda")

    def add(self, hostile: HostileObject) -> HostileObject:
        self.objects[hostile.key] = hostile
        return hostile

    def send(self, *hostile: HostileObject) -> None:
        """Upload objects, and wait for their verdicts."""
        for each in hostile:
            self.add(each)
            self.pipeline.upload(each.key, each.content)
        self.settle()

    def settle(self, expected: Callable[[], bool] = lambda: True) -> None:
        """Wait until every object that has a row has a verdict."""
        deadline = time.monotonic() + 300
        while not (len(rows := self.rows()) >= len(self.objects) and all(map(_is_settled, rows)) and expected()):
            assert time.monotonic() < deadline, [(row.status, row.reason_codes, row.error) for row in rows]
            time.sleep(1)

    def rows(self) -> list[Row]:
        """Rows of the study."""
        found = (row for status in LedgerStatus for row in self.ledger.with_status(status))
        return list({row.object_id: row for row in found if row.key.startswith(self.study.folder)}.values())

    def row(self, hostile: HostileObject) -> Row:
        (row,) = (row for row in self.rows() if row.key == hostile.key)
        return row

    def operate(self, *arguments: str) -> int:
        """Run a command as an operator does, and keep what it says."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = main([*arguments, "--stage", STAGE])
        self.said.append(("command", f"{out.getvalue()}\n{err.getvalue()}"))
        return status

    @contextlib.contextmanager
    def without_events(self) -> Iterator[None]:
        """Let no event of S3 reach the intake queue."""
        events, name = self.session.client("events"), f"{PROJECT}-{STAGE}-object-created"
        events.disable_rule(Name=name)
        try:
            yield
        finally:
            events.enable_rule(Name=name)

    @contextlib.contextmanager
    def variables(self, function: Function, **changes: str) -> Iterator[None]:
        """Change a function's environment for a while."""
        name = f"{PROJECT}-{STAGE}-{function}"
        before = self.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        self.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": before | changes})
        try:
            yield
        finally:
            self.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": before})

    def hear(self, place: str, queue: str) -> None:
        """Keep all messages of a queue."""
        while messages := self.sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages", []):
            for message in messages:
                self.said.append((place, message["Body"]))
                if place == "dead letter":
                    attributes = [message.get("Attributes"), message.get("MessageAttributes")]
                    self.said.append(("dead letter's attributes", _text(attributes)))
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def _is_settled(row: Row) -> bool:
    return row.status not in {LedgerStatus.RECEIVED, LedgerStatus.RUNNING}


@pytest.fixture(scope="module")
def story(stage: Stage) -> Iterator[Story]:
    """Tell the whole story once; the tests read it."""
    with isolation(stage.environment):
        story = Story(stage, boto3.Session())
        ears = _ears(story)
        _deliver_and_quarantine(story)
        _fail_in_each_step_and_redrive(story)
        _duplicate_and_conflict(story)
        _dead_letters(story)
        _replay_and_reconcile(story)
        _announce_study(story)
        _operate_and_download(story)
        for place, queue in ears.items():
            story.hear(place, queue)
        yield story


def _ears(story: Story) -> Mapping[str, str]:
    """Subscribe queues to the stage's bus and to its topics."""
    queues = {
        place: story.sqs.create_queue(QueueName=f"ear-{place}")["QueueUrl"] for place in ("event", "notification")
    }
    arns = {place: f"arn:aws:sqs:{REGION}:{ACCOUNT}:ear-{place}" for place in queues}
    for place, queue in queues.items():
        services = {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]}
        statement = {"Effect": "Allow", "Principal": services, "Action": "sqs:SendMessage", "Resource": arns[place]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        story.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events = story.session.client("events")
    bus = story.stage.outputs[Output.EVENT_BUS_NAME]
    pattern = json.dumps({"source": [PROJECT]})
    events.put_rule(Name="ear", EventBusName=bus, EventPattern=pattern)
    events.put_targets(Rule="ear", EventBusName=bus, Targets=[{"Id": "ear", "Arn": arns["event"]}])
    sns = story.session.client("sns")
    for topic in (Output.NOTIFICATION_TOPIC_ARN, Output.DELIVERY_TOPIC_ARN):
        sns.subscribe(TopicArn=story.stage.outputs[topic], Protocol="sqs", Endpoint=arns["notification"])
    return queues


def _deliver_and_quarantine(story: Story) -> None:
    """Quarantine an object in each step, release two, one of them under another profile, and deliver others."""
    study = story.study
    research, basic = study.everywhere(), study.everywhere()
    pixels = research.content.index(b"\xe0\x7f\x10\x00")
    cut = [study.again(research, research.content[:length]) for length in (3000, pixels + 20)]
    story.plain += map(study.written_in, (Script.LATIN, Script.GREEK, Script.JAPANESE))
    story.send(research, basic, *cut, *story.plain)
    for hostile in (research, basic, *cut):
        assert story.row(hostile).status is LedgerStatus.QUARANTINED
    assert story.operate("quarantine", "retry", "--deidentification-profile", "basic", story.row(basic).object_id) == 0
    story.settle(lambda: story.row(basic).attempt == 2)
    assert (
        story.operate("quarantine", "release", *DECISION, *(story.row(each).object_id for each in (research, basic)))
        == 0
    )
    story.settle(lambda: story.row(basic).status is LedgerStatus.DELIVERED)
    assert [story.row(each).profile for each in (research, basic)] == ["research", "basic"]
    assert {story.row(each).status for each in story.plain} == {LedgerStatus.DELIVERED}


def _fail_in_each_step_and_redrive(story: Story) -> None:
    """Let S3 not be found by one function after the other; then start the next attempt at what failed."""
    nowhere = f"{story.stage.environment['AWS_ENDPOINT_URL']}/there-is-no-such-bucket"
    failed = []
    for step in STEPS:
        with story.variables(step, AWS_ENDPOINT_URL_S3=nowhere):
            failed.append(story.study.written_in(Script.GREEK))
            story.send(failed[-1])
        assert story.row(failed[-1]).status is LedgerStatus.FAILED, step
    assert story.operate("redrive", "--dry-run") == 0
    assert story.operate("redrive", *(story.row(hostile).object_id for hostile in failed)) == 0
    story.settle(lambda: all(story.row(hostile).attempt == 2 for hostile in failed))
    assert {story.row(hostile).status for hostile in failed} == {LedgerStatus.DELIVERED}


def _duplicate_and_conflict(story: Story) -> None:
    original = story.plain[0]
    changed = original.content[:-2] + b"\x55\x55"
    duplicate, conflict = story.study.again(original), story.study.again(original, changed)
    story.send(duplicate)
    story.send(conflict)
    assert story.row(duplicate).status is LedgerStatus.DUPLICATE
    assert story.row(conflict).reason_codes == "CONFLICTING_INSTANCE"


def _dead_letters(story: Story) -> None:
    """Send a message that nobody understands until it is a dead letter, and replay one of an object that is gone."""
    intake, dead_letters = (
        story.stage.outputs[output] for output in (Output.INTAKE_QUEUE_URL, Output.INTAKE_DEAD_LETTERS_URL)
    )
    visibility = story.sqs.get_queue_attributes(QueueUrl=intake, AttributeNames=["VisibilityTimeout"])["Attributes"]
    story.sqs.set_queue_attributes(QueueUrl=intake, Attributes={"VisibilityTimeout": "1"})
    try:
        story.sqs.send_message(QueueUrl=intake, MessageBody=json.dumps({"detail": {"object": [story.study.key()]}}))
        deadline = time.monotonic() + 60
        while _count(story, dead_letters) == 0:
            assert time.monotonic() < deadline, "the message is no dead letter"
            time.sleep(0.5)
    finally:
        story.sqs.set_queue_attributes(QueueUrl=intake, Attributes=visibility)
    assert story.operate("dead-letters", "list") == 0
    story.hear("dead letter", dead_letters)
    gone, s3 = story.add(story.study.written_in(Script.LATIN)), story.pipeline.s3
    with story.without_events():
        version_id = story.pipeline.upload(gone.key, gone.content)
        s3.delete_object(Bucket=story.pipeline.raw_bucket, Key=gone.key, VersionId=version_id)
    detail = {"bucket": {"name": story.pipeline.raw_bucket}, "object": {"key": gone.key, "version-id": version_id}}
    story.sqs.send_message(QueueUrl=dead_letters, MessageBody=json.dumps({"detail": detail}))
    assert story.operate("dead-letters", "replay", "intake") == 0
    story.settle()
    assert story.row(gone).reason_codes == "OBJECT_DELETED"


def _count(story: Story, queue: str) -> int:
    attributes = story.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def _replay_and_reconcile(story: Story) -> None:
    """Replay one object, and let reconciliation find one whose event was lost."""
    replayed, lost = story.plain[1], story.study.written_in(Script.GREEK)
    attempt = story.row(replayed).attempt
    assert story.operate("replay", "--all", "--yes", "--prefix", replayed.key) == 0
    story.settle(lambda: story.row(replayed).attempt == attempt + 1)
    with story.without_events():
        story.pipeline.upload(story.add(lost).key, lost.content)
    with story.variables(Function.RECONCILIATION, STUCK_AFTER_SECONDS="1"):
        time.sleep(2)
        assert story.operate("reconcile") == 1
    story.settle()
    assert story.row(lost).status is LedgerStatus.DELIVERED


def _announce_study(story: Story) -> None:
    with story.variables(Function.COMPLETENESS, STUDY_QUIET_SECONDS="1"):
        name = f"{PROJECT}-{STAGE}-{Function.COMPLETENESS}"
        # By this invocation, or by the schedule's, which may come first.
        deadline = time.monotonic() + 60
        while not list(_manifests(story)):
            assert time.monotonic() < deadline
            time.sleep(1.5)
            story.lambda_.invoke(FunctionName=name, Payload=b"{}")


def _operate_and_download(story: Story) -> None:
    """Ask for everything that the commands show, and fetch a result by its link."""
    for form in ((), ("--json",)):
        story.operate("quarantine", "list", *form)
        story.operate("dead-letters", "list", *form)
        for row in (row for row in story.rows() if row.status is LedgerStatus.QUARANTINED):
            story.operate("quarantine", "show", row.object_id, *form)
    audit = AuditLog(clients.client("dynamodb"), story.stage.outputs[Output.LINK_AUDIT_TABLE_NAME])
    links = PresignedUrlHandler(story.pipeline.processed_bucket, REGION, audit=audit)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for row in story.rows():
        if row.status is LedgerStatus.DELIVERED and row.output_key:
            link = links.generate_secure_download_url(row.output_key)
            story.said.append(("link", link.model_dump_json()))
            with opener.open(link.url) as answer:
                story.said.append(("download", f"{answer.url}\n{answer.headers}"))


def everything_said(story: Story) -> Iterator[tuple[str, str]]:
    """Yield the name of each place that somebody reads, and what it says."""
    yield from story.said
    session, pipeline, outputs = story.session, story.pipeline, story.stage.outputs
    logs = session.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        yield "log", _text(group)
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield "log", "\n".join(event["message"] for event in page["events"])
    cloudwatch = session.client("cloudwatch")
    yield from (("metric", _text(page["Metrics"])) for page in cloudwatch.get_paginator("list_metrics").paginate())
    yield "alarm", _text(cloudwatch.describe_alarms()["MetricAlarms"])
    yield "output", _text(dict(outputs))
    parameters = session.client("ssm").get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True)
    yield from (("parameter", _text(page["Parameters"])) for page in parameters)
    yield from _objects(story)
    for row in story.rows():
        document = row.model_dump(mode="json")
        yield "ledger key", document.pop("key")
        yield "ledger", _text(document)
    for place, table in (("audit", Output.AUDIT_TABLE_NAME), ("link audit", Output.LINK_AUDIT_TABLE_NAME)):
        pages = session.client("dynamodb").get_paginator("scan").paginate(TableName=outputs[table])
        yield from ((place, _text(page["Items"])) for page in pages)
    for row in story.rows():
        if row.execution:
            yield "execution's name", row.execution
            yield "execution", "\n".join(map(_text, pipeline.history(row.execution)))


def _objects(story: Story) -> Iterator[tuple[str, str]]:
    s3, raw, processed = story.pipeline.s3, story.pipeline.raw_bucket, story.pipeline.processed_bucket
    for version in s3.list_object_versions(Bucket=raw, Prefix=story.study.folder)["Versions"]:
        tags = s3.get_object_tagging(Bucket=raw, Key=version["Key"], VersionId=version["VersionId"])
        yield "raw object's tags", _text(tags["TagSet"])
    for row in story.rows():
        if row.output_key:
            head = s3.head_object(Bucket=processed, Key=row.output_key)
            yield "result's key", row.output_key
            yield "result's metadata", _text(head)
            yield "result's tags", _text(s3.get_object_tagging(Bucket=processed, Key=row.output_key)["TagSet"])
    for key in _manifests(story):
        yield "manifest", f"{key}\n{story.pipeline.processed(key).decode()}"


def _manifests(story: Story) -> Iterator[str]:
    """Keys of the manifests of the story's study."""
    patients = {row.output_key.partition("/")[0] for row in story.rows() if row.output_key}
    listed = story.pipeline.s3.get_paginator("list_objects_v2").paginate(Bucket=story.pipeline.processed_bucket)
    keys = (item["Key"] for page in listed for item in page.get("Contents", []))
    return (key for key in keys if "manifest" in key and key.partition("/")[0] in patients)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def test_should_tell_no_key_and_no_value_of_any_file_anywhere(story: Story) -> None:
    said: dict[str, list[str]] = {}
    for place, text in everything_said(story):
        said.setdefault(place, []).append(text)
    assert {place for place, texts in said.items() if any(texts)} == PLACES
    for place, texts in said.items():
        lines = dict.fromkeys(line for text in texts for line in text.splitlines())
        found = story.study.find("\n".join(lines))
        assert not found.files, place
        if place in KEYS_ALLOWED:
            assert found.keys, f"{place} is known to tell keys: the search must find them"
        else:
            assert not found.keys, place


def test_should_leave_in_results_only_what_the_profile_keeps(story: Story) -> None:
    delivered = [row for row in story.rows() if row.status is LedgerStatus.DELIVERED]
    assert {row.profile for row in delivered} == {"research", "basic"}
    for row in delivered:
        assert row.output_key is not None
        assert row.profile is not None
        result = story.pipeline.processed(row.output_key)
        assert story.objects[row.key].unjustified(result, load_profile(row.profile)) == []
        assert not story.study.find(result, depth=0).keys


def test_should_have_gone_every_way(story: Story) -> None:
    """Or the search above would show less than it says."""
    rows = story.rows()
    assert {row.status for row in rows} == set(LedgerStatus) - {
        LedgerStatus.RECEIVED,
        LedgerStatus.RUNNING,
        LedgerStatus.FAILED,  # redriven, each of them
        LedgerStatus.IGNORED,  # of which nothing is read
    }
    reasons = {code for row in rows for code in (row.reason_codes or "").split()}
    assert {"OBJECT_DELETED", "CONFLICTING_INSTANCE", "TRUNCATED_HEADER", "TRUNCATED_PIXEL_DATA"} <= reasons
    events = [json.loads(text)["detail-type"] for place, text in story.said if place == "event"]
    assert set(events) == set(EventType)
    logged = "\n".join(text for place, text in everything_said(story) if place == "log")
    for message in ("dispatched", "not dispatched", "step failed", "rejected", "replayed", "reconciled", "announced"):
        assert f'"{message}"' in logged, message
    notifications = [text for place, text in story.said if place == "notification"]
    assert any("FAILED: arn:" in text for text in notifications), "of an execution that failed"
    assert any("manifest" in text for text in notifications), "of a study that is complete"
