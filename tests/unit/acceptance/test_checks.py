"""Every check of a verification holds on a stage that is as it should be, and fails on one that is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from acceptance.verification import cleanup
from acceptance.verification.__main__ import CHECKS
from acceptance.verification.check import Check, Line, Outcome
from acceptance.verification.checks import (
    access,
    contents,
    delivery,
    events,
    observability,
    operations,
    replicas,
    storage,
    tables,
    verdicts,
)
from acceptance.verification.objects import PATIENT_NAME, Sample
from acceptance.verification.run import Run
from cli.operations.dead_letters import QUEUES, Edge
from runtime.contract.events import EventType
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import METRIC_NAMESPACE, PROJECT, Function, Output
from tests.unit.acceptance.conftest import BUS, LINK_AUDIT_TABLE, OPERATIONS, PATIENT, STUDY, Answers, Pipeline, ring
from tests.unit.conftest import AUDIT_TABLE, LEDGER_TABLE, PROCESSED, RAW

KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
CREDENTIALS = {"AccessKeyId": "delivery", "SecretAccessKey": "delivery", "SessionToken": "delivery"}
OTHER_KEY = "arn:aws:kms:us-east-1:123456789012:key/2"
QUARANTINE = (LedgerStatus.QUARANTINED, "NOT_DICOM")


class Stage:
    """What a case prepares: the run, what AWS answers, and the pipeline."""

    def __init__(self, begin: Callable[..., Run], answers: Answers, pipeline: Pipeline) -> None:
        self.begin = begin
        self.answers = answers
        self.pipeline = pipeline
        self.run: Run

    def configure(self, **settings: Any) -> None:
        self.run = self.begin(**settings)

    def keys(self) -> None:
        """Have a key a zone."""
        self.configure(encryption="kms")
        self.answers.give("kms", "DescribeKey", {"KeyMetadata": {"Arn": KEY}})


@pytest.fixture
def stage(begin: Callable[..., Run], answers: Answers, pipeline: Pipeline) -> Stage:
    stage = Stage(begin, answers, pipeline)
    stage.configure()
    return stage


def nothing(_: Stage) -> None:
    """Leave the stage as it is."""


def line(check: Check, stage: Stage) -> Line:
    return check.line(stage.run)


Prepare = Callable[[Stage], Any]
CASES: list[tuple[Check, Prepare, Prepare, str]] = []
"""A check, what makes it hold, what makes it fail, and what is seen then."""


def case(check: Check, fault: Prepare, seen: str, *, given: Prepare = nothing, instead: bool = False) -> None:
    """Add a case, whose fault comes after what makes the check hold, or instead of it."""
    CASES.append((check, given, fault if instead else lambda stage: (given(stage), fault(stage)), seen))


# Verdicts, ledger, audit log.
for check, sample in zip(verdicts.VERDICTS, Sample, strict=True):
    case(
        check,
        lambda stage, sample=sample: stage.pipeline.verdicts.update({sample: (LedgerStatus.FAILED, "")}),  # type: ignore[misc]
        "failed States.Timeout",
    )
case(
    verdicts.VERDICTS[3],
    lambda stage: stage.pipeline.verdicts.update({Sample.QUARANTINED: QUARANTINE}),
    "quarantined NOT_DICOM",
)
case(verdicts.VERDICTS[0], lambda stage: setattr(stage.pipeline, "works", False), "no row in the ledger")
case(verdicts.ledger_row, lambda stage: setattr(stage.pipeline, "profile", "basic"), "not: profile research")
case(verdicts.audit_records, lambda stage: stage.pipeline.unaudited.add(Sample.LARGE), "5 records")


# Replay.
def replays(stage: Stage, *, status: str = "SUCCEEDED", works: bool = True) -> None:
    """Have the replay workflow start the second attempts."""
    execution = {"executionArn": "arn"}

    def start(_: Any, parameters: dict[str, Any]) -> dict[str, Any]:
        assert json.loads(parameters["input"])["prefix"] == stage.run.prefix
        if works:
            stage.pipeline.work(2)
        return execution

    stage.answers.replace("stepfunctions", "StartExecution", start)
    stage.answers.give("stepfunctions", "DescribeExecution", {"status": status})


def replayed(stage: Stage) -> None:
    replays(stage)
    assert line(verdicts.replay, stage).outcome is Outcome.OK


def overwritten(stage: Stage) -> None:
    stage.run.s3.put_object(Bucket=PROCESSED, Key=stage.run.output_key(Sample.DELIVERED), Body=b"other")


case(verdicts.replay, lambda stage: replays(stage, status="FAILED"), "FAILED", given=replays)
case(
    verdicts.replayed_verdicts,
    lambda stage: stage.run.stage.ledger.table.client.update_item(
        TableName=LEDGER_TABLE,
        Key={"object_id": {"S": stage.run.coordinates(Sample.CONFLICT).object_id}},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": {"S": "failed"}},
    ),
    "not: conflict",
    given=replayed,
)
case(verdicts.replayed_bytes, overwritten, "3 versions, 2 contents", given=replayed)

# Contents.
for check in contents.PIXELS:
    case(check, lambda stage: setattr(stage.pipeline, "change", lambda content: content[:-2] + b"\1\1"), "SHA-256 ")
IN_PARTS = {"ETag": '"0-2"', "ChecksumCRC64NVME": "AAAAAAAAAAA=", "ChecksumType": "FULL_OBJECT"}
case(
    contents.copied_in_parts,
    lambda stage: stage.answers.add("s3", "HeadObject", **{**IN_PARTS, "ChecksumType": "COMPOSITE"}),
    "COMPOSITE",
    given=lambda stage: stage.answers.add("s3", "HeadObject", **IN_PARTS),
)
case(
    contents.names_nobody,
    lambda stage: setattr(stage.pipeline, "change", lambda content: content + PATIENT_NAME.encode()),
    "named",
)


# Storage.
def kms_heads(stage: Stage, key: str = KEY) -> None:
    stage.keys()
    stage.answers.add("s3", "HeadObject", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)


for check in (storage.encryption_of_raw, storage.encryption_of_results):
    case(check, lambda stage: kms_heads(stage, OTHER_KEY), OTHER_KEY, given=kms_heads)
    case(check, lambda stage: stage.configure(), f"delivered: aws:kms {KEY}", given=kms_heads)


def versioned(stage: Stage, raw: Any = "Enabled") -> None:
    statuses: dict[str, Any] = {RAW: raw, OPERATIONS: "Enabled"}
    for bucket, status in statuses.items():
        stage.run.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


case(storage.versions, lambda stage: versioned(stage, "Suspended"), "RawBucketName: Suspended", given=versioned)
case(storage.tags_of_quarantined, lambda stage: setattr(stage.pipeline, "tags", False), "none")


def lifecycle(stage: Stage, **changes: Any) -> None:
    rule: Any = {
        "ID": "KeepCheaply",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Transitions": [{"StorageClass": "STANDARD_IA", "Days": 90}],
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
    for bucket in (RAW, PROCESSED, OPERATIONS):
        glacier = [{"StorageClass": "GLACIER", "Days": 180}] if bucket == PROCESSED else []
        rules: Any = [{**rule, "Transitions": rule["Transitions"] + glacier, **changes}]
        stage.run.s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": rules},
        )


for check in storage.LIFECYCLE:
    case(check, lambda stage: lifecycle(stage, Expiration={"Days": 200}), "expires 200", given=lifecycle)
    case(check, lambda stage: stage.configure(noncurrent_retention_days=7), "uploads abort 1", given=lifecycle)
    case(check, lambda stage: lifecycle(stage, Status="Disabled"), "none", given=lifecycle)


def locked(stage: Stage, mode: str = "GOVERNANCE", days: int = 40) -> None:
    stage.configure(object_lock_mode="GOVERNANCE", object_lock_days=40)
    until = datetime.now(UTC) + timedelta(days=days)
    stage.answers.add("s3", "HeadObject", ObjectLockMode=mode, ObjectLockRetainUntilDate=until)


case(storage.lock, lambda stage: locked(stage, days=30), "delivered: GOVERNANCE, 30 days", given=locked)
case(storage.lock, lambda stage: stage.answers.add("s3", "HeadObject"), "delivered: none, 0 days", given=locked)


# Tables.
def encrypted_tables(stage: Stage, key: str = KEY) -> None:
    stage.keys()
    described = {"Table": {"SSEDescription": {"Status": "ENABLED", "KMSMasterKeyArn": key}}}
    stage.answers.give("dynamodb", "DescribeTable", described)


case(tables.encryption_of_tables, lambda stage: encrypted_tables(stage, OTHER_KEY), OTHER_KEY, given=encrypted_tables)
case(
    tables.encryption_of_tables,
    lambda stage: stage.answers.give("dynamodb", "DescribeTable", {"Table": {}}),
    "LedgerTableName: none",
    given=encrypted_tables,
)


def recoverable(_: Stage, *but: str) -> None:
    for table in (LEDGER_TABLE, AUDIT_TABLE, LINK_AUDIT_TABLE):
        boto3.client("dynamodb").update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": table not in but}
        )


case(
    tables.recovery_of_tables,
    lambda stage: recoverable(stage, AUDIT_TABLE),
    "AuditTableName: DISABLED",
    given=recoverable,
)


# Events.
def bus(_: Stage) -> None:
    boto3.client("events").create_event_bus(Name=BUS)


def subscribed(stage: Stage) -> None:
    bus(stage)
    assert line(events.subscribed, stage).outcome is Outcome.OK


def announce(stage: Stage, kind: EventType, **detail: Any) -> None:
    """Have EventBridge send an event to the temporary queue."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=stage.run.temporary_name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"detail-type": kind, "detail": detail}))


