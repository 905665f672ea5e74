"""IngestionStep: read the header of the pinned version, answer with non-identifying facts."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime.aws import clients, storage
from runtime.contract.objects import ExecutionInput
from runtime.contract.steps import IngestionBody, StepResponse
from runtime.contract.variables import IngestionVariables
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error
from runtime.dicom.header import Header, read_header
from runtime.dicom.metadata import object_facts
from runtime.dicom.tags import STUDY_INSTANCE_UID
from runtime.ledger.rows import Ledger
from runtime.ledger.table import LEDGER_ATTEMPTS, hashed
from runtime.observability.entry_points import logger, metrics, step

variables = IngestionVariables.model_validate(os.environ)
s3 = storage.s3_client()
ledger = Ledger(clients.client("dynamodb", attempts=LEDGER_ATTEMPTS), variables.LEDGER_TABLE)


@step
def handler(event: dict[str, Any]) -> StepResponse:
    """Answer with the object's study and facts, or reject the object."""
    source = storage.S3Object(s3, parse(event=event, model=ExecutionInput).object)
    coordinates = source.coordinates
    logger.append_keys(object_id=coordinates.object_id)
    try:
        header = read_header(source)
        study_id = record_study(coordinates.object_id, header)
    except DicomError as error:
        logger.info("rejected", extra={"reasons": [error.code], "bytes_read": source.bytes_read})
        return StepResponse.rejected(coordinates, [from_error(error)])
    facts = object_facts(header, bytes_read=source.bytes_read)
    metrics.add_metric(name="BytesRead", unit=MetricUnit.Bytes, value=source.bytes_read)
    logger.info("ingested", extra={"facts": facts.model_dump(mode="json")})
    return StepResponse.accepted(
        IngestionBody(object=coordinates, object_id=coordinates.object_id, study_id=study_id, facts=facts),
    )


def record_study(object_id: str, header: Header) -> str | None:
    """Record an object's study, if its header names one, so that a quarantined object counts with its study."""
    uid = header.text(STUDY_INSTANCE_UID)
    if uid is None:
        return None
    study_id = hashed(uid)
    ledger.identify(object_id, study_id)
    return study_id
