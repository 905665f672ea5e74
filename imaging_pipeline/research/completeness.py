"""Completeness: writes a manifest of each study that is complete, and announces it."""

from __future__ import annotations

from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction, Schedule
from imaging_pipeline.building_blocks.zones import Zones
from imaging_pipeline.phi.ledger import Ledger
from runtime.contract.names import Function
from runtime.contract.variables import CompletenessVariables


class Completeness(Construct):
    """The function that announces studies, and its schedule. It reads no raw object, nor the key of one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        processed_bucket: s3.Bucket,
        ledger: Ledger,
        bus: events.EventBus,
        zones: Zones,
    ) -> None:
        super().__init__(scope, construct_id)
        function = PipelineFunction(
            self,
            platform=platform,
            name=Function.COMPLETENESS,
            zone=zones.phi,
            model=CompletenessVariables,
            variables={
                **ledger.variables,
                "PROCESSED_BUCKET": processed_bucket.bucket_name,
                "EVENT_BUS_NAME": bus.event_bus_name,
                "STUDY_QUIET_SECONDS": platform.config.study_quiet_seconds,
            },
            schedule=Schedule(1, "Announces studies that are complete"),
        )
        ledger.allow_announcing(function.role)
        function.allow(["s3:PutObject"], processed_bucket.arn_for_objects("*/manifest-*.jsonl"))
        zones.research.allow(function.role, "GenerateDataKey", via="s3")
        bus.grant_put_events_to(function.role)