def announced(stage: Stage) -> None:
    subscribed(stage)
    for sample in Sample:
        common = {"object_id": stage.run.coordinates(sample).object_id, "attempt": 2}
        delivered = {"output_key": "k", "output_size": 1, "profile": "p", "profile_hash": "h"}
        facts = {"modality": "CT", "sop_class_uid": "1", "transfer_syntax_uid": "1"}
        verdict = stage.run.row(sample).status
        if verdict is LedgerStatus.DELIVERED:
            announce(stage, EventType.INSTANCE_DELIVERED, **common, **delivered, **facts)
        if verdict is LedgerStatus.QUARANTINED:
            announce(stage, EventType.INSTANCE_QUARANTINED, **common, reason_codes="X")


def study(stage: Stage, duplicate: int = 1) -> None:
    subscribed(stage)
    counts = {"delivered": 3, "quarantined": 2, "failed": 0, "duplicate": duplicate}
    where = {"bucket": PROCESSED, "patient_id": PATIENT, "study_instance_uid": STUDY, "manifest_key": "m"}
    announce(stage, EventType.STUDY_DELIVERED, **where, **counts, revision=1, cause="complete")


case(
    events.subscribed,
    lambda stage: stage.answers.refuse("events", "PutTargets", "LimitExceeded"),
    "LimitExceeded",
    given=bus,
)
case(events.announced, subscribed, "none", given=announced, instead=True)
case(events.study_announced, lambda stage: study(stage, 2), "2 duplicate", given=study, instead=True)
case(events.study_announced, subscribed, "not announced 10 s after the last verdict", given=study, instead=True)


