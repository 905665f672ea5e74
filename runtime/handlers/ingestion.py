"""IngestionStep: pin the uploaded version, read its header, answer with what doesn't identify anybody."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime import storage
from runtime.contract import (
    IngestionBody,
    IngestionVariables,
    ObjectCoordinates,
    ObjectCreated,
    StepResponse,
)
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error
from runtime.dicom.header import read_header
from runtime.dicom.metadata import extract_metadata, object_facts
from runtime.observability import logger, metrics, step

IngestionVariables.model_validate(os.environ)
s3 = storage.s3_client()


@step
def handler(event: dict[str, Any]) -> StepResponse:
    """Answer an event "Object Created" with the object's coordinates and facts, or reject the object."""
    created = parse(event=event, model=ObjectCreated)
    try:
        coordinates = storage.locate(s3, created)
    except DicomError as error:
        gone = ObjectCoordinates(
            bucket=created.bucket.name,
            key=created.object.key,
            version_id=created.object.version_id or "null",
            size=0,
            etag=created.object.etag or "",
        )
        logger.info("rejected", extra={"object_id": gone.object_id, "reasons": [error.code]})
        return StepResponse.rejected(gone, [from_error(error)])
    return ingest(storage.S3Object(s3, coordinates))


def ingest(source: storage.S3Object) -> StepResponse:
    """Read one pinned version."""
    coordinates = source.coordinates
    logger.append_keys(object_id=coordinates.object_id)
    try:
        header = read_header(source)
        extract_metadata(header)
    except DicomError as error:
        logger.info("rejected", extra={"reasons": [error.code], "bytes_read": source.bytes_read})
        return StepResponse.rejected(coordinates, [from_error(error)])
    facts = object_facts(header, bytes_read=source.bytes_read)
    metrics.add_metric(name="BytesRead", unit=MetricUnit.Bytes, value=source.bytes_read)
    logger.info("ingested", extra={"facts": facts.model_dump(mode="json")})
    return StepResponse.accepted(
        IngestionBody(object=coordinates, object_id=coordinates.object_id, facts=facts),
    )
