"""Queues and topics: encrypted by their zone's key, TLS only, and open to the senders that are named."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig

RETENTION = Duration.days(14)
"""The longest that SQS keeps a message."""


def queue(
    scope: Construct,
    construct_id: str,
    *,
    name: str,
    zone: Zone,
    senders: tuple[str, ...],
    retention: Duration,
    visibility_timeout: Duration | None = None,
    dead_letters: sqs.DeadLetterQueue | None = None,
) -> sqs.Queue:
    """Return a queue.

    Parameters
    ----------
    name
        The queue's whole name.
    zone
        Whose key encrypts it.
    senders
        AWS's services that send to it by themselves, such as `events`, and therefore need the key. Functions don't:
        theirs is what their role may do.
    """
    made = sqs.Queue(
        scope,
        construct_id,
        queue_name=name,
        encryption=None if zone.key else sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=retention,
        visibility_timeout=visibility_timeout,
        dead_letter_queue=dead_letters,
    )
    if zone.key:
        # Given to the L2 queue, the key would cost the queue's policy its `aws:SourceArn`, and widen every sender's.
        resource = made.node.default_child
        if not isinstance(resource, sqs.CfnQueue):  # pragma: no cover - the L2 queue always has its L1
            raise TypeError("the queue has no CfnQueue")
        resource.kms_master_key_id = zone.key.key_arn
    for service in senders:
        zone.admit_sender(service, queue=name)
    return made


def dead_letter_queue(
    scope: Construct, name: str, *, config: StageConfig, zone: Zone, senders: tuple[str, ...]
) -> sqs.Queue:
    """Return a queue for what an asynchronous edge could not deliver, `<stack>-<name>-dead-letters`."""
    return queue(
        scope,
        "DeadLetters",
        name=f"{config.name}-{name}-dead-letters",
        zone=zone,
        senders=senders,
        retention=RETENTION,
    )


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