# Operations.
def counted(stage: Stage, value: float = 9) -> None:
    data: Any = [
        {"MetricName": name, "Value": value, "Dimensions": [{"Name": "Stage", "Value": "test"}]}
        for name in ("PipelineSuccess", "PipelineQuarantine", "PipelineDuplicate")
    ]
    boto3.client("cloudwatch").put_metric_data(Namespace=METRIC_NAMESPACE, MetricData=data)


for check in operations.METRICS:
    case(check, lambda stage: counted(stage, 0.4), "0", given=counted, instead=True)


def queues(_: Stage) -> None:
    for queue in QUEUES.values():
        boto3.client("sqs").create_queue(QueueName=queue.value)


def lost(queue: Output) -> Prepare:
    def lose(_: Stage) -> None:
        sqs = boto3.client("sqs")
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=queue.value)["QueueUrl"], MessageBody="lost")

    return lose


for check, edge in zip(operations.DEAD_LETTERS, Edge, strict=True):
    case(check, lost(QUEUES[edge]), "1", given=queues)
case(
    operations.alarms_notify,
    lambda _: ring("PipelineFailures", "OK", topic=f"{BUS}:other"),
    "PipelineFailures: not told",
    given=lambda _: ring("PipelineFailures", "OK"),
)
case(
    operations.alarms_silent,
    lambda _: ring("PipelineFailures", "ALARM"),
    "PipelineFailures",
    given=lambda _: ring("RawBucketDeniedRequests", "ALARM"),
)


