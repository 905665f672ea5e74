"""The functions that an object passes: ingestion, validation, de-identification."""

from __future__ import annotations

from collections.abc import Mapping

from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction
from imaging_pipeline.building_blocks.zones import Zones
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.pseudonym_key import PseudonymKey
from runtime.contract.names import Function, Output
from runtime.contract.variables import DeidentificationVariables, IngestionVariables, ValidationVariables


class Steps(Construct):
    """The steps of the processing workflow, each with what it may do.

    Attributes
    ----------
    ingestion
        Reads a raw object's header, and tells the ledger its study.
    validation
        Reads a raw object's header.
    deidentification
        The one door between the zones: alone reads raw objects and writes results, and holds the pseudonym key.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        buckets: DicomBuckets,
        ledger: Ledger,
        pseudonym_key: PseudonymKey,
        zones: Zones,
    ) -> None:
        super().__init__(scope, construct_id)
        self.ingestion = PipelineFunction(
            self,
            platform=platform,
            name=Function.INGESTION,
            zone=zones.phi,
            model=IngestionVariables,
            variables=ledger.variables,
        )
        ledger.allow(self.ingestion.role, "UpdateItem")
        self.validation = PipelineFunction(
            self,
            platform=platform,
            name=Function.VALIDATION,
            zone=zones.phi,
            model=ValidationVariables,
            variables={"STRICT": platform.config.strict},
        )
        self.deidentification = PipelineFunction(
            self,
            platform=platform,
            name=Function.DEIDENTIFICATION,
            zone=zones.phi,
            model=DeidentificationVariables,
            variables={
                **ledger.receiving_variables,
                "PROCESSED_BUCKET": buckets.processed.bucket_name,
                "PSEUDONYM_SECRET_ARN": pseudonym_key.secret.secret_arn,
                "PROFILE": platform.config.profile,
            },
        )
        ledger.allow(self.deidentification.role, "GetItem", "UpdateItem")
        pseudonym_key.allow_reading(self.deidentification)
        for step in (self.ingestion, self.validation, self.deidentification):
            buckets.allow_reading_raw(step)
        self._let_release(buckets, zones)

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.INGESTION_LOG_GROUP_NAME: self.ingestion.log_group.log_group_name,
            Output.VALIDATION_LOG_GROUP_NAME: self.validation.log_group.log_group_name,
            Output.DEIDENTIFICATION_LOG_GROUP_NAME: self.deidentification.log_group.log_group_name,
        }

    def _let_release(self, buckets: DicomBuckets, zones: Zones) -> None:
        """Let de-identification write to the research zone, and check the versions it wrote."""
        actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion"]
        self.deidentification.allow(actions, buckets.processed.arn_for_objects("*"))
        # Whether a result is there: without this right a missing one looks like a forbidden one.
        self.deidentification.allow(["s3:ListBucket"], buckets.processed.bucket_arn)
        # Completing a multipart upload decrypts its parts.
        zones.research.allow(self.deidentification.role, "Decrypt", "GenerateDataKey", via="s3")
