"""Intake: an object's arrival starts an execution."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from imaging_pipeline.stages import StageConfig


class Intake(Construct):
    """The event rule that starts an execution for each accepted object.

    Attributes
    ----------
    dead_letters
        Events whose execution could not be started for a day. They hold object keys, so they belong to the PHI zone.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        raw_bucket: s3.Bucket,
        state_machine: sfn.StateMachine,
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=f"{config.name}-intake-dead-letters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        patterns = config.key_patterns
        events.Rule(
            self,
            "ObjectCreated",
            rule_name=f"{config.name}-object-created",
            description="Starts an execution for every DICOM object that arrives in the raw bucket",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [raw_bucket.bucket_name]},
                    **({"object": {"key": patterns}} if patterns else {}),
                },
            ),
            targets=[
                targets.SfnStateMachine(
                    state_machine,
                    # Not a transformer: one that names a field the event lacks makes broken JSON.
                    input=events.RuleTargetInput.from_event_path("$.detail"),
                    dead_letter_queue=self.dead_letters,
                    max_event_age=Duration.hours(24),
                    retry_attempts=185,
                )
            ],
        )