def reported(stage: Stage, encryption: str = "AES256") -> None:
    stage.answers.give("stepfunctions", "ListMapRuns", {"mapRuns": [{"mapRunArn": "arn:mapRun:stage/x:run1"}]})
    stage.run.s3.put_object(Bucket=OPERATIONS, Key="replays/run1/manifest.json", Body=b"{}")
    stage.answers.add("s3", "HeadObject", ServerSideEncryption=encryption)


case(operations.report, lambda stage: reported(stage, "aws:kms"), "manifest.json: aws:kms", given=reported)
case(
    operations.report,
    lambda stage: stage.run.s3.delete_object(Bucket=OPERATIONS, Key="replays/run1/manifest.json"),
    "nothing",
    given=reported,
)


# Logs and traces.
WORKFLOWS = ("/aws/vendedlogs/states/stage", "/aws/vendedlogs/states/stage-replay")


def keep_logs(_: Stage, **changes: Any) -> None:
    logs = boto3.client("logs")
    for group in (*(function_group(name) for name in Function), *WORKFLOWS):
        logs.create_log_group(logGroupName=group, **changes)
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)


def function_group(name: Function) -> str:
    return f"/aws/lambda/{PROJECT}-test-{name}"


def log(text: str, *functions: Function) -> None:
    logs = boto3.client("logs")
    event: Any = {"timestamp": int(datetime.now(UTC).timestamp() * 1000) + 1000, "message": text}
    for group in map(function_group, functions):
        logs.create_log_stream(logGroupName=group, logStreamName=text[:4])
        logs.put_log_events(logGroupName=group, logStreamName=text[:4], logEvents=[event])


def logged(stage: Stage, *but: Function) -> None:
    keep_logs(stage)
    log(f"object {stage.run.coordinates(Sample.DELIVERED).object_id}", *(set(Function) - set(but)))


def keyed_logs(stage: Stage, key: str = KEY) -> None:
    stage.keys()
    keep_logs(stage, kmsKeyId=key)


case(
    observability.logs_arrive,
    lambda stage: logged(stage, Function.VALIDATION),
    "nothing of the object in the log of validation",
    given=logged,
    instead=True,
)
case(observability.logs_name_nobody, lambda _: log(PATIENT_NAME, Function.REPLAY), "replay", given=keep_logs)
case(
    observability.log_groups,
    lambda _: boto3.client("logs").put_retention_policy(logGroupName=WORKFLOWS[0], retentionInDays=7),
    "workflow: 7 days, no key of ours",
    given=keep_logs,
)
case(observability.log_groups, lambda stage: keyed_logs(stage, OTHER_KEY), OTHER_KEY, given=keyed_logs, instead=True)
case(
    observability.log_groups,
    lambda _: boto3.client("logs").delete_log_group(logGroupName=WORKFLOWS[0]),
    "workflow: missing",
    given=keep_logs,
)


