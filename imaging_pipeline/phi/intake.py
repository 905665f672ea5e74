"""Intake: an object's arrival waits in a queue until the dispatcher starts its execution."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction
from imaging_pipeline.building_blocks.messaging import dead_letter_queue, queue
from imaging_pipeline.building_blocks.observability import publishing_metrics
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.processing_workflow import ProcessingWorkflow
from runtime.contract.names import Function, Output
from runtime.contract.variables import DispatcherVariables

BATCH_SIZE = 10
# A message that was received this often is poison: each time the dispatcher has already waited out what may pass.
MAX_RECEIVES = 5
# AWS asks for six times the function's time-out, so that a batch doesn't come back while it is still worked on.
VISIBILITY_FACTOR = 6
# Half of the dead letters' time, since SQS counts that from the first arrival, not from the move.
RETENTION = Duration.days(7)


class Intake(Construct):
    """Event rule, queue, and the dispatcher that empties it.

    Attributes
    ----------
    queue
        Events that wait for the dispatcher. They hold object keys, so both queues belong to the PHI zone.
    dead_letters
        Events that didn't reach the queue for a day, or that the dispatcher gave back too often: the same body.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        workflow: ProcessingWorkflow,
        buckets: DicomBuckets,
        ledger: Ledger,
        audit: AuditTable,
        zone: Zone,
    ) -> None:
        super().__init__(scope, construct_id)
        config = platform.config
        self.dead_letters = dead_letter_queue(self, "intake", config=config, zone=zone, senders=("events",))
        timeout = config.functions[Function.DISPATCHER].timeout_seconds
        self.queue = queue(
            self,
            "Queue",
            name=f"{config.name}-intake",
            zone=zone,
            senders=("events",),
            retention=RETENTION,
            visibility_timeout=Duration.seconds(VISIBILITY_FACTOR * timeout),
            dead_letters=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVES),
        )
        events.Rule(
            self,
            "ObjectCreated",
            rule_name=f"{config.name}-object-created",
            description="Queues every object that arrives in the raw bucket; the dispatcher decides which ones start",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={"bucket": {"name": [buckets.raw.bucket_name]}},
            ),
            targets=[
                targets.SqsQueue(
                    self.queue,
                    dead_letter_queue=self.dead_letters,
                    max_event_age=Duration.hours(24),
                    retry_attempts=185,
                )
            ],
        )
        self._dispatch(platform, workflow=workflow, buckets=buckets, ledger=ledger, audit=audit, zone=zone)

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.INTAKE_QUEUE_URL: self.queue.queue_url,
            Output.INTAKE_DEAD_LETTERS_URL: self.dead_letters.queue_url,
        }

    def _dispatch(
        self,
        platform: FunctionPlatform,
        *,
        workflow: ProcessingWorkflow,
        buckets: DicomBuckets,
        ledger: Ledger,
        audit: AuditTable,
        zone: Zone,
    ) -> None:
        """Make the dispatcher, to which Lambda gives what waits in the queue."""
        dispatcher = PipelineFunction(
            self,
            platform=platform,
            name=Function.DISPATCHER,
            zone=zone,
            model=DispatcherVariables,
            variables={
                **workflow.starting_variables,
                "AUDIT_TABLE": audit.table.table_name,
                "CODE_VERSION": platform.code_version,
            },
        )
        buckets.allow_reading_raw(dispatcher)
        workflow.allow_starting(dispatcher)
        ledger.allow(dispatcher.role, "GetItem", "UpdateItem")
        audit.allow_recording(dispatcher.role)
        dispatcher.role.add_to_policy(publishing_metrics())
        dispatcher.function.add_event_source_mapping(
            "Intake",
            event_source_arn=self.queue.queue_arn,
            batch_size=BATCH_SIZE,
            max_concurrency=platform.config.dispatcher_concurrency,
            report_batch_item_failures=True,
        )
        # What Lambda needs to poll; CDK's event source would also let the function find queues and hide messages.
        dispatcher.allow(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], self.queue.queue_arn)
        zone.allow(dispatcher.role, "Decrypt", via="sqs")
