"""Reconciliation: compares raw objects, ledger and results, and starts what nobody works on."""

from __future__ import annotations

from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction, Schedule
from imaging_pipeline.building_blocks.observability import publishing_metrics
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.processing_workflow import ProcessingWorkflow
from runtime.contract.ledger import LedgerIndex
from runtime.contract.names import Function
from runtime.contract.variables import ReconciliationVariables


class Reconciliation(Construct):
    """The function that reconciles, and its schedule."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        workflow: ProcessingWorkflow,
        buckets: DicomBuckets,
        ledger: Ledger,
        zone: Zone,
    ) -> None:
        super().__init__(scope, construct_id)
        config = platform.config
        function = PipelineFunction(
            self,
            platform=platform,
            name=Function.RECONCILIATION,
            zone=zone,
            model=ReconciliationVariables,
            variables={
                **workflow.starting_variables,
                "RAW_BUCKET": buckets.raw.bucket_name,
                "PROCESSED_BUCKET": buckets.processed.bucket_name,
                "STUCK_AFTER_SECONDS": config.stuck_after_seconds,
                "PROCESSED_RETENTION_DAYS": config.processed_retention_days or 0,
                "TIMEOUT_SECONDS": config.functions[Function.RECONCILIATION].timeout_seconds,
            },
            schedule=Schedule(config.reconciliation_minutes, "Compares raw objects, ledger and results"),
        )
        workflow.allow_starting(function)
        ledger.allow(function.role, "BatchGetItem", "GetItem", "UpdateItem")
        for index in (LedgerIndex.IN_WORK, LedgerIndex.BY_VERDICT):
            ledger.allow_query(function.role, index)
        # It looks which results are there, and reads none.
        function.allow(["s3:ListBucket"], buckets.processed.bucket_arn)
        function.role.add_to_policy(publishing_metrics())