def traced(stage: Stage, mode: str = "Active", *, machines: bool = True, traces: int = 1) -> None:
    stage.answers.give("lambda", "GetFunctionConfiguration", {"TracingConfig": {"Mode": mode}})
    stage.answers.give("stepfunctions", "DescribeStateMachine", {"tracingConfiguration": {"enabled": machines}})
    stage.answers.give("xray", "GetTraceSummaries", {"TraceSummaries": [{}] * traces})


case(observability.tracing_functions, lambda stage: traced(stage, "PassThrough"), "ingestion: off", given=traced)
case(observability.tracing_workflows, lambda stage: traced(stage, machines=False), "workflow: off", given=traced)
case(observability.tracing_workflows, lambda stage: stage.configure(xray=False), "workflow: on", given=traced)
case(observability.traces, lambda stage: traced(stage, traces=0), "none after", given=traced)


# Refusals.
def refusing(service: str, operation: str) -> Prepare:
    return lambda stage: stage.answers.refuse(service, operation, "AccessDenied")


def granting(service: str, operation: str) -> Prepare:
    return lambda stage: stage.answers.give(service, operation, {})


def key_refused(stage: Stage) -> None:
    stage.keys()
    stage.answers.refuse("kms", "Encrypt", "AccessDeniedException")


def put_refused(stage: Stage) -> None:
    """Refuse an upload that names another encryption, as the bucket's policy does."""
    stage.keys()
    stage.answers.refuse("s3", "PutObject", "AccessDenied")


for check, service, operation in (
    (access.without_tls, "s3", "ListObjectsV2"),
    (access.results_without_tls, "s3", "ListObjectsV2"),
    (access.delete_record, "dynamodb", "DeleteItem"),
    (access.overwrite_record, "dynamodb", "PutItem"),
):
    case(check, granting(service, operation), "granted", given=refusing(service, operation))
case(
    access.overwrite_record,
    lambda stage: stage.answers.refuse("dynamodb", "PutItem", "ConditionalCheckFailedException"),
    "ConditionalCheckFailedException, not refused",
    given=refusing("dynamodb", "PutItem"),
)
case(access.other_encryption, granting("s3", "PutObject"), "granted", given=put_refused)
case(access.key_alone, granting("kms", "Encrypt"), "granted", given=key_refused)


def read_refused(stage: Stage) -> None:
    stage.run.rows()
    stage.answers.refuse("s3", "GetObject", "AccessDenied")


def delivered_through_a_role(stage: Stage) -> None:
    stage.answers.give("sts", "AssumeRole", {"Credentials": CREDENTIALS})
    stage.configure(delivery_principals=["arn:aws:iam::123456789012:role/researchers"])
    read_refused(stage)


for check in (access.anonymous_raw, access.anonymous_result):
    case(check, granting("s3", "GetObject"), "granted", given=read_refused)
case(
    access.past_delivery_role,
    granting("s3", "GetObject"),
    "granted",
    given=delivered_through_a_role,
)


def delete_refused(stage: Stage) -> None:
    locked(stage)
    stage.answers.refuse("s3", "DeleteObject", "AccessDenied")


case(access.delete_locked, granting("s3", "DeleteObject"), "granted", given=delete_refused)


