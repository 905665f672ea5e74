import json
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from runtime.contract.names import Output
from tests.unit.intake.conftest import message
from tests.unit.operations.conftest import Operator, Stage, answer_requests, http_answer

TOPIC_OUTPUT = Output.NOTIFICATION_DEAD_LETTERS_URL


def queue(stage: Stage, output: Output) -> str:
    url: str = stage.sqs.get_queue_url(QueueName=output.value)["QueueUrl"]
    return url


def send(stage: Stage, output: Output, body: object, **attributes: str) -> None:
    stage.sqs.send_message(
        QueueUrl=queue(stage, output),
        MessageBody=body if isinstance(body, str) else json.dumps(body),
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )


def bodies(stage: Stage, output: Output) -> list[str]:
    answer = stage.sqs.receive_message(QueueUrl=queue(stage, output), MaxNumberOfMessages=10)
    return [each["Body"] for each in answer.get("Messages", [])]


def refuse(operation: str, code: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer requests to SQS, which carries them out, with an error; return what is left of as many errors."""
    codes = [code] * times

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        if not codes:
            return None
        error = {"__type": f"com.amazonaws.sqs#{codes[0]}"}
        return http_answer(request, error, status=400, x_amzn_query_error=f"{codes.pop()};Sender")

    answer_requests(f"sqs.{operation}", answer, monkeypatch)
    return codes


@pytest.fixture
def topic(stage: Stage) -> tuple[str, list[str]]:
    """A topic whose notifications arrive in a queue of their own; its ARN and the queue's URL."""
    sns = boto3.client("sns")
    arn = sns.create_topic(Name="deliveries")["TopicArn"]
    url = stage.sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:inbox")
    return arn, [url]


def notifications(stage: Stage, topic: tuple[str, list[str]]) -> list[str]:
    messages = stage.sqs.receive_message(QueueUrl=topic[1][0], MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(each["Body"])["Message"] for each in messages]


def test_should_count_what_waits_at_each_edge(operator: Operator) -> None:
    send(operator.stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    send(operator.stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    assert operator.table("dead-letters", "list") == [
        ["EDGE", "MESSAGES", "HIDDEN"],
        ["intake", "2", "0"],
        ["schedule", "0", "0"],
        ["notification", "0", "0"],
    ]


def test_should_give_events_back_to_the_intake(operator: Operator) -> None:
    stage = operator.stage
    events = [message(stage.buckets.upload(b"content", f"DOE/{number}.dcm")) for number in range(12)]
    for event in events:
        send(stage, Output.INTAKE_DEAD_LETTERS_URL, event)
    status, out, _ = operator.run("dead-letters", "replay", "intake", "--json")
    assert (status, json.loads(out)) == (0, {"edge": "intake", "sent": 12, "kept": 0, "waiting": 0, "unsure": False})
    assert "DOE" not in out
    assert sorted(bodies(stage, Output.INTAKE_QUEUE_URL) + bodies(stage, Output.INTAKE_QUEUE_URL)) == sorted(events)
    assert operator.table("dead-letters", "list")[1] == ["intake", "0", "0"]


def test_should_say_that_messages_wait_that_it_could_not_get(operator: Operator) -> None:
    """As after an answer of SQS that was lost: the messages are received, and nobody has them."""
    stage = operator.stage
    for _ in range(3):
        send(stage, Output.INTAKE_DEAD_LETTERS_URL, message(stage.buckets.upload(b"content", "DOE/1.dcm")))
    url = queue(stage, Output.INTAKE_DEAD_LETTERS_URL)
    stage.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2, VisibilityTimeout=60)
    status, out, err = operator.run("dead-letters", "replay", "intake")
    assert (status, out.splitlines()[1].split()) == (1, ["intake", "1", "0", "2"])
    assert "run this again in 60 seconds" in err


def test_should_not_say_done_while_messages_come_back(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden when the replay looked for more, and visible again when it counted what is left."""
    stage = operator.stage
    send(stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    url = queue(stage, Output.INTAKE_DEAD_LETTERS_URL)
    (lost,) = stage.sqs.receive_message(QueueUrl=url, VisibilityTimeout=60)["Messages"]

    def come_back(**_: Any) -> None:
        stage.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=lost["ReceiptHandle"], VisibilityTimeout=0)

    answer_requests("sqs.GetQueueAttributes", come_back, monkeypatch)
    status, out, err = operator.run("dead-letters", "replay", "intake")
    assert (status, out.splitlines()[1].split()) == (1, ["intake", "0", "0", "1"])
    assert "run this again" in err


def test_should_not_say_done_after_a_lost_answer_whatever_sqs_counts(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts of SQS may be a minute behind, so that the messages of that answer are in none of them."""
    refuse("ReceiveMessage", "RequestThrottled", 1, monkeypatch)
    status, out, err = operator.run("dead-letters", "replay", "intake")
    assert (status, out.splitlines()[1].split()) == (1, ["intake", "0", "0", "0"])
    assert (
        err
        == "dead-letters: an answer of SQS may have been lost, and messages with it: run this again in 60 seconds.\n"
    )


@pytest.mark.parametrize("operation", ["SendMessage", "DeleteMessage", "GetQueueAttributes"])
def test_should_wait_out_the_throttles_of_sqs(
    operation: str, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(operator.stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    refusals = refuse(operation, "RequestThrottled", 2, monkeypatch)
    assert operator.table("dead-letters", "replay", "intake")[1] == ["intake", "1", "0", "0"]
    assert not refusals
    assert "{}" in bodies(operator.stage, Output.INTAKE_QUEUE_URL)


def test_should_go_on_after_a_deletion_whose_answer_was_lost(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is repeated then, with the receipt of a message that is no more."""
    for _ in range(2):
        send(operator.stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    refusals = refuse("DeleteMessage", "ReceiptHandleIsInvalid", 1, monkeypatch)
    assert operator.table("dead-letters", "replay", "intake")[1] == ["intake", "2", "0", "0"]
    assert not refusals
    assert bodies(operator.stage, Output.INTAKE_QUEUE_URL) == ["{}", "{}"]


def test_should_invoke_the_function_of_a_lost_tick(operator: Operator, functions: list[tuple[str, str]]) -> None:
    name = "medical-imaging-pipeline-test-reconciliation"
    rule = f"arn:aws:events:us-east-1:123456789012:rule/{name}"
    send(operator.stage, Output.SCHEDULE_DEAD_LETTERS_URL, {"source": "aws.events", "resources": [rule], "detail": {}})
    assert operator.table("dead-letters", "replay", "schedule")[1] == ["schedule", "1", "0", "0"]
    assert functions == [(name, "Event")]


def test_should_notify_again_of_what_a_subscriber_could_not_get(
    operator: Operator, topic: tuple[str, list[str]]
) -> None:
    envelope = {"Type": "Notification", "TopicArn": topic[0], "Message": "FAILED: arn:1"}
    send(operator.stage, TOPIC_OUTPUT, envelope)
    assert operator.run("dead-letters", "replay")[0] == 0
    assert notifications(operator.stage, topic) == ["FAILED: arn:1"]


def test_should_notify_of_an_event_as_its_rule_would_have(operator: Operator, topic: tuple[str, list[str]]) -> None:
    study = {"source": "medical-imaging-pipeline", "detail-type": "StudyDelivered", "detail": {"revision": 1}}
    detail = {"status": "FAILED", "executionArn": "arn:1", "input": '{"object": {"key": "DOE^JANE.dcm"}}'}
    for event in (study, {"source": "aws.states", "detail": detail}):
        send(operator.stage, TOPIC_OUTPUT, event, TARGET_ARN=topic[0])
    assert operator.run("dead-letters", "replay", "notification")[0] == 0
    assert sorted(notifications(operator.stage, topic)) == ["FAILED: arn:1", '{"revision": 1}']


def test_should_announce_again_what_the_bus_could_not_take(operator: Operator) -> None:
    """As where the bus's key was away: no rule ever saw the event, so that it names no target."""
    bus = "stage"
    events, sqs = boto3.client("events"), operator.stage.sqs
    heard = sqs.create_queue(QueueName="heard")["QueueUrl"]
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["medical-imaging-pipeline"]}))
    arn = "arn:aws:sqs:us-east-1:123456789012:heard"
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    event = {"source": "medical-imaging-pipeline", "detail-type": "InstanceDelivered", "detail": {"attempt": 1}}
    send(operator.stage, TOPIC_OUTPUT, event)
    assert operator.table("dead-letters", "replay", "notification")[1] == ["notification", "1", "0", "0"]
    (message,) = sqs.receive_message(QueueUrl=heard)["Messages"]
    again = json.loads(message["Body"])
    assert (again["detail-type"], again["detail"]) == ("InstanceDelivered", {"attempt": 1})


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"detail": {}}'])
@pytest.mark.parametrize("edge", ["schedule", "notification"])
def test_should_keep_what_it_does_not_understand(operator: Operator, edge: str, body: str) -> None:
    output: Any = {"schedule": Output.SCHEDULE_DEAD_LETTERS_URL, "notification": TOPIC_OUTPUT}[edge]
    send(operator.stage, output, body)
    status, out, _ = operator.run("dead-letters", "replay", edge)
    assert status == 1
    assert [edge, "0", "1", "0"] in [line.split() for line in out.splitlines()]
    rows = operator.table("dead-letters", "list")
    assert [edge, "0", "1"] in rows


def test_should_refuse_an_edge_that_is_none(operator: Operator) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.run("dead-letters", "replay", "outbox")
    assert stopped.value.code == 2
