"""Queues: encrypted, TLS only, and kept for as long as SQS allows."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.stages import StageConfig

RETENTION = Duration.days(14)


def dead_letter_queue(scope: Construct, name: str, *, config: StageConfig) -> sqs.Queue:
    """Return a queue for what an asynchronous edge could not deliver.

    Parameters
    ----------
    scope
        Owner of the edge.
    name
        Of the edge: the queue is `<stack>-<name>-dead-letters`.
    config
        The stage.
    """
    return sqs.Queue(
        scope,
        "DeadLetters",
        queue_name=f"{config.name}-{name}-dead-letters",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=RETENTION,
    )
