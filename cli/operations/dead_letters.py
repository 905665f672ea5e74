"""Dead letters: what an asynchronous edge could not deliver, and its way back. Talks to SQS, Lambda and SNS.

Bodies hold object keys and never leave this module but to where they were going.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from cli.stage import Stage
from runtime.aws.clients import client
from runtime.contract.models import Frozen
from runtime.contract.names import PROJECT, Output

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

HIDDEN_SECONDS: Final = 60
"""How long a message that is being replayed is hidden; of an interrupted replay it then comes back."""
_BATCH: Final = 10


class Edge(StrEnum):
    """The asynchronous edges of a stage that have a dead-letter queue."""

    INTAKE = "intake"
    SCHEDULE = "schedule"
    NOTIFICATION = "notification"


QUEUES: Final[Mapping[Edge, Output]] = {
    Edge.INTAKE: Output.INTAKE_DEAD_LETTERS_URL,
    Edge.SCHEDULE: Output.SCHEDULE_DEAD_LETTERS_URL,
    Edge.NOTIFICATION: Output.NOTIFICATION_DEAD_LETTERS_URL,
}


class Waiting(Frozen):
    """How many messages a dead-letter queue has, approximately as SQS counts."""

    edge: Edge
    visible: int
    hidden: int
    """being replayed, or looked at by somebody"""


class ReplayedMessages(Frozen):
    """What a replay of dead letters did."""

    edge: Edge
    sent: int
    kept: int
    """messages that could not be understood or delivered; they stay in the queue"""
    waiting: int
    """messages that somebody else replays, or that were lost on the way here; the latter come back soon, or just did"""
    unsure: bool
    """whether an answer of SQS may have been lost, with messages that its counts, a minute behind, don't tell of yet"""


class NotDeliverableError(Exception):
    """A message is none that its edge carries."""


class DeadLetters:
    """The dead-letter queues of a stage.

    Parameters
    ----------
    stage
        Where they are.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sqs = client("sqs")
        self._lambda = client("lambda")
        self._sns = client("sns")
        self._events = client("events")

    def count(self, edge: Edge) -> Waiting:
        """Count the messages of a queue."""
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._stage.output(QUEUES[edge]),
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return Waiting(
            edge=edge,
            visible=int(attributes["ApproximateNumberOfMessages"]),
            hidden=int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def replay(self, edge: Edge) -> ReplayedMessages:
        """Deliver each message of a queue to where it was going, and delete it there.

        A message is deleted after it was sent. One that is sent twice, since the replay died between the two, starts
        nothing twice: the ledger sees to that.
        """
        send = self._senders()[edge]
        queue = self._stage.output(QUEUES[edge])
        sent, kept, unsure = 0, set(), False
        while True:
            messages, repeated = self._receive(queue)
            unsure |= repeated
            if not messages:
                break
            for message in messages:
                try:
                    send(message)
                except NotDeliverableError:
                    kept.add(message["MessageId"])  # and hidden for a while, so that the loop ends
                    continue
                self._delete(queue, message)
                sent += 1
        # Nothing was received, which is not yet nothing left: an answer of SQS that was lost hid its messages.
        left = self.count(edge)
        waiting = max(left.visible + left.hidden - len(kept), 0)
        return ReplayedMessages(edge=edge, sent=sent, kept=len(kept), waiting=waiting, unsure=unsure)

    def _receive(self, queue: str) -> tuple[list[MessageTypeDef], bool]:
        """Return messages, and whether the request was repeated: then the answer before may have held others."""
        answer = self._sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=_BATCH,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", []), answer["ResponseMetadata"]["RetryAttempts"] > 0

    def _delete(self, queue: str, message: MessageTypeDef) -> None:
        """Delete what was sent. A receipt is invalid after a deletion whose answer was lost, or once it is too old."""
        with suppress(self._sqs.exceptions.ReceiptHandleIsInvalid):
            self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    def _senders(self) -> Mapping[Edge, Callable[[MessageTypeDef], None]]:
        return {Edge.INTAKE: self._to_intake, Edge.SCHEDULE: self._to_function, Edge.NOTIFICATION: self._to_topic}

    def _to_intake(self, message: MessageTypeDef) -> None:
        """Whether the rule or the dispatcher gave it up, the body is the event."""
        self._sqs.send_message(QueueUrl=self._stage.output(Output.INTAKE_QUEUE_URL), MessageBody=message["Body"])

    def _to_function(self, message: MessageTypeDef) -> None:
        """Invoke the function whose schedule ticked: rule and function have one name."""
        resources = _parsed(message).get("resources") or [""]
        name = str(resources[0]).rpartition(":rule/")[2]
        if not name:
            raise NotDeliverableError
        self._lambda.invoke(FunctionName=name, InvocationType="Event", Payload=message["Body"])

    def _to_topic(self, message: MessageTypeDef) -> None:
        """Notify all subscribers once more: of a notification, or of the event of a rule that could not notify.

        An announcement that the bus itself could not take, since its key was away, has no target: all its rules get it.
        """
        body = _parsed(message)
        if "TopicArn" in body:
            self._sns.publish(TopicArn=body["TopicArn"], Message=body["Message"])
            return
        attribute = message.get("MessageAttributes", {}).get("TARGET_ARN")
        target = attribute.get("StringValue", "") if attribute else ""
        if "detail" in body and ":sns:" in target:
            self._sns.publish(TopicArn=target, Message=_notification(body))
        elif "detail" in body and body.get("source") == PROJECT:
            self._announce(body)
        else:
            raise NotDeliverableError

    def _announce(self, event: Mapping[str, Any]) -> None:
        """Put one of our own events on the bus again; consumers know it by object or study, and revision."""
        answer = self._events.put_events(
            Entries=[
                {
                    "EventBusName": self._stage.output(Output.EVENT_BUS_NAME),
                    "Source": PROJECT,
                    "DetailType": str(event.get("detail-type")),
                    "Detail": json.dumps(event["detail"]),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            raise NotDeliverableError


def _parsed(message: MessageTypeDef) -> dict[str, Any]:
    try:
        body = json.loads(message["Body"])
    except ValueError:
        raise NotDeliverableError from None
    if not isinstance(body, dict):
        raise NotDeliverableError
    return body


def _notification(event: Mapping[str, Any]) -> str:
    """Return what the rule would have sent: our own events whole, and of an execution never its input."""
    detail = event["detail"]
    if event.get("source") == PROJECT:
        return json.dumps(detail)
    return f"{detail.get('status')}: {detail.get('executionArn')}"
