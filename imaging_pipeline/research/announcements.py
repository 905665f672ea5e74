"""Announcements: what consumers of the research zone are told, and by which way."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.building_blocks.messaging import dead_letter_queue, notification_topic
from imaging_pipeline.building_blocks.zones import Zone, Zones
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.events import EventType
from runtime.contract.names import PROJECT, Output


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

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, zones: Zones) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = dead_letter_queue(
            self, "notification", config=config, zone=zones.phi, senders=("events", "sns")
        )
        self.bus = self._bus(config, zones.research)
        self.topic = notification_topic(
            self,
            "Deliveries",
            name=f"{config.name}-deliveries",
            addresses=config.delivery_emails,
            dead_letters=self.dead_letters,
            zone=zones.research,
            publishers=("events",),
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

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.EVENT_BUS_NAME: self.bus.event_bus_name,
            Output.EVENT_BUS_ARN: self.bus.event_bus_arn,
            Output.DELIVERY_TOPIC_ARN: self.topic.topic_arn,
            Output.NOTIFICATION_DEAD_LETTERS_URL: self.dead_letters.queue_url,
        }

    def _bus(self, config: StageConfig, zone: Zone) -> events.EventBus:
        """Return the bus; encrypted by the zone's key, it has dead letters: events that it could not en- or decrypt."""
        bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=config.name,
            description=f"What the pipeline delivered, stage {config.stage}",
            kms_key=zone.key,
            dead_letter_queue=self.dead_letters if zone.key else None,
        )
        if zone.key:
            zone.admit_bus(config.name)
            self.dead_letters.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal("events.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[self.dead_letters.queue_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": bus.event_bus_arn}},
                )
            )
        return bus
