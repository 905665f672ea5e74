"""The stack: wires the constructs and publishes what others need to know of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.intake import Intake
from imaging_pipeline.monitoring import Monitoring
from imaging_pipeline.pipeline_functions import PipelineFunctions
from imaging_pipeline.processing_workflow import ProcessingWorkflow
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
        functions = PipelineFunctions(self, "Functions", config=config, buckets=buckets)
        workflow = ProcessingWorkflow(
            self, "Workflow", config=config, functions=functions.functions, raw_bucket=buckets.raw
        )
        intake = Intake(self, "Intake", config=config, raw_bucket=buckets.raw, state_machine=workflow.state_machine)
        monitoring = Monitoring(
            self,
            "Monitoring",
            config=config,
            buckets=buckets,
            functions=functions.functions,
            state_machine=workflow.state_machine,
            dead_letter_queues=[intake.dead_letters],
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