# Replicas.
def replicated(stage: Stage, status: str = "COMPLETED", key: str = KEY) -> None:
    stage.configure(account="123456789012", region="us-east-1", replica_region="eu-west-1", encryption="kms")
    stage.answers.give("kms", "DescribeKey", {"KeyMetadata": {"Arn": KEY}})
    outputs = [{"OutputKey": f"{zone}ReplicaName", "OutputValue": zone.lower()} for zone in ("Raw", "Processed")]
    stage.answers.give("cloudformation", "DescribeStacks", {"Stacks": [{"Outputs": outputs}]})
    head = {"VersionId": "v", "ContentLength": 1, "ETag": "e", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    stage.answers.give("s3", "HeadObject", {**head, "ReplicationStatus": status})


case(replicas.replicated, lambda stage: replicated(stage, "FAILED"), "FAILED, aws:kms", given=replicated)
case(replicas.replicated, lambda stage: replicated(stage, key=OTHER_KEY), OTHER_KEY, given=replicated)


LINKS = (
    (delivery.link, (200, "application/dicom", b"other"), "something else"),
    (delivery.link, (200, "binary/octet-stream", b""), "binary/octet-stream"),
    (delivery.link, (403, "", b""), "403"),
    (delivery.expired_link, (200, "application/dicom", b""), "works 0 s after its end"),
    (delivery.expired_link, (500, "", b""), "500"),
)


def named(value: object) -> str | None:
    """Name a case by its check and what is seen; the rest has no name."""
    return str(value) if isinstance(value, Check | str) else ""


@pytest.mark.parametrize(("check", "given"), {check: given for check, given, *_ in CASES}.items(), ids=named)
def test_should_hold_on_a_stage_as_it_should_be(check: Check, given: Prepare, stage: Stage) -> None:
    given(stage)
    seen = line(check, stage)
    assert seen.outcome is Outcome.OK, seen


FAULTS = [(check, fault, seen) for check, _, fault, seen in CASES]


@pytest.mark.parametrize(("check", "fault", "seen"), FAULTS, ids=named)
def test_should_fail_on_a_stage_that_is_not(check: Check, fault: Prepare, seen: str, stage: Stage) -> None:
    fault(stage)
    failed = line(check, stage)
    assert failed.outcome is Outcome.FAILED
    assert seen in failed.seen


@pytest.mark.parametrize(("check", "answer", "seen"), LINKS, ids=named)
def test_should_fail_for_a_link_that_leads_elsewhere_or_never_ends(
    check: Check, answer: tuple[int, str, bytes], seen: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "fetch", lambda _: answer)
    failed = line(check, stage)
    assert failed.outcome is Outcome.FAILED
    assert seen in failed.seen


def test_should_follow_a_link_until_it_is_refused_and_find_it_on_record(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = stage.run.result(Sample.DELIVERED)
    monkeypatch.setattr(delivery, "fetch", lambda _: (200, "application/dicom", result))
    assert line(delivery.link, stage).outcome is Outcome.OK
    assert line(delivery.recorded_link, stage).outcome is Outcome.FAILED
    left = [200, 200, 403]
    monkeypatch.setattr(delivery, "EXPIRY_SECONDS", 60)
    monkeypatch.setattr(delivery, "fetch", lambda _: (left.pop(0), "", b""))
    assert line(delivery.expired_link, stage).outcome is Outcome.OK
    assert left == []
    assert line(delivery.recorded_link, stage).outcome is Outcome.OK


def test_should_have_a_case_for_every_check() -> None:
    tried = {check.name for check, *_ in FAULTS} | {check.name for check, *_ in LINKS}
    elsewhere = {cleanup.leftovers.name, delivery.recorded_link.name}
    assert {check.name for check in CHECKS} - elsewhere == tried


def test_should_say_so_where_the_caller_may_not_look(stage: Stage, answers: Answers) -> None:
    answers.refuse("cloudwatch", "DescribeAlarms", "AccessDenied")
    seen = line(operations.alarms_silent, stage)
    assert seen.outcome is Outcome.NO_RIGHT
    assert seen.seen.startswith("AWS refused DescribeAlarms: AccessDenied.")


def test_should_say_that_a_refusal_may_be_for_want_of_a_right(stage: Stage, answers: Answers) -> None:
    def refuse(*_: Any) -> None:
        message = "no identity-based policy allows the dynamodb:DeleteItem action"
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, "DeleteItem")

    answers.replace("dynamodb", "DeleteItem", refuse)
    seen = line(access.delete_record, stage)
    assert (seen.outcome, seen.seen) == (Outcome.OK, "refused for want of a right")
