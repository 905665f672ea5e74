"""The stack: wires the constructs and publishes what others need to know of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from imaging_pipeline.announcements import Announcements
from imaging_pipeline.audit import AuditTable
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.intake import Intake
from imaging_pipeline.ledger import Ledger
from imaging_pipeline.monitoring import Monitoring
from imaging_pipeline.pipeline_functions import PipelineFunctions
from imaging_pipeline.processing_workflow import ProcessingWorkflow
from imaging_pipeline.replay_workflow import ReplayWorkflow
from imaging_pipeline.schedules import Schedules
from imaging_pipeline.stages import StageConfig
from runtime.contract import PROJECT, Function, Output


class ImagingPipelineStack(Stack):
    """One stage of the pipeline."""

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, env: Environment) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            description=f"Medical Imaging Pipeline, stage {config.stage}",
            termination_protection=config.termination_protection,
            tags={"project": PROJECT, "stage": config.stage},
        )
        self._config = config
        buckets = DicomBuckets(self, "Buckets", config=config)
        ledger = Ledger(self, "Ledger", config=config, phi_key=buckets.phi_key)
        audit = AuditTable(self, "Audit", config=config, name="audit", key=buckets.phi_key)
        # Of its own, since nobody who gives out links may reach the PHI zone.
        link_audit = AuditTable(self, "LinkAudit", config=config, name="link-audit", key=buckets.research_key)
        announcements = Announcements(self, "Announcements", config=config)
        functions = PipelineFunctions(
            self, "Functions", config=config, buckets=buckets, ledger=ledger, audit=audit, bus=announcements.bus
        )
        workflow = ProcessingWorkflow(
            self,
            "Workflow",
            config=config,
            functions=functions,
            raw_bucket=buckets.raw,
            ledger=ledger,
            audit=audit,
            bus=announcements.bus,
        )
        replay = ReplayWorkflow(
            self,
            "Replay",
            config=config,
            function=functions.functions[Function.REPLAY],
            raw_bucket=buckets.raw,
            operations_bucket=buckets.operations,
        )
        intake = Intake(
            self,
            "Intake",
            config=config,
            raw_bucket=buckets.raw,
            dispatcher=functions.functions[Function.DISPATCHER],
        )
        Schedules(
            self,
            "Schedules",
            config=config,
            functions=functions.functions,
            dead_letters=functions.schedule_dead_letters,
        )
        monitoring = Monitoring(
            self,
            "Monitoring",
            config=config,
            buckets=buckets,
            functions=functions,
            state_machine=workflow.state_machine,
            intake=intake,
            announcements=announcements,
        )
        self._publish(
            {
                Output.RAW_BUCKET_NAME: buckets.raw.bucket_name,
                Output.RAW_BUCKET_ARN: buckets.raw.bucket_arn,
                Output.PROCESSED_BUCKET_NAME: buckets.processed.bucket_name,
                Output.PROCESSED_BUCKET_ARN: buckets.processed.bucket_arn,
                Output.LOGS_BUCKET_NAME: buckets.logs.bucket_name,
                Output.LOGS_BUCKET_ARN: buckets.logs.bucket_arn,
                Output.STATE_MACHINE_ARN: workflow.state_machine.state_machine_arn,
                Output.NOTIFICATION_TOPIC_ARN: monitoring.topic.topic_arn,
                Output.INGESTION_LOG_GROUP_NAME: functions.log_groups[Function.INGESTION].log_group_name,
                Output.VALIDATION_LOG_GROUP_NAME: functions.log_groups[Function.VALIDATION].log_group_name,
                Output.DEIDENTIFICATION_LOG_GROUP_NAME: functions.log_groups[Function.DEIDENTIFICATION].log_group_name,
                Output.WORKFLOW_LOG_GROUP_NAME: workflow.log_group.log_group_name,
                Output.DASHBOARD_URL: monitoring.dashboard_url,
                Output.LEDGER_TABLE_NAME: ledger.table.table_name,
                Output.OPERATIONS_BUCKET_NAME: buckets.operations.bucket_name,
                Output.REPLAY_STATE_MACHINE_ARN: replay.state_machine.state_machine_arn,
                Output.EVENT_BUS_NAME: announcements.bus.event_bus_name,
                Output.EVENT_BUS_ARN: announcements.bus.event_bus_arn,
                Output.DELIVERY_TOPIC_ARN: announcements.topic.topic_arn,
                Output.INTAKE_QUEUE_URL: intake.queue.queue_url,
                Output.INTAKE_DEAD_LETTERS_URL: intake.dead_letters.queue_url,
                Output.SCHEDULE_DEAD_LETTERS_URL: functions.schedule_dead_letters.queue_url,
                Output.NOTIFICATION_DEAD_LETTERS_URL: announcements.dead_letters.queue_url,
                Output.AUDIT_TABLE_NAME: audit.table.table_name,
                Output.LINK_AUDIT_TABLE_NAME: link_audit.table.table_name,
            }
        )

    def _publish(self, values: Mapping[Output, str]) -> None:
        """Write each value as a stack output and as an SSM parameter."""
        for output, value in values.items():
            CfnOutput(self, output, value=value)
            name = re.sub(r"(?<!^)(?=[A-Z])", "-", output).lower()
            ssm.StringParameter(
                self, f"{output}Parameter", parameter_name=f"/{PROJECT}/{self._config.stage}/{name}", string_value=value
            )
