"""Announcements: what consumers of the research zone are told, and by which way."""

from __future__ import annotations

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.queues import dead_letter_queue
from imaging_pipeline.stages import StageConfig
from runtime.contract import PROJECT, EventType


class Announcements(Construct):
    """The stage's event bus, and mails about complete studies.

    Attributes
    ----------
    bus
        `InstanceDelivered`, `InstanceQuarantined` and `StudyDelivered`. No event holds PHI.
    topic
        Told of every complete study.
    dead_letters
        Notifications that could not be delivered, of this topic and of the operators' one.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = dead_letter_queue(self, "notification", config=config)
        self.bus = events.EventBus(
            self, "Bus", event_bus_name=config.name, description=f"What the pipeline delivered, stage {config.stage}"
        )
        self.topic = notification_topic(
            self,
            "Deliveries",
            name=f"{config.name}-deliveries",
            addresses=config.delivery_emails,
            dead_letters=self.dead_letters,
        )
        events.Rule(
            self,
            "StudyDelivered",
            rule_name=f"{config.name}-study-delivered",
            description="Tells the subscribers of every study that is complete",
            event_bus=self.bus,
            event_pattern=events.EventPattern(source=[PROJECT], detail_type=[EventType.STUDY_DELIVERED]),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    message=events.RuleTargetInput.from_event_path("$.detail"),
                    dead_letter_queue=self.dead_letters,
                )
            ],
        )


def notification_topic(
    scope: Construct, construct_id: str, *, name: str, addresses: tuple[str, ...], dead_letters: sqs.Queue
) -> sns.Topic:
    """Return a topic that demands TLS, and that keeps what a subscribed address could not get."""
    topic = sns.Topic(scope, construct_id, topic_name=name, enforce_ssl=True)
    for address in addresses:
        topic.add_subscription(subscriptions.EmailSubscription(address, dead_letter_queue=dead_letters))
    return topic
