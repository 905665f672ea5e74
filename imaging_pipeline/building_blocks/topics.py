"""Topics: TLS only, encrypted by their zone's key, and nothing that a subscriber could not get is lost."""

from __future__ import annotations

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone


def notification_topic(
    scope: Construct,
    construct_id: str,
    *,
    name: str,
    addresses: tuple[str, ...],
    dead_letters: sqs.Queue,
    zone: Zone,
    publishers: tuple[str, ...],
) -> sns.Topic:
    """Return a topic that demands TLS, and that keeps what a subscribed address could not get.

    Its policy admits EventBridge without a condition, since AWS refuses any there ("Using resource-based policies for
    Amazon EventBridge").

    Parameters
    ----------
    zone
        Whose key encrypts what waits to be sent.
    publishers
        AWS's services that publish to it by themselves, such as `events`, and therefore need the key.
    """
    topic = sns.Topic(scope, construct_id, topic_name=name, enforce_ssl=True, master_key=zone.key)
    for service in publishers:
        zone.admit_publisher(service, topic=name)
    for address in addresses:
        topic.add_subscription(subscriptions.EmailSubscription(address, dead_letter_queue=dead_letters))
    return topic
